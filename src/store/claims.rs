//! Who works on a message: a worker that has leased it, or nobody any more, as it is done.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::Listing;
use crate::clock::Timestamp;

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
    /// Gives the message back: others may claim it at once.
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

impl Lease {
    /// Whether the message cannot be claimed at `now`.
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// When the message may be claimed again; `None` if it is done.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        (self.until < NEVER).then_some(self.until)
    }

    /// What becomes of this lease, where it is the one that `token` proves.
    pub(super) fn step(self, token: LeaseToken, step: LeaseStep, now: Timestamp) -> Option<Option<Self>> {
        if self.token != token || !self.is_live(now) {
            return None;
        }
        match step {
            LeaseStep::Finish => Some(Some(Self { until: NEVER, ..self })),
            _ if self.until == NEVER => None,
            LeaseStep::Release => Some(None),
            LeaseStep::Extend(until) => Some(Some(Self { until, ..self })),
        }
    }
}
