//! The one thread that writes. What waits in its queue goes to the disk together: all entries into their segments, one sync
//! for each segment, one transaction, and only then an answer.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot};

use super::directory::Directory;
use super::entry::{Entry, HEAD_BYTES};
use super::index::{Changes, Counts, Extent, SWEEP_STEP, Update, from_row};
use super::quota::Quota;
use super::segments::{Place, SegmentFiles, SegmentId, Segments};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::{Delivery, Event, StoreError};

/// The most jobs, and the most bytes, that share a transaction: so long at most the first of them waits for the others.
const BATCH_JOBS: usize = 512;
const BATCH_BYTES: u64 = 32 * 1024 * 1024;
/// The index is made smaller when so many of its pages, and at least a quarter, are free; so many at a time.
const VACUUM_PAGES: i64 = 4096;

/// What the writer is asked for.
pub(super) enum Job {
    Append(Append),
    Chore(Chore),
    /// After a sweep that removed so many messages, or that found no room to remove any.
    Tidy(Timestamp, u64, Answer<()>),
    Close,
}

/// A message to be kept.
pub(super) struct Append {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) id: MessageId,
    pub(super) received_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) entry: Entry,
    pub(super) answer: Answer<Vec<u64>>,
    /// Its share of the bytes that may wait, given back when it is done.
    pub(super) _room: OwnedSemaphorePermit,
}

/// Anything else that changes rows.
pub(super) enum Chore {
    Delete(MailboxName, MessageId, Timestamp, Answer<bool>),
    Clear(MailboxName, Timestamp, Answer<u64>),
    Expire(Timestamp, Answer<u64>),
}

/// An answer that is found inside a transaction and given after it.
pub(super) struct Answer<T> {
    to: oneshot::Sender<Result<T, StoreError>>,
    value: T,
}

impl<T: Default> Answer<T> {
    pub(super) fn channel() -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (to, from) = oneshot::channel();
        (Self { to, value: T::default() }, from)
    }

    fn give(self, committed: &Result<(), StoreError>) {
        // Who asked may have gone away.
        let _ = self.to.send(committed.clone().map(|()| self.value));
    }
}

impl Chore {
    fn run(&mut self, update: &mut Update<'_>) -> rusqlite::Result<()> {
        match self {
            Self::Delete(mailbox, id, now, answer) => answer.value = update.delete(mailbox, *id, *now)?,
            Self::Clear(mailbox, now, answer) => answer.value = update.clear(mailbox, *now)?,
            Self::Expire(now, answer) => answer.value = update.expire(*now)?,
        }
        Ok(())
    }

    fn give(self, committed: &Result<(), StoreError>) {
        match self {
            Self::Delete(.., answer) => answer.give(committed),
            Self::Clear(.., answer) | Self::Expire(.., answer) => answer.give(committed),
        }
    }
}

/// Jobs that are done together.
#[derive(Default)]
struct Batch {
    appends: Vec<Append>,
    chores: Vec<Chore>,
    tidies: Vec<(Timestamp, u64, Answer<()>)>,
    is_last: bool,
}

impl Batch {
    /// Takes `first` and what else is waiting.
    fn gather(first: Job, queue: &mut mpsc::Receiver<Job>) -> Self {
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
                Job::Tidy(now, removed, answer) => batch.tidies.push((now, removed, answer)),
                Job::Close => batch.is_last = true,
            }
            next = if jobs < BATCH_JOBS && bytes < BATCH_BYTES { queue.try_recv().ok() } else { None };
        }
        batch
    }
}

/// Owns all that is written.
pub(super) struct Writer {
    connection: Connection,
    segments: Segments,
    quota: Arc<Quota>,
    files: Arc<SegmentFiles>,
    events: broadcast::Sender<Event>,
    max_messages: u64,
    /// How many entries of each segment are referred to.
    live: HashMap<SegmentId, u64>,
    counts: Counts,
    /// Released when the last write is done.
    _directory: Directory,
}

impl Writer {
    /// Takes the directory over: counts what is referred to, and removes segments that nothing refers to.
    pub(super) fn open(
        directory: Directory,
        connection: Connection,
        quota: Arc<Quota>,
        files: Arc<SegmentFiles>,
        events: broadcast::Sender<Event>,
        max_messages: u64,
    ) -> Result<Self, StoreError> {
        let (segments, found) = Segments::open(directory.segments())?;
        let mut live = referred(&connection, &quota)?;
        for missing in live.keys().filter(|id| !found.contains(id)) {
            tracing::error!(segment = ?missing, "a segment is missing; what has not expired of it is lost");
        }
        for id in found {
            live.entry(id).or_insert(0);
        }
        let counts = Counts::default();
        let mut writer =
            Self { connection, segments, quota, files, events, max_messages, live, counts, _directory: directory };
        writer.unlink_if(|_, live| live == 0);
        Ok(writer)
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let batch = Batch::gather(first, &mut queue);
            if batch.is_last {
                queue.close();
            }
            self.work(batch);
        }
        self.checkpoint();
    }

    fn work(&mut self, batch: Batch) {
        let mut appends = self.write(batch.appends);
        let mut chores = batch.chores;
        if !appends.is_empty() || !chores.is_empty() {
            let committed = match self.commit(&mut appends, &mut chores) {
                Ok(changes) => {
                    self.apply(changes);
                    Ok(())
                }
                Err(error) => Err(self.rolled_back(error, &appends)),
            };
            for (append, _) in appends {
                append.answer.give(&committed);
            }
            for chore in chores {
                chore.give(&committed);
            }
        }
        for (now, removed, answer) in batch.tidies {
            self.tidy(now, removed);
            answer.give(&Ok(()));
        }
    }

    /// Writes the entries that there is room for, and makes them durable. The others are refused here, each for itself.
    fn write(&mut self, appends: Vec<Append>) -> Vec<(Append, Place)> {
        if appends.is_empty() {
            return Vec::new();
        }
        let free_bytes = self.quota.free_bytes().unwrap_or(u64::MAX);
        let mut pending = 0;
        let mut written = Vec::with_capacity(appends.len());
        for append in appends {
            let more = pending + append.entry.len();
            let placed = self
                .quota
                .admit(more, free_bytes)
                .and_then(|()| Ok(self.segments.append(append.expires_at, &append.entry)?));
            match placed {
                Ok(place) => {
                    pending = more;
                    written.push((append, place));
                }
                Err(error) => append.answer.give(&Err(error)),
            }
        }
        let failed = self.segments.sync();
        for id in &failed {
            self.live.entry(*id).or_default();
        }
        for (append, _) in written.extract_if(.., |(_, place)| failed.contains(&place.segment)) {
            append.answer.give(&Err(StoreError::Unavailable("the disk did not confirm the write".to_owned())));
        }
        written
    }

    fn commit(&mut self, appends: &mut [(Append, Place)], chores: &mut [Chore]) -> rusqlite::Result<Changes> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut update = Update::new(transaction, &mut self.counts);
        for (append, place) in appends {
            append.answer.value = update.keep(append, *place, self.max_messages)?;
        }
        for chore in chores {
            chore.run(&mut update)?;
        }
        update.commit()
    }

    fn rolled_back(&mut self, error: rusqlite::Error, appends: &[(Append, Place)]) -> StoreError {
        tracing::error!(%error, "a transaction failed; nothing of it was kept");
        self.counts.forget();
        let error = StoreError::from(error);
        if matches!(error, StoreError::Full(_)) {
            // The log may be what fills the disk. With it emptied there is room again to remove what has expired; and what
            // was written for nothing must not fill the disk either, as the senders will be back with it.
            self.checkpoint();
            let written = appends.iter().map(|(append, place)| Extent { place: *place, len: append.entry.len() });
            for (segment, bytes) in merged(written.collect()) {
                self.segments.free(segment, bytes);
            }
        }
        error
    }

    /// Carries a committed transaction over to what is not in the index.
    fn apply(&mut self, changes: Changes) {
        for added in changes.added {
            self.quota.add(added.len);
            *self.live.entry(added.place.segment).or_default() += 1;
        }
        for freed in &changes.freed {
            self.quota.remove(freed.len);
            if let Some(count) = self.live.get_mut(&freed.place.segment) {
                *count -= 1;
            }
        }
        for (segment, bytes) in merged(changes.freed) {
            if self.live.contains_key(&segment) {
                self.segments.free(segment, bytes);
            }
        }
        for event in changes.events {
            // Nobody may be listening.
            let _ = self.events.send(event);
        }
    }

    /// Gives room back after a sweep.
    fn tidy(&mut self, now: Timestamp, removed: u64) {
        // Those that nothing was ever committed to are not counted yet, and must go too.
        for id in self.segments.retire(now) {
            self.live.entry(id).or_default();
        }
        // On a full disk the rows of a segment may be there yet. They are not needed to see that it is over, and without
        // its room they could never be removed.
        self.unlink_if(|id, live| live == 0 || id.is_over(now));
        if let Err(error) = self.vacuum() {
            tracing::warn!(%error, "the index could not be made smaller");
        }
        if removed >= SWEEP_STEP {
            self.checkpoint();
        }
    }

    /// Removes the segments that `is_done` says nobody needs, by how many of their entries are referred to.
    fn unlink_if(&mut self, is_done: impl Fn(SegmentId, u64) -> bool) {
        let Self { live, segments, files, .. } = self;
        live.retain(|id, count| {
            if segments.is_open(*id) || !is_done(*id, *count) {
                return true;
            }
            if let Err(error) = segments.unlink(*id) {
                tracing::warn!(segment = ?id, %error, "an expired segment could not be removed; it will be tried again");
                return true;
            }
            files.forget(*id);
            false
        });
    }

    fn vacuum(&self) -> rusqlite::Result<()> {
        let pages = |name| self.connection.query_row(name, [], |row| row.get::<_, i64>(0));
        let (free, all) = (pages("PRAGMA freelist_count")?, pages("PRAGMA page_count")?);
        if free < VACUUM_PAGES / 16 || free < all / 4 {
            return Ok(());
        }
        let mut statement = self.connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut steps = statement.query([])?;
        while steps.next()?.is_some() {}
        Ok(())
    }

    /// Moves the log into the index and empties it.
    fn checkpoint(&self) {
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(%error, "no checkpoint; it will be tried again");
        }
    }
}

/// How many entries of each segment are referred to; their bytes are added to what is held.
fn referred(connection: &Connection, quota: &Quota) -> rusqlite::Result<HashMap<SegmentId, u64>> {
    let mut statement =
        connection.prepare("SELECT segment, count(*), sum(record_len + raw_len) FROM body GROUP BY segment")?;
    let rows = statement.query_map([], |row| {
        let count = from_row(row.get(1)?);
        quota.add(from_row(row.get(2)?) + count * HEAD_BYTES as u64);
        Ok((SegmentId::from_row(row.get(0)?), count))
    })?;
    rows.collect()
}

/// Joins extents that touch each other.
fn merged(mut extents: Vec<Extent>) -> Vec<(SegmentId, std::ops::Range<u64>)> {
    extents.sort_unstable();
    let mut joined: Vec<(SegmentId, std::ops::Range<u64>)> = Vec::new();
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
    use crate::store::embedded::schema;

    const HOUR_MS: u64 = 3_600_000;
    /// Lets every transaction fail that has mail for bob.
    const TRAP: &str = "CREATE TEMP TRIGGER trap AFTER INSERT ON main.message WHEN new.mailbox = 'bob'
                        BEGIN SELECT raise(ABORT, 'trap'); END";

    fn writer(path: &Path) -> Writer {
        let directory = Directory::open(path.join("data")).unwrap();
        let connection = schema::writing(&directory).unwrap();
        let quota = Arc::new(Quota::new(directory.path(), u64::MAX, 0).unwrap());
        let files = Arc::new(SegmentFiles::new(&directory.segments()));
        Writer::open(directory, connection, quota, files, broadcast::channel(64).0, 500).unwrap()
    }

    /// Does one batch of messages, one for each mailbox, which expire in the hour beside it.
    fn append(writer: &mut Writer, batch: &[(&str, u64)]) -> Vec<Result<Vec<u64>, StoreError>> {
        let mut appends = Vec::new();
        let mut answers = Vec::new();
        for (mailbox, hour) in batch {
            let message = message(0, hour * HOUR_MS);
            let (answer, answered) = Answer::channel();
            let (id, received_at, expires_at) = (message.id, message.received_at, message.expires_at);
            let entry = Entry::new(&message, Bytes::from_static(b"hello")).unwrap();
            let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            appends.push(Append {
                deliveries: to(&[mailbox]),
                id,
                received_at,
                expires_at,
                entry,
                answer,
                _room: room,
            });
            answers.push(answered);
        }
        writer.work(Batch { appends, ..Batch::default() });
        answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect()
    }

    /// One step of a sweep at the beginning of `hour`.
    fn expire(writer: &mut Writer, hour: u64) -> u64 {
        let (answer, mut answered) = Answer::channel();
        let expire = Chore::Expire(Timestamp::from_millis(hour * HOUR_MS), answer);
        writer.work(Batch { chores: vec![expire], ..Batch::default() });
        answered.try_recv().unwrap().unwrap()
    }

    fn divert(writer: &mut Writer, hour: u64, device: &str) {
        let device = OpenOptions::new().write(true).open(device).unwrap();
        writer.segments.divert(Timestamp::from_millis(hour * HOUR_MS), device);
    }

    fn rows(writer: &Writer, table: &str) -> i64 {
        writer.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_write_that_finds_the_disk_full_fails_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        divert(&mut writer, 7, "/dev/full");
        let answers = append(&mut writer, &[("alice", 6), ("bob", 7), ("carol", 8)]);
        assert!(matches!(answers[..], [Ok(_), Err(StoreError::Full(_)), Ok(_)]), "{answers:?}");
        assert_eq!((rows(&writer, "message"), rows(&writer, "body")), (2, 2));
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
        assert_eq!(rows(&writer, "message"), 1);
        let answers = append(&mut writer, &[("bob", 7)]);
        assert!(matches!(answers[..], [Ok(_)]), "a new segment was begun: {answers:?}");
    }

    #[test]
    fn a_transaction_that_fails_keeps_nothing_and_answers_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        let mut events = writer.events.subscribe();
        writer.connection.execute_batch(TRAP).unwrap();
        let answers = append(&mut writer, &[("alice", 6), ("bob", 6), ("carol", 6)]);
        assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))), "{answers:?}");
        assert_eq!((rows(&writer, "message"), rows(&writer, "body")), (0, 0));
        assert!(events.try_recv().is_err());
        writer.connection.execute_batch("DROP TRIGGER trap").unwrap();
        let answers = append(&mut writer, &[("alice", 6), ("bob", 6)]);
        assert!(matches!(answers[..], [Ok(_), Ok(_)]), "{answers:?}");
        assert_eq!(events.try_recv().unwrap().seq, 1);
    }

    #[test]
    fn a_segment_that_nothing_was_committed_to_goes_with_its_hour() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        writer.connection.execute_batch(TRAP).unwrap();
        assert!(append(&mut writer, &[("bob", 6)])[0].is_err());
        let segments = || dir.path().join("data/segments").read_dir().unwrap().count();
        assert_eq!(segments(), 1);
        writer.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
        assert_eq!(segments(), 0);
    }

    #[test]
    fn mail_of_a_transaction_that_failed_pushes_nothing_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        writer.max_messages = 2;
        assert!(append(&mut writer, &[("alice", 6)])[0].is_ok());
        writer.connection.execute_batch(TRAP).unwrap();
        assert!(append(&mut writer, &[("alice", 6), ("bob", 6)])[0].is_err());
        assert!(append(&mut writer, &[("alice", 6)])[0].is_ok());
        assert_eq!(rows(&writer, "message"), 2);
    }

    #[test]
    fn an_index_that_is_full_takes_mail_again_once_some_has_expired() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        writer.connection.execute_batch("PRAGMA max_page_count = 12").unwrap();
        let mut kept = 0;
        let refused = loop {
            match append(&mut writer, &[("alice", 6); 10]).pop() {
                Some(Ok(_)) => kept += 10,
                Some(Err(error)) => break error,
                None => unreachable!("each batch has ten"),
            }
        };
        assert!(matches!(refused, StoreError::Full(_)), "{refused}");
        assert_eq!(rows(&writer, "message"), kept);
        assert_eq!(i64::try_from(expire(&mut writer, 6)).unwrap(), kept);
        assert!(append(&mut writer, &[("alice", 7); 10]).iter().all(Result::is_ok));
    }

    #[test]
    fn a_segment_that_is_over_goes_though_there_was_no_room_to_remove_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        assert!(append(&mut writer, &[("alice", 6), ("bob", 6), ("carol", 7)]).iter().all(Result::is_ok));
        let segments = || dir.path().join("data/segments").read_dir().unwrap().count();
        writer.tidy(Timestamp::from_millis(7 * HOUR_MS - 1), SWEEP_STEP);
        assert_eq!(segments(), 2, "the hour has a millisecond left");
        writer.tidy(Timestamp::from_millis(7 * HOUR_MS), SWEEP_STEP);
        assert_eq!(segments(), 1);
        assert_eq!(expire(&mut writer, 6), 2);
        assert_eq!((rows(&writer, "message"), rows(&writer, "body")), (1, 1));
    }

    #[test]
    fn extents_that_touch_are_one_hole() {
        let segment = SegmentId::from_row;
        let extent = |id, start, len| Extent { place: Place { segment: segment(id), start }, len };
        let extents = vec![extent(2, 30, 10), extent(1, 10, 10), extent(1, 0, 10), extent(2, 0, 5)];
        assert_eq!(merged(extents), [(segment(1), 0..20), (segment(2), 0..5), (segment(2), 30..40)]);
    }
}
