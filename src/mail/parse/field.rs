//! Header fields: what the value of one says.

use std::borrow::Cow;
use std::panic::{UnwindSafe, catch_unwind};

use mail_parser::parsers::MessageStream;
use mail_parser::{Addr, Address, DateTime, HeaderValue};

use super::words::Words;
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
        let mut value = self.unfolded().into_owned();
        value.push(b'\n');
        let date = match guarded(|| MessageStream::new(&value).parse_date().into_owned()) {
            HeaderValue::DateTime(date) if date.is_valid() => date,
            _ => return None,
        };
        // The thirtieth of February is a later day when it is counted out.
        let counted = DateTime::from_timestamp(date.to_timestamp_local());
        (counted.day == date.day).then(|| date.to_rfc3339())
    }

    /// The addresses, those of groups included.
    pub(super) fn addresses(self, words: &Words) -> Vec<HeaderAddress> {
        // As the one line that `mail-parser` reads: a fold behind a `=` would mislead it.
        let mut value = words.in_utf8(self.unfolded()).into_owned();
        value.push(b'\n');
        let address = guarded(|| MessageStream::new(&value).parse_address().into_owned());
        let HeaderValue::Address(address) = address else { return Vec::new() };
        match address {
            Address::List(list) => list.into_iter().map(header_address).collect(),
            Address::Group(groups) => {
                groups.into_iter().flat_map(|group| group.addresses).map(header_address).collect()
            }
        }
    }

    /// The value without its line breaks (RFC 5322 section 2.2.3).
    pub(super) fn unfolded(&self) -> Cow<'a, [u8]> {
        if memchr::memchr2(b'\r', b'\n', self.raw).is_none() {
            return Cow::Borrowed(self.raw);
        }
        Cow::Owned(self.raw.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
    }
}

/// Lets a panic of the foreign parser cost one value instead of the whole message.
fn guarded(read: impl FnOnce() -> HeaderValue<'static> + UnwindSafe) -> HeaderValue<'static> {
    catch_unwind(read).unwrap_or_default()
}

fn header_address(addr: Addr<'_>) -> HeaderAddress {
    let kept = |text: Cow<'_, str>| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    HeaderAddress { name: addr.name.and_then(kept), address: addr.address.and_then(kept) }
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
