//! Transfer encodings: RFC 2045 section 6.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;

use crate::mail::message::TransferEncoding;
use crate::mail::problem::Problem;

/// Bytes whose transfer encoding has been taken off.
pub(super) struct Decoded<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// What was wrong with them.
    pub(super) problem: Option<Problem>,
}

/// In bad base64, one byte that does not belong there for so many that do is noise; more is a text that nobody encoded.
const SYMBOLS_PER_STRAY: usize = 4;

/// Reads the value of `Content-Transfer-Encoding`; `None` if it is unknown.
pub(super) fn read_encoding(value: &str) -> Option<TransferEncoding> {
    match value {
        "" | "7bit" | "8bit" | "binary" | "7-bit" | "8-bit" | "7bits" | "8bits" => Some(TransferEncoding::Identity),
        "quoted-printable" => Some(TransferEncoding::QuotedPrintable),
        "base64" => Some(TransferEncoding::Base64),
        "uuencode" | "x-uuencode" | "x-uue" | "uue" => Some(TransferEncoding::Uuencode),
        _ => None,
    }
}

/// Takes the transfer encoding off.
pub(super) fn decode(encoding: TransferEncoding, bytes: &[u8]) -> Decoded<'_> {
    let (decoded, problem) = match encoding {
        TransferEncoding::Identity => (None, None),
        TransferEncoding::QuotedPrintable => {
            let (decoded, is_good) = decode_quoted_printable(bytes);
            (decoded, (!is_good).then_some(Problem::BadQuotedPrintable))
        }
        TransferEncoding::Base64 => match decode_base64(bytes) {
            Some((decoded, is_good)) => (Some(decoded), (!is_good).then_some(Problem::BadBase64)),
            None => (None, Some(Problem::NotBase64)),
        },
        TransferEncoding::Uuencode => {
            let (decoded, is_good) = decode_uuencode(bytes);
            (decoded, (!is_good).then_some(Problem::BadUuencode))
        }
    };
    Decoded { bytes: decoded.map_or(Cow::Borrowed(bytes), Cow::Owned), problem }
}

/// Decodes base64, several pieces with their padding behind each other too; says whether all of it was right. `None` if it
/// is so far from base64 that it must be something else.
pub(super) fn decode_base64(bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
    match base64_decode(bytes) {
        Some(decoded) => Some((decoded, true)),
        None => decode_bad_base64(bytes).map(|decoded| (decoded, false)),
    }
}

/// Bytes that do not belong there are passed over (RFC 2045 section 6.8), unless the padding has been: what comes then was
/// added on the way, as the footers of mailing lists are.
fn decode_bad_base64(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(bytes.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0_u32);
    let (mut symbols, mut strays) = (0_usize, 0_usize);
    let mut padded_len = None;
    for (at, &byte) in bytes.iter().enumerate() {
        match (byte, base64_value(byte)) {
            (_, Some(value)) => {
                symbols += 1;
                bits = bits << 6 | u32::from(value);
                count += 6;
                if count >= 8 {
                    count -= 8;
                    decoded.push((bits >> count & 0xff) as u8);
                }
            }
            // Padding is at the end of a line; what is within one belongs to something else, such as `name="x"`.
            (b'=', _) if matches!(bytes.get(at + 1), None | Some(b'=' | b'\r' | b'\n')) => {
                count = 0;
                padded_len = Some(decoded.len());
            }
            (b'\r' | b'\n', _) => {}
            _ => {
                if let Some(len) = padded_len {
                    decoded.truncate(len);
                    break;
                }
                strays += 1;
            }
        }
    }
    (strays == 0 || strays * SYMBOLS_PER_STRAY < symbols).then_some(decoded)
}

/// What a byte of base64 stands for.
pub(super) const fn base64_value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Decodes the lines between `begin` and `end`; says whether all of them were right. `None` if there is no `begin`.
fn decode_uuencode(bytes: &[u8]) -> (Option<Vec<u8>>, bool) {
    let mut lines = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty());
    if !lines.any(|line| line.starts_with(b"begin ")) {
        return (None, false);
    }
    let value = |byte: u8| byte.wrapping_sub(b' ') & 0x3f;
    let mut decoded = Vec::with_capacity(bytes.len() / 4 * 3);
    let mut is_good = bytes.trim_ascii_end().ends_with(b"end");
    for line in lines.by_ref().take_while(|line| line.trim_ascii_end() != b"end") {
        let (length, data) = (usize::from(value(line[0])), &line[1..]);
        let start = decoded.len();
        for group in data.chunks(4) {
            // White space at the end of a line is lost on the way now and then.
            let at = |place: usize| u32::from(group.get(place).map_or(0, |&byte| value(byte)));
            let bits = at(0) << 18 | at(1) << 12 | at(2) << 6 | at(3);
            decoded.extend_from_slice(&bits.to_be_bytes()[1..]);
        }
        is_good &= decoded.len() >= start + length;
        decoded.truncate(start + length);
    }
    (Some(decoded), is_good)
}

/// Our own, because the decoder of `mail-parser` gives up at the first bad sequence and evens out line breaks. `None` where
/// nothing is encoded.
fn decode_quoted_printable(bytes: &[u8]) -> (Option<Vec<u8>>, bool) {
    if memchr::memchr3(b'=', b' ', b'\t', bytes).is_none() {
        return (None, true);
    }
    let bytes = with_line_feeds(bytes);
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut is_good = true;
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
        is_good &= decode_escapes(content, &mut decoded);
        decoded.extend_from_slice(line_break);
    }
    (Some(decoded), is_good)
}

/// The same bytes, where each CR is an LF if no line ends in anything else, as some very old systems wrote; every byte
/// keeps its place.
pub(super) fn with_line_feeds(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\n', bytes).is_some() || memchr::memchr(b'\r', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    Cow::Owned(bytes.iter().map(|&byte| if byte == b'\r' { b'\n' } else { byte }).collect())
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

    fn decoded(encoding: TransferEncoding, text: &str) -> (String, Option<Problem>) {
        let decoded = decode(encoding, text.as_bytes());
        (String::from_utf8(decoded.bytes.into_owned()).unwrap(), decoded.problem)
    }

    #[test]
    fn quoted_printable_is_decoded() {
        for (text, expected, is_good) in [
            ("plain", "plain", true),
            ("a=\r\nb=\nc=", "abc", true),
            ("a=\rb=20\rc", "ab \nc", true),
            ("a= \t\r\nb", "ab", true),
            ("trailing \t \r\nspace ", "trailing\r\nspace", true),
            ("kept=20\r\nspace", "kept \r\nspace", true),
            ("mixed\nline\r\nbreaks =3d", "mixed\nline\r\nbreaks =", true),
            ("=C3=A4=c3=b6", "äö", true),
            ("<a href=\"x\">=ZZ=4", "<a href=\"x\">=ZZ=4", false),
        ] {
            let problem = (!is_good).then_some(Problem::BadQuotedPrintable);
            assert_eq!(decoded(TransferEncoding::QuotedPrintable, text), (expected.to_owned(), problem), "{text:?}");
        }
    }

    #[test]
    fn base64_is_decoded_as_far_as_it_is_base64() {
        for (text, expected, problem) in [
            ("SGVs\r\nbG8=\r\n", "Hello", None),
            ("SGVsbG8", "Hello", None),
            ("SGVsbG8=\r\nSGVsbG8=\r\n", "HelloHello", None),
            ("", "", None),
            (">SGVsbG8g\r\n>SGVsbG8=\r\n", "Hello Hello", Some(Problem::BadBase64)),
            ("SGVsbG8=\r\n____\r\nlist footer\r\n", "Hello", Some(Problem::BadBase64)),
            ("SGVs!bG8", "Hello", Some(Problem::BadBase64)),
            ("SGVsbG8gSGVs=\"bG8gSGVsbG8=", "Hello Hello Hello", Some(Problem::BadBase64)),
            ("This is no base64!", "This is no base64!", Some(Problem::NotBase64)),
        ] {
            assert_eq!(decoded(TransferEncoding::Base64, text), (expected.to_owned(), problem), "{text:?}");
        }
    }

    #[test]
    fn uuencode_is_decoded() {
        for (text, expected, is_good) in [
            ("begin 644 a.txt\r\n%2&5L;&\\\r\n`\r\nend\r\n", "Hello", true),
            ("preamble\nbegin 644 a.txt\n#0V%T\n \nend\n", "Cat", true),
            ("begin 644 a.txt\n#0V%T\n", "Cat", false),
            ("no beginning\n", "no beginning\n", false),
        ] {
            let problem = (!is_good).then_some(Problem::BadUuencode);
            assert_eq!(decoded(TransferEncoding::Uuencode, text), (expected.to_owned(), problem), "{text:?}");
        }
    }
}
