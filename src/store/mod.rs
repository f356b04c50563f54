//! Where messages are kept: one public struct over a private choice of backends.
//!
//! What is promised of every backend is written at the methods of [`Store`] and held by one contract suite.

#[cfg(test)]
mod contract;
mod claims;
mod doubt;
mod embedded;
mod events;
mod gone;
mod kept;
mod memory;
mod raw;
mod readiness;
mod redis;
mod sweeper;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

pub use self::claims::{Claimed, Lease, LeaseOutcome, LeaseStep, LeaseToken, Unclaimed};
pub use self::events::{Lagged, Mark, Subscription, Watch};
pub use self::gone::{Gone, GoneReason};
pub use self::kept::{Delivery, Event, Listing, MailboxSummary, Page, Stored};
pub use self::raw::{CHUNK_BYTES, Lost, Raw};
pub use self::redis::{Durability, RedisServer, RedisSettings};

use self::doubt::Noted;
use self::embedded::Embedded;
use self::events::Events;
use self::kept::distinct;
use self::memory::Memory;
use self::redis::Redis;
use crate::clock::{Clock, Timestamp};
use crate::mail::{MailboxName, Message, MessageId};
use crate::metrics::{self, Failure, Removal, level};
use crate::shutdown::Shutdown;

/// Why the store did not do what was asked. Whatever it is, the mail stays with its sender.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No room: the configured size or the disk is used up. Room comes back as mail expires.
    #[error("the store is full: {0}")]
    Full(String),
    /// The store cannot be reached, or is being closed. It may be back soon.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored cannot be read back.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// Why a store could not be opened; the text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// How messages are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which backend.
    pub kind: Kind,
    /// The most messages that a mailbox holds; the oldest go.
    pub mailbox_max_messages: usize,
    /// The most bytes that the store holds, raw mail and records together; more is refused as [`StoreError::Full`]. In Redis
    /// the limit is its own `maxmemory`.
    pub max_bytes: u64,
}

/// The backends.
#[derive(Clone, Debug)]
pub enum Kind {
    /// In memory; gone with the process.
    Memory,
    /// In files below `data_dir`.
    Embedded {
        /// The directory; made if it is not there.
        data_dir: PathBuf,
        /// Mail is refused as [`StoreError::Full`] where it would leave fewer free bytes than this on the disk.
        min_free_bytes: u64,
    },
    /// In Redis, which several programs may share.
    Redis(RedisSettings),
}

/// Messages, by mailbox. Clones share the same store.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    events: Events,
    clock: Clock,
    metrics: Arc<metrics::Store>,
}

/// What is waited for in Redis lies in a box: it is large, and would be a part of all that waits for anything in the store.
#[derive(Clone)]
enum Backend {
    Memory(Arc<Memory>),
    Embedded(Arc<Embedded>),
    Redis(Arc<Redis>),
}

impl Store {
    /// Opens the store; it counts in `metrics`, and its background work runs in `tasks`.
    ///
    /// # Errors
    /// Where the data directory cannot be used; the text says why and what to do.
    pub async fn open(
        settings: &Settings,
        clock: Clock,
        metrics: Arc<metrics::Store>,
        tasks: &Shutdown,
    ) -> Result<Self, OpenError> {
        let events = Events::new();
        metrics.max_bytes.set(level(settings.max_bytes));
        let backend = match &settings.kind {
            Kind::Memory => Backend::Memory(Arc::new(Memory::new(settings, events.clone(), metrics.clone()))),
            Kind::Embedded { data_dir, min_free_bytes } => Backend::Embedded(Arc::new(
                Embedded::open(
                    settings,
                    data_dir.clone(),
                    *min_free_bytes,
                    events.clone(),
                    metrics.clone(),
                    clock.now(),
                )
                .await?,
            )),
            Kind::Redis(redis) => {
                Backend::Redis(Redis::open(settings, redis, events.clone(), metrics.clone(), tasks).await?)
            }
        };
        let store = Self { backend, events, clock, metrics };
        tasks.spawn(sweeper::run(store.clone(), sweeper::INTERVAL, tasks.clone()));
        Ok(store)
    }

    /// Keeps one message for all mailboxes of `deliveries`: for all of them or for none. On return it is durable and
    /// visible, and an event has been sent for each mailbox. Returns the `seq` of each delivery, in their order.
    /// A mailbox that has the message already keeps the one it has, and its `seq`.
    ///
    /// # Errors
    /// Nothing was kept, or it is not known to be durable: the sender must keep the mail.
    pub async fn append(
        &self,
        deliveries: Vec<Delivery>,
        message: Message,
        raw: Bytes,
    ) -> Result<Vec<u64>, StoreError> {
        let start = Instant::now();
        let appended = match &self.backend {
            Backend::Memory(memory) => memory.append(deliveries, message, raw),
            Backend::Embedded(embedded) => embedded.append(deliveries, message, raw).await,
            Backend::Redis(redis) => Box::pin(redis.append(&deliveries, message, raw, self.clock.now())).await,
        };
        if let Ok(seqs) = &appended {
            self.metrics.append.observe(start.elapsed());
            self.metrics.kept.inc_by(seqs.len() as u64);
        }
        self.counted(appended)
    }

    /// The messages of a mailbox that have not expired, newest first, without their raw bytes.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn list(&self, mailbox: &MailboxName, page: Page) -> Result<Listing, StoreError> {
        let now = self.clock.now();
        self.counted(match &self.backend {
            Backend::Memory(memory) => memory.list(mailbox, page, now),
            Backend::Embedded(embedded) => embedded.list(mailbox, page, now).await,
            Backend::Redis(redis) => Box::pin(redis.list(mailbox, page, now)).await,
        })
    }

    /// One message; `None` if it is not there or has expired.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn message(&self, mailbox: &MailboxName, id: MessageId) -> Result<Option<Stored>, StoreError> {
        let now = self.clock.now();
        self.counted(match &self.backend {
            Backend::Memory(memory) => memory.message(mailbox, id, now),
            Backend::Embedded(embedded) => embedded.message(mailbox, id, now).await,
            Backend::Redis(redis) => Box::pin(redis.message(mailbox, id, now)).await,
        })
    }

    /// The raw bytes of one message, as they were received, to be read in chunks; `None` if it is not there or has
    /// expired. One that is deleted while it is read ends in an error.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn open_raw(&self, mailbox: &MailboxName, id: MessageId) -> Result<Option<Raw>, StoreError> {
        let now = self.clock.now();
        self.counted(match &self.backend {
            Backend::Memory(memory) => memory.open_raw(mailbox, id, now),
            Backend::Embedded(embedded) => embedded.open_raw(mailbox, id, now).await,
            Backend::Redis(redis) => Box::pin(redis.open_raw(mailbox, id, now)).await,
        })
    }

    /// The same in one piece.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn raw(&self, mailbox: &MailboxName, id: MessageId) -> Result<Option<Bytes>, StoreError> {
        match self.open_raw(mailbox, id).await? {
            Some(raw) => raw.into_bytes().await,
            None => Ok(None),
        }
    }

    /// How a message of this mailbox went that is not there any more; `None` if it is there, if it never was, and if it is
    /// not remembered: each is for as long as it was to be kept, of at most 1,000 messages of a mailbox and, but in Redis,
    /// 100,000 in all.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn gone(&self, mailbox: &MailboxName, id: MessageId) -> Result<Option<Gone>, StoreError> {
        let now = self.clock.now();
        self.counted(match &self.backend {
            Backend::Memory(memory) => memory.gone(mailbox, id, now),
            Backend::Embedded(embedded) => embedded.gone(mailbox, id, now).await,
            Backend::Redis(redis) => Box::pin(redis.gone(mailbox, id, now)).await,
        })
    }

    /// Deletes one message from one mailbox; other mailboxes keep it. Says whether it was there.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn delete(&self, mailbox: &MailboxName, id: MessageId) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let removed = self.counted(match &self.backend {
            Backend::Memory(memory) => memory.delete(mailbox, id, now),
            Backend::Embedded(embedded) => embedded.delete(mailbox, id, now).await,
            Backend::Redis(redis) => Box::pin(redis.delete(mailbox, id, now)).await,
        })?;
        self.metrics.removed.of(Removal::Deleted).inc_by(u64::from(removed));
        Ok(removed)
    }

    /// Deletes all messages of a mailbox and says how many there were.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn clear(&self, mailbox: &MailboxName) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let removed = self.counted(match &self.backend {
            Backend::Memory(memory) => memory.clear(mailbox, now),
            Backend::Embedded(embedded) => embedded.clear(mailbox, now).await,
            Backend::Redis(redis) => Box::pin(redis.clear(mailbox, now)).await,
        })?;
        self.metrics.removed.of(Removal::Deleted).inc_by(removed);
        Ok(removed)
    }

    /// The mailboxes that hold mail, by name, those behind `after` only, at most `limit`.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn mailboxes(
        &self,
        after: Option<&MailboxName>,
        limit: usize,
    ) -> Result<Vec<MailboxSummary>, StoreError> {
        let now = self.clock.now();
        self.counted(match &self.backend {
            Backend::Memory(memory) => memory.mailboxes(after, limit, now),
            Backend::Embedded(embedded) => embedded.mailboxes(after, limit, now).await,
            Backend::Redis(redis) => Box::pin(redis.mailboxes(after, limit, now)).await,
        })
    }

    /// The events of all mailboxes from now on, or from behind `mark`, a place of an earlier subscription. Who is told that
    /// it has missed some looks at the mailboxes again.
    #[must_use]
    pub fn subscribe(&self, mark: Option<Mark>) -> Subscription {
        self.events.subscribe(mark)
    }

    /// A place to wait for mail of one mailbox; what arrives from now on is not missed. Whoever waits looks at the mailbox
    /// behind this call, and again after each arrival.
    #[must_use]
    pub fn watch(&self, mailbox: MailboxName) -> Watch {
        self.events.watch(mailbox)
    }

    /// Whether mail can be read and kept now.
    ///
    /// # Errors
    /// Why not.
    pub async fn ready(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Memory(memory) => memory.ready(),
            Backend::Embedded(embedded) => embedded.ready().await,
            Backend::Redis(redis) => Box::pin(redis.ready()).await,
        }
    }

    /// Removes what has expired and gives its room back; returns how many messages that were. The store does this by
    /// itself every now and then.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        self.sweep_until(self.clock.now()).await
    }

    /// The same with what has expired until `sure`.
    async fn sweep_until(&self, sure: Timestamp) -> Result<u64, StoreError> {
        let removed = self.counted(match &self.backend {
            Backend::Memory(memory) => memory.sweep(sure),
            Backend::Embedded(embedded) => embedded.sweep(sure).await,
            Backend::Redis(redis) => Box::pin(redis.sweep(sure)).await,
        })?;
        self.metrics.removed.of(Removal::Expired).inc_by(removed);
        Ok(removed)
    }

    /// What the server before this one knew of the clock; `None` where nobody knows.
    fn noted(&self) -> Option<Noted> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.noted(),
            Backend::Memory(_) | Backend::Redis(_) => None,
        }
    }

    /// Notes for the next start what is known of the clock.
    async fn note(&self, noted: Noted) {
        if let Backend::Embedded(embedded) = &self.backend {
            embedded.note(noted).await;
        }
    }

    /// What the time is where the mail is kept; that is here, but for Redis.
    async fn time(&self) -> Result<Timestamp, StoreError> {
        match &self.backend {
            Backend::Memory(_) | Backend::Embedded(_) => Ok(self.clock.now()),
            Backend::Redis(redis) => Box::pin(redis.time()).await,
        }
    }

    /// Finishes what is in hand and closes the store; whoever asks later is told that it is unavailable.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Memory(memory) => memory.close(),
            Backend::Embedded(embedded) => embedded.close().await,
            Backend::Redis(redis) => Box::pin(redis.close()).await,
        }
    }

    /// Counts what failed.
    fn counted<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &done {
            let kind = match error {
                StoreError::Full(_) => Failure::Full,
                StoreError::Unavailable(_) => Failure::Unavailable,
                StoreError::Damaged(_) => Failure::Damaged,
            };
            self.metrics.failures.of(kind).inc();
        }
        done
    }
}

/// What every call is told once the store is being closed.
fn closing() -> StoreError {
    StoreError::Unavailable("closing".to_owned())
}
