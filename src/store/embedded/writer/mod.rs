//! The one thread that writes. What waits in its queue goes to the disk together: all entries into their segments, one sync
//! for each segment, and then the answers. The index follows: when somebody wants to read or remove, when enough is pending,
//! and when no more mail is coming.

mod room;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc;

use self::room::FREED_MAX;
use super::answers::Changes;
use super::directory::Directory;
use super::health::Health;
use super::held::{self, Held, Known};
use super::index::{self, Counts, Done, Extent, Update};
use super::job::{Answer, Append, Batch, Chore, Job, LOOKS, soon};
use super::pending::{Backlog, Pending, Unindexed};
use super::quota::Quota;
use super::segments::{Place, SegmentFiles, SegmentId, Segments};
use crate::clock::Timestamp;
use crate::mail::MessageId;
use crate::metrics::{self, Removal};
use crate::store::{Event, Events, StoreError};

/// How many rows go into the index together, when nobody asks for them before.
const FLUSH_ROWS: usize = 512;
/// So many rows are pending at most, where the index cannot be written: then mail is refused.
const PENDING_MAX_ROWS: usize = 8192;
/// No mail for so long, and what is pending goes into the index.
const QUIET: Duration = Duration::from_millis(20);
/// An index that could not be written is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// What a writer works with.
pub(super) struct Parts {
    /// Released when the last write is done.
    pub(super) directory: Directory,
    pub(super) connection: Connection,
    pub(super) quota: Arc<Quota>,
    pub(super) health: Arc<Health>,
    pub(super) files: Arc<SegmentFiles>,
    pub(super) changes: Changes,
    pub(super) events: Events,
    pub(super) metrics: Arc<metrics::Store>,
    pub(super) max_messages: u64,
}

/// Owns all that is written.
pub(super) struct Writer {
    parts: Parts,
    segments: Segments,
    /// What of each segment is referred to, by the index or as pending.
    live: HashMap<SegmentId, Held>,
    counts: Counts,
    pending: Pending,
    /// Entries that nothing refers to any more; their room is given back when the index is durable without them.
    freed: Vec<Extent>,
    /// When so many rows are pending the index is written.
    flush_rows: usize,
    /// The largest seq that was given out.
    last_seq: u64,
    /// No id in the index is larger.
    largest_id: Option<MessageId>,
}

impl Writer {
    /// Takes the directory over: indexes what is only in the segments, and removes segments that nothing refers to.
    pub(super) fn open(parts: Parts, backlog: Backlog, now: Timestamp) -> Result<Self, StoreError> {
        let connection = &parts.connection;
        let known = held::all(connection)?;
        let (segments, found) = Segments::open(parts.directory.segments(), known.keys().copied())?;
        let is_lost = |id: &SegmentId| known[id].held.entries > 0 && !found.contains(id) && !id.is_over(now);
        for missing in known.keys().filter(|id| is_lost(id)) {
            tracing::error!(segment = ?missing, "a segment is missing; what has not expired of it is lost");
        }
        let live: HashMap<_, _> =
            found.iter().map(|id| (*id, known.get(id).map(|known| known.held).unwrap_or_default())).collect();
        parts.quota.add(live.values().map(|held| held.bytes).sum());
        let mut writer = Self {
            last_seq: index::last_seq(connection)?,
            largest_id: index::largest_id(connection)?,
            segments,
            live,
            counts: Counts::default(),
            pending: Pending::new(backlog),
            freed: Vec::new(),
            flush_rows: FLUSH_ROWS,
            parts,
        };
        for id in &found {
            writer.recover(*id, known.get(id).map_or(0, |known| known.end))?;
        }
        writer.note_index();
        // Where this fails it is tried again while the store is open, as with any other mail.
        writer.rest();
        let is_done = |(id, known): (SegmentId, Known)| (known.held.entries == 0 && !found.contains(&id)).then_some(id);
        writer.forget(known.into_iter().filter_map(is_done).collect());
        writer.unlink_if(|_, held| held.entries == 0);
        Ok(writer)
    }

    /// Takes in what a segment has behind `start`, where the index ends.
    fn recover(&mut self, id: SegmentId, start: u64) -> Result<(), StoreError> {
        let mut tail = self.segments.tail(id, start)?;
        let mut recovered = 0_u64;
        while let Some(message) = tail.next()? {
            let head = &message.head;
            self.last_seq = self.last_seq.max(head.first_seq.saturating_add(message.recipients.len() as u64) - 1);
            // What has expired too: the clock may be wrong, and a sweep comes when it has had time to come back.
            recovered += 1;
            self.hold(message);
            if self.pending.rows() >= self.flush_rows && self.flush().is_err() {
                self.keep_up()?;
            }
        }
        if recovered > 0 {
            tracing::info!(segment = ?id, messages = recovered, "mail that was not indexed yet was recovered");
        }
        Ok(())
    }

    /// Works until the queue is closed and empty.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut pause = self.rest();
        let mut last = 0;
        loop {
            let next = match (soon(LOOKS, &mut queue), pause) {
                (Some(job), _) => Ok(Some(job)),
                (None, Some(pause)) => tokio::time::timeout(pause, queue.recv()).await,
                (None, None) => Ok(queue.recv().await),
            };
            match next {
                Ok(Some(first)) => {
                    let batch = Batch::gather(first, last, &mut queue);
                    last = batch.appends.len();
                    if batch.is_last {
                        queue.close();
                    }
                    self.work(batch);
                    pause = Some(QUIET);
                }
                Ok(None) => break,
                Err(_) => pause = self.rest(),
            }
        }
        // What cannot be indexed now is found in the log.
        self.rest();
        self.give_back(false);
        self.checkpoint();
    }

    /// Does what is best done while no mail is coming; says when there is something left to do.
    fn rest(&mut self) -> Option<Duration> {
        self.segments.cut_back();
        if self.pending.is_empty() || self.flush().is_ok() { None } else { Some(RETRY) }
    }

    fn work(&mut self, batch: Batch) {
        // With the bound reached nothing more is taken before the index has some of it.
        match self.keep_up() {
            Ok(()) => self.write(batch.appends),
            Err(error) => batch.appends.into_iter().for_each(|append| append.answer.give(Err(error.clone()))),
        }
        let is_due = self.pending.rows() >= self.flush_rows;
        if !batch.chores.is_empty() {
            self.settle(batch.chores, batch.flushes);
        } else if is_due || !batch.flushes.is_empty() {
            let flushed = self.flush();
            batch.flushes.into_iter().for_each(|answer| answer.give(flushed.clone()));
        }
        for (now, removed, mut answer) in batch.tidies {
            answer.value = self.tidy(now, removed);
            answer.give(Ok(()));
        }
        for (noted, answer) in batch.notes {
            self.parts.directory.note(noted);
            answer.give(Ok(()));
        }
    }

    /// Writes the messages and makes them durable; each is answered for itself.
    fn write(&mut self, mut appends: Vec<Append>) {
        while !appends.is_empty() {
            // A message that is in there twice: only when the first is confirmed is the second a repetition.
            let mut ids = HashSet::with_capacity(appends.len());
            let again = appends.extract_if(.., |append| !ids.insert(append.entry.head.id)).collect();
            self.write_once(appends);
            appends = again;
        }
    }

    fn write_once(&mut self, appends: Vec<Append>) {
        let free_bytes = self.parts.quota.free_bytes().unwrap_or(u64::MAX);
        let mut more = 0;
        let mut written = Vec::with_capacity(appends.len());
        let mut is_ill = false;
        for mut append in appends {
            match self.place(&mut append, more, free_bytes) {
                Ok(Some(place)) => {
                    more += append.entry.len();
                    written.push((append, place));
                }
                Ok(None) => append.answer.give(Ok(())),
                Err(error) => {
                    is_ill |= matches!(error, StoreError::Unavailable(_));
                    self.parts.health.note(!is_ill);
                    append.answer.give(Err(error));
                }
            }
        }
        let failed = self.segments.write(written.iter().map(|(append, place)| (*place, &append.entry)));
        is_ill |= failed.values().any(|error| matches!(error, StoreError::Unavailable(_)));
        self.parts.health.note(!is_ill);
        for id in failed.keys() {
            self.live.entry(*id).or_default();
        }
        for (append, place) in written {
            match failed.get(&place.segment) {
                Some(error) => append.answer.give(Err(error.clone())),
                None => self.confirm(append, place),
            }
        }
    }

    /// Gives a message its seqs and its place, if there is room; `None` if all its mailboxes have it already.
    fn place(&mut self, append: &mut Append, more: u64, free_bytes: u64) -> Result<Option<Place>, StoreError> {
        let Append { entry, recipients, answer, .. } = append;
        let id = entry.head.id;
        let mut known = vec![None; recipients.len()];
        // Nearly always an id is larger than all that came before it, and nothing has to be looked up.
        if self.pending.has(id) || self.largest_id.is_some_and(|largest| id <= largest) {
            for (seq, recipient) in known.iter_mut().zip(&*recipients) {
                *seq = match self.pending.seq(id, &recipient.mailbox) {
                    None => index::seq(&self.parts.connection, id, &recipient.mailbox)?,
                    seq => seq,
                };
            }
            if known.iter().any(Option::is_some) {
                let mut seqs = known.iter();
                recipients.retain(|_| seqs.next().is_some_and(Option::is_none));
                entry.address(recipients)?;
            }
        }
        let mut fresh = self.last_seq + 1..;
        answer.value = known.into_iter().filter_map(|seq| seq.or_else(|| fresh.next())).collect();
        if recipients.is_empty() {
            return Ok(None);
        }
        self.parts.quota.admit(more + entry.len(), free_bytes)?;
        entry.number(self.last_seq + 1);
        self.last_seq += recipients.len() as u64;
        Ok(Some(self.segments.place(entry.head.expires_at, entry.len())?))
    }

    /// Tells everybody of a message that is durable.
    fn confirm(&mut self, append: Append, place: Place) {
        let Append { entry, recipients, answer, .. } = append;
        let head = entry.head;
        let events: Vec<_> = recipients
            .iter()
            .zip(head.first_seq..)
            .map(|(recipient, seq)| Event { mailbox: recipient.mailbox.clone(), seq })
            .collect();
        // First of all it must be found by whoever is told of it.
        self.hold(Unindexed { head, recipients, place });
        for event in events {
            self.parts.changes.note(&event.mailbox);
            self.parts.events.send(event);
        }
        answer.give(Ok(()));
    }

    /// Counts a message that is in a segment and is to be indexed.
    fn hold(&mut self, message: Unindexed) {
        self.parts.quota.add(message.head.len());
        self.live.entry(message.place.segment).or_default().add(message.head.len());
        self.pending.push(message);
    }

    /// Does what was asked for, after all that is pending is indexed.
    fn settle(&mut self, mut chores: Vec<Chore>, flushes: Vec<Answer<()>>) {
        let mut done = self.transact(true, &mut chores);
        flushes.into_iter().for_each(|answer| answer.give(done.clone()));
        if matches!(done, Err(StoreError::Full(_))) {
            // What has expired goes without what is pending: it is what makes room for that.
            let others = chores.extract_if(.., |chore| !matches!(chore, Chore::Expire(..)));
            others.for_each(|chore| chore.give(done.clone()));
            done = self.transact(false, &mut chores);
        }
        chores.into_iter().for_each(|chore| chore.give(done.clone()));
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.transact(true, &mut [])
    }

    /// Makes sure that there is room for more that is pending.
    fn keep_up(&mut self) -> Result<(), StoreError> {
        if self.pending.rows() < PENDING_MAX_ROWS { Ok(()) } else { self.flush() }
    }

    /// One transaction. A failed one has changed nothing: what is pending stays so. One that `adds` nothing leaves out what is
    /// pending, and the memory of what goes.
    fn transact(&mut self, adds: bool, chores: &mut [Chore]) -> Result<(), StoreError> {
        match self.commit(adds, chores) {
            Ok((Done { freed, evicted }, is_synced)) => {
                self.parts.metrics.removed.of(Removal::Evicted).inc_by(evicted);
                self.note_index();
                chores.iter().for_each(|chore| chore.note(&self.parts.changes));
                if adds {
                    let ids = self.pending.messages().iter().map(|message| message.head.id);
                    self.largest_id = self.largest_id.max(ids.max());
                    self.pending.clear();
                    self.flush_rows = FLUSH_ROWS;
                }
                self.release(freed);
                if is_synced || chores.is_empty() || self.freed.len() >= FREED_MAX {
                    self.give_back(is_synced);
                }
                Ok(())
            }
            Err(error) => {
                self.flush_rows = self.pending.rows() + FLUSH_ROWS;
                Err(self.rolled_back(error))
            }
        }
    }

    fn note_index(&self) {
        match index::used_bytes(&self.parts.connection) {
            Ok(bytes) => self.parts.quota.note_index(bytes),
            Err(error) => tracing::debug!(%error, "it cannot be seen how large the index is"),
        }
    }

    /// The transaction itself; says whether it was synced, and all that was committed before it.
    fn commit(&mut self, adds: bool, chores: &mut [Chore]) -> rusqlite::Result<(Done, bool)> {
        let connection = &mut self.parts.connection;
        let is_durable = must_stay(adds, chores);
        index::set_durable(connection, is_durable)?;
        let before = connection.total_changes();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut update = Update::new(transaction, &mut self.counts, adds);
        if adds && !self.pending.is_empty() {
            update.index(&self.pending, self.last_seq, self.parts.max_messages)?;
        }
        for chore in chores {
            chore.run(&mut update)?;
        }
        let done = update.commit()?;
        // One that has changed nothing writes nothing, so there is nothing to sync.
        Ok((done, is_durable && connection.total_changes() > before))
    }

    fn rolled_back(&mut self, error: rusqlite::Error) -> StoreError {
        tracing::error!(%error, pending = self.pending.rows(), "the index could not be written; it will be tried again");
        self.counts.forget();
        let error = StoreError::from(error);
        if matches!(error, StoreError::Full(_)) {
            // The write-ahead log may be what fills the disk. With it emptied there is room again to remove what has expired.
            self.checkpoint();
        }
        error
    }

    /// Moves the log into the index and empties it.
    fn checkpoint(&self) {
        if let Err(error) = self.parts.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(%error, "no checkpoint; it will be tried again");
        }
    }
}

/// Whether what a transaction does must be durable before it is answered. What has expired may come back with the power, and
/// goes again with the next sweep; but where there is no room to add anything, its room is wanted at once.
fn must_stay(adds: bool, chores: &[Chore]) -> bool {
    chores.iter().any(|chore| !adds || !matches!(chore, Chore::Expire(..)))
}
