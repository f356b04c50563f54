//! What a single part is for the reader: a body or an attachment.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::budgets::Budgets;
use super::findings::Findings;
use super::flowed::unflow;
use super::header::Header;
use super::structure::{Container, Leaf};
use super::words::Words;
use super::{charset, transfer};
use crate::mail::message::{Attachment, Content, Disposition, TransferEncoding};
use crate::mail::problem::Problem;

/// The longest file name and the longest type that are kept. In the JSON of a list they stand twice, and a message may have
/// as many as it has parts.
const NAME_MAX_BYTES: usize = 1024;

/// What a TNEF stream begins with ([MS-OXTNEF] section 2.1.3.1), in the order of its bytes.
const TNEF_SIGNATURE: [u8; 4] = [0x78, 0x9f, 0x3e, 0x22];

/// Fills the record of a message with its parts.
pub(super) struct Parts<'a, 'm> {
    pub(super) raw: &'a [u8],
    pub(super) budgets: &'a Budgets,
    pub(super) words: &'a Words,
    pub(super) content: &'m mut Content,
    pub(super) findings: &'m mut Findings,
}

/// The kinds of text that a message shows by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    Text,
    Html,
}

impl Parts<'_, '_> {
    /// Adds a part to the record of its message.
    pub(super) fn add(&mut self, leaf: &Leaf<'_>) {
        let disposition = leaf.header.parameters("Content-Disposition").unwrap_or_default();
        let named = [
            (&disposition, "filename"),
            (&disposition, "name"),
            (&leaf.content_type, "name"),
            (&leaf.content_type, "filename"),
        ];
        // An empty name is none, and hides no other.
        let names = named.into_iter().filter_map(|(parameters, name)| parameters.text(name, self.words));
        let filename = names.into_iter().find(|name| !name.is_empty());
        if media_type(leaf).is_none() && !leaf.content_type.value.is_empty() {
            self.findings.add_word(Problem::BadContentType, &leaf.name, &leaf.content_type.value);
        }
        let encoded = self.raw.get(leaf.body.clone()).unwrap_or_default();
        let (encoding, is_announced) = self.encoding(leaf);
        if !is_announced && !encoded.is_ascii() {
            self.findings.add(Problem::Undeclared8Bit, &leaf.name);
        }
        let decoded = transfer::decode(encoding, encoded);
        if let Some(problem) = decoded.problem {
            self.findings.add(problem, &leaf.name);
        }
        match body(leaf, &disposition.value, filename.is_some()) {
            Some(body) => self.add_text(leaf, body, decoded.bytes),
            None => self.add_attachment(leaf, filename, &disposition.value, encoding, &decoded.bytes),
        }
    }

    fn add_text(&mut self, leaf: &Leaf<'_>, body: Body, bytes: Cow<'_, [u8]>) {
        let label = leaf.content_type.word("charset").or_else(|| match body {
            Body::Html if std::str::from_utf8(&bytes).is_err() => charset::named_in_html(&bytes),
            _ => None,
        });
        let decoded = charset::decode(label.as_deref(), bytes);
        if let Some((problem, word)) = decoded.problem {
            self.findings.add_word(problem, &leaf.name, &word);
        }
        let is =
            |name: &str, value: &str| leaf.content_type.word(name).is_some_and(|word| word.eq_ignore_ascii_case(value));
        let text = if body == Body::Text && is("format", "flowed") {
            Cow::Owned(unflow(&decoded.text, is("delsp", "yes")))
        } else {
            decoded.text
        };
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let left = self.budgets.max_text_bytes.saturating_sub(length(&self.content.text) + length(&self.content.html));
        let fitting = if text.len() > left {
            self.findings.add(Problem::LargeText, &leaf.name);
            Cow::Borrowed(&text[..text.floor_char_boundary(left)])
        } else {
            text
        };
        match body {
            Body::Text => append(&mut self.content.text, fitting),
            Body::Html => append(&mut self.content.html, fitting),
        }
    }

    fn add_attachment(
        &mut self,
        leaf: &Leaf<'_>,
        filename: Option<String>,
        disposition: &str,
        encoding: TransferEncoding,
        bytes: &[u8],
    ) {
        // RFC 2045 section 5.2: what names no type is plain text. Where one is named that cannot be read, nobody knows.
        let unknown = if leaf.content_type.value.is_empty() { "text/plain" } else { "application/octet-stream" };
        let content_type = media_type(leaf).unwrap_or(unknown);
        let problem = match content_type {
            "message/partial" => Some(Problem::PartialMessage),
            "message/external-body" => Some(Problem::ExternalBody),
            "application/ms-tnef" | "application/vnd.ms-tnef" => Some(Problem::Tnef),
            _ if bytes.starts_with(&TNEF_SIGNATURE) => Some(Problem::Tnef),
            _ => None,
        };
        if let Some(problem) = problem {
            self.findings.add(problem, &leaf.name);
        }
        let is_message = matches!(content_type, "message/rfc822" | "message/global" | "message/news");
        let attachment = Attachment {
            index: self.content.attachments.len(),
            filename: filename.map(|name| self.bounded(leaf, name)),
            content_type: self.bounded(leaf, content_type.to_owned()),
            content_id: leaf.header.first("Content-ID").and_then(super::Field::id),
            disposition: read_disposition(leaf, disposition),
            size: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
            start: leaf.body.start,
            end: leaf.body.end,
            // Also where the bytes are not what it says: they are decoded in the same way when they are asked for.
            encoding,
            subject: is_message.then(|| self.subject(bytes)).flatten(),
        };
        self.content.attachments.push(attachment);
    }

    /// The subject of an attached message.
    fn subject(&self, message: &[u8]) -> Option<String> {
        let message = transfer::with_line_feeds(message);
        let subject = Header::of_message(&message, self.budgets).first("Subject")?.text(self.words);
        Some(subject[..subject.floor_char_boundary(NAME_MAX_BYTES)].to_owned())
    }

    /// Cuts a name that is too long in the middle, so that its end still says what it is.
    fn bounded(&mut self, leaf: &Leaf<'_>, name: String) -> String {
        if name.len() <= NAME_MAX_BYTES {
            return name;
        }
        self.findings.add(Problem::LongValue, &leaf.name);
        cut_name(&name, NAME_MAX_BYTES)
    }

    /// The transfer encoding, and whether it may bring bytes of eight bits.
    fn encoding(&mut self, leaf: &Leaf<'_>) -> (TransferEncoding, bool) {
        let value = leaf.header.parameters("Content-Transfer-Encoding").unwrap_or_default().value;
        match transfer::read_encoding(&value) {
            Some(encoding) => (encoding, matches!(&*value, "8bit" | "8-bit" | "8bits" | "binary")),
            None => {
                self.findings.add_word(Problem::UnknownEncoding, &leaf.name, &value);
                (TransferEncoding::Identity, true)
            }
        }
    }
}

/// Cuts a file name to at most `max` bytes, and leaves it the end that says what kind of file it is.
#[must_use]
pub fn cut_name(name: &str, max: usize) -> String {
    /// Longer ends are no extensions.
    const EXTENSION_MAX_BYTES: usize = 32;
    if name.len() <= max {
        return name.to_owned();
    }
    let extension = name.rfind('.').map_or("", |at| &name[at..]);
    let extension = if extension.len() <= EXTENSION_MAX_BYTES.min(max) { extension } else { "" };
    format!("{}{extension}", &name[..name.floor_char_boundary(max - extension.len())])
}

/// The body that a part belongs to, if it is one: RFC 8621 section 4.1.4, where a text with a file name is an attachment
/// unless it is the first part, and so is all but the first part of a `multipart/related`, or the one that it names as its root. An alternative to a body is a
/// body, whatever its name is, unless it says that it is an attachment.
fn body(leaf: &Leaf<'_>, disposition: &str, has_filename: bool) -> Option<Body> {
    let is_inline = matches!(disposition, "" | "inline");
    let is_shown = leaf.name.is_first()
        || match leaf.parent {
            Container::Alternative | Container::RelatedRoot => true,
            Container::Related => false,
            Container::Digest | Container::Mixed => !has_filename,
        };
    if !is_inline || !is_shown {
        return None;
    }
    match media_type(leaf) {
        // RFC 2045 section 5.2: without a type, or with one that cannot be read, a part is plain text.
        None | Some("text/plain") => Some(Body::Text),
        Some("text/html") => Some(Body::Html),
        Some(_) => None,
    }
}

/// The type of a part, if it has one that can be read.
fn media_type<'l>(leaf: &'l Leaf<'_>) -> Option<&'l str> {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
    };
    match leaf.content_type.value.split_once('/') {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Some(&leaf.content_type.value),
        _ if leaf.parent == Container::Digest => Some("message/rfc822"),
        _ => None,
    }
}

/// RFC 2183 section 2.8: an unknown disposition is an attachment. What a `multipart/related` refers to by its id is shown
/// where the reference stands, even if it has no disposition.
fn read_disposition(leaf: &Leaf<'_>, disposition: &str) -> Disposition {
    match disposition {
        "inline" => Disposition::Inline,
        "" if leaf.parent == Container::Related && leaf.header.first("Content-ID").is_some() => Disposition::Inline,
        _ => Disposition::Attachment,
    }
}

/// Joins a body to those before it.
fn append(body: &mut Option<String>, text: Cow<'_, str>) {
    match body {
        None => *body = Some(text.into_owned()),
        Some(body) => {
            if !body.is_empty() && !body.ends_with('\n') {
                body.push('\n');
            }
            body.push_str(&text);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
