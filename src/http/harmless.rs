//! Attachments as downloads that harm nobody: a type that runs nothing, a name that stays where it is put.

use percent_encoding::utf8_percent_encode;

use super::view::RESERVED;
use crate::mail::{self, Attachment};

/// The longest file name that is passed on: the longest that file systems take.
const FILENAME_MAX_BYTES: usize = 255;

/// Images that every browser shows, and that hold no markup.
const RASTER_IMAGES: [&str; 10] = [
    "image/apng",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/jpg",
    "image/png",
    "image/vnd.microsoft.icon",
    "image/webp",
    "image/x-icon",
];

const OCTET_STREAM: &str = "application/octet-stream";
/// The declared media type, where a browser that opens it runs nothing of it.
pub(super) fn harmless_type(declared: &str) -> &str {
    let Some((kind, subtype)) = declared.split_once('/') else { return OCTET_STREAM };
    let known = ["application", "audio", "font", "image", "message", "model", "text", "video"].contains(&kind);
    let markup = ["html", "svg", "xhtml", "xml", "xsl"];
    let runs = subtype.contains("script")
        || subtype.split(['.', '+', '-']).any(|word| markup.contains(&word))
        || subtype == "x-shockwave-flash";
    if known && !runs && !subtype.is_empty() && subtype.bytes().all(is_token) { declared } else { OCTET_STREAM }
}

/// Whether the HTML of a message can refer to `attachment` as an image, and nothing but pixels can come of it.
pub(super) fn is_inline_image(attachment: &Attachment) -> bool {
    attachment.content_id.is_some() && RASTER_IMAGES.contains(&attachment.content_type.as_str())
}

/// RFC 6838 section 4.2 `restricted-name-chars`, lower-cased as the record has them.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$&-^_.+".contains(&byte)
}

/// RFC 6266: always a download, under a name that stays in its directory.
pub(super) fn disposition(filename: Option<&str>) -> String {
    let name = filename.map(safe_filename).unwrap_or_default();
    if name.is_empty() {
        return "attachment".to_owned();
    }
    // RFC 6266 appendix D: some clients decode percent signs in the plain form.
    let plain = |c: char| if c.is_ascii() && c != '%' { c } else { '_' };
    let fallback: String = name.chars().map(plain).collect();
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, RESERVED))
}

/// The last part of the path that the sender wrote, without what could deceive a file system, a header or a reader.
fn safe_filename(filename: &str) -> String {
    let last = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|&c| !c.is_control() && !is_invisible(c) && c != '"').collect();
    let clean = clean.trim_matches(|c: char| c.is_whitespace() || c == '.');
    mail::cut_name(clean, FILENAME_MAX_BYTES)
}

/// Characters that reorder or hide what stands around them: `invoice\u{202e}fdp.exe` would read as a PDF.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filename_stays_in_its_directory_and_in_its_header() {
        for (hostile, safe) in [
            ("report.pdf", "report.pdf"),
            ("../../x", "x"),
            ("C:\\windows\\x.exe", "x.exe"),
            ("a\"; filename=\"evil.html", "a; filename=evil.html"),
            ("a\r\nSet-Cookie: x=1", "aSet-Cookie: x=1"),
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
            ("a\u{61c}b\u{ad}\u{e0041}.exe", "ab.exe"),
            ("..", ""),
            ("a/", ""),
            (" .hidden. ", "hidden"),
            ("größe.txt", "größe.txt"),
        ] {
            assert_eq!(safe_filename(hostile), safe, "{hostile:?}");
        }
        assert_eq!(safe_filename(&"ä".repeat(200)).len(), 254);
        assert_eq!(safe_filename(&format!("{}.pdf", "x".repeat(300))), format!("{}.pdf", "x".repeat(251)));
    }

    #[test]
    fn a_disposition_has_both_forms_of_the_name() {
        assert_eq!(disposition(None), "attachment");
        assert_eq!(disposition(Some("../")), "attachment");
        assert_eq!(
            disposition(Some("50% größe.txt")),
            "attachment; filename=\"50_ gr__e.txt\"; filename*=UTF-8''50%25%20gr%C3%B6%C3%9Fe.txt"
        );
    }

    #[test]
    fn what_a_browser_would_run_is_only_bytes() {
        for safe in [
            "image/png",
            "application/pdf",
            "text/plain",
            "text/csv",
            "message/rfc822",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ] {
            assert_eq!(harmless_type(safe), safe);
        }
        for hostile in [
            "text/html",
            "application/xhtml+xml",
            "image/svg+xml",
            "image/svg",
            "text/xml",
            "text/xml-external-parsed-entity",
            "application/xml",
            "application/rss+xml",
            "text/javascript",
            "application/x-javascript",
            "text/ecmascript",
            "multipart/x-mixed-replace",
            "text/xsl",
            "text/HTML",
            "text",
            "text/",
            "/html",
            "",
            "text/plain\r\nx: y",
            "text/ plain",
            "text/plain;x",
        ] {
            assert_eq!(harmless_type(hostile), OCTET_STREAM, "{hostile:?}");
        }
    }
}
