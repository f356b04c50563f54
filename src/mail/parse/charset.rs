//! Charsets: bytes in, text out.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, X_USER_DEFINED};
use mail_parser::decoders::charsets::map::charset_decoder;
use memchr::memmem;

use super::shifted::{decode_hz, decode_iso_2022, decode_utf7};
use crate::mail::problem::Problem;

/// How much of a text is looked at to guess its charset.
const GUESS_MAX_BYTES: usize = 16 * 1024;

/// Labels that senders write and the tables do not know, with one that they know.
const ALIASES: &[(&str, &str)] = &[
    ("cp932", "shift_jis"),
    ("windows-932", "shift_jis"),
    ("cp943", "shift_jis"),
    ("cp949", "euc-kr"),
    ("uhc", "euc-kr"),
    ("ks-c-5601-1987", "euc-kr"),
    ("cp950", "big5"),
    ("cp874", "windows-874"),
    ("cp936", "gbk"),
    ("cp51932", "euc-jp"),
    ("eucjp", "euc-jp"),
    ("euckr", "euc-kr"),
    ("latin-1", "latin1"),
    ("latin-2", "latin2"),
    ("iso-latin-1", "latin1"),
    ("win-1250", "windows-1250"),
    ("win-1251", "windows-1251"),
    ("win-1252", "windows-1252"),
    ("cp-850", "cp850"),
    ("cp-866", "ibm866"),
    ("cp-1251", "windows-1251"),
    ("cp-1252", "windows-1252"),
    ("koi8r", "koi8-r"),
    ("koi8u", "koi8-u"),
    ("utf", "utf-8"),
    ("utf-8-mac", "utf-8"),
    ("cp65001", "utf-8"),
    ("utf8mb4", "utf-8"),
];

/// How the bytes of a charset become text; the second value of a decoder is whether there were errors.
#[derive(Clone, Copy)]
pub(super) enum Charset {
    /// A charset of the WHATWG list, under all its labels. What is labelled `iso-8859-1` is windows-1252 there, as it is
    /// in most mail.
    Listed(&'static Encoding),
    /// A charset whose bytes say how they are to be read: it shifts between sets, or has two orders of bytes.
    Shifted(fn(&[u8]) -> (String, bool)),
    /// One that only `mail-parser` has a table for.
    Table(fn(&[u8]) -> String),
}

/// A decoded text.
pub(super) struct Decoded<'a> {
    pub(super) text: Cow<'a, str>,
    /// What was wrong with it, and the label or the guess that this is about.
    pub(super) problem: Option<(Problem, String)>,
}

/// Decodes `bytes` by the charset that they are labelled with. What is labelled as ASCII, or not at all, is UTF-8 if it
/// can be, because most of today's unlabelled mail is, and else what it looks most like.
pub(super) fn decode<'a>(label: Option<&str>, bytes: Cow<'a, [u8]>) -> Decoded<'a> {
    let label = bare(label.unwrap_or_default());
    if is_ascii_label(&label) {
        return decode_unlabelled(Problem::UndeclaredCharset, None, bytes);
    }
    match Charset::of(&label) {
        Some(charset) => {
            let (text, has_errors) = charset.decode(bytes);
            Decoded { text, problem: has_errors.then_some((Problem::WrongCharset, label)) }
        }
        None => decode_unlabelled(Problem::UnknownCharset, Some(label), bytes),
    }
}

/// The text of unlabelled ISO-2022-JP: bytes of ASCII, but its escape sequences are in nothing else.
pub(super) fn japanese(bytes: &[u8]) -> Option<String> {
    memmem::find(bytes, b"\x1b$")?;
    let (text, has_errors) = decode_iso_2022(bytes);
    (!has_errors).then_some(text)
}

fn decode_unlabelled<'a>(problem: Problem, label: Option<String>, bytes: Cow<'a, [u8]>) -> Decoded<'a> {
    let problem = label.map(|label| (problem, label));
    if let Some(text) = japanese(&bytes) {
        let problem = problem.or_else(|| Some((Problem::UndeclaredCharset, "iso-2022-jp".to_owned())));
        return Decoded { text: Cow::Owned(text), problem };
    }
    match into_utf8(bytes) {
        Ok(text) => Decoded { text, problem },
        Err(bytes) => {
            let guess = likely(&bytes);
            let (text, _) = guess.decode_without_bom_handling(&bytes);
            let text = Cow::Owned(text.into_owned());
            Decoded { text, problem: problem.or_else(|| Some((Problem::UndeclaredCharset, guess.name().to_owned()))) }
        }
    }
}

/// The charset that bytes most likely have that are not UTF-8.
pub(super) fn likely(bytes: &[u8]) -> &'static Encoding {
    let start = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(0);
    let sample = &bytes[start..bytes.len().min(start + GUESS_MAX_BYTES)];
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(sample, true);
    detector.guess(None, Utf8Detection::Deny)
}

/// The charset that an HTML text names in a `meta` element at its beginning.
pub(super) fn named_in_html(bytes: &[u8]) -> Option<String> {
    const WITHIN_BYTES: usize = 2048;
    let head = bytes[..bytes.len().min(WITHIN_BYTES)].to_ascii_lowercase();
    let behind = memmem::find(&head, b"charset=").map(|at| &head[at + b"charset=".len()..])?;
    let behind = behind.strip_prefix(b"\"").unwrap_or(behind);
    let end = behind.iter().position(|byte| !(byte.is_ascii_alphanumeric() || b"-_".contains(byte)))?;
    String::from_utf8(behind[..end].to_vec()).ok()
}

/// A label without what senders put around it.
fn bare(label: &str) -> String {
    let label = label.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>'));
    let end = label.find(|c: char| c.is_whitespace() || matches!(c, ';' | ',' | '"')).unwrap_or(label.len());
    label[..end].to_ascii_lowercase()
}

fn is_ascii_label(label: &str) -> bool {
    matches!(label, "" | "us-ascii" | "ascii" | "ansi_x3.4-1968" | "usascii" | "us_ascii" | "iso646-us")
}

impl Charset {
    /// The charset with this label, in any case; `None` if it is not known or says nothing, as `us-ascii` does.
    pub(super) fn of(label: &str) -> Option<Self> {
        let label = bare(label);
        if is_ascii_label(&label) {
            return None;
        }
        // Some senders write the `=` before a value as the quoted-printable of it.
        Self::listed(&label)
            .or_else(|| Self::listed(&label.replace('_', "-")))
            .or_else(|| Self::listed(&format!("windows-{}", label.strip_prefix("windows")?)))
            .or_else(|| label.strip_prefix("3d").and_then(Self::listed))
    }

    fn listed(label: &str) -> Option<Self> {
        let label = ALIASES.iter().find(|(alias, _)| *alias == label).map_or(label, |(_, known)| known);
        if label.starts_with("iso-2022-") || matches!(label, "csiso2022jp" | "csiso2022kr" | "cp50220" | "cp50221") {
            return Some(Self::Shifted(decode_iso_2022));
        }
        match label {
            "utf-16" | "utf16" | "ucs-2" | "unicode" | "csunicode" | "iso-10646-ucs-2" => {
                return Some(Self::Shifted(decode_utf16));
            }
            "hz" | "hz-gb-2312" => return Some(Self::Shifted(decode_hz)),
            "utf-7" | "utf7" | "unicode-1-1-utf-7" | "csutf7" | "csunicode11utf7" => {
                return Some(Self::Shifted(decode_utf7));
            }
            _ => {}
        }
        match Encoding::for_label(label.as_bytes()) {
            // It says that the sender did not know, either.
            Some(encoding) if encoding == X_USER_DEFINED => None,
            Some(encoding) if encoding != REPLACEMENT => Some(Self::Listed(encoding)),
            _ => charset_decoder(label.as_bytes()).map(Self::Table),
        }
    }

    /// Decodes bytes, a byte order mark taken off; says whether there were errors, which are replaced.
    pub(super) fn decode<'a>(self, bytes: Cow<'a, [u8]>) -> (Cow<'a, str>, bool) {
        match self {
            Self::Listed(encoding) if encoding == UTF_8 => match into_utf8(bytes) {
                Ok(text) => (text, false),
                Err(bytes) => {
                    let (text, _, has_errors) = UTF_8.decode(&bytes);
                    (Cow::Owned(text.into_owned()), has_errors)
                }
            },
            Self::Listed(encoding) => {
                let (text, _, has_errors) = encoding.decode(&bytes);
                (Cow::Owned(text.into_owned()), has_errors)
            }
            Self::Shifted(decode) => {
                let (text, has_errors) = decode(&bytes);
                (Cow::Owned(text), has_errors)
            }
            Self::Table(decode) => (Cow::Owned(decode(&bytes)), false),
        }
    }
}

/// Without a byte order mark the high byte comes first (RFC 2781 section 4.3), unless the zeros say otherwise: those of
/// blanks and line breaks are in every script.
fn decode_utf16(bytes: &[u8]) -> (String, bool) {
    let (mut first, mut second) = (0, 0);
    for pair in bytes[..bytes.len().min(GUESS_MAX_BYTES)].chunks_exact(2) {
        first += usize::from(pair[0] == 0);
        second += usize::from(pair[1] == 0);
    }
    let (text, _, has_errors) = if second > first { UTF_16LE } else { UTF_16BE }.decode(bytes);
    (text.into_owned(), has_errors)
}

/// The text of UTF-8 without a byte order mark, or the bytes again.
fn into_utf8(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Cow<'_, [u8]>> {
    const MARK: char = '\u{feff}';
    match bytes {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Borrowed(text.strip_prefix(MARK).unwrap_or(text))),
            Err(_) => Err(Cow::Borrowed(bytes)),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Owned(text.strip_prefix(MARK).map(str::to_owned).unwrap_or(text))),
            Err(error) => Err(Cow::Owned(error.into_bytes())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(label: Option<&str>, bytes: &[u8]) -> (String, Option<Problem>) {
        let decoded = decode(label, Cow::Borrowed(bytes));
        (decoded.text.into_owned(), decoded.problem.map(|(problem, _)| problem))
    }

    #[test]
    fn text_is_decoded_by_its_label() {
        for (label, bytes, text) in [
            (None, "ä".as_bytes(), "ä"),
            (Some("US-ASCII"), "ä".as_bytes(), "ä"),
            (Some("UTF-8"), "ä".as_bytes(), "ä"),
            (Some("utf_8; x"), "\u{feff}ä".as_bytes(), "ä"),
            (Some("3dutf-8"), "ä".as_bytes(), "ä"),
            (Some(" iso-8859-1 "), b"\xe4", "ä"),
            (Some("iso-8859-1"), b"it\x92s", "it’s"),
            (Some("CP932"), b"\x83n\x83\x8d\x81[", "ハロー"),
            (Some("x-sjis"), b"\x83n", "ハ"),
            (Some("koi8-r"), b"\xcd\xc9\xd2", "мир"),
            (Some("iso-2022-jp"), b"\x1b$B%O%m!<\x1b(B", "ハロー"),
            (Some("ISO-2022-KR"), b"\x1b$)C\x0e0!", "가"),
            (Some("hz-gb-2312"), b"~{VP~}", "中"),
            (Some("utf-7"), b"+AOQ-", "ä"),
            (Some("utf-16"), b"\xff\xfea\0", "a"),
            (Some("utf-16"), b"\xfe\xff\0a", "a"),
            (Some("utf-16"), b"\0a\0\n", "a\n"),
            (Some("utf-16"), b"a\0\n\0", "a\n"),
            (Some("utf-16"), b"\x4e\x2d", "中"),
            (Some("utf-16be"), b"\0a", "a"),
            (Some("utf-16le"), b"\x2d\x4e", "中"),
            (Some("latin-1"), b"\xe4", "ä"),
            (Some("ks_c_5601-1987"), b"\xb0\xa1", "가"),
            (Some("gb2312"), b"\xd6\xd0", "中"),
            (Some("cp-850"), b"\x84", "ä"),
            (Some("IBM850"), b"\x84", "ä"),
            (Some("windows1251"), b"\xec", "м"),
        ] {
            assert_eq!(decoded(label, bytes), (text.to_owned(), None), "{label:?}");
        }
    }

    #[test]
    fn every_alias_leads_to_a_charset() {
        for (alias, known) in ALIASES {
            assert!(Charset::of(alias).is_some(), "{alias}");
            assert!(Encoding::for_label(alias.as_bytes()).is_none(), "{alias} is known, as {known} is");
        }
    }

    #[test]
    fn a_wrong_label_is_told() {
        for (label, text, problem) in [
            (None, "ä", Problem::UndeclaredCharset),
            (Some("ascii"), "ä", Problem::UndeclaredCharset),
            (Some("utf-8"), "\u{fffd}", Problem::WrongCharset),
            (Some("x-none"), "ä", Problem::UnknownCharset),
            (Some("x-user-defined"), "ä", Problem::UnknownCharset),
        ] {
            assert_eq!(decoded(label, b"\xe4"), (text.to_owned(), Some(problem)), "{label:?}");
        }
        assert_eq!(decoded(Some("x-none"), b"a"), ("a".to_owned(), Some(Problem::UnknownCharset)));
    }

    #[test]
    fn what_has_no_label_is_guessed() {
        for (name, text) in [
            ("iso-2022-jp", "こんにちは、ご注文の商品を発送しました"),
            ("windows-1251", "Здравствуйте, ваш заказ отправлен"),
            ("gbk", "您好，您的订单已经发货，请注意查收"),
            ("shift_jis", "こんにちは、ご注文の商品を発送しました"),
            ("euc-kr", "안녕하세요, 주문하신 상품이 발송되었습니다"),
            ("windows-1252", "Grüße aus Köln, schöne Straße"),
        ] {
            let bytes = Encoding::for_label(name.as_bytes()).unwrap().encode(text).0;
            assert_eq!(decoded(None, &bytes), (text.to_owned(), Some(Problem::UndeclaredCharset)), "{name}");
        }
    }
}
