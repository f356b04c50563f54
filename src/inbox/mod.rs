//! The catch-all mailbox: what is accepted, how it is delivered, and how it is read again.

mod backend;
mod domains;
mod rate;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use self::domains::{DomainPattern, Domains};
pub use crate::store::{Listing, MailboxSummary, Page, StoreError, Stored};

use self::rate::SenderRate;
use crate::clock::Clock;
use crate::mail::{MailboxName, MailboxNameError, MessageId, Naming};
use crate::store::Store;

/// What is accepted, and how it is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domains whose mail is taken.
    pub domains: Domains,
    /// Our own host name: mail for its postmaster is always taken (RFC 5321 section 4.5.1).
    pub hostname: String,
    /// How an address becomes the name of its mailbox.
    pub naming: Naming,
    /// How long a message is kept, counted from its arrival.
    pub retention: Duration,
    /// How many mails a minute one sender may bring; 0 is without limit. It keeps one runaway test from filling the store.
    pub rate_per_minute: u32,
}

/// The mailboxes, for those who bring mail and for those who read it. Clones share the same mailboxes.
#[derive(Clone)]
pub struct Inbox {
    settings: Arc<Settings>,
    store: Store,
    clock: Clock,
    rate: Arc<SenderRate>,
}

impl Inbox {
    /// Mailboxes in `store`.
    #[must_use]
    pub fn new(settings: Settings, store: Store, clock: Clock) -> Self {
        let rate = Arc::new(SenderRate::new(settings.rate_per_minute));
        Self { settings: Arc::new(settings), store, clock, rate }
    }

    /// The mailbox that a reader means by `text`: a name or a full address.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn mailbox(&self, text: &str) -> Result<MailboxName, MailboxNameError> {
        self.settings.naming.parse(text)
    }

    /// The spelling of a mailbox that [`Inbox::mailbox`] reads back, for URLs.
    #[must_use]
    pub fn written(&self, mailbox: &MailboxName) -> String {
        self.settings.naming.written(mailbox)
    }

    /// The messages of a mailbox, newest first.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn list(&self, mailbox: &MailboxName, page: Page) -> Result<Listing, StoreError> {
        self.store.list(mailbox, page).await
    }

    /// One message; `None` if it is not there.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn message(&self, mailbox: &MailboxName, id: MessageId) -> Result<Option<Stored>, StoreError> {
        self.store.message(mailbox, id).await
    }

    /// The raw bytes of one message; `None` if it is not there.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn raw(&self, mailbox: &MailboxName, id: MessageId) -> Result<Option<Bytes>, StoreError> {
        self.store.raw(mailbox, id).await
    }

    /// Deletes one message; says whether it was there.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn delete(&self, mailbox: &MailboxName, id: MessageId) -> Result<bool, StoreError> {
        self.store.delete(mailbox, id).await
    }

    /// Deletes all messages of a mailbox; says how many there were.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn clear(&self, mailbox: &MailboxName) -> Result<u64, StoreError> {
        self.store.clear(mailbox).await
    }

    /// The mailboxes that hold mail, by name, those behind `after` only.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn mailboxes(
        &self,
        after: Option<&MailboxName>,
        limit: usize,
    ) -> Result<Vec<MailboxSummary>, StoreError> {
        self.store.mailboxes(after, limit).await
    }

    /// Whether the store can be reached. A full one can: its mail is there to be read, and room comes back by itself.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn ready(&self) -> Result<(), StoreError> {
        match self.store.ready().await {
            Err(StoreError::Full(_)) => Ok(()),
            ready => ready,
        }
    }
}
