//! MIME parsing: raw bytes in, a record out. It cannot fail; what it cannot read it names in `problems`.
//!
//! The tree of parts is walked here, line by line and without recursion, so that every offset is one into the raw message
//! and no message costs more than its size. Addresses, dates, base64 and charsets are read by `mail-parser`.

mod charset;
mod header;
mod parameter;
mod part;
mod structure;
mod transfer;
mod words;

use std::borrow::Cow;
use std::panic::catch_unwind;

use self::header::Header;
use self::structure::Structure;
use super::findings;
use super::message::{Attachment, Content, HeaderField};

/// Reads a raw message into its record. Never fails and never panics.
#[must_use]
pub fn parse(raw: &[u8]) -> Content {
    // The bytes come from strangers, and much of the reading is done by code that is not ours.
    catch_unwind(|| read(raw)).unwrap_or_else(|_| Content {
        problems: vec!["the message could not be parsed; only its raw bytes are kept".to_owned()],
        ..Content::default()
    })
}

/// All header fields of a raw message, in order, duplicates included; of a header beyond 256 KiB those that fit in.
#[must_use]
pub fn header_fields(raw: &[u8]) -> Vec<HeaderField> {
    Header::of_message(raw)
        .fields()
        .iter()
        .map(|field| HeaderField {
            name: field.name(),
            value: field.text(),
            raw: String::from_utf8_lossy(field.raw).into_owned(),
        })
        .collect()
}

/// The decoded bytes of an attachment, cut from the raw message that it was found in.
#[must_use]
pub fn attachment_bytes<'a>(raw: &'a [u8], attachment: &Attachment) -> Cow<'a, [u8]> {
    let encoded = raw.get(attachment.start..attachment.end).unwrap_or_default();
    transfer::decode(attachment.encoding, encoded).bytes
}

fn read(raw: &[u8]) -> Content {
    if raw.is_empty() {
        return Content { problems: vec!["the message is empty".to_owned()], ..Content::default() };
    }
    let header = Header::of_message(raw);
    let mut content = Content {
        subject: header.text("Subject"),
        message_id: header.id("Message-ID"),
        from: header.addresses("From").into_iter().next(),
        to: header.addresses("To"),
        cc: header.addresses("Cc"),
        reply_to: header.addresses("Reply-To"),
        ..Content::default()
    };
    match header.first("Date").map(header::Field::date) {
        Some(None) => content.problems.push("the Date of the message could not be read".to_owned()),
        date => content.date = date.flatten(),
    }
    let list_unsubscribe = header.text("List-Unsubscribe").unwrap_or_default();
    let Structure { leaves, problems } = Structure::read(raw, header);
    content.problems.extend(problems);
    for leaf in &leaves {
        part::add(raw, leaf, &mut content);
    }
    findings::add(&mut content, &list_unsubscribe);
    content
}

#[cfg(test)]
mod tests;
