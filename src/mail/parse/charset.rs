//! Charsets: bytes in, text out.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;

/// How much of a label is repeated in a problem.
const LABEL_MAX_CHARS: usize = 40;

/// Labels that senders write and `mail-parser` does not know, with one that it knows.
const ALIASES: &[(&str, &str)] = &[
    ("cp932", "shift_jis"),
    ("windows-932", "shift_jis"),
    ("cp949", "euc-kr"),
    ("uhc", "euc-kr"),
    ("cp950", "big5"),
    ("cp874", "windows-874"),
    ("cp51932", "euc-jp"),
    ("cp50220", "iso-2022-jp"),
    ("cp50221", "iso-2022-jp"),
    ("iso-2022-jp-ms", "iso-2022-jp"),
    ("latin-1", "latin1"),
];

/// A decoded text.
pub(super) struct Decoded<'a> {
    pub(super) text: Cow<'a, str>,
    /// What was wrong with it, as the end of a sentence about it.
    pub(super) problem: Option<String>,
}

/// Decodes `bytes` by the charset that they are labelled with. What is labelled as ASCII, or not at all, is UTF-8 if it
/// can be, because most of today's unlabelled mail is.
pub(super) fn decode<'a>(label: Option<&str>, bytes: Cow<'a, [u8]>) -> Decoded<'a> {
    let label = label.unwrap_or_default().trim().to_ascii_lowercase();
    match &*label {
        "" | "us-ascii" | "ascii" | "ansi_x3.4-1968" => match into_text(bytes) {
            Ok(text) => Decoded { text, problem: None },
            Err(bytes) => Decoded {
                text: Cow::Owned(by_table("windows-1252", &bytes).unwrap_or_else(|| lossy(&bytes))),
                problem: Some("has bytes that are neither ASCII nor UTF-8; they were read as windows-1252".to_owned()),
            },
        },
        "utf-8" | "utf8" | "unicode-1-1-utf-8" => match into_text(bytes) {
            Ok(text) => Decoded { text, problem: None },
            Err(bytes) => Decoded {
                text: Cow::Owned(lossy(&bytes)),
                problem: Some("is labelled as UTF-8 but has other bytes; they were replaced".to_owned()),
            },
        },
        label => match by_table(label, &bytes) {
            Some(text) => Decoded { text: Cow::Owned(text), problem: None },
            None => Decoded {
                text: Cow::Owned(lossy(&bytes)),
                problem: Some(format!("is in the unknown charset {}; it was read as UTF-8", quoted(label))),
            },
        },
    }
}

fn by_table(label: &str, bytes: &[u8]) -> Option<String> {
    let label = ALIASES.iter().find(|(alias, _)| *alias == label).map_or(label, |(_, known)| known);
    charset_decoder(label.as_bytes()).map(|decode| decode(bytes))
}

fn into_text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Cow<'_, [u8]>> {
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Cow::Borrowed(bytes)),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|error| Cow::Owned(error.into_bytes())),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes a sender's word so that it fits into a problem.
pub(super) fn quoted(word: &str) -> String {
    format!("{:?}", word.chars().take(LABEL_MAX_CHARS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(label: Option<&str>, bytes: &[u8]) -> (String, bool) {
        let decoded = decode(label, Cow::Borrowed(bytes));
        (decoded.text.into_owned(), decoded.problem.is_some())
    }

    #[test]
    fn text_is_decoded_by_its_label() {
        for (label, bytes, text) in [
            (None, "ä".as_bytes(), "ä"),
            (Some("US-ASCII"), "ä".as_bytes(), "ä"),
            (Some("UTF-8"), "ä".as_bytes(), "ä"),
            (Some(" iso-8859-1 "), b"\xe4", "ä"),
            (Some("CP932"), b"\x83n\x83\x8d\x81[", "ハロー"),
            (Some("koi8-r"), b"\xcd\xc9\xd2", "мир"),
            (Some("iso-2022-jp"), b"\x1b$B%O%m!<\x1b(B", "ハロー"),
            (Some("latin-1"), b"\xe4", "ä"),
        ] {
            assert_eq!(decoded(label, bytes), (text.to_owned(), false), "{label:?}");
        }
    }

    #[test]
    fn every_alias_leads_to_a_charset() {
        for (alias, _) in ALIASES {
            assert!(by_table(alias, b"x").is_some(), "{alias}");
        }
    }

    #[test]
    fn a_wrong_label_is_told() {
        for (label, text) in
            [(None, "ä"), (Some("ascii"), "ä"), (Some("utf-8"), "\u{fffd}"), (Some("x-none"), "\u{fffd}")]
        {
            assert_eq!(decoded(label, b"\xe4"), (text.to_owned(), true), "{label:?}");
        }
    }
}
