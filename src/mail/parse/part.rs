//! What a single part is for the reader: a body or an attachment.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::structure::{Container, Leaf};
use super::{charset, transfer};
use crate::mail::message::{Attachment, Content, Disposition, TransferEncoding};

/// Adds a part to the record of its message.
pub(super) fn add(raw: &[u8], leaf: &Leaf<'_>, content: &mut Content) {
    let disposition = leaf.header.parameters("Content-Disposition").unwrap_or_default();
    let filename = disposition.text("filename").or_else(|| leaf.content_type.text("name"));
    let encoded = raw.get(leaf.body.clone()).unwrap_or_default();
    let mut encoding = encoding(leaf, &mut content.problems);
    let decoded = transfer::decode(encoding, encoded);
    if decoded.is_malformed {
        content.problems.push(match encoding {
            TransferEncoding::Base64 => {
                encoding = TransferEncoding::Identity;
                format!("{} is not the base64 that its header announces; its bytes are kept as they are", leaf.name)
            }
            _ => format!("{} has bad quoted-printable sequences; they are kept as they are", leaf.name),
        });
    }
    if let Some(body) = body(leaf, &disposition.value, filename.is_some(), content) {
        let decoded = charset::decode(leaf.content_type.text("charset").as_deref(), decoded.bytes);
        append(body, decoded.text);
        content.problems.extend(decoded.problem.map(|problem| format!("{} {problem}", leaf.name)));
        return;
    }
    content.attachments.push(Attachment {
        index: content.attachments.len(),
        filename,
        content_type: media_type(leaf).unwrap_or("application/octet-stream").to_owned(),
        content_id: leaf.header.id("Content-ID"),
        disposition: read_disposition(leaf, &disposition.value),
        size: decoded.bytes.len() as u64,
        sha256: hex(&Sha256::digest(&decoded.bytes)),
        start: leaf.body.start,
        end: leaf.body.end,
        encoding,
    });
}

/// The body that a part belongs to, if it is one: RFC 8621 section 4.1.4, where a text with a file name is an attachment
/// unless it is the first part, and so is all but the first part of a `multipart/related`.
fn body<'c>(
    leaf: &Leaf<'_>,
    disposition: &str,
    has_filename: bool,
    content: &'c mut Content,
) -> Option<&'c mut Option<String>> {
    let is_inline = matches!(disposition, "" | "inline");
    let is_shown = leaf.name.is_first() || (leaf.parent != Container::Related && !has_filename);
    if !is_inline || !is_shown {
        return None;
    }
    match media_type(leaf) {
        // RFC 2045 section 5.2: without a type, or with one that cannot be read, a part is plain text.
        None | Some("text/plain") => Some(&mut content.text),
        Some("text/html") => Some(&mut content.html),
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

fn encoding(leaf: &Leaf<'_>, problems: &mut Vec<String>) -> TransferEncoding {
    let value = leaf.header.parameters("Content-Transfer-Encoding").unwrap_or_default().value;
    transfer::read_encoding(&value).unwrap_or_else(|| {
        problems.push(format!("{} has the unknown transfer encoding {}", leaf.name, charset::quoted(&value)));
        TransferEncoding::Identity
    })
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
