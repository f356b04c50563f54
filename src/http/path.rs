//! What the path of a request names: a mailbox, a message in it, an attachment of that.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::held::Waiter;
use super::known::Known;
use super::problem::{MESSAGE_GONE, MESSAGE_NOT_FOUND, Problem};
use super::query::{Parameters, Query};
use super::room::{Room, Share};
use super::wanted::{Having, Latest, Newest};
use crate::inbox::{Gone, GoneReason, Inbox, Raw, Stored};
use crate::mail::{MailboxName, MessageId};

/// What stands in place of an id for the newest message.
const LATEST: &str = "latest";

/// `/emails/{mailbox}`.
pub(super) struct MailboxPath(pub(super) MailboxName);

/// A message in a mailbox.
#[derive(Clone)]
pub(super) struct MessagePath {
    pub(super) mailbox: MailboxName,
    pub(super) id: MessageId,
}

/// `/emails/{mailbox}/{id}`; in place of the id `latest` is the newest message that the query asks for.
pub(super) struct AnyPath {
    mailbox: MailboxName,
    which: Which,
}

enum Which {
    This(MessageId),
    /// In a box, as most paths have an id.
    Newest(Box<Newest>),
}

/// `/emails/{mailbox}/{id}` with an id: what changes something names what it means.
pub(super) struct ExactPath(pub(super) MessagePath);

/// `/emails/{mailbox}/{id}/attachments/{index}`.
pub(super) struct AttachmentPath {
    pub(super) message: AnyPath,
    pub(super) index: usize,
}

impl AnyPath {
    /// The same, but the newest message is the newest that has something.
    pub(super) fn having(self, having: Having) -> Self {
        let which = match self.which {
            Which::This(id) => Which::This(id),
            Which::Newest(newest) => {
                let Newest { latest, known, waiter } = *newest;
                Which::Newest(Box::new(Newest { latest: latest.having(having), known, waiter }))
            }
        };
        Self { which, ..self }
    }

    /// What `read` makes of the message that is meant, once it is there.
    ///
    /// # Errors
    /// Where there is none, and none comes in the time that it may be waited for.
    pub(super) async fn read<T, F>(self, inbox: &Inbox, read: impl Fn(MessagePath) -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let Self { mailbox, which } = self;
        match which {
            Which::This(id) => {
                let path = MessagePath { mailbox, id };
                match Box::pin(read(path.clone())).await {
                    // It may have gone while it was read: how, is known now.
                    Err(problem) if problem.is_of_missing_message() => Err(Box::pin(path.missing(inbox)).await?),
                    read => read,
                }
            }
            Which::Newest(newest) => newest.read(inbox, mailbox, read).await,
        }
    }
}

/// Reading is in boxes: what is read may have been waited for, and who waits has no room for what comes then.
impl MessagePath {
    /// The message.
    pub(super) async fn message(&self, inbox: &Inbox) -> Result<Stored, Problem> {
        self.found(inbox, Box::pin(inbox.message(&self.mailbox, self.id)).await?).await
    }

    /// The message, with its share of the room.
    pub(super) async fn held(&self, inbox: &Inbox, room: &Room) -> Result<(Stored, Share), Problem> {
        self.found(inbox, Box::pin(room.message(inbox, &self.mailbox, self.id)).await?).await
    }

    /// Its raw bytes.
    pub(super) async fn raw(&self, inbox: &Inbox) -> Result<Raw, Problem> {
        self.found(inbox, Box::pin(inbox.open_raw(&self.mailbox, self.id)).await?).await
    }

    /// What was found of the message.
    ///
    /// # Errors
    /// Where there was nothing: that it is gone, and how, as far as that is remembered.
    pub(super) async fn found<T>(&self, inbox: &Inbox, found: Option<T>) -> Result<T, Problem> {
        match found {
            Some(found) => Ok(found),
            None => Err(Box::pin(self.missing(inbox)).await?),
        }
    }

    /// Why there is nothing at this path.
    async fn missing(&self, inbox: &Inbox) -> Result<Problem, Problem> {
        let Self { mailbox, id } = self;
        let Some(Gone { reason, at }) = inbox.gone(mailbox, *id).await? else {
            let detail = format!("there is no message {id} in mailbox {mailbox}");
            return Ok(Problem::not_found(MESSAGE_NOT_FOUND, detail));
        };
        let (reason, how) = match reason {
            GoneReason::Deleted => ("deleted", "was deleted from mailbox"),
            GoneReason::Expired => ("expired", "has expired in mailbox"),
            GoneReason::Evicted => ("evicted", "was pushed out by newer ones of mailbox"),
        };
        let problem = Problem::gone(MESSAGE_GONE, format!("message {id} {how} {mailbox}"));
        Ok(problem.with("reason", reason.into()).with("at", at.as_secs().into()))
    }
}

impl FromRequestParts<Inbox> for MailboxPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, inbox: &Inbox) -> Result<Self, Problem> {
        mailbox(&params(parts).await?, inbox).map(Self)
    }
}

impl FromRequestParts<Inbox> for AnyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, inbox: &Inbox) -> Result<Self, Problem> {
        let params = params(parts).await?;
        message(&params, parts, inbox).await
    }
}

impl FromRequestParts<Inbox> for ExactPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, inbox: &Inbox) -> Result<Self, Problem> {
        let params = params(parts).await?;
        Ok(Self(MessagePath { mailbox: mailbox(&params, inbox)?, id: id(&params)? }))
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
                Ok(Self { message: message(&params, parts, inbox).await?, index: number })
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

async fn message(params: &RawPathParams, parts: &mut Parts, inbox: &Inbox) -> Result<AnyPath, Problem> {
    let mailbox = mailbox(params, inbox)?;
    let which = if segment(params, "id") == LATEST {
        let latest = Latest::read(&Query::of(parts)?)?;
        let waiter = Waiter::from_request_parts(parts, &()).await?;
        Which::Newest(Box::new(Newest { latest, known: Known::of(&parts.headers), waiter }))
    } else {
        Which::This(id(params)?)
    };
    Ok(AnyPath { mailbox, which })
}

fn id(params: &RawPathParams) -> Result<MessageId, Problem> {
    let id = segment(params, "id");
    id.parse().map_err(|_| {
        let detail = format!("{id:?} is not a message id; it looks like 0199f0c8-1234-7abc-8def-0123456789ab");
        Problem::not_found(MESSAGE_NOT_FOUND, detail)
    })
}

/// Whether the path means the newest message in place of one with an id.
pub(super) async fn is_latest(parts: &mut Parts) -> bool {
    params(parts).await.is_ok_and(|params| segment(&params, "id") == LATEST)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::inbox::Lost;
    use crate::inbox::tests::{envelope, inbox, settings};

    #[tokio::test]
    async fn a_message_that_goes_while_it_is_read_is_gone_and_no_failure() {
        let inbox = inbox(settings(), u64::MAX).await;
        let mailbox = inbox.mailbox("user").unwrap();
        let raw = Bytes::from_static(b"Subject: one\r\n\r\ntext\r\n");
        crate::smtp::Backend::deliver(&inbox, &envelope(&["user@example.com"]), raw).await.unwrap();
        let page = crate::inbox::Page { before: None, after: None, limit: 1, max_bytes: 1000 };
        let id = inbox.list(&mailbox, page).await.unwrap().messages[0].message.id;
        let inbox = &inbox;
        let read = async |path: MessagePath| -> Result<(), Problem> {
            inbox.delete(&path.mailbox, path.id).await?;
            Err(Lost::Deleted.into())
        };
        let path = AnyPath { mailbox, which: Which::This(id) };
        let problem = path.read(inbox, read).await.unwrap_err();
        assert!(format!("{problem:?}").contains("was deleted from mailbox user"), "{problem:?}");
    }
}
