//! Encoded words in header fields (RFC 2047), and header fields that are not encoded at all.

use std::borrow::Cow;
use std::cell::Cell;

use memchr::memmem;

use super::charset::{self, Charset};
use super::transfer::{decode_base64, hex_digit};

/// Decodes the header fields of one message.
pub(super) struct Words {
    /// What bytes are that are not UTF-8: the charset that the message names elsewhere, or the likely one.
    fallback: Option<Charset>,
    /// How many more encoded words are decoded.
    left: Cell<usize>,
    /// Whether there were more.
    is_exhausted: Cell<bool>,
    /// Whether one could not be decoded as it says.
    has_bad: Cell<bool>,
}

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

impl Words {
    /// For a message with at most `max` encoded words, whose bytes that are not UTF-8 have the charset `fallback`.
    pub(super) const fn new(max: usize, fallback: Option<Charset>) -> Self {
        Self { fallback, left: Cell::new(max), is_exhausted: Cell::new(false), has_bad: Cell::new(false) }
    }

    pub(super) const fn is_exhausted(&self) -> bool {
        self.is_exhausted.get()
    }

    pub(super) const fn has_bad(&self) -> bool {
        self.has_bad.get()
    }

    /// Decodes the encoded words of a text; all other bytes are as [`Words::plain`] reads them.
    pub(super) fn decode(&self, text: &[u8]) -> String {
        if memmem::find(text, b"=?").is_none() {
            return self.plain(text).into_owned();
        }
        self.pieces(text).iter().fold(String::with_capacity(text.len()), |mut decoded, piece| {
            match piece {
                Piece::Plain(bytes) => decoded.push_str(&self.plain(bytes)),
                Piece::Words(text) => decoded.push_str(text),
            }
            decoded
        })
    }

    /// UTF-8 if it can be, else in the charset of the message, else in the one that is likely.
    pub(super) fn plain<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return charset::japanese(bytes).map_or(Cow::Borrowed(text), Cow::Owned);
        }
        match self.fallback.map(|charset| charset.decode(Cow::Borrowed(bytes))) {
            Some((text, false)) => text,
            _ => charset::likely(bytes).decode_without_bom_handling(bytes).0,
        }
    }

    /// Writes each encoded word anew, with nothing in it that means something in a list of addresses: a comma in a name is
    /// none between two. What only begins like an encoded word is written as one too. [`Words::restored`] takes them back.
    pub(super) fn in_utf8<'a>(&self, text: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        if memmem::find(&text, b"=?").is_none() && std::str::from_utf8(&text).is_ok() {
            return text;
        }
        let mut written = Vec::with_capacity(text.len());
        for piece in self.pieces(&text) {
            match piece {
                Piece::Plain(bytes) => {
                    let bytes = self.plain(bytes);
                    let mut rest = 0;
                    for at in memmem::find_iter(bytes.as_bytes(), b"=?") {
                        written.extend_from_slice(&bytes.as_bytes()[rest..at]);
                        write_word("=?", &mut written);
                        rest = at + 2;
                    }
                    written.extend_from_slice(&bytes.as_bytes()[rest..]);
                }
                Piece::Words(word) => write_word(&word, &mut written),
            }
        }
        Cow::Owned(written)
    }

    /// The text of what [`Words::in_utf8`] has written.
    pub(super) fn restored(written: &str) -> String {
        let mut text = String::with_capacity(written.len());
        let mut rest = written;
        while let Some((before, behind)) = rest.split_once(WRITTEN_START) {
            let (word, behind) = behind.split_once("?=").unwrap_or((behind, ""));
            text.push_str(before);
            text.push_str(&String::from_utf8_lossy(&decode_q(word.as_bytes()).0));
            rest = behind;
        }
        text + rest
    }

    fn pieces<'a>(&self, text: &'a [u8]) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut rest = 0;
        let mut open: Option<Word<'_>> = None;
        for at in memmem::find_iter(text, b"=?") {
            if at < rest {
                continue;
            }
            let Some(word) = self.word(&text[at..]) else { continue };
            let between = &text[rest..at];
            rest = at + word.length;
            match &mut open {
                // White space between two encoded words is there only to part them (RFC 2047 section 6.2). Many senders
                // cut a character in two there, so the bytes are joined before they are decoded.
                Some(open) if between.trim_ascii().is_empty() && open.charset.eq_ignore_ascii_case(word.charset) => {
                    open.bytes.extend(word.bytes);
                    continue;
                }
                open => {
                    let follows_word = open.is_some();
                    pieces.extend(open.take().map(|word| self.piece(word)));
                    if !(follows_word && between.trim_ascii().is_empty()) {
                        pieces.push(Piece::Plain(between));
                    }
                }
            }
            open = Some(word);
        }
        pieces.extend(open.map(|word| self.piece(word)));
        pieces.push(Piece::Plain(&text[rest..]));
        pieces
    }

    /// Reads the encoded word that `text` begins with, if there may be one more.
    fn word<'a>(&self, text: &'a [u8]) -> Option<Word<'a>> {
        if self.left.get() == 0 {
            self.is_exhausted.set(true);
            return None;
        }
        let (word, is_good) = read_word(text)?;
        self.left.set(self.left.get() - 1);
        self.has_bad.set(self.has_bad.get() || !is_good);
        Some(word)
    }

    fn piece<'a>(&self, word: Word<'_>) -> Piece<'a> {
        let label = String::from_utf8_lossy(word.charset);
        let decoded = charset::decode(Some(&label), Cow::Owned(word.bytes));
        self.has_bad.set(self.has_bad.get() || decoded.problem.is_some());
        Piece::Words(decoded.text.into_owned())
    }
}

fn write_word(text: &str, written: &mut Vec<u8>) {
    written.extend_from_slice(WRITTEN_START.as_bytes());
    for byte in text.bytes() {
        written.extend([b'=', HEX_DIGITS[usize::from(byte >> 4)], HEX_DIGITS[usize::from(byte & 15)]]);
    }
    written.extend_from_slice(b"?=");
}

/// What an encoded word begins with that is written here.
const WRITTEN_START: &str = "=?utf-8?Q?";

const HEX_DIGITS: [u8; 16] = *b"0123456789ABCDEF";

/// Reads the encoded word that `text` begins with, and whether it is encoded as it should be.
fn read_word(text: &[u8]) -> Option<(Word<'_>, bool)> {
    let (label, rest) = split_at_question_mark(text.strip_prefix(b"=?")?)?;
    let (encoding, rest) = split_at_question_mark(rest)?;
    if label.is_empty() || label.iter().any(u8::is_ascii_whitespace) {
        return None;
    }
    let (data, (bytes, is_good)) = match encoding {
        b"B" | b"b" => {
            let (data, _) = split_at_question_mark(rest).filter(|(_, behind)| behind.first() == Some(&b'='))?;
            // Text that is no base64 at all is left as it stands.
            (data, decode_base64(data)?)
        }
        b"Q" | b"q" => {
            // Some senders do not encode the question marks of a text. The next word is not looked into, nor what is behind it.
            let is_end = |at: usize| rest.get(at + 1) == Some(&b'=');
            let is_next = |at: usize| at > 0 && rest[at - 1] == b'=';
            let end = memchr::memchr_iter(b'?', rest).find(|at| is_end(*at) || is_next(*at));
            let data = &rest[..end.filter(|at| is_end(*at))?];
            (data, decode_q(data))
        }
        _ => return None,
    };
    // A language may follow the charset (RFC 2231 section 5).
    let charset = label.split(|byte| *byte == b'*').next().unwrap_or(label);
    Some((Word { charset, bytes, length: label.len() + encoding.len() + data.len() + 6 }, is_good))
}

fn split_at_question_mark(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'?', text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// RFC 2047 section 4.2. What cannot be decoded stays as it is.
fn decode_q(data: &[u8]) -> (Vec<u8>, bool) {
    let mut decoded = Vec::with_capacity(data.len());
    let mut is_good = true;
    let mut rest = data;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let escape = match tail {
            [high, low, ..] if *byte == b'=' => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        decoded.push(match (byte, escape) {
            (_, Some((high, low))) => {
                rest = &tail[2..];
                high << 4 | low
            }
            (b'_', None) => b' ',
            (byte, None) => {
                is_good &= !matches!(byte, b'=' | b'?' | b' ');
                *byte
            }
        });
    }
    (decoded, is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_are_decoded_and_the_rest_is_left() {
        let words = Words::new(1000, None);
        for (text, expected) in [
            ("plain  text", "plain  text"),
            ("=?utf-8?Q?=C3=A4_b?=", "ä b"),
            ("=?utf-8?B?w6Q=?= b", "ä b"),
            ("=?utf-8?B?w6Q?= b", "ä b"),
            ("a =?utf-8?q?=C3?=\t =?UTF-8?b?pA==?= b", "a ä b"),
            ("=?iso-8859-1?q?=E4?= =?utf-8?q?=C3=A4?=", "ää"),
            ("=?iso-8859-1*de?q?=E4?=, =?iso-8859-1?q?=E4?=", "ä, ä"),
            ("=?cp932?B?g2WDWINn?=", "テスト"),
            ("a=?utf-8?Q?b?=c", "abc"),
            ("=?utf-8?Q?never closed", "=?utf-8?Q?never closed"),
            ("=?utf-8?X?what?=", "=?utf-8?X?what?="),
            ("=?utf-8?Q?=ZZ=4?=", "=ZZ=4"),
            ("=?utf-8?Q?what? who??=", "what? who?"),
            ("=?utf-8?B?no base64!?=", "=?utf-8?B?no base64!?="),
            ("=??Q?a?= =?=?utf-8?Q?b?=", "=??Q?a?= =?b"),
            ("=?utf-8?Q??=", ""),
        ] {
            assert_eq!(words.decode(text.as_bytes()), expected, "{text}");
            assert_eq!(
                Words::restored(&words.plain(&words.in_utf8(Cow::Borrowed(text.as_bytes())))),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn bytes_that_are_not_encoded_have_the_charset_of_the_message_or_a_likely_one() {
        let greeting = b"\xe7\xe4\xf0\xe0\xe2\xf1\xf2\xe2\xf3\xe9\xf2\xe5";
        for (fallback, text, expected) in [
            (None, "größe".as_bytes(), "größe"),
            (None, greeting, "здравствуйте"),
            (Charset::of("windows-1251"), greeting, "здравствуйте"),
            (Charset::of("koi8-r"), b"\xcd\xc9\xd2", "мир"),
            (Charset::of("utf-8"), b"Gr\xfc\xdfe", "Grüße"),
            (None, b"Re: \x1b$B%O%m!<\x1b(B", "Re: ハロー"),
        ] {
            let words = Words::new(10, fallback);
            assert_eq!(words.decode(text), expected);
            assert_eq!(Words::restored(&words.plain(&words.in_utf8(Cow::Borrowed(text)))), expected);
        }
    }

    /// Each of these takes hours where all that is left is looked through at each beginning of a word.
    #[test]
    fn no_word_is_searched_for_behind_the_next_one() {
        for beginning in ["=?=a?q?", "=?a?q?", "=?a?q? ", "=?a?b?", "=?=a?b?", "=?a", "=?", "=?a?", "?=", "=?a?q?=??"] {
            let words = Words::new(usize::MAX, None);
            assert!(!words.decode(beginning.repeat(300_000).as_bytes()).is_empty(), "{beginning}");
        }
    }

    #[test]
    fn the_words_beyond_the_limit_are_left() {
        let words = Words::new(2, None);
        assert_eq!(words.decode(b"=?utf-8?Q?a?= =?utf-8?Q?b?= =?utf-8?Q?c?="), "ab =?utf-8?Q?c?=");
        assert!(words.is_exhausted());
        assert!(!words.has_bad());
    }
}
