//! A message that was leased for an answer comes back where the answer is not given.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;

use crate::inbox::{InHand, Inbox};
use crate::mail::MailboxName;
use crate::shutdown::Shutdown;

/// The lease for an answer. Dropping it gives the message back: then nobody has read the token, and nobody else could have the
/// message until the lease ends.
pub(super) struct Lent {
    inbox: Inbox,
    mailbox: MailboxName,
    tasks: Shutdown,
    pub(super) in_hand: InHand,
}

impl Lent {
    /// Nothing yet.
    pub(super) fn new(inbox: Inbox, mailbox: MailboxName, tasks: Shutdown) -> Self {
        Self { inbox, mailbox, tasks, in_hand: InHand::default() }
    }

    /// The answer that tells of the lease. It is given once all of it has been taken.
    pub(super) fn told_by(self, answer: Response) -> Response {
        answer.map(|body| Body::new(Telling { body, lent: Some(self) }))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A program that ends has nobody who could do it.
        if self.in_hand.is_empty() || Handle::try_current().is_err() {
            return;
        }
        let (inbox, mailbox, in_hand) = (self.inbox.clone(), self.mailbox.clone(), std::mem::take(&mut self.in_hand));
        self.tasks.spawn(async move {
            if let Err(error) = inbox.put_back(&mailbox, in_hand).await {
                tracing::warn!(%error, "a message that nobody was told of may stay leased until its lease ends");
            }
        });
    }
}

/// The body of an answer that tells of a lease.
struct Telling {
    body: Body,
    lent: Option<Lent>,
}

impl HttpBody for Telling {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // Who knows by the length that this was all of it does not ask for its end.
        let is_all = frame.as_ref().is_none_or(|frame| frame.is_ok() && self.body.is_end_stream());
        if let Some(mut lent) = self.lent.take_if(|_| is_all) {
            lent.in_hand = InHand::default();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use axum::body::to_bytes;
    use axum::response::IntoResponse;
    use tokio::time::Instant;

    use super::*;
    use crate::inbox::tests::{envelope, inbox, settings};
    use crate::inbox::{Filter, Wish};

    const MINUTE: Duration = Duration::from_secs(60);

    /// Claims the only message; waits for it.
    async fn claim(lent: &mut Lent, wait: Duration) -> bool {
        let filter = Arc::new(Filter::default());
        let wish = Wish { mailbox: &lent.mailbox, filter: &filter, after: None, lease: 10 * MINUTE };
        let claim = lent.inbox.claim(wish, Some(Instant::now() + wait), &mut lent.in_hand).await.unwrap();
        claim.is_some()
    }

    #[tokio::test]
    async fn a_lease_ends_with_the_answer_that_nobody_takes_whole() {
        let (inbox, tasks) = (inbox(settings(), u64::MAX).await, Shutdown::new());
        let mailbox = inbox.mailbox("user").unwrap();
        let raw = Bytes::from_static(b"Subject: job\r\n\r\ntext\r\n");
        crate::smtp::Backend::deliver(&inbox, &envelope(&["user@example.com"]), raw).await.unwrap();
        let lent = || Lent::new(inbox.clone(), mailbox.clone(), tasks.clone());

        let mut before_the_answer = lent();
        assert!(claim(&mut before_the_answer, MINUTE).await);
        drop(before_the_answer);
        let mut with_the_answer = lent();
        assert!(claim(&mut with_the_answer, MINUTE).await, "it has come back");
        drop(with_the_answer.told_by("the token".into_response()));
        let mut told = lent();
        assert!(claim(&mut told, MINUTE).await, "it has come back");
        let answer = told.told_by("the token".into_response());
        assert_eq!(answer.body().size_hint().exact(), Some(9));
        assert_eq!(to_bytes(answer.into_body(), 100).await.unwrap(), "the token");
        assert!(tasks.stop(MINUTE).await == 0 && !claim(&mut lent(), Duration::ZERO).await, "somebody has it");
    }
}
