//! What the API shows, first of all messages. The first eight keys of a message are the contract of existing scripts.

mod beside;

use std::borrow::Cow;
use std::fmt::Display;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

pub(super) use self::beside::{AttemptView, ClaimView, DoneView, MailboxView, MissView};

use crate::inbox::{Inbox, Stored};
use crate::mail::{
    Address, Attachment, Body, Code, Content, Disposition, HeaderAddress, HeaderField, Link, MailParameters,
    MailboxName, MessageId, Peer, Recipient, Recipients, Ret, TlsInfo, decode_xtext,
};

/// RFC 3986 section 2.3 `unreserved` stays, everything else is encoded: right in a path, in a query and in a header.
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A message as one mailbox sees it: its own recipient, never the others.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct MessageView<'a> {
    /// Its name, a UUID of version 7; one message in several mailboxes has the same in each.
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, format = Uuid)]
    id: MessageId,
    /// The sender of the envelope, empty for a bounce.
    #[serde(serialize_with = "text_or_empty")]
    #[schema(value_type = String)]
    from: Option<&'a Address>,
    /// The recipient of the envelope that led to this mailbox, the first of `recipients`.
    #[serde(serialize_with = "text")]
    #[schema(value_type = String)]
    to: &'a Address,
    /// The decoded `Subject`, or empty.
    subject: &'a str,
    /// All inline `text/plain` parts, decoded, or empty.
    body_text: &'a str,
    /// All inline `text/html` parts, decoded, or empty; as it was sent, scripts included.
    body_html: &'a str,
    /// The file names of the attachments, empty for one without.
    attachments: Vec<&'a str>,
    /// When it was received, in seconds since 1970.
    received_at: u64,
    /// Its place in the order of arrival: larger than of all that came before, never given out again.
    seq: u64,
    /// The name of the mailbox.
    mailbox: &'a str,
    /// From when on it is not served any more, in seconds since 1970.
    expires_at: u64,
    /// The size of the raw message in bytes.
    size: u64,
    /// All recipients of the envelope that led to this mailbox, in the order of RCPT.
    recipients: Vec<RecipientView<'a>>,
    /// The attachments.
    attachment_records: Vec<AttachmentView<'a>>,
    /// The `Message-ID` without angle brackets.
    #[schema(required)]
    message_id: Option<&'a str>,
    /// The `Date` in the form of RFC 3339.
    #[schema(required)]
    date: Option<&'a str>,
    /// The first author of `From`.
    #[schema(required)]
    header_from: Option<&'a HeaderAddress>,
    /// The addresses of `To`, those of groups included.
    header_to: &'a [HeaderAddress],
    /// The addresses of `Cc`.
    cc: &'a [HeaderAddress],
    /// The addresses of `Reply-To`.
    reply_to: &'a [HeaderAddress],
    /// The ids of `In-Reply-To` without angle brackets.
    in_reply_to: &'a [String],
    /// The ids of `References`, the oldest first.
    references: &'a [String],
    /// The URIs of `List-Unsubscribe`.
    list_unsubscribe: &'a [String],
    /// The one-time codes in it, the likeliest first.
    codes: &'a [Code],
    /// Its links, the likeliest action first.
    links: &'a [Link],
    peer: PeerView<'a>,
    envelope: EnvelopeView<'a>,
    /// What was wrong with the message: each an id, a colon, and the same in words for people.
    problems: &'a [String],
    /// All header fields in order; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    headers: Option<&'a [HeaderField]>,
    /// The lease on it; only in the answer to a claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    claim: Option<&'a ClaimView>,
}

/// An attachment, and where its bytes are to be had.
#[derive(Serialize, ToSchema)]
#[schema(as = Attachment)]
struct AttachmentView<'a> {
    /// Its place among the attachments of the message, from 0.
    index: usize,
    /// Its file name as the sender wrote it, decoded.
    #[schema(required)]
    filename: Option<&'a str>,
    /// Its media type, lower-cased, without parameters.
    content_type: &'a str,
    /// How the sender wants it shown.
    disposition: Disposition,
    /// Its `Content-ID` without angle brackets.
    #[schema(required)]
    content_id: Option<&'a str>,
    /// The number of its decoded bytes.
    size: u64,
    /// The SHA-256 of its decoded bytes.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: &'a str,
    /// The decoded `Subject` of a message that is attached.
    #[schema(required)]
    subject: Option<&'a str>,
    /// The path of its decoded bytes.
    url: String,
}

/// Who brought it.
#[derive(Serialize, ToSchema)]
#[schema(as = Peer)]
struct PeerView<'a> {
    /// The address that it came from, IPv4 or IPv6.
    #[schema(value_type = String)]
    ip: std::net::IpAddr,
    /// What it called itself; its own claim.
    helo: &'a str,
    /// The version of TLS and the cipher suite; `null` in clear text.
    #[serde(serialize_with = "tls_text")]
    #[schema(value_type = Option<String>, required)]
    tls: Option<&'a TlsInfo>,
}

/// What the client said in MAIL and RCPT beside the addresses; `null` is what it did not say.
#[derive(Serialize, ToSchema)]
#[schema(as = Envelope)]
struct EnvelopeView<'a> {
    /// The size in bytes that it expected the message to have.
    #[schema(required)]
    size: Option<u64>,
    /// What it said of the bytes of the message.
    #[schema(required, inline)]
    body: Option<Body>,
    /// Whether it asked for addresses and header fields in UTF-8.
    smtputf8: bool,
    /// How much of the message a delivery report was to return (RFC 3461).
    #[schema(required, inline)]
    ret: Option<Ret>,
    /// The sender's own name for the transaction.
    #[schema(required)]
    envid: Option<String>,
    /// When a delivery report was asked for, for the first of `recipients`.
    #[schema(required)]
    notify: Option<Vec<&'a str>>,
    /// The type of the address that the sender gave first, a semicolon, and the address, for the first of `recipients`.
    #[schema(required)]
    orcpt: Option<Cow<'a, str>>,
}

/// A recipient of the envelope, and what RCPT said beside the address; `null` is what it did not say.
#[derive(Serialize, ToSchema)]
#[schema(as = Recipient)]
struct RecipientView<'a> {
    /// The address.
    #[serde(serialize_with = "text")]
    #[schema(value_type = String)]
    address: &'a Address,
    /// When a delivery report was asked for.
    #[schema(required)]
    notify: Option<Vec<&'a str>>,
    /// The type of the address that the sender gave first, a semicolon, and the address.
    #[schema(required)]
    orcpt: Option<Cow<'a, str>>,
}

/// A message that has just arrived: what tells whether it is the one, and where the whole of it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Arrival)]
pub(super) struct ArrivalView<'a> {
    /// The name of the message.
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, format = Uuid)]
    id: MessageId,
    /// Its place in the order of arrival.
    seq: u64,
    /// The name of the mailbox.
    mailbox: &'a str,
    /// The sender of the envelope, empty for a bounce.
    #[serde(serialize_with = "text_or_empty")]
    #[schema(value_type = String)]
    from: Option<&'a Address>,
    /// The recipient of the envelope that led to this mailbox, the first of `recipients`.
    #[serde(serialize_with = "text")]
    #[schema(value_type = String)]
    to: &'a Address,
    /// The decoded `Subject`, or empty.
    subject: &'a str,
    /// When it was received, in seconds since 1970.
    received_at: u64,
    /// From when on it is not served any more, in seconds since 1970.
    expires_at: u64,
    /// The size of the raw message in bytes.
    size: u64,
    /// All recipients of the envelope that led to this mailbox, in the order of RCPT.
    recipients: Vec<RecipientView<'a>>,
    /// The first author of `From`.
    #[schema(required)]
    header_from: Option<&'a HeaderAddress>,
    /// The file names of the attachments, empty for one without.
    attachments: Vec<&'a str>,
    /// The likeliest of its one-time codes.
    #[schema(required)]
    code: Option<&'a str>,
    /// The likeliest of its links to act on.
    #[schema(required)]
    link: Option<&'a str>,
    /// The path of the whole message.
    url: String,
}

impl<'a> MessageView<'a> {
    /// What stands between the two bodies.
    pub(super) const BETWEEN_BODIES: &'static [u8] = br#"","body_html":""#;

    /// The JSON before the text of the first body, and behind that of the second.
    pub(super) fn around_bodies(self) -> (Vec<u8>, Vec<u8>) {
        let mut before = serde_json::to_vec(&Self { body_text: "", body_html: "", ..self }).unwrap_or_default();
        // In a value the quotes would be escaped: this is the place of the keys.
        let keys = br#","body_text":"","body_html":""#;
        let start = memchr::memmem::find(&before, keys).unwrap_or(0);
        let after = before.split_off((start + keys.len()).min(before.len()));
        before.truncate(start + br#","body_text":""#.len());
        (before, after)
    }

    /// `stored`, at `mailbox_url`; with all its headers where they are given.
    pub(super) fn new(stored: &'a Stored, mailbox_url: &str, headers: Option<&'a [HeaderField]>) -> Self {
        let message = &*stored.message;
        let content = &message.content;
        let attachment = |attachment| AttachmentView::new(attachment, mailbox_url, message.id);
        Self {
            id: message.id,
            from: message.mail_from.as_ref(),
            to: &stored.rcpt_to.first.address,
            subject: content.subject.as_deref().unwrap_or_default(),
            body_text: content.text.as_deref().unwrap_or_default(),
            body_html: content.html.as_deref().unwrap_or_default(),
            attachments: filenames(content),
            received_at: message.received_at.as_secs(),
            seq: stored.seq,
            mailbox: stored.mailbox.as_str(),
            expires_at: message.expires_at.as_secs(),
            size: message.size,
            recipients: RecipientView::all(&stored.rcpt_to),
            attachment_records: content.attachments.iter().map(attachment).collect(),
            message_id: content.message_id.as_deref(),
            date: content.date.as_deref(),
            header_from: content.from.as_ref(),
            header_to: &content.to,
            cc: &content.cc,
            reply_to: &content.reply_to,
            in_reply_to: &content.in_reply_to,
            references: &content.references,
            list_unsubscribe: &content.list_unsubscribe,
            codes: &content.codes,
            links: &content.links,
            peer: PeerView::new(&message.peer),
            envelope: EnvelopeView::new(&message.parameters, &stored.rcpt_to.first),
            problems: &content.problems,
            headers,
            claim: None,
        }
    }

    /// The same, with the lease on it.
    pub(super) fn with_claim(self, claim: &'a ClaimView) -> Self {
        Self { claim: Some(claim), ..self }
    }
}

impl<'a> ArrivalView<'a> {
    pub(super) fn new(stored: &'a Stored, mailbox_url: &str) -> Self {
        let message = &*stored.message;
        let content = &message.content;
        Self {
            id: message.id,
            seq: stored.seq,
            mailbox: stored.mailbox.as_str(),
            from: message.mail_from.as_ref(),
            to: &stored.rcpt_to.first.address,
            subject: content.subject.as_deref().unwrap_or_default(),
            received_at: message.received_at.as_secs(),
            expires_at: message.expires_at.as_secs(),
            size: message.size,
            recipients: RecipientView::all(&stored.rcpt_to),
            header_from: content.from.as_ref(),
            attachments: filenames(content),
            code: content.codes.first().map(|code| code.value.as_str()),
            link: content.action_link().map(|link| link.href.as_str()),
            url: message_url(mailbox_url, message.id),
        }
    }
}

impl<'a> AttachmentView<'a> {
    fn new(attachment: &'a Attachment, mailbox_url: &str, id: MessageId) -> Self {
        let index = attachment.index;
        Self {
            index,
            filename: attachment.filename.as_deref(),
            content_type: &attachment.content_type,
            disposition: attachment.disposition,
            content_id: attachment.content_id.as_deref(),
            size: attachment.size,
            sha256: &attachment.sha256,
            subject: attachment.subject.as_deref(),
            url: attachment_url(&message_url(mailbox_url, id), index),
        }
    }
}

impl<'a> PeerView<'a> {
    fn new(peer: &'a Peer) -> Self {
        Self { ip: peer.addr.ip().to_canonical(), helo: &peer.helo, tls: peer.tls.as_ref() }
    }
}

impl<'a> EnvelopeView<'a> {
    fn new(parameters: &MailParameters, recipient: &'a Recipient) -> Self {
        Self {
            size: parameters.size,
            body: parameters.body,
            smtputf8: parameters.smtputf8,
            ret: parameters.ret,
            envid: parameters.envid.as_deref().and_then(decode_xtext),
            notify: notify(recipient),
            orcpt: orcpt(recipient),
        }
    }
}

impl<'a> RecipientView<'a> {
    fn all(recipients: &'a Recipients) -> Vec<Self> {
        let view = |to: &'a Recipient| Self { address: &to.address, notify: notify(to), orcpt: orcpt(to) };
        recipients.iter().map(view).collect()
    }
}

fn notify(recipient: &Recipient) -> Option<Vec<&str>> {
    recipient.notify.as_deref().map(|words| words.split(',').collect())
}

fn orcpt(recipient: &Recipient) -> Option<Cow<'_, str>> {
    // An address in UTF-8 is not in xtext.
    recipient.orcpt.as_deref().map(|sent| decode_xtext(sent).map_or_else(|| sent.into(), Into::into))
}

fn filenames(content: &Content) -> Vec<&str> {
    content.attachments.iter().map(|attachment| attachment.filename.as_deref().unwrap_or_default()).collect()
}

/// The path of a mailbox.
pub(super) fn mailbox_url(inbox: &Inbox, mailbox: &MailboxName) -> String {
    format!("/emails/{}", encoded(inbox, mailbox))
}

/// The path of a message.
pub(super) fn message_url(mailbox_url: &str, id: MessageId) -> String {
    format!("{mailbox_url}/{id}")
}

/// The path of an attachment.
pub(super) fn attachment_url(message_url: &str, index: usize) -> String {
    format!("{message_url}/attachments/{index}")
}

/// The name of a mailbox, for a path or a query.
pub(super) fn encoded(inbox: &Inbox, mailbox: &MailboxName) -> String {
    let written = match inbox.written(mailbox) {
        // Clients resolve these as steps in the path, encoded or not; in quotes they are names.
        dots if dots == "." || dots == ".." => format!("\"{dots}\""),
        written => written,
    };
    utf8_percent_encode(&written, RESERVED).to_string()
}

fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The null sender reads as an empty text.
fn text_or_empty<S: Serializer>(address: &Option<&Address>, serializer: S) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str(""),
    }
}

fn tls_text<S: Serializer>(tls: &Option<&TlsInfo>, serializer: S) -> Result<S::Ok, S::Error> {
    match tls {
        Some(TlsInfo { version, cipher }) => serializer.collect_str(&format_args!("{version} {cipher}")),
        None => serializer.serialize_none(),
    }
}
