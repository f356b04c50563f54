//! Messages, mailboxes and attempts as the API shows them. The first eight keys of a message are the contract of existing scripts.

use std::borrow::Cow;
use std::fmt::Display;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, Serializer};

use crate::inbox::{Attempt, Inbox, Lease, MailboxSummary, Miss, Stored};
use crate::mail::{
    Address, Attachment, Body, Code, Content, Disposition, HeaderAddress, HeaderField, Link, MailParameters,
    MailboxName, MessageId, Peer, Recipient, Ret, TlsInfo, decode_xtext,
};

/// RFC 3986 section 2.3 `unreserved` stays, everything else is encoded: right in a path, in a query and in a header.
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A message as one mailbox sees it: its own recipient, never the others.
#[derive(Serialize)]
pub(super) struct MessageView<'a> {
    #[serde(serialize_with = "text")]
    id: MessageId,
    #[serde(serialize_with = "text_or_empty")]
    from: Option<&'a Address>,
    #[serde(serialize_with = "text")]
    to: &'a Address,
    subject: &'a str,
    body_text: &'a str,
    body_html: &'a str,
    attachments: Vec<&'a str>,
    received_at: u64,
    seq: u64,
    mailbox: &'a str,
    expires_at: u64,
    size: u64,
    attachment_records: Vec<AttachmentView<'a>>,
    message_id: Option<&'a str>,
    date: Option<&'a str>,
    header_from: Option<&'a HeaderAddress>,
    header_to: &'a [HeaderAddress],
    cc: &'a [HeaderAddress],
    reply_to: &'a [HeaderAddress],
    in_reply_to: &'a [String],
    references: &'a [String],
    list_unsubscribe: &'a [String],
    codes: &'a [Code],
    links: &'a [Link],
    peer: PeerView<'a>,
    envelope: EnvelopeView<'a>,
    problems: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<&'a [HeaderField]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<&'a ClaimView>,
}

/// A lease on a message, and where its steps are taken.
#[derive(Serialize)]
pub(super) struct ClaimView {
    token: String,
    expires_at: u64,
    urls: ClaimUrls,
}

#[derive(Serialize)]
struct ClaimUrls {
    release: String,
    done: String,
    extend: String,
}

/// An attachment, and where its bytes are to be had.
#[derive(Serialize)]
struct AttachmentView<'a> {
    index: usize,
    filename: Option<&'a str>,
    content_type: &'a str,
    disposition: Disposition,
    content_id: Option<&'a str>,
    size: u64,
    sha256: &'a str,
    subject: Option<&'a str>,
    url: String,
}

/// Who brought the message.
#[derive(Serialize)]
struct PeerView<'a> {
    ip: std::net::IpAddr,
    helo: &'a str,
    #[serde(serialize_with = "tls_text")]
    tls: Option<&'a TlsInfo>,
}

/// What the client said in MAIL and RCPT beside the addresses; `null` is what it did not say.
#[derive(Serialize)]
struct EnvelopeView<'a> {
    size: Option<u64>,
    body: Option<Body>,
    smtputf8: bool,
    ret: Option<Ret>,
    envid: Option<String>,
    notify: Option<Vec<&'a str>>,
    orcpt: Option<Cow<'a, str>>,
}

/// Mail that did not get in, as its recipient sees it.
#[derive(Serialize)]
pub(super) struct AttemptView<'a> {
    attempted_at: u64,
    #[serde(serialize_with = "text_or_empty")]
    from: Option<&'a Address>,
    to: Option<String>,
    mailbox: Option<&'a str>,
    peer: PeerView<'a>,
    code: Option<u16>,
    reply: Option<String>,
}

/// A message that is not the one that was wanted, and what it lacks.
#[derive(Serialize)]
pub(super) struct MissView<'a> {
    #[serde(serialize_with = "text")]
    id: MessageId,
    seq: u64,
    #[serde(serialize_with = "text_or_empty")]
    from: Option<&'a Address>,
    subject: &'a str,
    received_at: u64,
    misses: &'a [String],
}

/// A message that has just arrived: what tells whether it is the one, and where the whole of it is.
#[derive(Serialize)]
pub(super) struct ArrivalView<'a> {
    #[serde(serialize_with = "text")]
    id: MessageId,
    seq: u64,
    mailbox: &'a str,
    #[serde(serialize_with = "text_or_empty")]
    from: Option<&'a Address>,
    #[serde(serialize_with = "text")]
    to: &'a Address,
    subject: &'a str,
    received_at: u64,
    expires_at: u64,
    size: u64,
    header_from: Option<&'a HeaderAddress>,
    attachments: Vec<&'a str>,
    code: Option<&'a str>,
    link: Option<&'a str>,
    url: String,
}

/// A mailbox that holds mail.
#[derive(Serialize)]
pub(super) struct MailboxView<'a> {
    name: &'a str,
    count: u64,
    newest_received_at: u64,
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
            to: &stored.rcpt_to.address,
            subject: content.subject.as_deref().unwrap_or_default(),
            body_text: content.text.as_deref().unwrap_or_default(),
            body_html: content.html.as_deref().unwrap_or_default(),
            attachments: filenames(content),
            received_at: message.received_at.as_secs(),
            seq: stored.seq,
            mailbox: stored.mailbox.as_str(),
            expires_at: message.expires_at.as_secs(),
            size: message.size,
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
            envelope: EnvelopeView::new(&message.parameters, &stored.rcpt_to),
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

impl ClaimView {
    /// `lease` on the message at `message_url`.
    pub(super) fn new(message_url: &str, lease: Lease) -> Self {
        let Lease { token, until } = lease;
        let url = |step| format!("{message_url}/{step}?token={token}");
        let urls = ClaimUrls { release: url("release"), done: url("done"), extend: url("extend") };
        Self { token: token.to_string(), expires_at: until.as_secs(), urls }
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
            to: &stored.rcpt_to.address,
            subject: content.subject.as_deref().unwrap_or_default(),
            received_at: message.received_at.as_secs(),
            expires_at: message.expires_at.as_secs(),
            size: message.size,
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
            notify: recipient.notify.as_deref().map(|words| words.split(',').collect()),
            // An address in UTF-8 is not in xtext.
            orcpt: recipient.orcpt.as_deref().map(|sent| decode_xtext(sent).map_or_else(|| sent.into(), Into::into)),
        }
    }
}

impl<'a> From<&'a Attempt> for AttemptView<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            attempted_at: attempt.attempted_at.as_secs(),
            from: attempt.mail_from.as_ref(),
            to: attempt.rcpt_to.as_ref().map(Address::to_string),
            mailbox: attempt.mailbox.as_ref().map(MailboxName::as_str),
            peer: PeerView::new(&attempt.peer),
            code: attempt.reply.as_ref().map(|reply| reply.code),
            reply: attempt.reply.as_ref().map(ToString::to_string),
        }
    }
}

impl<'a> From<&'a Miss> for MissView<'a> {
    fn from(Miss { stored, misses }: &'a Miss) -> Self {
        let message = &*stored.message;
        Self {
            id: message.id,
            seq: stored.seq,
            from: message.mail_from.as_ref(),
            subject: message.content.subject.as_deref().unwrap_or_default(),
            received_at: message.received_at.as_secs(),
            misses,
        }
    }
}

impl<'a> From<&'a MailboxSummary> for MailboxView<'a> {
    fn from(summary: &'a MailboxSummary) -> Self {
        Self {
            name: summary.mailbox.as_str(),
            count: summary.count,
            newest_received_at: summary.newest_received_at.as_secs(),
        }
    }
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
