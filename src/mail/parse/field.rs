//! Header fields: what the value of one says.

use std::borrow::Cow;

use super::words::Words;
use super::{address, date};
use crate::mail::message::HeaderAddress;

/// The longest id that is kept: a line of a message (RFC 5322 section 2.1.1).
const ID_MAX_BYTES: usize = 998;

/// One field as it stands in the message.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    /// Everything behind the colon but the last line break (RFC 8621 section 4.1.2.1, "Raw").
    pub(super) raw: &'a [u8],
}

impl<'a> Field<'a> {
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value with its encoded words decoded.
    pub(super) fn text(self, words: &Words) -> String {
        words.decode(self.unfolded().trim_ascii())
    }

    /// The id that the field names, without angle brackets; `None` if it names none.
    pub(super) fn id(self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.unfolded()).into_owned();
        let inner = text.split_once('<').map_or(&*text, |(_, rest)| rest.split('>').next().unwrap_or(rest));
        let inner = inner.trim();
        Some(inner[..inner.floor_char_boundary(ID_MAX_BYTES)].to_owned()).filter(|id| !id.is_empty())
    }

    /// What stands in angle brackets; where nothing does, the words.
    pub(super) fn bracketed(self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.unfolded()).into_owned();
        if !text.contains('<') {
            return text.split_ascii_whitespace().map(str::to_owned).collect();
        }
        let inner = text.split('<').skip(1).filter_map(|rest| rest.split_once('>'));
        // White space has come in by folding (RFC 2369 section 2).
        let found = inner.map(|(inner, _)| inner.split_whitespace().collect::<String>());
        found.filter(|inner| !inner.is_empty()).collect()
    }

    /// A date in the form of RFC 3339.
    pub(super) fn date(self) -> Option<String> {
        date::read(&String::from_utf8_lossy(&self.unfolded()))
    }

    /// The addresses, those of groups included.
    pub(super) fn addresses(self, words: &Words) -> Vec<HeaderAddress> {
        let value = words.in_utf8(self.unfolded());
        let kept = |text: String| Some(Words::restored(&text).trim().to_owned()).filter(|text| !text.is_empty());
        let restored = |HeaderAddress { name, address }| HeaderAddress {
            name: name.and_then(kept),
            address: address.and_then(kept),
        };
        address::read(&words.plain(&value)).into_iter().map(restored).collect()
    }

    /// The value without its line breaks (RFC 5322 section 2.2.3).
    pub(super) fn unfolded(&self) -> Cow<'a, [u8]> {
        if memchr::memchr2(b'\r', b'\n', self.raw).is_none() {
            return Cow::Borrowed(self.raw);
        }
        Cow::Owned(self.raw.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_brackets_is_found() {
        for (raw, expected) in [
            ("<a@b> (comment)\r\n\t<c\r\n d>,<e>", &["a@b", "cd", "e"][..]),
            ("a@b c@d", &["a@b", "c@d"]),
            ("<> <unclosed", &[]),
            ("", &[]),
        ] {
            assert_eq!(Field { name: b"References", raw: raw.as_bytes() }.bracketed(), expected, "{raw}");
        }
    }

    #[test]
    fn an_id_is_what_stands_in_the_first_brackets() {
        for (raw, expected) in
            [(" <a@b> c", Some("a@b")), ("a@b", Some("a@b")), ("<a", Some("a")), ("<>", None), (" \r\n ", None)]
        {
            assert_eq!(Field { name: b"Message-ID", raw: raw.as_bytes() }.id().as_deref(), expected, "{raw}");
        }
        assert_eq!(Field { name: b"Content-ID", raw: "ä".repeat(999).as_bytes() }.id().unwrap().len(), ID_MAX_BYTES);
    }
}
