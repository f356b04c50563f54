//! Room for what is large, and stays in memory for as long as its reader takes.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use crate::inbox::{Inbox, StoreError, Stored};
use crate::mail::{MailboxName, MessageId};

/// What takes more than this takes a share of the room; less is bounded by the number of connections.
pub(super) const LARGE_BYTES: usize = 1024 * 1024;

/// The room, in KiB. Readers who take no answer can fill it; then other large answers wait, and small ones do not.
const ROOM_KIB: u32 = 128 * 1024;

/// Clones are the same room.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// A share of the room; dropping it gives it back. What is not large has none.
pub(super) struct Share(
    #[expect(dead_code, reason = "it is given back when it is dropped")] Option<OwnedSemaphorePermit>,
);

struct Held<T> {
    held: T,
    _share: Share,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.held.as_ref()
    }
}

impl Share {
    /// What takes no room.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// The bytes that the share is for. The last of them to go gives it back.
    pub(super) fn of(self, held: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Held { held, _share: self })
    }
}

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_KIB as usize)))
    }

    /// A share for `bytes`, once there is one.
    pub(super) async fn share(&self, bytes: usize) -> Share {
        let Some(kib) = kib(bytes) else { return Share(None) };
        // The semaphore is never closed.
        Share(self.0.clone().acquire_many_owned(kib).await.ok())
    }

    /// A message, with the share of its texts.
    pub(super) async fn message(
        &self,
        inbox: &Inbox,
        mailbox: &MailboxName,
        id: MessageId,
    ) -> Result<Option<(Stored, Share)>, StoreError> {
        let Some(stored) = inbox.message(mailbox, id).await? else { return Ok(None) };
        self.hold(inbox, stored).await
    }

    /// A message that was read, with the share of its texts. Where there is no room for it, it is let go and read again when
    /// there is.
    pub(super) async fn hold(&self, inbox: &Inbox, stored: Stored) -> Result<Option<(Stored, Share)>, StoreError> {
        let bytes = stored.text_bytes();
        let Some(kib) = kib(bytes) else { return Ok(Some((stored, Share(None)))) };
        if let Ok(permit) = self.0.clone().try_acquire_many_owned(kib) {
            return Ok(Some((stored, Share(Some(permit)))));
        }
        let Stored { mailbox, message, .. } = stored;
        let id = message.id;
        drop(message);
        let share = self.share(bytes).await;
        Ok(Box::pin(inbox.message(&mailbox, id)).await?.map(|stored| (stored, share)))
    }
}

/// How much room `bytes` take; one that is larger than all of it has it for itself.
fn kib(bytes: usize) -> Option<u32> {
    (bytes > LARGE_BYTES).then(|| u32::try_from(bytes / 1024).unwrap_or(ROOM_KIB).min(ROOM_KIB))
}

impl<S: Sync> FromRequestParts<S> for Room {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        from_layer(parts)
    }
}

/// What a layer has for every request.
pub(super) fn from_layer<T: Clone + Send + Sync + 'static>(parts: &Parts) -> Result<T, Problem> {
    parts.extensions.get().cloned().ok_or_else(|| {
        tracing::error!("a request for mail came past the layer that has the room for it");
        Problem::internal()
    })
}
