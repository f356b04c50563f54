//! What is acknowledged and lies in a segment, and is not in the index yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::entry::{Head, Recipient};
use super::segments::{Place, SegmentId};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::metrics::{Gauge, level};

/// A message that the index has yet to be told of.
pub(super) struct Unindexed {
    pub(super) head: Head,
    pub(super) recipients: Vec<Recipient>,
    pub(super) place: Place,
}

/// How many messages are pending, for those who only want to know whether there are any.
#[derive(Clone, Default)]
pub(super) struct Backlog {
    messages: Arc<AtomicUsize>,
    gauge: Gauge,
}

impl Backlog {
    /// An empty one, shown by `gauge`.
    pub(super) fn shown_by(gauge: Gauge) -> Self {
        Self { gauge, ..Self::default() }
    }

    fn set(&self, messages: usize) {
        self.messages.store(messages, Ordering::Release);
        self.gauge.set(level(messages as u64));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.load(Ordering::Acquire) == 0
    }
}

/// The messages to be indexed, in the order of their seqs.
#[derive(Default)]
pub(super) struct Pending {
    messages: Vec<Unindexed>,
    ids: HashSet<MessageId>,
    /// Where what is known of each segment ends, and how many messages of it are pending.
    ends: HashMap<SegmentId, (u64, usize)>,
    rows: usize,
    backlog: Backlog,
}

impl Pending {
    pub(super) fn new(backlog: Backlog) -> Self {
        Self { backlog, ..Self::default() }
    }

    pub(super) fn push(&mut self, message: Unindexed) {
        let end = message.place.start + message.head.len();
        let known = self.ends.entry(message.place.segment).or_default();
        *known = (end, known.1 + 1);
        self.ids.insert(message.head.id);
        self.rows += message.recipients.len();
        self.messages.push(message);
        self.backlog.set(self.messages.len());
    }

    /// To be called when all of it is in the index.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.ids.clear();
        self.ends.clear();
        self.rows = 0;
        self.backlog.set(0);
    }

    pub(super) fn messages(&self) -> &[Unindexed] {
        &self.messages
    }

    /// Up to where the index knows each segment once it has all this.
    pub(super) fn ends(&self) -> impl Iterator<Item = (SegmentId, u64)> {
        self.ends.iter().map(|(segment, (end, _))| (*segment, *end))
    }

    /// Whether there is nothing that the index does not know.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many rows of the index it will be.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn has(&self, id: MessageId) -> bool {
        self.ids.contains(&id)
    }

    /// Whether any of it lies in this segment.
    pub(super) fn needs(&self, segment: SegmentId) -> bool {
        self.ends.get(&segment).is_some_and(|(_, messages)| *messages > 0)
    }

    /// Whether any of it lies in one of such segments.
    pub(super) fn needs_any(&self, is_such: impl Fn(SegmentId) -> bool) -> bool {
        self.ends.iter().any(|(segment, (_, messages))| *messages > 0 && is_such(*segment))
    }

    /// Lets the messages go whose segments are over, and returns them. That they have been there is still to be indexed.
    pub(super) fn let_go(&mut self, now: Timestamp) -> Vec<Unindexed> {
        let gone: Vec<_> = self.messages.extract_if(.., |message| message.place.segment.is_over(now)).collect();
        for message in &gone {
            self.ids.remove(&message.head.id);
            self.rows -= message.recipients.len();
            if let Some((_, messages)) = self.ends.get_mut(&message.place.segment) {
                *messages -= 1;
            }
        }
        self.backlog.set(self.messages.len());
        gone
    }

    /// Forgets a segment that is gone for good, and of which nothing is pending.
    pub(super) fn forget(&mut self, segment: SegmentId) {
        self.ends.remove(&segment);
    }

    /// The seq of a message in a mailbox.
    pub(super) fn seq(&self, id: MessageId, mailbox: &MailboxName) -> Option<u64> {
        let same = self.messages.iter().filter(|message| message.head.id == id);
        same.flat_map(|message| message.recipients.iter().zip(message.head.first_seq..))
            .find_map(|(recipient, seq)| (recipient.mailbox == *mailbox).then_some(seq))
    }
}
