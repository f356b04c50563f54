//! MIME parsing: raw bytes in, a record out. It cannot fail; what it cannot read it names in `problems`.
//!
//! The tree of parts is walked here, line by line and without recursion, so that every offset is one into the raw message
//! and no message costs more than its size. Charsets are decoded by `encoding_rs`, and by `mail-parser` where it knows more.

mod addr_spec;
mod address;
mod budgets;
mod charset;
mod checks;
mod date;
mod field;
mod findings;
mod flowed;
mod header;
mod parameter;
mod part;
mod shifted;
mod structure;
mod transfer;
mod words;

use std::borrow::Cow;

pub use self::budgets::Budgets;
pub use self::part::cut_name;

use self::addr_spec::is_addr_spec;
use self::charset::Charset;
use self::field::Field;
use self::findings::Findings;
use self::header::Header;
use self::part::Parts;
use self::structure::{Leaf, PartName, Structure};
use self::transfer::with_line_feeds;
use self::words::Words;
use super::extract;
use super::message::{Attachment, Content, HeaderAddress, HeaderField};
use super::problem::Problem;

/// The most addresses, ids or URIs that are kept of one field: in JSON each is many times as long as in the message.
const LIST_MAX: usize = 1_000;

/// How much of the body is looked at to guess the charset of the header.
const SAMPLE_MAX_BYTES: usize = 4 * 1024;

/// Reads a raw message into its record, as far as the budgets go. It never fails.
#[must_use]
pub fn parse(raw: &[u8], budgets: &Budgets) -> Content {
    let mut findings = Findings::default();
    if raw.is_empty() {
        findings.add(Problem::EmptyMessage, &PartName::default());
        return Content { problems: findings.into_texts(), ..Content::default() };
    }
    let lines = with_line_feeds(raw);
    let header = Header::of_message(&lines, budgets);
    checks::header(&header, &mut findings);
    checks::lines(raw, &mut findings);
    let Structure { leaves, mut findings } = Structure::read(&lines, header.clone(), budgets, findings);
    let words = Words::new(budgets.max_encoded_words, header_charset(&lines, &header, &leaves));
    let mut content = headers(&header, &words, &mut findings);
    let mut parts = Parts { raw, budgets, words: &words, content: &mut content, findings: &mut findings };
    for leaf in &leaves {
        parts.add(leaf);
    }
    if words.has_bad() {
        findings.add(Problem::BadEncodedWord, &PartName::default());
    }
    if words.is_exhausted() {
        findings.add(Problem::ManyEncodedWords, &PartName::default());
    }
    content.problems = findings.into_texts();
    extract::add(&mut content);
    content
}

/// The record of a message that `parse` could not read, which a boundary around it has found out.
#[must_use]
pub fn unreadable() -> Content {
    let mut findings = Findings::default();
    findings.add(Problem::Unreadable, &PartName::default());
    Content { problems: findings.into_texts(), ..Content::default() }
}

/// All header fields of a raw message, in order, duplicates included, as far as the budgets go.
#[must_use]
pub fn header_fields(raw: &[u8], budgets: &Budgets) -> Vec<HeaderField> {
    let lines = with_line_feeds(raw);
    let header = Header::of_message(&lines, budgets);
    let words = Words::new(budgets.max_encoded_words, header_charset(&lines, &header, &[]));
    let field = |field: &Field<'_>| HeaderField {
        name: words.plain(field.name).into_owned(),
        value: field.text(&words),
        raw: String::from_utf8_lossy(field.raw).into_owned(),
    };
    header.fields().iter().map(field).collect()
}

/// The same from the first bytes of a longer message; `None` where they are too few to tell.
#[must_use]
pub fn front_fields(front: &[u8], budgets: &Budgets) -> Option<Vec<HeaderField>> {
    // Which bytes end a line is seen at the whole message, and the charset at the beginning of its body.
    memchr::memchr(b'\n', front)?;
    let end = Header::of_message(front, budgets).end;
    (end + SAMPLE_MAX_BYTES <= front.len()).then(|| header_fields(front, budgets))
}

/// The decoded bytes of an attachment, cut from the raw message that it was found in.
#[must_use]
pub fn attachment_bytes<'a>(raw: &'a [u8], attachment: &Attachment) -> Cow<'a, [u8]> {
    let encoded = raw.get(attachment.start..attachment.end).unwrap_or_default();
    transfer::decode(attachment.encoding, encoded).bytes
}

/// What the header says.
fn headers(header: &Header<'_>, words: &Words, findings: &mut Findings) -> Content {
    let mut is_cut = false;
    let mut addresses = |name: &str| cut(header.all(name).flat_map(|field| field.addresses(words)), &mut is_cut);
    let from: Vec<HeaderAddress> = addresses("From");
    let (to, cc, reply_to) = (addresses("To"), addresses("Cc"), addresses("Reply-To"));
    let is_bad = |entry: &HeaderAddress| !entry.address.as_deref().is_some_and(is_addr_spec);
    let has_bad_address = [&from, &to, &cc, &reply_to].into_iter().flatten().any(is_bad);
    let mut bracketed = |name: &str| cut(header.all(name).flat_map(Field::bracketed), &mut is_cut);
    let content = Content {
        subject: header.first("Subject").map(|field| field.text(words)),
        message_id: header.first("Message-ID").and_then(Field::id),
        date: header.first("Date").and_then(Field::date),
        from: from.iter().find(|author| author.address.is_some()).or_else(|| from.first()).cloned(),
        to,
        cc,
        reply_to,
        in_reply_to: bracketed("In-Reply-To"),
        references: bracketed("References"),
        list_unsubscribe: bracketed("List-Unsubscribe"),
        ..Content::default()
    };
    if content.date.is_none() && header.first("Date").is_some() {
        findings.add(Problem::BadDate, &PartName::default());
    }
    if has_bad_address {
        findings.add(Problem::BadAddress, &PartName::default());
    }
    if is_cut {
        findings.add(Problem::ManyAddresses, &PartName::default());
    }
    content
}

fn cut<T>(list: impl Iterator<Item = T>, is_cut: &mut bool) -> Vec<T> {
    let mut list: Vec<T> = list.take(LIST_MAX + 1).collect();
    *is_cut |= list.len() > LIST_MAX;
    list.truncate(LIST_MAX);
    list
}

/// The charset of headers that are neither ASCII nor UTF-8: the one that the message names for its text, or what headers and
/// body together look most like.
fn header_charset(raw: &[u8], header: &Header<'_>, leaves: &[Leaf<'_>]) -> Option<Charset> {
    let fields = header.fields().iter().chain(leaves.iter().flat_map(|leaf| leaf.header.fields()));
    let mut foreign = fields.filter(|field| std::str::from_utf8(field.raw).is_err()).peekable();
    foreign.peek()?;
    let own = header.parameters("Content-Type");
    let mut labels = own.iter().chain(leaves.iter().map(|leaf| &leaf.content_type));
    let named = labels.find_map(|content_type| Charset::of(&content_type.word("charset")?));
    named.or_else(|| {
        let mut sample: Vec<u8> = foreign.flat_map(|field| field.raw.iter().copied()).collect();
        sample.extend(raw[header.end..].iter().take(SAMPLE_MAX_BYTES));
        Some(Charset::Listed(charset::likely(&sample)))
    })
}

#[cfg(test)]
mod tests;
