//! Room for what is large, and stays in memory for as long as its reader takes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Settings;
use super::client::Client;
use super::problem::Problem;
use crate::inbox::{Inbox, StoreError, Stored};
use crate::mail::{MailboxName, MessageId};

/// What takes more than this takes a share of the room; less is bounded by the number of connections.
pub(super) const LARGE_BYTES: usize = 1024 * 1024;

/// The room. Readers who take no answer can fill it; then other large answers wait, and small ones do not.
const ROOM_BYTES: usize = 128 * 1024 * 1024;

/// Up to here anybody has what there is: a client may open several large answers before it reads the first.
const SPARE_BYTES: usize = ROOM_BYTES / 2;

/// Beyond that one client has no more than this, unless it is for one answer: then it has that alone.
const CLIENT_BYTES: usize = ROOM_BYTES / 4;

/// The room, as one client has it. Clones are the same room.
#[derive(Clone)]
pub(super) struct Room {
    hall: Arc<Hall>,
    client: Option<IpAddr>,
    /// How long who asks for a share waits for it.
    patience: Duration,
}

/// The room of all. Who waits for a share comes again when one is given back, so what fits goes before what does not.
pub(super) struct Hall {
    taken: Mutex<Taken>,
    given_back: Notify,
    /// How long a request waits for its share: less than the time that it has, so that its client is told why.
    patience: Duration,
}

/// Why a large answer is not given.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoomError {
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There was no room for it, as other answers to this client took it.
    #[error("other large answers to this client are in the way")]
    Own,
    /// There was no room for it, as answers to others took it.
    #[error("large answers to others are in the way")]
    Others,
}

impl From<RoomError> for Problem {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Store(error) => error.into(),
            RoomError::Own => Self::unavailable(
                "other large answers to this client are in the way; read them to their end, or close their connections, and try again",
            ),
            RoomError::Others => Self::unavailable("large answers to others are in the way; try again"),
        }
    }
}

/// In a body that has begun it is one more reason to break off.
impl From<RoomError> for StoreError {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Store(error) => error,
            RoomError::Own | RoomError::Others => Self::Unavailable(error.to_string()),
        }
    }
}

#[derive(Default)]
struct Taken {
    bytes: usize,
    of_client: HashMap<Option<IpAddr>, usize>,
}

/// A share of the room; dropping it gives it back. What is not large has none.
pub(super) struct Share(#[expect(dead_code, reason = "it is given back when it is dropped")] Option<Part>);

struct Part {
    room: Room,
    bytes: usize,
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut taken = self.room.hall.taken();
        taken.bytes -= self.bytes;
        if let Some(of_client) = taken.of_client.get_mut(&self.room.client) {
            *of_client -= self.bytes;
            if *of_client == 0 {
                taken.of_client.remove(&self.room.client);
            }
        }
        drop(taken);
        self.room.hall.given_back.notify_waiters();
    }
}

impl Hall {
    pub(super) fn new(settings: &Settings) -> Self {
        let patience = settings.request_timeout.mul_f64(0.9);
        Self { taken: Mutex::default(), given_back: Notify::new(), patience }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
    /// The same for an answer that has begun: nobody can be told any more why it ends, so it waits. A client that takes
    /// nothing meanwhile is given up as any other.
    pub(super) fn patient(self) -> Self {
        Self { patience: Duration::MAX, ..self }
    }

    /// A share for `bytes`, once there is one.
    ///
    /// # Errors
    /// Where there is none for as long as may be waited for it.
    pub(super) async fn share(&self, bytes: usize) -> Result<Share, RoomError> {
        let Some(bytes) = large(bytes) else { return Ok(Share::none()) };
        timeout(self.patience, self.next_share(bytes)).await.map_err(|_| {
            let is_own = self.hall.taken().of_client.contains_key(&self.client);
            if is_own { RoomError::Own } else { RoomError::Others }
        })
    }

    async fn next_share(&self, bytes: usize) -> Share {
        let mut given_back = pin!(self.hall.given_back.notified());
        loop {
            // Before the look: what is given back between the two is not missed.
            given_back.as_mut().enable();
            if let Some(share) = self.share_now(bytes) {
                return share;
            }
            given_back.as_mut().await;
            given_back.set(self.hall.given_back.notified());
        }
    }

    /// A share for so many bytes, which are many, where there is room for them.
    fn share_now(&self, bytes: usize) -> Option<Share> {
        let mut taken = self.hall.taken();
        let of_client = taken.of_client.get(&self.client).copied().unwrap_or_default();
        let is_over_part = of_client > 0 && of_client + bytes > CLIENT_BYTES;
        if taken.bytes + bytes > if is_over_part { SPARE_BYTES } else { ROOM_BYTES } {
            return None;
        }
        taken.bytes += bytes;
        *taken.of_client.entry(self.client).or_default() += bytes;
        Some(Share(Some(Part { room: self.clone(), bytes })))
    }

    /// A message, with the share of its texts.
    pub(super) async fn message(
        &self,
        inbox: &Inbox,
        mailbox: &MailboxName,
        id: MessageId,
    ) -> Result<Option<(Stored, Share)>, RoomError> {
        let Some(stored) = inbox.message(mailbox, id).await? else { return Ok(None) };
        self.hold(inbox, stored).await
    }

    /// A message that was read, with the share of its texts. Where there is no room for it, it is let go and read again when
    /// there is.
    pub(super) async fn hold(&self, inbox: &Inbox, stored: Stored) -> Result<Option<(Stored, Share)>, RoomError> {
        let bytes = stored.text_bytes();
        let Some(large) = large(bytes) else { return Ok(Some((stored, Share::none()))) };
        if let Some(share) = self.share_now(large) {
            return Ok(Some((stored, share)));
        }
        let Stored { mailbox, message, .. } = stored;
        let id = message.id;
        drop(message);
        let share = self.share(bytes).await?;
        Ok(Box::pin(inbox.message(&mailbox, id)).await?.map(|stored| (stored, share)))
    }
}

/// How much room `bytes` take, where they are many; more than all of it has all for itself.
fn large(bytes: usize) -> Option<usize> {
    (bytes > LARGE_BYTES).then(|| bytes.min(ROOM_BYTES))
}

impl<S: Sync> FromRequestParts<S> for Room {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let client = parts.extensions.get::<Client>().map(|client| client.network());
        let hall: Arc<Hall> = from_layer(parts)?;
        Ok(Self { patience: hall.patience, hall, client })
    }
}

/// What a layer has for every request.
pub(super) fn from_layer<T: Clone + Send + Sync + 'static>(parts: &Parts) -> Result<T, Problem> {
    parts.extensions.get().cloned().ok_or_else(|| {
        tracing::error!("a request for mail came past the layer that has the room for it");
        Problem::internal()
    })
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use tokio::time::Instant;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// The room of three clients.
    fn rooms() -> [Room; 3] {
        let hall = Arc::new(Hall::new(&Settings::for_tests()));
        let client = |last| Some(IpAddr::from([192, 0, 2, last]));
        [1, 2, 3].map(|last| Room { hall: hall.clone(), client: client(last), patience: hall.patience })
    }

    /// A share, where it can be had at once.
    fn now(taking: &mut std::pin::Pin<&mut impl Future<Output = Result<Share, RoomError>>>) -> Option<Share> {
        match taking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(share) => share.ok(),
            Poll::Pending => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_has_no_more_than_its_part_and_keeps_nobody_else_waiting() {
        let [one, other, third] = rooms();
        let first = now(&mut pin!(one.share(40 * MIB))).unwrap();
        let second = now(&mut pin!(one.share(24 * MIB))).unwrap();
        let mut more = pin!(one.share(2 * MIB));
        assert!(now(&mut more).is_none(), "it has more than its part, and what is left is for others");
        assert!(now(&mut pin!(one.share(LARGE_BYTES))).is_some(), "what is small takes no room");
        // One answer may be larger than that.
        let large = now(&mut pin!(other.share(58 * MIB))).unwrap();
        assert!(now(&mut pin!(other.share(2 * MIB))).is_none());
        let mut waiting = pin!(third.share(10 * MIB));
        assert!(now(&mut waiting).is_none(), "there are 6 MiB left");
        assert!(now(&mut pin!(third.share(5 * MIB))).is_some(), "what fits passes");
        drop(first);
        let (waiting, more) = (now(&mut waiting).unwrap(), now(&mut more).unwrap());
        drop((second, large, more, waiting));
        assert!(one.hall.taken().bytes == 0 && one.hall.taken().of_client.is_empty());
        assert!(now(&mut pin!(one.share(1024 * MIB))).is_some(), "more than there is has all of it");
    }

    #[tokio::test(start_paused = true)]
    async fn who_opens_large_answers_before_it_reads_them_has_them_and_is_told_what_is_in_the_way() {
        let [one, other, _] = rooms();
        let start = Instant::now();
        let mut opened = Vec::new();
        for _ in 0..3 {
            opened.push(one.share(20 * MIB).await.unwrap());
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(matches!(one.share(20 * MIB).await, Err(RoomError::Own)));
        assert!(start.elapsed() < Settings::for_tests().request_timeout, "before the request is given up");
        let _others = other.share(68 * MIB).await.unwrap();
        opened.clear();
        assert!(matches!(one.share(100 * MIB).await, Err(RoomError::Others)));
    }
}
