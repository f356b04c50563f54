//! Who works on a message: a worker that has leased it, or nobody any more, as it is done.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

use super::{Backend, Listing, Page, Store, StoreError};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};

/// What a worker proves its lease by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseToken(Uuid);

/// A message is a worker's own until this ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose it is.
    pub token: LeaseToken,
    /// Until when.
    pub until: Timestamp,
}

/// What a worker does with its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// Gives the message back: others may claim it at once. It may be said twice, until somebody does.
    Release,
    /// Has done what there was to do: nobody claims the message any more. It may be said twice.
    Finish,
    /// Keeps it until then, counted anew.
    Extend(Timestamp),
}

/// What became of a [`LeaseStep`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// The message is not there.
    #[default]
    Missing,
    /// The token is that of no lease that the message has now; nothing was changed.
    Refused,
    /// It was done.
    Stepped,
}

/// Messages that can be claimed, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Unclaimed {
    /// The messages.
    pub listing: Listing,
    /// When the next lease of the mailbox ends that there is now.
    pub next_free_at: Option<Timestamp>,
}

/// A message that cannot be claimed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Which one.
    pub seq: u64,
    /// Until when it is leased; `None` if it is done.
    pub until: Option<Timestamp>,
}

/// The end of a lease on a message that is done.
pub(super) const NEVER: Timestamp = Timestamp::from_millis(u64::MAX);
/// The end of a lease that was given back. Its token is kept, to know the worker that says so again.
pub(super) const RELEASED: Timestamp = Timestamp::from_millis(0);

impl LeaseToken {
    /// A fresh one, which nobody guesses.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for LeaseToken {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

impl LeaseStep {
    /// When the lease ends after it.
    pub(super) const fn end(self) -> Timestamp {
        match self {
            Self::Release => RELEASED,
            Self::Finish => NEVER,
            Self::Extend(until) => until,
        }
    }
}

impl Lease {
    /// Whether the message cannot be claimed at `now`.
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// When the message may be claimed again; `None` if it is done.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        (self.until < NEVER).then_some(self.until)
    }

    /// When this lease ends after a step, where it is the one that `token` proves.
    pub(super) fn step(&self, token: LeaseToken, step: LeaseStep, now: Timestamp) -> Option<Timestamp> {
        let is_live = self.is_live(now);
        let may = match step {
            LeaseStep::Release => (is_live && self.until < NEVER) || self.until == RELEASED,
            LeaseStep::Finish => is_live,
            LeaseStep::Extend(_) => is_live && self.until < NEVER,
        };
        (self.token == token && may).then(|| step.end())
    }
}

impl Store {
    /// The messages of a mailbox that can be claimed, oldest first: they have not expired, are not leased, and are not done.
    /// Those whose seqs are `unwanted` are left out.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn unclaimed(
        &self,
        mailbox: &MailboxName,
        page: Page,
        unwanted: Arc<HashSet<u64>>,
    ) -> Result<Unclaimed, StoreError> {
        let now = self.clock.now();
        match &self.backend {
            Backend::Memory(memory) => memory.unclaimed(mailbox, page, &unwanted, now),
            Backend::Embedded(embedded) => embedded.unclaimed(mailbox, page, unwanted, now).await,
            Backend::Redis(redis) => Box::pin(redis.unclaimed(mailbox, page, &unwanted, now)).await,
        }
    }

    /// The messages of a mailbox that cannot be claimed, in no order.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn claimed(&self, mailbox: &MailboxName) -> Result<Vec<Claimed>, StoreError> {
        let now = self.clock.now();
        match &self.backend {
            Backend::Memory(memory) => memory.claimed(mailbox, now),
            Backend::Embedded(embedded) => embedded.claimed(mailbox, now).await,
            Backend::Redis(redis) => Box::pin(redis.claimed(mailbox, now)).await,
        }
    }

    /// Leases the first of these messages that can be claimed, and says which that is. Of all who want the same one at the
    /// same time one gets it. On return the lease is durable; it goes with its message.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn claim(
        &self,
        mailbox: &MailboxName,
        ids: Vec<MessageId>,
        lease: Lease,
    ) -> Result<Option<MessageId>, StoreError> {
        let now = self.clock.now();
        match &self.backend {
            Backend::Memory(memory) => memory.claim(mailbox, &ids, lease, now),
            Backend::Embedded(embedded) => embedded.claim(mailbox, ids, lease, now).await,
            Backend::Redis(redis) => Box::pin(redis.claim(mailbox, &ids, lease, now)).await,
        }
    }

    /// Takes a step with the lease on a message that `token` proves. On return it is durable.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn step(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        token: LeaseToken,
        step: LeaseStep,
    ) -> Result<LeaseOutcome, StoreError> {
        let now = self.clock.now();
        let outcome = match &self.backend {
            Backend::Memory(memory) => memory.step(mailbox, id, token, step, now),
            Backend::Embedded(embedded) => embedded.step(mailbox, id, token, step, now).await,
            Backend::Redis(redis) => Box::pin(redis.step(mailbox, id, token, step, now)).await,
        }?;
        // A lease may be made shorter too.
        if outcome == LeaseOutcome::Stepped && step != LeaseStep::Finish {
            self.events.released(mailbox);
        }
        Ok(outcome)
    }
}
