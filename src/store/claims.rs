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
