//! What is shown beside messages: mailboxes, leases, attempts, messages that were not meant, and what has been done.

use serde::Serialize;
use utoipa::ToSchema;

use super::{PeerView, text, text_or_empty};
use crate::inbox::{Attempt, Lease, MailboxSummary, Miss};
use crate::mail::{Address, MailboxName, MessageId};

/// A lease on a message, and where its steps are taken.
#[derive(Serialize, ToSchema)]
#[schema(as = Claim)]
pub(in crate::http) struct ClaimView {
    /// What shows that the lease is held.
    token: String,
    /// When the lease ends, in seconds since 1970.
    expires_at: u64,
    urls: ClaimUrls,
}

/// Where the steps of a lease are taken.
#[derive(Serialize, ToSchema)]
struct ClaimUrls {
    /// Gives the message back.
    release: String,
    /// Is done with it.
    done: String,
    /// Keeps it for longer.
    extend: String,
}

/// Mail that did not get in, as its recipient sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(in crate::http) struct AttemptView<'a> {
    /// When it was refused, in seconds since 1970.
    attempted_at: u64,
    /// The sender of the envelope, empty for a bounce; as it was written where it is no address.
    from: String,
    /// The recipient; `null` where the sender was refused and none was named.
    #[schema(required)]
    to: Option<String>,
    /// The mailbox of the recipient; `null` where there is none.
    #[schema(required)]
    mailbox: Option<&'a str>,
    peer: PeerView<'a>,
    /// The first three digits of the reply; `null` where the client went away in the middle of the message.
    #[schema(required)]
    code: Option<u16>,
    /// The reply that kept it out, as SMTP writes it.
    #[schema(required)]
    reply: Option<String>,
}

/// A message that is not the one that was wanted, and what it lacks.
#[derive(Serialize, ToSchema)]
#[schema(as = Miss)]
pub(in crate::http) struct MissView<'a> {
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, format = Uuid)]
    id: MessageId,
    seq: u64,
    /// The sender of the envelope, empty for a bounce.
    #[serde(serialize_with = "text_or_empty")]
    #[schema(value_type = String)]
    from: Option<&'a Address>,
    subject: &'a str,
    /// When it was received, in seconds since 1970.
    received_at: u64,
    /// The conditions that it does not meet, and what it has instead.
    misses: &'a [String],
}

/// A mailbox that holds mail.
#[derive(Serialize, ToSchema)]
#[schema(as = Mailbox)]
pub(in crate::http) struct MailboxView<'a> {
    /// Its name.
    name: &'a str,
    /// How many messages it holds.
    count: u64,
    /// When the newest of them was received, in seconds since 1970.
    newest_received_at: u64,
}

/// What has been done.
#[derive(Serialize, ToSchema)]
#[schema(as = Done)]
pub(in crate::http) struct DoneView {
    /// The same in words.
    pub(in crate::http) message: String,
    /// How many messages that match have been deleted; only where a filter was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) deleted: Option<u64>,
    /// The lease with its new end; only where it is longer now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) claim: Option<ClaimView>,
}

impl DoneView {
    /// What has been done, in words.
    pub(in crate::http) fn new(message: String) -> Self {
        Self { message, deleted: None, claim: None }
    }
}

impl ClaimView {
    /// `lease` on the message at `message_url`.
    pub(in crate::http) fn new(message_url: &str, lease: Lease) -> Self {
        let Lease { token, until } = lease;
        let url = |step| format!("{message_url}/{step}?token={token}");
        let urls = ClaimUrls { release: url("release"), done: url("done"), extend: url("extend") };
        Self { token: token.to_string(), expires_at: until.as_secs(), urls }
    }
}

impl<'a> From<&'a Attempt> for AttemptView<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            attempted_at: attempt.attempted_at.as_secs(),
            from: attempt
                .mail_from
                .as_ref()
                .map(Address::to_string)
                .or_else(|| attempt.written_from.clone())
                .unwrap_or_default(),
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
