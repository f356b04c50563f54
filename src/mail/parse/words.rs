//! Encoded words in header fields: RFC 2047.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use memchr::memmem;

use super::charset;
use super::transfer::hex_digit;

/// A stretch of a field value.
enum Piece<'a> {
    Plain(&'a [u8]),
    /// The text of one encoded word, or of several that follow each other.
    Words(String),
}

/// An encoded word: its charset, its decoded bytes and its length in the value.
struct Word<'a> {
    charset: &'a [u8],
    bytes: Vec<u8>,
    length: usize,
}

/// Decodes the encoded words of a text; all other bytes are UTF-8 or replaced.
pub(super) fn decode(text: &[u8]) -> String {
    pieces(text).iter().fold(String::with_capacity(text.len()), |mut decoded, piece| {
        match piece {
            Piece::Plain(bytes) => decoded.push_str(&String::from_utf8_lossy(bytes)),
            Piece::Words(text) => decoded.push_str(text),
        }
        decoded
    })
}

/// Writes each encoded word anew in UTF-8, for the address parser of `mail-parser`, which knows fewer charsets. What only
/// begins like an encoded word is written as one too: it would search for its end up to the end of the field, each time.
pub(super) fn in_utf8(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if memmem::find(&text, b"=?").is_none() {
        return text;
    }
    let mut written = Vec::with_capacity(text.len());
    for piece in pieces(&text) {
        match piece {
            Piece::Plain(bytes) => {
                let mut rest = 0;
                for at in memmem::find_iter(bytes, b"=?") {
                    written.extend_from_slice(&bytes[rest..at]);
                    write_word("=?", &mut written);
                    rest = at + 2;
                }
                written.extend_from_slice(&bytes[rest..]);
            }
            Piece::Words(word) => write_word(&word, &mut written),
        }
    }
    Cow::Owned(written)
}

fn write_word(text: &str, written: &mut Vec<u8>) {
    written.extend_from_slice(b"=?utf-8?Q?");
    for byte in text.bytes() {
        written.extend([b'=', HEX_DIGITS[usize::from(byte >> 4)], HEX_DIGITS[usize::from(byte & 15)]]);
    }
    written.extend_from_slice(b"?=");
}

const HEX_DIGITS: [u8; 16] = *b"0123456789ABCDEF";

fn pieces(text: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = 0;
    let mut open: Option<Word<'_>> = None;
    for at in memmem::find_iter(text, b"=?") {
        if at < rest {
            continue;
        }
        let Some(word) = read_word(&text[at..]) else { continue };
        let between = &text[rest..at];
        rest = at + word.length;
        match &mut open {
            // White space between two encoded words is there only to part them (RFC 2047 section 6.2). Many senders cut
            // a character in two there, so the bytes are joined before they are decoded.
            Some(open) if between.trim_ascii().is_empty() && open.charset.eq_ignore_ascii_case(word.charset) => {
                open.bytes.extend(word.bytes);
                continue;
            }
            open => {
                let follows_word = open.is_some();
                pieces.extend(open.take().map(Word::into_piece));
                if !(follows_word && between.trim_ascii().is_empty()) {
                    pieces.push(Piece::Plain(between));
                }
            }
        }
        open = Some(word);
    }
    pieces.extend(open.map(Word::into_piece));
    pieces.push(Piece::Plain(&text[rest..]));
    pieces
}

/// Reads the encoded word that `text` begins with.
fn read_word(text: &[u8]) -> Option<Word<'_>> {
    let (label, rest) = split_at_question_mark(text.strip_prefix(b"=?")?)?;
    let (encoding, rest) = split_at_question_mark(rest)?;
    let (data, _) = split_at_question_mark(rest)?;
    if rest.get(data.len() + 1) != Some(&b'=') || label.is_empty() || label.iter().any(u8::is_ascii_whitespace) {
        return None;
    }
    let bytes = match encoding {
        b"B" | b"b" => base64_decode(data)?,
        b"Q" | b"q" => decode_q(data)?,
        _ => return None,
    };
    // A language may follow the charset (RFC 2231 section 5).
    let charset = label.split(|byte| *byte == b'*').next().unwrap_or(label);
    Some(Word { charset, bytes, length: label.len() + encoding.len() + data.len() + 6 })
}

fn split_at_question_mark(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'?', text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// RFC 2047 section 4.2.
fn decode_q(data: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(data.len());
    let mut bytes = data.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'_' => b' ',
            b'=' => hex_digit(*bytes.next()?)? << 4 | hex_digit(*bytes.next()?)?,
            byte => *byte,
        });
    }
    Some(decoded)
}

impl<'a> Word<'a> {
    fn into_piece(self) -> Piece<'a> {
        let label = String::from_utf8_lossy(self.charset);
        Piece::Words(charset::decode(Some(&label), Cow::Owned(self.bytes)).text.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_are_decoded_and_the_rest_is_left() {
        for (text, expected) in [
            ("plain  text", "plain  text"),
            ("=?utf-8?Q?=C3=A4_b?=", "ä b"),
            ("=?utf-8?B?w6Q=?= b", "ä b"),
            ("a =?utf-8?q?=C3?=\t =?UTF-8?b?pA==?= b", "a ä b"),
            ("=?iso-8859-1?q?=E4?= =?utf-8?q?=C3=A4?=", "ää"),
            ("=?iso-8859-1*de?q?=E4?=, =?iso-8859-1?q?=E4?=", "ä, ä"),
            ("=?cp932?B?g2WDWINn?=", "テスト"),
            ("=?utf-8?Q?never closed", "=?utf-8?Q?never closed"),
            ("=?utf-8?X?what?=", "=?utf-8?X?what?="),
            ("=?utf-8?Q?=ZZ?=", "=?utf-8?Q?=ZZ?="),
            ("=??Q?a?= =?=?utf-8?Q?b?=", "=??Q?a?= =?b"),
            ("=?utf-8?Q??=", ""),
        ] {
            assert_eq!(decode(text.as_bytes()), expected, "{text}");
            assert_eq!(decode(&in_utf8(Cow::Borrowed(text.as_bytes()))), expected, "{text}");
        }
    }
}
