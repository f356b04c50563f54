//! Charsets that shift between sets of characters with bytes of ASCII: ISO-2022 (RFC 1468, 1554, 1557, 1922), HZ (RFC 1843)
//! and UTF-7 (RFC 2152). Browsers have given up most of them; mail has not.

use std::char::{REPLACEMENT_CHARACTER, decode_utf16};

use encoding_rs::{EUC_JP, EUC_KR, Encoding, GBK};

use super::transfer::base64_value;

const ESC: u8 = 0x1b;
const SHIFT_OUT: u8 = 0x0e;
const SHIFT_IN: u8 = 0x0f;

/// A set of characters that bytes of seven bits stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    Ascii,
    /// JIS X 0201, half-width katakana.
    Katakana,
    /// JIS X 0208.
    Jis,
    /// JIS X 0212.
    JisSupplement,
    /// GB 2312.
    Gb,
    /// KS X 1001.
    Ks,
}

/// Text in several sets, each stretch decoded by the EUC encoding that has the set in eight bits.
#[derive(Default)]
struct Stretches {
    text: String,
    pending: Vec<u8>,
    has_errors: bool,
}

impl Stretches {
    fn push(&mut self, set: Set, byte: u8) {
        match set {
            // Controls stand for themselves in every set.
            _ if byte <= b' ' => {
                self.finish(set);
                self.text.push(char::from(byte));
            }
            Set::Ascii if byte.is_ascii() => self.text.push(char::from(byte)),
            Set::Ascii => {
                self.text.push(REPLACEMENT_CHARACTER);
                self.has_errors = true;
            }
            Set::Katakana => self.pending.extend([0x8e, byte | 0x80]),
            // Its characters have two bytes; the prefix stands before the first.
            Set::JisSupplement if self.pending.len().is_multiple_of(3) => self.pending.extend([0x8f, byte | 0x80]),
            _ => self.pending.push(byte | 0x80),
        }
    }

    /// Decodes what is pending of `set`.
    fn finish(&mut self, set: Set) {
        if self.pending.is_empty() {
            return;
        }
        let encoding: &'static Encoding = match set {
            Set::Gb => GBK,
            Set::Ks => EUC_KR,
            _ => EUC_JP,
        };
        let (text, has_errors) = encoding.decode_without_bom_handling(&self.pending);
        self.text.push_str(&text);
        self.has_errors |= has_errors;
        self.pending.clear();
    }
}

/// Decodes any of the ISO-2022 charsets of mail; returns whether there were errors, too.
pub(super) fn decode_iso_2022(bytes: &[u8]) -> (String, bool) {
    let mut out = Stretches::default();
    let (mut g0, mut g1, mut is_shifted) = (Set::Ascii, Set::Ascii, false);
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        let active = if is_shifted { g1 } else { g0 };
        rest = tail;
        match *byte {
            ESC => {
                out.finish(active);
                match designation(tail) {
                    Some((set, is_g1, length)) => {
                        *(if is_g1 { &mut g1 } else { &mut g0 }) = set;
                        rest = &tail[length..];
                    }
                    None => out.has_errors = true,
                }
            }
            SHIFT_OUT | SHIFT_IN => {
                out.finish(active);
                // JIS X 0201 katakana is what Japanese senders shift to without a word.
                if g1 == Set::Ascii {
                    g1 = Set::Katakana;
                }
                is_shifted = *byte == SHIFT_OUT;
            }
            byte => {
                out.push(active, byte);
                // RFC 1557 and 1922: a line begins in ASCII.
                is_shifted &= byte != b'\n';
            }
        }
    }
    out.finish(if is_shifted { g1 } else { g0 });
    (out.text, out.has_errors)
}

/// What an escape sequence designates, behind its ESC: the set, whether it is for SHIFT OUT, and the length.
fn designation(bytes: &[u8]) -> Option<(Set, bool, usize)> {
    Some(match bytes {
        [b'(', b'B' | b'J' | b'H', ..] => (Set::Ascii, false, 2),
        [b'(', b'I', ..] => (Set::Katakana, false, 2),
        [b'$', b'@' | b'B', ..] => (Set::Jis, false, 2),
        [b'$', b'A', ..] => (Set::Gb, false, 2),
        // JIS X 0213 has the characters of JIS X 0208 in the same places.
        [b'$', b'(', b'@' | b'B' | b'O' | b'Q', ..] => (Set::Jis, false, 3),
        [b'$', b'(', b'D', ..] => (Set::JisSupplement, false, 3),
        [b'$', b'(', b'C', ..] => (Set::Ks, false, 3),
        [b'$', b')', b'C', ..] => (Set::Ks, true, 3),
        [b'$', b')', b'A', ..] => (Set::Gb, true, 3),
        _ => return None,
    })
}

/// Decodes HZ; returns whether there were errors, too.
pub(super) fn decode_hz(bytes: &[u8]) -> (String, bool) {
    let mut out = Stretches::default();
    let mut set = Set::Ascii;
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail.first()) {
            (b'~', Some(b'{')) if set == Set::Ascii => set = Set::Gb,
            (b'~', Some(b'}')) => {
                out.finish(set);
                set = Set::Ascii;
            }
            (b'~', Some(b'~')) if set == Set::Ascii => out.push(set, b'~'),
            (b'~', Some(b'\n')) if set == Set::Ascii => {}
            (byte, _) => {
                out.push(set, *byte);
                continue;
            }
        }
        rest = &tail[1..];
    }
    out.finish(set);
    (out.text, out.has_errors)
}

/// Decodes UTF-7; returns whether there were errors, too.
pub(super) fn decode_utf7(bytes: &[u8]) -> (String, bool) {
    let mut text = String::with_capacity(bytes.len());
    let mut has_errors = false;
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'+', rest) {
        text.push_str(&String::from_utf8_lossy(&rest[..at]));
        rest = &rest[at + 1..];
        let length = rest.iter().position(|&byte| base64_value(byte).is_none()).unwrap_or(rest.len());
        let (encoded, tail) = rest.split_at(length);
        has_errors |= !push_utf16(encoded, &mut text);
        rest = match tail {
            [b'-', tail @ ..] => {
                if encoded.is_empty() {
                    text.push('+');
                }
                tail
            }
            tail => tail,
        };
    }
    text.push_str(&String::from_utf8_lossy(rest));
    (text, has_errors)
}

/// Appends UTF-16 in base64; returns whether it was right.
fn push_utf16(encoded: &[u8], text: &mut String) -> bool {
    let (mut bits, mut count) = (0_u32, 0);
    let mut units = Vec::with_capacity(encoded.len() / 2);
    for value in encoded.iter().filter_map(|&byte| base64_value(byte)) {
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push(u16::try_from(bits >> count & 0xffff).unwrap_or_default());
            bits &= (1 << count) - 1;
        }
    }
    let mut is_right = count < 6 && bits == 0;
    text.extend(decode_utf16(units).map(|unit| {
        unit.unwrap_or_else(|_| {
            is_right = false;
            REPLACEMENT_CHARACTER
        })
    }));
    is_right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_2022_is_decoded_in_all_its_kinds() {
        for (bytes, text, is_right) in [
            (&b"a\x1b$B%O%m!<\x1b(B b"[..], "aハロー b", true),
            (b"\x1b$@F|K\\\x1b(J\r\n", "日本\r\n", true),
            // Katakana in half width: designated, and shifted to.
            (b"\x1b(I1\x1b(B \x0e1\x0f.", "ｱ ｱ.", true),
            (b"\x1b$(D\x30\x21\x1b(B", "丂", true),
            (b"\x1b$A0!\x1b$(C0!\x1b(B", "啊가", true),
            (b"\x1b$)C\x0e0!\x0f!\r\n\x0e0!\nx", "가!\r\n가\nx", true),
            (b"\x1b$)A\x0e0!\x0f", "啊", true),
            // No return to ASCII, an escape that is none, a byte of eight bits.
            (b"\x1b$B%O", "ハ", true),
            (b"\x1b[1m", "[1m", false),
            (b"\xe4", "\u{fffd}", false),
        ] {
            assert_eq!(decode_iso_2022(bytes), (text.to_owned(), !is_right), "{bytes:?}");
        }
    }

    #[test]
    fn hz_is_decoded() {
        assert_eq!(decode_hz(b"a ~{VPND~} b~~c~\nd"), ("a 中文 b~cd".to_owned(), false));
        assert_eq!(decode_hz(b"~{VP"), ("中".to_owned(), false));
        assert_eq!(decode_hz(b"~x~"), ("~x~".to_owned(), false));
    }

    #[test]
    fn utf7_is_decoded() {
        for (bytes, text, is_right) in [
            (&b"1 +- 1"[..], "1 + 1", true),
            (b"Hi Mom -+Jjo--!", "Hi Mom -☺-!", true),
            (b"+2D3eAA", "😀", true),
            (b"+AOQ", "ä", true),
            (b"+AOQ.x", "ä.x", true),
            (b"+2D0-", "\u{fffd}", false),
        ] {
            assert_eq!(decode_utf7(bytes), (text.to_owned(), !is_right), "{bytes:?}");
        }
    }
}
