//! Transfer encodings: RFC 2045 section 6.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;

use crate::mail::message::TransferEncoding;

/// Bytes whose transfer encoding has been taken off.
pub(super) struct Decoded<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// Whether they were encoded badly. Bad base64 is left as it is: mostly it is text that nobody encoded. Bad
    /// quoted-printable keeps each sequence that cannot be decoded (RFC 2045 section 6.7, note 1).
    pub(super) is_malformed: bool,
}

/// Reads the value of `Content-Transfer-Encoding`; `None` if it is unknown.
pub(super) fn read_encoding(value: &str) -> Option<TransferEncoding> {
    match value {
        "" | "7bit" | "8bit" | "binary" => Some(TransferEncoding::Identity),
        "quoted-printable" => Some(TransferEncoding::QuotedPrintable),
        "base64" => Some(TransferEncoding::Base64),
        _ => None,
    }
}

/// Takes the transfer encoding off.
pub(super) fn decode(encoding: TransferEncoding, bytes: &[u8]) -> Decoded<'_> {
    match encoding {
        TransferEncoding::Identity => Decoded { bytes: Cow::Borrowed(bytes), is_malformed: false },
        TransferEncoding::QuotedPrintable => decode_quoted_printable(bytes),
        TransferEncoding::Base64 => match base64_decode(bytes) {
            Some(decoded) => Decoded { bytes: Cow::Owned(decoded), is_malformed: false },
            None => Decoded { bytes: Cow::Borrowed(bytes), is_malformed: true },
        },
    }
}

/// Our own, because the decoder of `mail-parser` gives up at the first bad sequence and evens out line breaks.
fn decode_quoted_printable(bytes: &[u8]) -> Decoded<'_> {
    if memchr::memchr2(b'=', b' ', bytes).is_none() && memchr::memchr(b'\t', bytes).is_none() {
        return Decoded { bytes: Cow::Borrowed(bytes), is_malformed: false };
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut is_malformed = false;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let content = line.trim_ascii_end();
        // White space at the end of a line was added on the way (RFC 2045 section 6.7, rule 3).
        let line_break = match line {
            [.., b'\r', b'\n'] => &line[line.len() - 2..],
            [.., b'\n'] => &line[line.len() - 1..],
            _ => b"",
        };
        let (content, line_break) = match content.strip_suffix(b"=") {
            Some(content) => (content, &b""[..]),
            None => (content, line_break),
        };
        is_malformed |= !decode_escapes(content, &mut decoded);
        decoded.extend_from_slice(line_break);
    }
    Decoded { bytes: Cow::Owned(decoded), is_malformed }
}

/// Appends `line` with its escapes decoded; returns whether all of them could be.
fn decode_escapes(line: &[u8], decoded: &mut Vec<u8>) -> bool {
    let mut is_good = true;
    let mut rest = line;
    while let Some(at) = memchr::memchr(b'=', rest) {
        decoded.extend_from_slice(&rest[..at]);
        let escape = match rest[at..] {
            [_, high, low, ..] => hex_digit(high).zip(hex_digit(low)),
            _ => None,
        };
        rest = match escape {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                &rest[at + 3..]
            }
            None => {
                is_good = false;
                decoded.push(b'=');
                &rest[at + 1..]
            }
        };
    }
    decoded.extend_from_slice(rest);
    is_good
}

/// The value of a hexadecimal digit.
pub(super) const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: TransferEncoding, text: &str) -> (String, bool) {
        let decoded = decode(encoding, text.as_bytes());
        (String::from_utf8(decoded.bytes.into_owned()).unwrap(), decoded.is_malformed)
    }

    #[test]
    fn quoted_printable_is_decoded() {
        for (text, expected, is_malformed) in [
            ("plain", "plain", false),
            ("a=\r\nb=\nc=", "abc", false),
            ("a= \t\r\nb", "ab", false),
            ("trailing \t \r\nspace ", "trailing\r\nspace", false),
            ("kept=20\r\nspace", "kept \r\nspace", false),
            ("mixed\nline\r\nbreaks =3d", "mixed\nline\r\nbreaks =", false),
            ("=C3=A4=c3=b6", "äö", false),
            ("<a href=\"x\">=ZZ=4", "<a href=\"x\">=ZZ=4", true),
        ] {
            assert_eq!(
                decoded(TransferEncoding::QuotedPrintable, text),
                (expected.to_owned(), is_malformed),
                "{text:?}"
            );
        }
    }

    #[test]
    fn base64_is_decoded_and_bad_base64_is_left() {
        for (text, expected, is_malformed) in [
            ("SGVs\r\nbG8=\r\n", "Hello", false),
            ("SGVsbG8", "Hello", false),
            ("", "", false),
            ("This is no base64!", "This is no base64!", true),
        ] {
            assert_eq!(decoded(TransferEncoding::Base64, text), (expected.to_owned(), is_malformed), "{text:?}");
        }
    }
}
