//! The one thread that writes. What waits in its queue goes to the disk together: all entries into their segments, one sync
//! for each segment, and then the answers. The index follows: when somebody wants to read or remove, when enough is pending,
//! and when no more mail is coming.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc;

use super::directory::Directory;
use super::health::Health;
use super::held::{self, Held, Known};
use super::index::{self, Counts, Done, Extent, SWEEP_STEP, Update};
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
/// The index is made smaller when so many of its pages, and at least a quarter, are free; so many at a time, as mail waits.
const VACUUM_PAGES: i64 = 256;

/// What a writer works with.
pub(super) struct Parts {
    /// Released when the last write is done.
    pub(super) directory: Directory,
    pub(super) connection: Connection,
    pub(super) quota: Arc<Quota>,
    pub(super) health: Arc<Health>,
    pub(super) files: Arc<SegmentFiles>,
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
            flush_rows: FLUSH_ROWS,
            parts,
        };
        for id in &found {
            writer.recover(*id, known.get(id).map_or(0, |known| known.end), now)?;
        }
        // Where this fails it is tried again while the store is open, as with any other mail.
        writer.rest();
        let is_done = |(id, known): (SegmentId, Known)| (known.held.entries == 0 && !found.contains(&id)).then_some(id);
        writer.forget(known.into_iter().filter_map(is_done).collect());
        writer.unlink_if(|_, held| held.entries == 0);
        Ok(writer)
    }

    /// Takes in what a segment has behind `start`, where the index ends.
    fn recover(&mut self, id: SegmentId, start: u64, now: Timestamp) -> Result<(), StoreError> {
        let mut tail = self.segments.tail(id, start)?;
        let mut recovered = 0_u64;
        while let Some(message) = tail.next()? {
            let head = &message.head;
            self.last_seq = self.last_seq.max(head.first_seq.saturating_add(message.recipients.len() as u64) - 1);
            if head.expires_at <= now {
                self.pending.pass(message.place, head.len());
                continue;
            }
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
            Ok(Done { freed, evicted }) => {
                self.parts.metrics.removed.of(Removal::Evicted).inc_by(evicted);
                if adds {
                    let ids = self.pending.messages().iter().map(|message| message.head.id);
                    self.largest_id = self.largest_id.max(ids.max());
                    self.pending.clear();
                    self.flush_rows = FLUSH_ROWS;
                }
                self.release(freed, !chores.is_empty());
                Ok(())
            }
            Err(error) => {
                self.flush_rows = self.pending.rows() + FLUSH_ROWS;
                Err(self.rolled_back(error))
            }
        }
    }

    fn commit(&mut self, adds: bool, chores: &mut [Chore]) -> rusqlite::Result<Done> {
        let connection = &mut self.parts.connection;
        let is_durable = !chores.is_empty();
        index::set_durable(connection, is_durable)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut update = Update::new(transaction, &mut self.counts, adds);
        if adds && !self.pending.is_empty() {
            update.index(&self.pending, self.last_seq, self.parts.max_messages)?;
        }
        for chore in chores {
            chore.run(&mut update)?;
        }
        update.commit()
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

    /// Gives back the room of entries that nothing refers to any more.
    fn release(&mut self, freed: Vec<Extent>, is_durable: bool) {
        for freed in &freed {
            // What was in a segment that is gone went with it.
            if let Some(held) = self.live.get_mut(&freed.place.segment) {
                held.remove(freed.len);
                self.parts.quota.remove(freed.len);
            }
        }
        if !freed.is_empty()
            && !is_durable
            && let Err(error) = index::sync(&self.parts.connection)
        {
            tracing::warn!(%error, "the index could not be synced; some room comes back with the end of the hour only");
            return;
        }
        for (segment, bytes) in merged(freed) {
            if self.live.contains_key(&segment) {
                self.segments.free(segment, bytes);
            }
        }
    }

    /// Gives room back after a sweep, some of it at a time; says whether there is more.
    fn tidy(&mut self, now: Timestamp, removed: u64) -> bool {
        // Those that nothing was ever committed to are not counted yet, and must go too.
        for id in self.segments.retire(now) {
            self.live.entry(id).or_default();
        }
        // On a full disk the rows of a segment may be there yet. They are not needed to see that it is over, and without
        // its room they could never be removed.
        self.unlink_if(|id, held| held.entries == 0 || id.is_over(now));
        let has_more = self.vacuum().unwrap_or_else(|error| {
            tracing::warn!(%error, "the index could not be made smaller");
            false
        });
        if removed >= SWEEP_STEP && !has_more {
            self.checkpoint();
        }
        if let Err(error) = self.parts.quota.free_bytes() {
            tracing::warn!(%error, "the free space of the disk cannot be seen");
        }
        has_more
    }

    /// Removes the segments that `is_done` says nobody needs, by how many of their entries are referred to.
    fn unlink_if(&mut self, is_done: impl Fn(SegmentId, Held) -> bool) {
        let Self { live, segments, pending, parts, .. } = self;
        let mut gone = Vec::new();
        live.retain(|id, held| {
            if segments.is_open(*id) || pending.needs(*id) || !is_done(*id, *held) {
                return true;
            }
            if let Err(error) = segments.unlink(*id) {
                tracing::warn!(segment = ?id, %error, "an expired segment could not be removed; it will be tried again");
                return true;
            }
            parts.files.forget(*id);
            parts.quota.remove(held.bytes);
            // While rows name it, its number stays taken.
            if held.entries == 0 {
                gone.push(*id);
            }
            false
        });
        self.forget(gone);
    }

    /// Forgets up to where segments are indexed that are not there any more.
    fn forget(&self, gone: Vec<SegmentId>) {
        if gone.is_empty() {
            return;
        }
        // A file that came back with the power would be taken for a log that was never read.
        let synced = self.segments.sync_names().map_err(StoreError::from);
        let mut gone = gone.into_iter();
        if let Err(error) = synced.and_then(|()| Ok(gone.try_for_each(|id| held::forget(&self.parts.connection, id))?))
        {
            tracing::warn!(%error, "the index remembers segments that are gone; it will be put right at the next start");
        }
    }

    /// Makes the index a little smaller, where it is worth it; says whether it was.
    fn vacuum(&self) -> rusqlite::Result<bool> {
        let pages = |name| self.parts.connection.query_row(name, [], |row| row.get::<_, i64>(0));
        let (free, all) = (pages("PRAGMA freelist_count")?, pages("PRAGMA page_count")?);
        if free < VACUUM_PAGES || free < all / 4 {
            return Ok(false);
        }
        let mut statement = self.parts.connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut steps = statement.query([])?;
        while steps.next()?.is_some() {}
        Ok(true)
    }

    /// Moves the log into the index and empties it.
    fn checkpoint(&self) {
        if let Err(error) = self.parts.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(%error, "no checkpoint; it will be tried again");
        }
    }
}

/// Joins extents that touch each other.
fn merged(mut extents: Vec<Extent>) -> Vec<(SegmentId, Range<u64>)> {
    extents.sort_unstable();
    let mut joined: Vec<(SegmentId, Range<u64>)> = Vec::new();
    for Extent { place, len } in extents {
        match joined.last_mut() {
            Some((segment, bytes)) if *segment == place.segment && bytes.end == place.start => bytes.end += len,
            _ => joined.push((place.segment, place.start..place.start + len)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::path::Path;

    use bytes::Bytes;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::store::contract::{message, to};
    use crate::store::embedded::entry::{Entry, Recipient};
    use crate::store::embedded::schema;

    const HOUR_MS: u64 = 3_600_000;
    /// Lets every transaction fail that has mail for bob.
    const TRAP: &str = "CREATE TEMP TRIGGER trap AFTER INSERT ON main.message WHEN new.mailbox = 'bob'
                        BEGIN SELECT raise(ABORT, 'trap'); END";

    fn writer(path: &Path) -> Writer {
        let directory = Directory::open(path.join("data")).unwrap();
        let connection = schema::writing(&directory).unwrap();
        let quota = Arc::new(Quota::new(directory.path(), u64::MAX, 0, Arc::default()).unwrap());
        let files = Arc::new(SegmentFiles::new(&directory.segments()));
        let events = Events::new();
        let health = Arc::new(Health::new(directory.path()));
        let metrics = Arc::default();
        let parts = Parts { directory, connection, quota, health, files, events, metrics, max_messages: 500 };
        Writer::open(parts, Backlog::default(), Timestamp::from_millis(0)).unwrap()
    }

    /// Does one batch of messages, one for each mailbox, which expire in the hour beside it.
    fn append(writer: &mut Writer, batch: &[(&str, u64)]) -> Vec<Result<Vec<u64>, StoreError>> {
        let mut appends = Vec::new();
        let mut answers = Vec::new();
        for (mailbox, hour) in batch {
            let (answer, answered) = Answer::channel();
            let recipients: Vec<_> = to(&[mailbox]).iter().map(Recipient::from).collect();
            let entry = Entry::new(&message(0, hour * HOUR_MS), &recipients, Bytes::from_static(b"hello")).unwrap();
            let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            appends.push(Append { entry, recipients, answer, _room: room });
            answers.push(answered);
        }
        writer.work(Batch { appends, ..Batch::default() });
        answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect()
    }

    /// One step of a sweep at the beginning of `hour`.
    fn expire(writer: &mut Writer, hour: u64) -> Result<u64, StoreError> {
        let (answer, mut answered) = Answer::channel();
        let expire = Chore::Expire(Timestamp::from_millis(hour * HOUR_MS), answer);
        writer.work(Batch { chores: vec![expire], ..Batch::default() });
        answered.try_recv().unwrap()
    }

    fn divert(writer: &mut Writer, hour: u64, device: &str) {
        let device = OpenOptions::new().write(true).open(device).unwrap();
        writer.segments.divert(Timestamp::from_millis(hour * HOUR_MS), device);
    }

    fn rows(writer: &Writer) -> usize {
        let count = "SELECT count(*) FROM message";
        writer.parts.connection.query_row(count, [], |row| row.get::<_, u32>(0)).unwrap() as usize
    }

    fn execute(writer: &Writer, sql: &str) {
        writer.parts.connection.execute_batch(sql).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_write_that_finds_the_disk_full_fails_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        divert(&mut writer, 7, "/dev/full");
        let answers = append(&mut writer, &[("alice", 6), ("bob", 7), ("carol", 8)]);
        assert!(matches!(answers[..], [Ok(_), Err(StoreError::Full(_)), Ok(_)]), "{answers:?}");
        writer.flush().unwrap();
        assert_eq!(rows(&writer), 2);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_segment_whose_sync_failed_is_never_trusted_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        // It takes every byte, and cannot be synced.
        divert(&mut writer, 7, "/dev/null");
        let answers = append(&mut writer, &[("alice", 6), ("bob", 7)]);
        assert!(matches!(answers[..], [Ok(_), Err(StoreError::Unavailable(_))]), "{answers:?}");
        writer.flush().unwrap();
        assert_eq!(rows(&writer), 1);
        let answers = append(&mut writer, &[("bob", 7)]);
        assert!(matches!(answers[..], [Ok(_)]), "a new segment was begun: {answers:?}");
    }

    #[test]
    fn mail_that_was_refused_is_not_found_in_the_log_later() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = writer(dir.path());
        assert!(append(&mut first, &[("alice", 6)])[0].is_ok());
        first.segments.fail_syncs();
        let answers = append(&mut first, &[("bob", 6), ("carol", 7), ("bob", 6)]);
        assert!(matches!(answers[..], [Err(_), Ok(_), Err(_)]), "{answers:?}");
        assert_eq!(rows(&first), 0, "the log alone has it");
        drop(first);
        let second = writer(dir.path());
        assert_eq!(rows(&second), 2);
        let bob = "SELECT count(*) FROM message WHERE mailbox = 'bob'";
        assert_eq!(second.parts.connection.query_row(bob, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
    }

    #[test]
    fn a_writer_that_was_killed_before_it_indexed_has_all_when_it_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = writer(dir.path());
        let answers = append(&mut first, &[("alice", 6), ("bob", 7), ("alice", 6)]);
        assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [[1], [2], [3]]);
        assert_eq!(rows(&first), 0, "nothing is indexed yet");
        drop(first);
        let mut second = writer(dir.path());
        assert_eq!(rows(&second), 3);
        assert_eq!(append(&mut second, &[("alice", 6)])[0].as_deref().unwrap(), [4]);
        assert_eq!(second.live.values().map(|held| held.entries).sum::<u64>(), 4);
    }

    #[test]
    fn bytes_are_given_back_only_when_the_index_is_durable_without_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        writer.parts.max_messages = 2;
        let syncs = |writer: &Writer| -> i64 {
            writer.parts.connection.query_row("SELECT syncs FROM counter", [], |row| row.get(0)).unwrap()
        };
        append(&mut writer, &[("alice", 6), ("alice", 6)]);
        writer.flush().unwrap();
        assert_eq!(syncs(&writer), 0, "nothing was pushed out");
        append(&mut writer, &[("alice", 6)]);
        writer.flush().unwrap();
        assert_eq!((syncs(&writer), rows(&writer)), (1, 2));
        let synchronous: i64 = writer.parts.connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 1, "only that was synced");
    }

    #[test]
    fn an_index_that_cannot_be_written_loses_nothing_that_was_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        let mut events = writer.parts.events.subscribe(None);
        execute(&writer, TRAP);
        let answers = append(&mut writer, &[("alice", 6), ("bob", 6), ("carol", 6)]);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(events.try_next().unwrap().unwrap().seq, 1);
        assert!(matches!(writer.flush(), Err(StoreError::Unavailable(_))));
        assert!(matches!(expire(&mut writer, 5), Err(StoreError::Unavailable(_))));
        assert_eq!(rows(&writer), 0);
        execute(&writer, "DROP TRIGGER trap");
        assert_eq!(append(&mut writer, &[("alice", 6)]).pop().unwrap().unwrap(), [4]);
        assert!(writer.rest().is_none());
        assert_eq!(rows(&writer), 4);
    }

    #[test]
    fn mail_is_refused_when_too_much_is_pending_and_taken_again_once_it_is_indexed() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        writer.parts.max_messages = u64::MAX;
        execute(&writer, TRAP);
        let mut kept = 0;
        let refused = loop {
            let answers = append(&mut writer, &[("bob", 6); 512]);
            kept += answers.iter().filter(|answer| answer.is_ok()).count();
            assert!(kept < 2 * PENDING_MAX_ROWS, "there is no bound");
            if let Some(Err(error)) = answers.into_iter().find(Result::is_err) {
                break error;
            }
        };
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
        assert_eq!(kept, PENDING_MAX_ROWS);
        assert!(writer.rest().is_some(), "there is something left to do");
        execute(&writer, "DROP TRIGGER trap");
        assert!(append(&mut writer, &[("bob", 6)])[0].is_ok());
        writer.flush().unwrap();
        assert_eq!(rows(&writer), kept + 1);
    }

    #[test]
    fn a_segment_with_mail_that_is_pending_stays_and_goes_with_its_hour_after_that() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        execute(&writer, TRAP);
        assert!(append(&mut writer, &[("bob", 6)])[0].is_ok());
        let segments = || dir.path().join("data/segments").read_dir().unwrap().count();
        writer.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
        assert_eq!(segments(), 1);
        execute(&writer, "DROP TRIGGER trap");
        assert_eq!(expire(&mut writer, 7).unwrap(), 1);
        writer.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
        assert_eq!(segments(), 0);
        assert!(held::all(&writer.parts.connection).unwrap().is_empty());
    }

    #[test]
    fn a_segment_that_was_emptied_goes_with_its_hour() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        assert!(append(&mut writer, &[("bob", 6)])[0].is_ok());
        let (answer, _answered) = Answer::channel();
        writer.work(Batch {
            chores: vec![Chore::Clear(to(&["bob"])[0].mailbox.clone(), Timestamp::from_millis(0), answer)],
            ..Batch::default()
        });
        let segments = || dir.path().join("data/segments").read_dir().unwrap().count();
        writer.tidy(Timestamp::from_millis(7 * HOUR_MS - 1), 0);
        assert_eq!(segments(), 1, "more may come into it");
        writer.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
        assert_eq!(segments(), 0);
    }

    #[test]
    fn mail_of_a_transaction_that_failed_pushes_nothing_out_before_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        writer.parts.max_messages = 2;
        assert!(append(&mut writer, &[("alice", 6)])[0].is_ok());
        writer.flush().unwrap();
        execute(&writer, TRAP);
        append(&mut writer, &[("alice", 6), ("bob", 6)]);
        assert!(writer.flush().is_err());
        execute(&writer, "DROP TRIGGER trap");
        writer.flush().unwrap();
        assert_eq!(rows(&writer), 3, "two for alice, one for bob");
    }

    #[test]
    fn an_index_that_is_full_takes_mail_again_once_some_has_expired() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        writer.parts.max_messages = u64::MAX;
        execute(&writer, "PRAGMA max_page_count = 24");
        let mut kept = 0;
        while writer.flush().is_ok() {
            assert!(append(&mut writer, &[("alice", 6); 10]).iter().all(Result::is_ok));
            kept += 10;
        }
        assert!(matches!(writer.flush(), Err(StoreError::Full(_))));
        let indexed = rows(&writer);
        assert_eq!(indexed, kept - 10);
        let mut expired = expire(&mut writer, 6).unwrap();
        assert_eq!(expired, SWEEP_STEP, "before what is pending");
        // It has made room for that, and that is due too.
        while let step @ 1.. = expire(&mut writer, 6).unwrap() {
            expired += step;
        }
        assert_eq!(usize::try_from(expired).unwrap(), kept);
        assert!(append(&mut writer, &[("alice", 7); 10]).iter().all(Result::is_ok));
        writer.flush().unwrap();
        assert_eq!(rows(&writer), 10);
    }

    #[test]
    fn a_segment_that_is_over_goes_though_there_was_no_room_to_remove_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        assert!(append(&mut writer, &[("alice", 6), ("bob", 6), ("carol", 7)]).iter().all(Result::is_ok));
        writer.flush().unwrap();
        let segments = || dir.path().join("data/segments").read_dir().unwrap().count();
        writer.tidy(Timestamp::from_millis(7 * HOUR_MS - 1), SWEEP_STEP);
        assert_eq!(segments(), 2, "the hour has a millisecond left");
        writer.tidy(Timestamp::from_millis(7 * HOUR_MS), SWEEP_STEP);
        assert_eq!(segments(), 1);
        assert_eq!(expire(&mut writer, 6).unwrap(), 2);
        assert_eq!(rows(&writer), 1);
    }

    #[test]
    fn extents_that_touch_are_one_hole() {
        let segment = SegmentId::from_row;
        let extent = |id, start, len| Extent { place: Place { segment: segment(id), start }, len };
        let extents = vec![extent(2, 30, 10), extent(1, 10, 10), extent(1, 0, 10), extent(2, 0, 5)];
        assert_eq!(merged(extents), [(segment(1), 0..20), (segment(2), 0..5), (segment(2), 30..40)]);
    }
}
