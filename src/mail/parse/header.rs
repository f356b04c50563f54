//! Header fields: where each begins and ends, and what its value says.

use std::borrow::Cow;
use std::panic::{UnwindSafe, catch_unwind};

use mail_parser::parsers::MessageStream;
use mail_parser::{Addr, Address, DateTime, HeaderValue};

use super::parameter::Parameters;
use super::words;
use crate::mail::message::HeaderAddress;

/// Protects the memory: each address and each field of the record costs many times its bytes in the message.
const HEADER_MAX_BYTES: usize = 256 * 1024;

/// The header of a message or of a part.
pub(super) struct Header<'a> {
    fields: Vec<Field<'a>>,
    /// Where the body begins: behind the empty line.
    pub(super) end: usize,
    /// Whether something else than an empty line ended the header.
    pub(super) is_cut: bool,
    /// Whether fields were left out because all together are longer than `HEADER_MAX_BYTES`.
    pub(super) is_too_long: bool,
}

/// One field as it stands in the message.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    name: &'a [u8],
    /// Everything behind the colon but the last line break (RFC 8621 section 4.1.2.1, "Raw").
    pub(super) raw: &'a [u8],
}

impl<'a> Header<'a> {
    /// Reads the header of a message.
    pub(super) fn of_message(raw: &'a [u8]) -> Self {
        // The separator line of an mbox file, in front of a message that was piped out of one.
        let start = if raw.starts_with(b"From ") { line_end(raw, 0) } else { 0 };
        Self::read(raw, start, |_| true)
    }

    /// Reads the header of a part that begins at `start`. Other fields have no meaning there (RFC 2045 section 9).
    pub(super) fn of_part(raw: &'a [u8], start: usize) -> Self {
        Self::read(raw, start, |name| name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"content-")))
    }

    /// Like most mail programs this takes the first line that can be no field for the beginning of the body, whether or
    /// not the empty line is there.
    fn read(raw: &'a [u8], start: usize, is_wanted: impl Fn(&[u8]) -> bool) -> Self {
        let mut header = Self { fields: Vec::new(), end: start, is_cut: false, is_too_long: false };
        let mut bytes_left = HEADER_MAX_BYTES;
        loop {
            let at = header.end;
            let line = &raw[at..line_end(raw, at)];
            if line == b"\r\n" || line == b"\n" {
                header.end += line.len();
                return header;
            }
            // A delimiter line of a multipart never belongs to a header, not even with a colon in its boundary.
            let is_delimiter = line.starts_with(b"--");
            let colon = memchr::memchr(b':', line).filter(|_| !is_delimiter);
            let Some((name, colon)) = colon.and_then(|colon| Some((field_name(&line[..colon])?, colon))) else {
                header.is_cut = !line.is_empty() && !is_delimiter;
                return header;
            };
            header.end += line.len();
            while raw.get(header.end).is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
                header.end = line_end(raw, header.end);
            }
            if !is_wanted(name) {
                continue;
            }
            match bytes_left.checked_sub(header.end - at) {
                Some(rest) => {
                    bytes_left = rest;
                    header.fields.push(Field { name, raw: without_line_break(&raw[at + colon + 1..header.end]) });
                }
                // Smaller fields behind this one may still be read; `Content-Type` is often the last.
                None => header.is_too_long = true,
            }
        }
    }

    pub(super) fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    /// The first field of a name: the one that mail programs show where there are several.
    pub(super) fn first(&self, name: &str) -> Option<Field<'a>> {
        self.all(name).next()
    }

    /// The decoded text of a field.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.first(name).map(Field::text)
    }

    /// The id that a field names, without angle brackets; `None` if it names none.
    pub(super) fn id(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.first(name)?.unfolded()).into_owned();
        let inner = text.split_once('<').map_or(&*text, |(_, rest)| rest.split('>').next().unwrap_or(rest));
        Some(inner.trim().to_owned()).filter(|id| !id.is_empty())
    }

    /// The addresses of all fields of a name, those of groups included.
    pub(super) fn addresses(&self, name: &str) -> Vec<HeaderAddress> {
        self.all(name).flat_map(Field::addresses).collect()
    }

    /// The value and the parameters of a field such as `Content-Type`.
    pub(super) fn parameters(&self, name: &str) -> Option<Parameters> {
        self.first(name).map(|field| Parameters::read(&field.unfolded()))
    }

    fn all(&self, name: &str) -> impl Iterator<Item = Field<'a>> {
        self.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes())).copied()
    }
}

impl<'a> Field<'a> {
    pub(super) fn name(&self) -> String {
        String::from_utf8_lossy(self.name).into_owned()
    }

    /// The value with its encoded words decoded.
    pub(super) fn text(self) -> String {
        words::decode(self.unfolded().trim_ascii())
    }

    /// A date in the form of RFC 3339.
    pub(super) fn date(self) -> Option<String> {
        let value = self.line();
        let date = match guarded(|| MessageStream::new(&value).parse_date().into_owned()) {
            HeaderValue::DateTime(date) if date.is_valid() => date,
            _ => return None,
        };
        // The thirtieth of February is a later day when it is counted out.
        let counted = DateTime::from_timestamp(date.to_timestamp_local());
        (counted.day == date.day).then(|| date.to_rfc3339())
    }

    fn addresses(self) -> Vec<HeaderAddress> {
        let value = self.line();
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
    fn unfolded(&self) -> Cow<'a, [u8]> {
        if memchr::memchr2(b'\r', b'\n', self.raw).is_none() {
            return Cow::Borrowed(self.raw);
        }
        Cow::Owned(self.raw.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
    }

    /// The value as the one line that `mail-parser` reads: a fold behind a `=` would mislead it.
    fn line(&self) -> Vec<u8> {
        let mut line = words::in_utf8(self.unfolded()).into_owned();
        line.push(b'\n');
        line
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

/// RFC 5322 `ftext`, and the bytes above ASCII that some senders use; white space may stand before the colon.
fn field_name(before_colon: &[u8]) -> Option<&[u8]> {
    let name = before_colon.trim_ascii_end();
    (!name.is_empty() && name.iter().all(|byte| matches!(byte, b'!'..=b'~' | 0x80..))).then_some(name)
}

/// Where the line that begins at `start` ends, its line break included.
pub(super) fn line_end(raw: &[u8], start: usize) -> usize {
    memchr::memchr(b'\n', &raw[start..]).map_or(raw.len(), |length| start + length + 1)
}

/// Takes one line break off the end.
pub(super) fn without_line_break(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}
