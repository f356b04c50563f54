//! What the path of a request names: a mailbox, a message in it, an attachment of that.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::problem::Problem;
use crate::inbox::Inbox;
use crate::mail::{MailboxName, MessageId};

/// `/emails/{mailbox}`.
pub(super) struct MailboxPath(pub(super) MailboxName);

/// `/emails/{mailbox}/{id}`.
pub(super) struct MessagePath {
    pub(super) mailbox: MailboxName,
    pub(super) id: MessageId,
}

/// `/emails/{mailbox}/{id}/attachments/{index}`.
pub(super) struct AttachmentPath {
    pub(super) message: MessagePath,
    pub(super) index: usize,
}

impl MessagePath {
    /// The message is not there.
    pub(super) fn not_found(&self) -> Problem {
        let Self { mailbox, id } = self;
        Problem::not_found("message not found", format!("there is no message {id} in mailbox {mailbox}"))
    }
}

impl FromRequestParts<Inbox> for MailboxPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, inbox: &Inbox) -> Result<Self, Problem> {
        mailbox(&params(parts).await?, inbox).map(Self)
    }
}

impl FromRequestParts<Inbox> for MessagePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, inbox: &Inbox) -> Result<Self, Problem> {
        message(&params(parts).await?, inbox)
    }
}

impl FromRequestParts<Inbox> for AttachmentPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, inbox: &Inbox) -> Result<Self, Problem> {
        let params = params(parts).await?;
        let index = segment(&params, "index");
        match index.parse() {
            // One spelling each, as everywhere in a URL: no plus sign, no leading zeros.
            Ok(number) if usize::to_string(&number) == index => {
                Ok(Self { message: message(&params, inbox)?, index: number })
            }
            _ => Err(Problem::not_found(
                "attachment not found",
                format!("{index:?} is not the index of an attachment; they are numbered from 0"),
            )),
        }
    }
}

async fn params(parts: &mut Parts) -> Result<RawPathParams, Problem> {
    RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| Problem::bad_request("bad path", "the path is not UTF-8 once its percent-encoding is taken off"))
}

fn segment<'a>(params: &'a RawPathParams, name: &str) -> &'a str {
    params.iter().find(|(other, _)| *other == name).map_or("", |(_, value)| value)
}

fn mailbox(params: &RawPathParams, inbox: &Inbox) -> Result<MailboxName, Problem> {
    let text = segment(params, "mailbox");
    inbox.mailbox(text).map_err(|error| Problem::bad_request("bad mailbox name", error.to_string()))
}

fn message(params: &RawPathParams, inbox: &Inbox) -> Result<MessagePath, Problem> {
    let mailbox = mailbox(params, inbox)?;
    let id = segment(params, "id");
    let id = id.parse().map_err(|_| {
        let detail = format!("{id:?} is not a message id; it looks like 0199f0c8-1234-7abc-8def-0123456789ab");
        Problem::not_found("message not found", detail)
    })?;
    Ok(MessagePath { mailbox, id })
}
