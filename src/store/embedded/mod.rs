//! The store in files: our own segment files, which are a log of all that is kept, and an SQLite index that is made from it.
//!
//! ```text
//! append ─► queue ─► writer thread ─► segments (sync) ─► events, answers ─► pending ─► index (commit), when it is needed
//! read   ─► is it known? is anything pending? have it indexed ─► a connection of the pool ─► index row ─► bytes of a segment
//! ```

mod answers;
mod claims;
mod directory;
mod entry;
mod extent;
mod health;
mod held;
mod index;
mod job;
mod pending;
mod quota;
mod reader;
mod records;
mod recovery;
mod schema;
mod segments;
#[cfg(test)]
mod tests;
mod tombstones;
mod writer;

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use rusqlite::ErrorCode;
use tokio::sync::{Semaphore, mpsc, oneshot};

pub(in crate::store) use self::extent::Extent;

use self::answers::{Changes, Question};
use self::directory::Directory;
use self::entry::{Entry, Recipient};
use self::health::Health;
use self::index::SWEEP_STEP;
use self::job::{Answer, Append, Chore, Job};
use self::pending::Backlog;
use self::quota::Quota;
use self::reader::Reader;
use self::segments::SegmentFiles;
use self::writer::Writer;
use super::claims::{Claimed, Lease, LeaseOutcome, LeaseStep, LeaseToken, Unclaimed};
use super::doubt::Noted;
use super::readiness::Readiness;
use super::{
    Delivery, Events, Gone, Listing, MailboxSummary, OpenError, Page, Raw, Settings, StoreError, Stored, closing,
    distinct,
};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, Message, MessageId};
use crate::metrics::{self, Present};

/// How many jobs, and how many KiB of mail, wait for the writer at most; who comes later waits for room.
const QUEUE_JOBS: usize = 1024;
const QUEUE_KIB: u32 = 64 * 1024;
/// Larger messages are made ready on another thread: that takes long enough to hold up others.
const PREPARE_INLINE_MAX_BYTES: usize = 64 * 1024;

/// A data directory in use.
pub(super) struct Embedded {
    queue: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    reader: Arc<Reader>,
    quota: Arc<Quota>,
    health: Arc<Health>,
    ready: Readiness,
    backlog: Backlog,
    metrics: Arc<metrics::Store>,
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    noted: Option<Noted>,
}

impl Embedded {
    pub(super) async fn open(
        settings: &Settings,
        data_dir: PathBuf,
        min_free_bytes: u64,
        events: Events,
        metrics: Arc<metrics::Store>,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let settings = settings.clone();
        let open = move || Self::open_blocking(&settings, data_dir, min_free_bytes, events, metrics, now);
        tokio::task::spawn_blocking(open)
            .await
            .unwrap_or_else(|error| Err(OpenError(format!("the store cannot be opened: {error}"))))
    }

    fn open_blocking(
        settings: &Settings,
        data_dir: PathBuf,
        min_free_bytes: u64,
        events: Events,
        metrics: Arc<metrics::Store>,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let directory = Directory::open(data_dir)?;
        let noted = directory.noted();
        let name = directory.path().display().to_string();
        let failed =
            |error: &dyn std::fmt::Display| OpenError(format!("data directory {name} cannot be used: {error}"));
        let connection = schema::writing(&directory)?;
        let quota = Quota::new(directory.path(), settings.max_bytes, min_free_bytes, metrics.clone());
        let quota = Arc::new(quota.map_err(|error| failed(&error))?);
        let health = Arc::new(Health::new(directory.path()));
        let files = Arc::new(SegmentFiles::new(&directory.segments()));
        let changes = Changes::default();
        let reader = Arc::new(Reader::new(directory.index(), files.clone(), changes.clone()));
        let max_messages = settings.mailbox_max_messages as u64;
        let backlog = Backlog::shown_by(metrics.unindexed.clone());
        let parts = writer::Parts {
            directory,
            connection,
            quota: quota.clone(),
            health: health.clone(),
            files,
            changes,
            events,
            metrics: metrics.clone(),
            max_messages,
        };
        let writer = Writer::open(parts, backlog.clone(), now).map_err(|error| failed(&error))?;
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS);
        let timer =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|error| failed(&error))?;
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || timer.block_on(writer.run(jobs)))
            .map_err(|error| failed(&error))?;
        let room = Arc::new(Semaphore::new(QUEUE_KIB as usize));
        let writer = tokio::sync::Mutex::new(Some(writer));
        Ok(Self { queue, room, reader, quota, health, ready: Readiness::default(), backlog, metrics, writer, noted })
    }

    /// What the server that was at work with this directory before this one knew of the clock.
    pub(super) const fn noted(&self) -> Option<Noted> {
        self.noted
    }

    /// Notes for the next start what is known of the clock.
    pub(super) async fn note(&self, noted: Noted) {
        let (answer, answered) = Answer::channel();
        if let Err(error) = self.ask(Job::Note(noted, answer), answered).await {
            tracing::debug!(%error, "the time is not noted");
        }
    }

    pub(super) async fn append(
        &self,
        deliveries: Vec<Delivery>,
        message: Message,
        raw: Bytes,
    ) -> Result<Vec<u64>, StoreError> {
        let (recipients, places) = distinct(&deliveries);
        let recipients: Vec<_> = recipients.into_iter().map(Recipient::from).collect();
        if recipients.is_empty() {
            return Ok(Vec::new());
        }
        let (entry, recipients) = if raw.len() <= PREPARE_INLINE_MAX_BYTES {
            (Entry::new(&message, &recipients, raw)?, recipients)
        } else {
            tokio::task::spawn_blocking(move || Ok((Entry::new(&message, &recipients, raw)?, recipients)))
                .await
                .unwrap_or_else(|error| Err(StoreError::Unavailable(format!("not made ready: {error}"))))?
        };
        // One larger than the whole queue has it for itself.
        let kib = u32::try_from(entry.len() / 1024 + 1).unwrap_or(QUEUE_KIB).min(QUEUE_KIB);
        let room = self.room.clone().acquire_many_owned(kib).await.map_err(|_| closing())?;
        let (answer, answered) = Answer::channel();
        let append = Append { entry, recipients, answer, _room: room };
        let seqs = self.ask(Job::Append(append), answered).await?;
        Ok(places.into_iter().map(|place| seqs[place]).collect())
    }

    pub(super) async fn list(&self, mailbox: &MailboxName, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        let found = self.find(Question::List(mailbox.clone(), page), now).await?;
        Ok(Arc::unwrap_or_clone(found))
    }

    pub(super) async fn message(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Stored>, StoreError> {
        let found = self.find(Question::Message(mailbox.clone(), id), now).await?;
        Ok(found.messages.first().cloned())
    }

    pub(super) async fn open_raw(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Raw>, StoreError> {
        let mailbox = mailbox.clone();
        self.read(move |reader, connection| reader.open_raw(connection, &mailbox, id, now)).await
    }

    pub(super) async fn gone(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Gone>, StoreError> {
        let mailbox = mailbox.clone();
        self.read(move |_, connection| Ok(tombstones::find(connection, &mailbox, id, now)?)).await
    }

    pub(super) async fn delete(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (answer, answered) = Answer::channel();
        self.ask(Job::Chore(Chore::Delete(mailbox.clone(), id, now, answer)), answered).await
    }

    pub(super) async fn clear(&self, mailbox: &MailboxName, now: Timestamp) -> Result<u64, StoreError> {
        let (answer, answered) = Answer::channel();
        self.ask(Job::Chore(Chore::Clear(mailbox.clone(), now, answer)), answered).await
    }

    pub(super) async fn unclaimed(
        &self,
        mailbox: &MailboxName,
        page: Page,
        unwanted: Arc<HashSet<u64>>,
        now: Timestamp,
    ) -> Result<Unclaimed, StoreError> {
        let mailbox = mailbox.clone();
        self.read(move |reader, connection| claims::unclaimed(reader, connection, &mailbox, page, &unwanted, now)).await
    }

    pub(super) async fn claimed(&self, mailbox: &MailboxName, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
        let mailbox = mailbox.clone();
        self.read(move |_, connection| Ok(claims::claimed(connection, &mailbox, now)?)).await
    }

    pub(super) async fn claim(
        &self,
        mailbox: &MailboxName,
        ids: Vec<MessageId>,
        lease: Lease,
        now: Timestamp,
    ) -> Result<Option<MessageId>, StoreError> {
        let (answer, answered) = Answer::channel();
        self.ask(Job::Chore(Chore::Claim(mailbox.clone(), ids, lease, now, answer)), answered).await
    }

    pub(super) async fn step(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        token: LeaseToken,
        step: LeaseStep,
        now: Timestamp,
    ) -> Result<LeaseOutcome, StoreError> {
        let (answer, answered) = Answer::channel();
        self.ask(Job::Chore(Chore::Step(mailbox.clone(), id, token, step, now, answer)), answered).await
    }

    pub(super) async fn mailboxes(
        &self,
        after: Option<&MailboxName>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<MailboxSummary>, StoreError> {
        let after = after.cloned();
        self.read(move |_, connection| Ok(reader::mailboxes(connection, after.as_ref(), limit, now)?)).await
    }

    pub(super) async fn ready(&self) -> Result<(), StoreError> {
        if self.queue.is_closed() {
            return Err(closing());
        }
        let (quota, health) = (self.quota.clone(), self.health.clone());
        let read = move |_: &Arc<Reader>, connection: &rusqlite::Connection| {
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            if !quota.has_directory()? {
                return Err(StoreError::Unavailable("the data directory has been deleted".to_owned()));
            }
            health.check()?;
            quota.admit(1, quota.free_bytes()?)
        };
        self.ready.or_look(self.read(read)).await
    }

    /// Many short transactions, so that deliveries go on between them.
    pub(super) async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let step = match self.expire(now).await {
                // To remove rows takes room. Segments whose hour is over give it without any.
                Err(StoreError::Full(_)) => {
                    self.tidy(now, SWEEP_STEP).await?;
                    self.expire(now).await?
                }
                step => step?,
            };
            removed += step;
            if step < SWEEP_STEP {
                break;
            }
        }
        self.tidy(now, removed).await?;
        Ok(removed)
    }

    /// In short steps, too.
    async fn tidy(&self, now: Timestamp, removed: u64) -> Result<(), StoreError> {
        loop {
            let (answer, answered) = Answer::channel();
            if !self.ask(Job::Tidy(now, removed, answer), answered).await? {
                return Ok(());
            }
        }
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        let (answer, answered) = Answer::channel();
        self.ask(Job::Chore(Chore::Expire(now, answer)), answered).await
    }

    pub(super) async fn close(&self) {
        // Whoever comes second waits for the first.
        let mut writer = self.writer.lock().await;
        let Some(thread) = writer.take() else { return };
        self.reader.close();
        // Where this cannot be sent the writer has ended already.
        let _ = self.queue.send(Job::Close).await;
        if let Ok(Err(_)) = tokio::task::spawn_blocking(move || thread.join()).await {
            tracing::error!("the writer of the store had panicked");
        }
    }

    /// What there is to a question, as it was found lately or is now.
    async fn find(&self, question: Question, now: Timestamp) -> Result<Arc<Listing>, StoreError> {
        match self.reader.recall(question, now)? {
            Ok(found) => Ok(found),
            Err(asked) => self.read(move |reader, connection| reader.find(connection, asked)).await,
        }
    }

    /// Reads what is there now: all that has been acknowledged is in the index first.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Reader>, &rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if !self.backlog.is_empty() {
            let (answer, answered) = Answer::channel();
            self.ask(Job::Flush(answer), answered).await.map_err(|error| match error {
                // That there is no room to index what is new is not what a reader has to be told.
                StoreError::Full(reason) => StoreError::Unavailable(reason),
                other => other,
            })?;
        }
        self.reader.run(work).await
    }

    async fn ask<T>(&self, job: Job, answered: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
        let _present = Present::new(&self.metrics.waiting);
        self.queue.send(job).await.map_err(|_| closing())?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the writer has stopped".to_owned())))
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error.to_string()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
