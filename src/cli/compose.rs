//! A small mail: its header, its texts and its attachments.

use std::fs;
use std::path::Path;

use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body as Encoded, Mailbox, MultiPart, SinglePart};

use super::at;

/// The text of a mail that was given none.
const TEXT: &str = "Hello from restante\n";

/// The types of what is attached most; anything else is bytes.
const TYPES: [(&str, &str); 10] = [
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("html", "text/html"),
    ("ics", "text/calendar"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("txt", "text/plain"),
    ("zip", "application/zip"),
];

/// What a mail is made of.
pub(super) struct Parts<'a> {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    pub(super) subject: &'a str,
    pub(super) text: Option<&'a str>,
    pub(super) html: Option<&'a str>,
    pub(super) attach: &'a [std::path::PathBuf],
    /// `Name: value`, in place of what the mail would have under that name.
    pub(super) headers: &'a [String],
}

/// Composes the mail.
pub(super) fn message(parts: Parts<'_>) -> Result<Message, String> {
    let mut builder = Message::builder().from(parts.from).subject(parts.subject).message_id(None);
    for to in parts.to {
        builder = builder.to(to);
    }
    for header in parts.headers {
        let (name, value) =
            header.split_once(':').ok_or_else(|| format!("--header {header:?}: write 'Name: value'"))?;
        let name = HeaderName::new_from_ascii(name.trim().to_owned());
        let name = name.map_err(|_| format!("--header {header:?}: the name has other characters than a name has"))?;
        if value.contains(['\r', '\n']) {
            return Err(format!("--header {header:?}: the value has a line break"));
        }
        builder = builder.raw_header(HeaderValue::new(name, value.trim().to_owned()));
    }
    let body = match (parts.text, parts.html) {
        (Some(text), Some(html)) => Body::Both(MultiPart::alternative_plain_html(text.to_owned(), html.to_owned())),
        (None, Some(html)) => Body::One(SinglePart::html(html.to_owned())),
        (text, None) => Body::One(SinglePart::plain(text.unwrap_or(TEXT).to_owned())),
    };
    let message = if parts.attach.is_empty() {
        match body {
            Body::One(part) => builder.singlepart(part),
            Body::Both(part) => builder.multipart(part),
        }
    } else {
        let mixed = MultiPart::mixed();
        let mut mixed = match body {
            Body::One(part) => mixed.singlepart(part),
            Body::Both(part) => mixed.multipart(part),
        };
        for path in parts.attach {
            mixed = mixed.singlepart(attachment(path)?);
        }
        builder.multipart(mixed)
    };
    message.map_err(|error| error.to_string())
}

enum Body {
    One(SinglePart),
    Both(MultiPart),
}

fn attachment(path: &Path) -> Result<SinglePart, String> {
    let bytes = fs::read(path).map_err(at(path))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    let kind = TYPES.iter().find(|(known, _)| *known == ending).map_or("application/octet-stream", |(_, kind)| kind);
    let kind = ContentType::parse(kind).map_err(|error| error.to_string())?;
    // Whatever it is: lines that end with LF alone, as those of a text file, are no lines of a mail.
    let body = Encoded::new_with_encoding(bytes, ContentTransferEncoding::Base64);
    let body = body.map_err(|_| format!("{} cannot be encoded", path.display()))?;
    Ok(Attachment::new(name).body(body, kind))
}
