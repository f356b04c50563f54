//! A received message as a record: what is kept beside its raw bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::address::Address;
use super::codes::Code;
use super::envelope::{MailParameters, Peer};
use super::links::{Link, LinkKind};
use crate::clock::Timestamp;

/// The name of a message: a UUID of version 7 (RFC 9562), which begins with the time of its arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// A fresh id for a message that arrived at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let millis = now.as_millis();
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, millis / 1000, nanos)))
    }

    /// The sixteen bytes of the UUID.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these sixteen bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = uuid::Error;

    /// Reads the hyphenated form only, so that each message has one URL.
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse::<uuid::fmt::Hyphenated>().map(|id| Self(id.into_uuid()))
    }
}

/// A received message without its raw bytes and without its recipients: each mailbox is told only of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its name.
    pub id: MessageId,
    /// When its last byte was received.
    pub received_at: Timestamp,
    /// From when on it is served no more.
    pub expires_at: Timestamp,
    /// The reverse-path; `None` is the null sender.
    pub mail_from: Option<Address>,
    /// What MAIL said beside the sender.
    #[serde(default)]
    pub parameters: MailParameters,
    /// Who brought it.
    pub peer: Peer,
    /// The size of the raw message in bytes.
    pub size: u64,
    /// What was read out of the raw message.
    pub content: Content,
}

/// What MIME parsing finds in a message. What the message does not have is `None` or empty, never invented.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The decoded `Subject`.
    pub subject: Option<String>,
    /// The `Message-ID`, without angle brackets.
    pub message_id: Option<String>,
    /// The `Date` in the form of RFC 3339.
    pub date: Option<String>,
    /// The first author of `From`.
    pub from: Option<HeaderAddress>,
    /// The addresses of `To`, those of groups included.
    pub to: Vec<HeaderAddress>,
    /// The addresses of `Cc`.
    pub cc: Vec<HeaderAddress>,
    /// The addresses of `Reply-To`.
    pub reply_to: Vec<HeaderAddress>,
    /// The ids of `In-Reply-To`, without angle brackets.
    #[serde(default)]
    pub in_reply_to: Vec<String>,
    /// The ids of `References`, without angle brackets, the oldest first.
    #[serde(default)]
    pub references: Vec<String>,
    /// The URIs of `List-Unsubscribe` (RFC 2369), the preferred first.
    #[serde(default)]
    pub list_unsubscribe: Vec<String>,
    /// All inline `text/plain` parts in order, decoded; `None` if there is none.
    pub text: Option<String>,
    /// All inline `text/html` parts in order, decoded; `None` if there is none.
    pub html: Option<String>,
    /// The attachments in order.
    pub attachments: Vec<Attachment>,
    /// The one-time codes, the likeliest first.
    #[serde(default)]
    pub codes: Vec<Code>,
    /// The links: actions first, the likeliest before the others, then all others in the order of the message.
    #[serde(default)]
    pub links: Vec<Link>,
    /// What was wrong with the message: the id of a [`Problem`](super::Problem), a colon, and the same in words.
    pub problems: Vec<String>,
}

impl Content {
    /// The bytes of its bodies, its codes and its links: nearly all that a record of a large message is.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let bodies: usize = [&self.text, &self.html].into_iter().flatten().map(String::len).sum();
        let codes: usize = self.codes.iter().map(|code| code.value.len() + code.context.len()).sum();
        let links: usize = self.links.iter().map(|link| link.href.len() + link.text.len()).sum();
        bodies + codes + links
    }

    /// The likeliest link to act on.
    #[must_use]
    pub fn action_link(&self) -> Option<&Link> {
        self.links.iter().find(|link| link.kind == LinkKind::Action)
    }
}

/// One address of a header field such as `From`, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeaderAddress {
    /// The decoded display name.
    #[schema(required)]
    pub name: Option<String>,
    /// The address as it stands in the header.
    #[schema(required)]
    pub address: Option<String>,
}

/// An attachment: where it is in the raw message, and what its bytes are once the transfer encoding is taken off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its place among the attachments of the message, from 0.
    pub index: usize,
    /// Its file name as the sender wrote it, decoded.
    pub filename: Option<String>,
    /// Its media type, lower-cased, without parameters.
    pub content_type: String,
    /// Its `Content-ID` without angle brackets.
    pub content_id: Option<String>,
    /// How the sender wants it shown.
    pub disposition: Disposition,
    /// The number of its decoded bytes.
    pub size: u64,
    /// The SHA-256 of its decoded bytes in lower-case hexadecimal digits.
    pub sha256: String,
    /// Where its encoded bytes begin in the raw message.
    pub start: usize,
    /// Where they end.
    pub end: usize,
    /// Their transfer encoding.
    pub encoding: TransferEncoding,
    /// The decoded `Subject` of a message that is attached.
    #[serde(default)]
    pub subject: Option<String>,
}

/// `Content-Disposition` (RFC 2183).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    /// To be shown where it stands; also what a `multipart/related` refers to by its `Content-ID`, if it has no disposition.
    Inline,
    /// To be offered for download; also what has no disposition and is no body.
    Attachment,
}

/// `Content-Transfer-Encoding` (RFC 2045 section 6), as far as it changes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferEncoding {
    /// `7bit`, `8bit`, `binary` and whatever is not known.
    Identity,
    /// `quoted-printable`.
    QuotedPrintable,
    /// `base64`.
    Base64,
    /// `x-uuencode` and its other names, from before MIME.
    Uuencode,
}

/// One field of a message header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeaderField {
    /// The field name as the sender wrote it.
    pub name: String,
    /// The unfolded value with its encoded words decoded.
    pub value: String,
    /// The value as it stands in the message, folds included; bytes that are not UTF-8 are replaced.
    pub raw: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{CodeSource, LinkKind};

    #[test]
    fn an_id_begins_with_its_time_and_reads_back() {
        let id = MessageId::new(Timestamp::from_millis(0x0199_f0c8_1234));
        let text = id.to_string();
        assert!(text.starts_with("0199f0c8-1234-7"), "{text}");
        assert_eq!(text.parse::<MessageId>().unwrap(), id);
        assert_eq!(MessageId::from_bytes(*id.as_bytes()), id);
    }

    #[test]
    fn the_text_of_a_record_is_counted() {
        let code =
            Code { value: "4829".to_owned(), score: 90, source: CodeSource::Text, context: "is 4829".to_owned() };
        let (href, text) = ("https://a.example/".to_owned(), "here".to_owned());
        let links = vec![Link { href, text, kind: LinkKind::Other, score: 0 }];
        let (text, html) = (Some("text".to_owned()), Some("<p>".to_owned()));
        let content = Content { text, html, codes: vec![code], links, ..Content::default() };
        assert_eq!(content.text_bytes(), 4 + 3 + (4 + 7) + (18 + 4));
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = MessageId::new(Timestamp::from_millis(1));
        let bare = id.to_string().replace('-', "");
        assert!(bare.parse::<MessageId>().is_err());
        assert!("latest".parse::<MessageId>().is_err());
    }
}
