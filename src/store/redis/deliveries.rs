//! Deliveries that do not end well, taken back: what was not acknowledged is sent again, and must not be there twice.
//!
//! Where the mailboxes of a message are on several servers, one script cannot serve them all. Before the first is served the
//! delivery is noted as open; once all are, it is noted as done, and that is the moment from which on it counts. Whoever finds
//! an open delivery whose program must be gone takes it back, in every mailbox: nobody has been told 250.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fred::types::Value;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::Redis;
use super::append::Parcel;
use super::keys::Keys;
use super::link::number;
use super::member::MEMBER_BYTES;
use super::value::{Head, TOKEN_DIGITS};
use super::{reply, to_the_end, together};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::shutdown::Shutdown;
use crate::store::StoreError;

/// After so long a delivery that is still open belongs to no program any more: one takes some milliseconds mostly. One that
/// does take longer is refused, as it finds that it counts no more.
const ABANDONED_AFTER_SECS: u64 = 15;
/// How often such deliveries are looked for.
const ABANDONED_EVERY: Duration = Duration::from_secs(3);
/// How many of them are taken back at a time.
const ABANDONED_STEP: u64 = 100;
/// How long the note of an open delivery is kept at most.
const OPEN_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a delivery that was taken back cannot come back: a command of it may still be on its way.
const UNDONE_MS: u64 = 10 * 60 * 1000;
/// How many deliveries wait to be taken back at most, how long each of them is tried, and how long is waited between tries.
const REGRETS_MAX: usize = 10_000;
const REGRET_TIMEOUT: Duration = Duration::from_secs(300);
const REGRET_PAUSE: Duration = Duration::from_millis(500);
/// How long the last tries take together when the server stops, which waits for them and a little longer.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// One try to deliver a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) id: MessageId,
    /// Tells this try from others for the same message.
    pub(super) token: String,
    pub(super) mailboxes: Vec<MailboxName>,
}

/// A delivery that was not acknowledged, and may have done something, or may do it still.
pub(super) struct Regret {
    attempt: Attempt,
    /// What belongs to it, as it would stand in a mailbox.
    head: Head,
    until: Instant,
}

impl Attempt {
    pub(super) fn new(id: MessageId, mailboxes: Vec<MailboxName>) -> Self {
        // The second half of an id is random.
        let [.., a, b, c, d, e, f, g, h] = *MessageId::new(Timestamp::from_millis(0)).as_bytes();
        let token = format!("{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h]));
        Self { id, token, mailboxes }
    }

    pub(super) fn slot(&self) -> u8 {
        Keys::slot_of(&self.token)
    }
}

impl Redis {
    pub(super) fn regrets() -> (mpsc::Sender<Regret>, mpsc::Receiver<Regret>) {
        mpsc::channel(REGRETS_MAX)
    }

    /// The key of the note that a delivery is open.
    pub(super) fn note_of(&self, attempt: &Attempt) -> String {
        self.keys.open_delivery(attempt.slot(), &attempt.token)
    }

    pub(super) async fn open_delivery(&self, attempt: &Attempt) -> Result<(), StoreError> {
        let what = rmp_serde::to_vec_named(attempt)
            .map_err(|error| StoreError::Unavailable(format!("the delivery cannot be noted: {error}")))?;
        let keys = vec![self.keys.open(attempt.slot()), self.note_of(attempt)];
        let args = vec![Value::from(attempt.token.as_str()), Value::Bytes(what.into()), number(OPEN_MS)];
        self.link.run(&self.scripts.open, keys, args).await.map(drop)
    }

    /// From now on the delivery counts.
    pub(super) async fn close_delivery(&self, attempt: &Attempt) -> Result<(), StoreError> {
        if self.note(attempt, "done").await? {
            Ok(())
        } else {
            Err(StoreError::Unavailable("the delivery took too long and is taken back".to_owned()))
        }
    }

    async fn note(&self, attempt: &Attempt, what: &str) -> Result<bool, StoreError> {
        let keys = vec![self.keys.open(attempt.slot()), self.note_of(attempt)];
        let args = vec![Value::from(attempt.token.as_str()), Value::from(what)];
        Ok(reply::count(&self.link.run(&self.scripts.close, keys, args).await?) == 1)
    }

    /// Has a delivery taken back that was not acknowledged: at once where Redis is there and has refused it, as it may need the
    /// room, and else as soon as it is there again.
    pub(super) async fn regret(&self, parcel: &Parcel, error: &StoreError) {
        let attempt = parcel.attempt.clone();
        let head = Head { seq: 0, token: attempt.token.clone(), member: parcel.member, raw_len: parcel.raw_len() };
        let regret = Regret { attempt, head, until: Instant::now() + REGRET_TIMEOUT };
        if matches!(error, StoreError::Full(_)) && self.take_back(&regret).await.is_ok() {
            return;
        }
        if self.regrets.try_send(regret).is_err() {
            tracing::warn!("too many deliveries wait to be taken back; mail may be there twice");
        }
    }

    /// Takes back what is regretted, one after the other, until the tasks are to stop; then what is left, all at once.
    pub(super) async fn take_back_regrets(&self, mut regrets: mpsc::Receiver<Regret>, tasks: Shutdown) {
        let mut left = Vec::new();
        while let Some(Some(regret)) = until_requested(&tasks, regrets.recv()).await {
            if !self.take_back_in_time(&regret, &tasks).await {
                left.push(regret);
            }
        }
        regrets.close();
        while let Ok(regret) = regrets.try_recv() {
            left.push(regret);
        }
        let failed = AtomicUsize::new(left.len());
        let last_tries = left.iter().map(async |regret| {
            if self.take_back(regret).await.is_ok() {
                failed.fetch_sub(1, Ordering::Relaxed);
            }
        });
        let _ = timeout(LAST_TRIES, to_the_end(last_tries.collect())).await;
        let deliveries = failed.into_inner();
        if deliveries > 0 {
            tracing::warn!(
                deliveries,
                "mail that was refused could not be taken back before the stop, and may be there"
            );
        }
    }

    /// Tries until that is done, or it is too late for it; says `false` where it was interrupted by the stop.
    async fn take_back_in_time(&self, regret: &Regret, tasks: &Shutdown) -> bool {
        // What is interrupted may be done again from its beginning.
        while let Some(done) = until_requested(tasks, self.take_back(regret)).await {
            let Err(error) = done else { return true };
            if Instant::now() >= regret.until {
                tracing::warn!(%error, "a delivery could not be taken back; its mail may be there twice");
                return true;
            }
            if until_requested(tasks, sleep(REGRET_PAUSE)).await.is_none() {
                break;
            }
        }
        false
    }

    async fn take_back(&self, regret: &Regret) -> Result<(), StoreError> {
        self.undo(&regret.attempt).await?;
        let mailboxes: Vec<_> = regret.attempt.mailboxes.iter().collect();
        self.release(&regret.head, &mailboxes).await?;
        self.note(&regret.attempt, "undone").await.map(drop)
    }

    /// Takes back what programs have left open when they ended, until the tasks are to stop.
    pub(super) async fn look_for_abandoned(&self, tasks: Shutdown) {
        while until_requested(&tasks, sleep(ABANDONED_EVERY)).await.is_some() {
            // What is interrupted here, or fails, goes on with the next look, at whichever program.
            until_requested(&tasks, self.take_back_abandoned()).await;
        }
    }

    /// One that cannot be taken back now, as a server is away perhaps, keeps no other from it.
    async fn take_back_abandoned(&self) {
        for slot in Keys::slots() {
            let tokens = match self.abandoned(slot).await {
                Ok(tokens) => tokens,
                Err(error) => {
                    tracing::debug!(%error, slot, "open deliveries are looked for again");
                    continue;
                }
            };
            let taken_back = tokens.iter().map(async |token| {
                if let Err(error) = self.take_back_open(slot, token).await {
                    tracing::debug!(%error, token, "an open delivery is taken back later");
                }
            });
            to_the_end(taken_back.collect()).await;
        }
    }

    /// The tokens of open deliveries in this slot that began too long ago.
    async fn abandoned(&self, slot: u8) -> Result<Vec<String>, StoreError> {
        let args = vec![number(ABANDONED_AFTER_SECS), number(ABANDONED_STEP)];
        reply::texts(self.link.run(&self.scripts.abandoned, vec![self.keys.open(slot)], args).await?)
    }

    pub(super) async fn take_back_open(&self, slot: u8, token: &str) -> Result<(), StoreError> {
        let keys = vec![self.keys.open(slot), self.keys.open_delivery(slot, token)];
        let what = self.link.run(&self.scripts.condemn, keys, vec![Value::from(token)]).await?;
        let Some(what) = what.into_bytes() else { return Ok(()) };
        let attempt: Attempt = rmp_serde::from_slice(&what)
            .map_err(|error| StoreError::Damaged(format!("an open delivery cannot be read: {error}")))?;
        tracing::warn!(id = %attempt.id, "a delivery that was never acknowledged is taken back");
        self.undo(&attempt).await?;
        self.note(&attempt, "undone").await.map(drop)
    }

    /// Takes the delivery back in each of its mailboxes. A body that they share goes with its TTL, or with the regret.
    async fn undo(&self, attempt: &Attempt) -> Result<(), StoreError> {
        debug_assert_eq!(attempt.token.len(), TOKEN_DIGITS);
        let undone = attempt.mailboxes.iter().map(|mailbox| {
            let of_mailbox = self.keys.mailbox(mailbox);
            let keys = vec![of_mailbox.index(), of_mailbox.message(attempt.id), of_mailbox.raw(attempt.id)];
            let args = vec![Value::from(attempt.token.as_str()), number(UNDONE_MS), number(MEMBER_BYTES as u64)];
            self.link.run(&self.scripts.undo, keys, args)
        });
        together(undone.collect()).await.map(drop)
    }
}

/// What comes of `work`, unless the tasks are to stop before.
async fn until_requested<T>(tasks: &Shutdown, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        () = tasks.requested() => None,
        done = work => Some(done),
    }
}
