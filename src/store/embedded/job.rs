//! What the writer is asked for, and how it answers.

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::answers::Changes;
use super::claims;
use super::entry::{Entry, Recipient};
use super::index::Update;
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::StoreError;
use crate::store::claims::{Lease, LeaseOutcome, LeaseStep, LeaseToken};
use crate::store::doubt::Noted;

/// The most jobs, and the most bytes, that are done together: so long at most the first of them waits for the others.
const BATCH_JOBS: usize = 512;
const BATCH_BYTES: u64 = 32 * 1024 * 1024;

/// What the writer is asked for.
pub(super) enum Job {
    Append(Append),
    Chore(Chore),
    /// To bring the index up to date.
    Flush(Answer<()>),
    /// After a sweep that removed so many messages, or that found no room to remove any; the answer is whether more is to be
    /// done.
    Tidy(Timestamp, u64, Answer<bool>),
    /// To note for the next start what is known of the clock.
    Note(Noted, Answer<()>),
    Close,
}

/// A message to be kept.
pub(super) struct Append {
    pub(super) entry: Entry,
    /// Whom it is for, each mailbox once.
    pub(super) recipients: Vec<Recipient>,
    /// The seq of each recipient.
    pub(super) answer: Answer<Vec<u64>>,
    /// Its share of the bytes that may wait, given back when it is done.
    pub(super) _room: OwnedSemaphorePermit,
}

/// Anything else that changes rows.
pub(super) enum Chore {
    Delete(MailboxName, MessageId, Timestamp, Answer<bool>),
    Clear(MailboxName, Timestamp, Answer<u64>),
    Expire(Timestamp, Answer<u64>),
    Claim(MailboxName, Vec<MessageId>, Lease, Timestamp, Answer<Option<MessageId>>),
    Step(MailboxName, MessageId, LeaseToken, LeaseStep, Timestamp, Answer<LeaseOutcome>),
}

/// An answer that is found before it is known to hold.
pub(super) struct Answer<T> {
    to: oneshot::Sender<Result<T, StoreError>>,
    pub(super) value: T,
}

impl<T: Default> Answer<T> {
    pub(super) fn channel() -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (to, from) = oneshot::channel();
        (Self { to, value: T::default() }, from)
    }

    pub(super) fn give(self, done: Result<(), StoreError>) {
        // Who asked may have gone away.
        let _ = self.to.send(done.map(|()| self.value));
    }
}

impl Chore {
    pub(super) fn run(&mut self, update: &mut Update<'_>) -> rusqlite::Result<()> {
        match self {
            Self::Delete(mailbox, id, now, answer) => answer.value = update.delete(mailbox, *id, *now)?,
            Self::Clear(mailbox, now, answer) => answer.value = update.clear(mailbox, *now)?,
            Self::Expire(now, answer) => answer.value = update.expire(*now)?,
            Self::Claim(mailbox, ids, lease, now, answer) => {
                answer.value = claims::claim(update.connection(), mailbox, ids, *lease, *now)?;
            }
            Self::Step(mailbox, id, token, step, now, answer) => {
                answer.value = claims::step(update.connection(), mailbox, *id, *token, *step, *now)?;
            }
        }
        Ok(())
    }

    /// Counts what it has changed of what is found in mailboxes; a lease is not a part of that.
    pub(super) fn note(&self, changes: &Changes) {
        match self {
            Self::Delete(mailbox, ..) | Self::Clear(mailbox, ..) => changes.note(mailbox),
            Self::Expire(_, answer) if answer.value > 0 => changes.note_all(),
            Self::Expire(..) | Self::Claim(..) | Self::Step(..) => {}
        }
    }

    pub(super) fn give(self, done: Result<(), StoreError>) {
        match self {
            Self::Delete(.., answer) => answer.give(done),
            Self::Clear(.., answer) | Self::Expire(.., answer) => answer.give(done),
            Self::Claim(.., answer) => answer.give(done),
            Self::Step(.., answer) => answer.give(done),
        }
    }
}

/// How often the writer looks for another job before it sleeps, or is content with few. Under load the next one is only a
/// moment away, and to sleep and be woken costs more than to look, the most for the task that would have to wake the writer.
pub(super) const LOOKS: u32 = 64;

/// Jobs that are done together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) appends: Vec<Append>,
    pub(super) chores: Vec<Chore>,
    pub(super) flushes: Vec<Answer<()>>,
    pub(super) tidies: Vec<(Timestamp, u64, Answer<bool>)>,
    pub(super) notes: Vec<(Noted, Answer<()>)>,
    pub(super) is_last: bool,
}

/// Takes a job that is waiting, or that comes within so many looks.
pub(super) fn soon(looks: u32, queue: &mut mpsc::Receiver<Job>) -> Option<Job> {
    for look in 0..looks {
        if look > 0 {
            std::thread::yield_now();
        }
        if let Ok(job) = queue.try_recv() {
            return Some(job);
        }
    }
    None
}

impl Batch {
    /// Takes `first` and what else is waiting. Whose mail was in the last batch is about to send the next: while fewer than
    /// half of `last` have come they are given a moment, or most of them would just miss this sync.
    pub(super) fn gather(first: Job, last: usize, queue: &mut mpsc::Receiver<Job>) -> Self {
        let mut batch = Self::default();
        let mut bytes = 0;
        let mut next = Some(first);
        let mut jobs = 0;
        while let Some(job) = next {
            jobs += 1;
            match job {
                Job::Append(append) => {
                    bytes += append.entry.len();
                    batch.appends.push(append);
                }
                Job::Chore(chore) => batch.chores.push(chore),
                Job::Flush(answer) => batch.flushes.push(answer),
                Job::Tidy(now, removed, answer) => batch.tidies.push((now, removed, answer)),
                Job::Note(noted, answer) => batch.notes.push((noted, answer)),
                Job::Close => batch.is_last = true,
            }
            let looks = if jobs < last / 2 { LOOKS } else { 1 };
            next = if jobs < BATCH_JOBS && bytes < BATCH_BYTES { soon(looks, queue) } else { None };
        }
        batch
    }
}
