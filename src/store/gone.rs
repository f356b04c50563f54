//! What is remembered of messages that are not there any more: how they went, and when.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::clock::Timestamp;
use crate::mail::{MailboxName, Message, MessageId};

/// So many messages that are gone are remembered for one mailbox, and so many in all; the oldest go. The first keeps a
/// mailbox that is flooded from pushing out the memory of all others.
pub(super) const MAILBOX_MAX: usize = 1000;
pub(super) const ALL_MAX: usize = 100_000;
/// So many are forgotten in one step of a sweep.
pub(super) const FORGET_STEP: usize = 1000;

/// How a message went that was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Why.
    pub reason: GoneReason,
    /// When.
    pub at: Timestamp,
}

/// Why a message is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoneReason {
    /// It was deleted, or its mailbox was cleared.
    Deleted,
    /// Its time was over.
    Expired,
    /// Newer ones have pushed it out of a mailbox that was full.
    Evicted,
}

/// From when to when a message is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    pub(super) received_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl From<&Message> for Lifetime {
    fn from(message: &Message) -> Self {
        Self { received_at: message.received_at, expires_at: message.expires_at }
    }
}

impl Lifetime {
    /// How a message goes that is removed for `reason` at `at`: what had expired before had gone by itself.
    pub(super) fn end(self, reason: GoneReason, at: Timestamp) -> Gone {
        if self.expires_at <= at {
            return Gone { reason: GoneReason::Expired, at: self.expires_at };
        }
        Gone { reason, at }
    }

    /// How it went, if it has expired by now and that is still remembered.
    pub(super) fn expired(self, now: Timestamp) -> Option<Gone> {
        let gone = Gone { reason: GoneReason::Expired, at: self.expires_at };
        (self.expires_at <= now && now < self.remembered_until(gone)).then_some(gone)
    }

    /// A message that is gone is remembered for as long as it was to be kept.
    pub(super) fn remembered_until(self, gone: Gone) -> Timestamp {
        let kept_ms = self.expires_at.as_millis().saturating_sub(self.received_at.as_millis());
        Timestamp::from_millis(gone.at.as_millis().saturating_add(kept_ms))
    }
}

/// The memory of a store that is itself in memory.
#[derive(Default)]
pub(super) struct Tombstones {
    /// In the order in which the messages went, as are those of each mailbox.
    order: BTreeMap<u64, MailboxName>,
    mailboxes: HashMap<MailboxName, VecDeque<Tombstone>>,
    last: u64,
}

struct Tombstone {
    number: u64,
    id: MessageId,
    gone: Gone,
    until: Timestamp,
}

impl Tombstones {
    pub(super) fn add(&mut self, mailbox: &MailboxName, id: MessageId, lifetime: Lifetime, gone: Gone) {
        self.last += 1;
        let tombstone = Tombstone { number: self.last, id, gone, until: lifetime.remembered_until(gone) };
        let of_mailbox = self.mailboxes.entry(mailbox.clone()).or_default();
        // A message may have been kept again, and gone again.
        let earlier = of_mailbox.iter().position(|other| other.id == id);
        let excess = earlier.or_else(|| (of_mailbox.len() >= MAILBOX_MAX).then_some(0));
        if let Some(removed) = excess.and_then(|place| of_mailbox.remove(place)) {
            self.order.remove(&removed.number);
        }
        self.order.insert(tombstone.number, mailbox.clone());
        of_mailbox.push_back(tombstone);
        if self.order.len() > ALL_MAX {
            self.forget_oldest();
        }
    }

    pub(super) fn find(&self, mailbox: &MailboxName, id: MessageId, now: Timestamp) -> Option<Gone> {
        let found = self.mailboxes.get(mailbox)?.iter().find(|tombstone| tombstone.id == id)?;
        (now < found.until).then_some(found.gone)
    }

    /// Forgets some of what has been remembered for long enough.
    pub(super) fn forget(&mut self, now: Timestamp) {
        for _ in 0..FORGET_STEP {
            let oldest = self.order.first_key_value().and_then(|(_, mailbox)| self.mailboxes.get(mailbox)?.front());
            if oldest.is_none_or(|oldest| now < oldest.until) {
                return;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, mailbox)) = self.order.pop_first() else { return };
        if let Some(of_mailbox) = self.mailboxes.get_mut(&mailbox) {
            of_mailbox.pop_front();
            if of_mailbox.is_empty() {
                self.mailboxes.remove(&mailbox);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_has_an_end_and_forgets_the_oldest_first() {
        let lifetime = Lifetime { received_at: Timestamp::from_millis(0), expires_at: Timestamp::from_millis(1000) };
        let mailbox = |number: usize| MailboxName::stored(format!("box-{}", number % 1000));
        let mut tombstones = Tombstones::default();
        let ids: Vec<_> = (0..ALL_MAX + 5)
            .map(|number| {
                let id = MessageId::new(Timestamp::from_millis(number as u64));
                let gone = Gone { reason: GoneReason::Deleted, at: Timestamp::from_millis(500) };
                tombstones.add(&mailbox(number), id, lifetime, gone);
                id
            })
            .collect();
        assert_eq!(tombstones.order.len(), ALL_MAX);
        let is_known = |number: usize| tombstones.find(&mailbox(number), ids[number], Timestamp::from_millis(1000));
        assert!((0..5).all(|number| is_known(number).is_none()));
        assert!((5..ids.len()).all(|number| is_known(number).is_some()));
        tombstones.forget(Timestamp::from_millis(1499));
        assert_eq!(tombstones.order.len(), ALL_MAX, "it is not their time yet");
        for _ in 0..ALL_MAX.div_ceil(FORGET_STEP) {
            tombstones.forget(Timestamp::from_millis(1500));
        }
        assert!(tombstones.order.is_empty() && tombstones.mailboxes.is_empty());
    }
}
