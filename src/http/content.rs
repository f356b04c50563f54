//! The content of a message: its raw bytes, its bodies, its headers, its code and its link, its attachments.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use percent_encoding::utf8_percent_encode;

use super::download::Download;
use super::html;
use super::known::{Known, Tag};
use super::offload;
use super::path::{AttachmentPath, MessagePath};
use super::problem::Problem;
use super::query::{HtmlForm, Strict};
use super::range::Asked;
use super::room::{Room, Share};
use super::router::CROSS_ORIGIN_RESOURCE_POLICY;
use super::view::{RESERVED, mailbox_url, message_url};
use crate::inbox::Inbox;
use crate::mail::{self, Attachment, Content, HeaderField, Message, MessageId};

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
const HTML: &str = "text/html; charset=utf-8";

/// What a reader has already, and where what it takes its time for has room.
pub(super) struct Reader {
    known: Known,
    room: Room,
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self { known: Known::of(&parts.headers), room: Room::from_request_parts(parts, state).await? })
    }
}

/// `GET …/raw`: the message as it was received, byte for byte.
pub(super) async fn raw(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
    known: Known,
    asked: Asked,
) -> Result<Response, Problem> {
    let raw = path.raw(&inbox).await?;
    let tag = Tag::raw(path.id);
    if known.has(&tag) {
        return Ok(tag.not_modified());
    }
    let disposition = format!("attachment; filename=\"{}.eml\"", path.id);
    let content = [(CONTENT_TYPE, "message/rfc822".to_owned()), (CONTENT_DISPOSITION, disposition)];
    Download::raw(raw).answer(&asked, &tag, content).await
}

/// `GET …/text`: the plain text body.
pub(super) async fn text(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
    reader: Reader,
) -> Result<Response, Problem> {
    body(&inbox, &path, &reader, "text/plain; charset=utf-8", |content| content.text.as_deref()).await
}

/// `GET …/html`: the HTML body, as it was sent or rewritten. A policy keeps it in a sandbox.
pub(super) async fn html(
    State(inbox): State<Inbox>,
    Strict(form): Strict<HtmlForm>,
    path: MessagePath,
    reader: Reader,
) -> Result<Response, Problem> {
    if form == HtmlForm::Sent {
        return body(&inbox, &path, &reader, HTML, |content| content.html.as_deref()).await;
    }
    let tag = Tag::message(path.id);
    let (stored, share) = path.held(&inbox, &reader.room).await?;
    let message = stored.message;
    let bytes = message.content.html.as_ref().map(String::len);
    let bytes = bytes.ok_or_else(|| Problem::not_found("body not found", "the message has no text/html body"))?;
    let mut response = if reader.known.has(&tag) {
        tag.not_modified()
    } else {
        let url = message_url(&mailbox_url(&inbox, &path.mailbox), path.id);
        tag.on(rewritten(form, message, share, bytes, url).await?)
    };
    if let HtmlForm::View { remote } = form {
        let policy = HeaderValue::from_static(html::policy(remote));
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// The HTML of a message in another form. `share` is that of the message; what comes of it takes about as much.
async fn rewritten(
    form: HtmlForm,
    message: Arc<Message>,
    share: Share,
    bytes: usize,
    url: String,
) -> Result<Response, Problem> {
    let rewriting = offload::run(bytes, move || {
        let parts = html::Parts::new(&message.content.attachments, &url);
        let sent = message.content.html.as_deref().unwrap_or_default();
        match form {
            HtmlForm::View { remote } => html::view(sent, &parts, remote),
            HtmlForm::Inline | HtmlForm::Sent => html::inline(sent, &parts),
        }
    });
    let html = rewriting.await?.map_err(|error| Problem::unprocessable("HTML too large", error.to_string()))?;
    Ok(([(CONTENT_TYPE, HTML)], share.of(html)).into_response())
}

/// `GET …/headers`: all header fields in order.
pub(super) async fn headers(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
    known: Known,
) -> Result<Response, Problem> {
    let headers = headers_of(&inbox, &path).await?;
    let tag = Tag::message(path.id);
    Ok(if known.has(&tag) { tag.not_modified() } else { tag.on(Json(headers).into_response()) })
}

/// `GET …/code`: the likeliest one-time code.
pub(super) async fn code(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
    known: Known,
) -> Result<Response, Problem> {
    let stored = path.message(&inbox).await?;
    let code = stored.message.content.codes.first();
    code.map(|code| line(&code.value, path.id, &known))
        .ok_or_else(|| Problem::not_found("code not found", "no one-time code was found in the message"))
}

/// `GET …/link`: the likeliest action link.
pub(super) async fn link(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
    known: Known,
) -> Result<Response, Problem> {
    let stored = path.message(&inbox).await?;
    let not_found = || {
        let count = stored.message.content.links.len();
        let detail = format!("none of the {count} links of the message is an action; all are in its key links");
        Problem::not_found("link not found", detail)
    };
    let action = stored.message.content.action_link();
    action.map(|link| line(&link.href, path.id, &known)).ok_or_else(not_found)
}

/// One value as a line of text: a shell takes the line break off, and a terminal wants it.
fn line(value: &str, id: MessageId, known: &Known) -> Response {
    let tag = Tag::message(id);
    if known.has(&tag) {
        return tag.not_modified();
    }
    tag.on(([(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{value}\n")).into_response())
}

/// `GET …/attachments/{index}`: the decoded bytes of an attachment.
pub(super) async fn attachment(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    AttachmentPath { message: path, index }: AttachmentPath,
    reader: Reader,
    asked: Asked,
) -> Result<Response, Problem> {
    let stored = path.message(&inbox).await?;
    let Some(attachment) = stored.message.content.attachments.get(index).cloned() else {
        let count = stored.message.content.attachments.len();
        let detail = format!("the message has no attachment {index}; it has {count}, numbered from 0");
        return Err(Problem::not_found("attachment not found", detail));
    };
    drop(stored);
    let tag = Tag::attachment(path.id, &attachment);
    let is_inline_image = is_inline_image(&attachment);
    let content = [
        (CONTENT_TYPE, harmless_type(&attachment.content_type).to_owned()),
        (CONTENT_DISPOSITION, disposition(attachment.filename.as_deref())),
    ];
    let mut response = if reader.known.has(&tag) {
        tag.not_modified()
    } else {
        let raw = path.raw(&inbox).await?;
        Download::attachment(raw, attachment, &reader.room).await?.answer(&asked, &tag, content).await?
    };
    if is_inline_image {
        // A page in a sandbox has an origin of its own, so no image of a message is of the same origin as the page that
        // shows it. Who may have the image is settled by the key, which no browser sends by itself.
        let anywhere = HeaderValue::from_static("cross-origin");
        response.headers_mut().insert(CROSS_ORIGIN_RESOURCE_POLICY, anywhere);
    }
    Ok(response)
}

/// All header fields of a message.
pub(super) async fn headers_of(inbox: &Inbox, path: &MessagePath) -> Result<Vec<HeaderField>, Problem> {
    path.found(inbox, inbox.header_fields(&path.mailbox, path.id).await?).await
}

/// One body of a message, served from where the store has it.
struct Body {
    message: Arc<Message>,
    part: fn(&Content) -> Option<&str>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        (self.part)(&self.message.content).unwrap_or_default().as_bytes()
    }
}

async fn body(
    inbox: &Inbox,
    path: &MessagePath,
    reader: &Reader,
    content_type: &'static str,
    part: fn(&Content) -> Option<&str>,
) -> Result<Response, Problem> {
    let (stored, share) = path.held(inbox, &reader.room).await?;
    let message = stored.message;
    if part(&message.content).is_none() {
        let kind = content_type.split(';').next().unwrap_or_default();
        return Err(Problem::not_found("body not found", format!("the message has no {kind} body")));
    }
    let tag = Tag::message(path.id);
    if reader.known.has(&tag) {
        return Ok(tag.not_modified());
    }
    let body = share.of(Body { message, part });
    Ok(tag.on(([(CONTENT_TYPE, content_type)], body).into_response()))
}

/// The declared media type, where a browser that opens it runs nothing of it.
fn harmless_type(declared: &str) -> &str {
    let Some((kind, subtype)) = declared.split_once('/') else { return OCTET_STREAM };
    let known = ["application", "audio", "font", "image", "message", "model", "text", "video"].contains(&kind);
    let markup = ["html", "svg", "xhtml", "xml", "xsl"];
    let runs = subtype.contains("script")
        || subtype.split(['.', '+', '-']).any(|word| markup.contains(&word))
        || subtype == "x-shockwave-flash";
    if known && !runs && !subtype.is_empty() && subtype.bytes().all(is_token) { declared } else { OCTET_STREAM }
}

/// Whether the HTML of a message can refer to `attachment` as an image, and nothing but pixels can come of it.
fn is_inline_image(attachment: &Attachment) -> bool {
    attachment.content_id.is_some() && RASTER_IMAGES.contains(&attachment.content_type.as_str())
}

/// RFC 6838 section 4.2 `restricted-name-chars`, lower-cased as the record has them.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$&-^_.+".contains(&byte)
}

/// RFC 6266: always a download, under a name that stays in its directory.
fn disposition(filename: Option<&str>) -> String {
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
