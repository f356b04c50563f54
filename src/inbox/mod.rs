//! The catch-all mailbox: what is accepted, how it is delivered, and how it is read again.

mod attempts;
mod backend;
mod claims;
mod domains;
mod feed;
mod filter;
mod fresh;
mod header;
mod rate;
mod search;
mod turns;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

pub use self::attempts::Attempt;
pub use self::backend::record_of;
pub use self::claims::{Claim, InHand, Taken, Wish};
pub use self::domains::{DomainPattern, Domains};
pub use self::feed::{Cursor, Feed, News};
pub use self::filter::{Filter, FilterError};
pub use self::fresh::FreshError;
pub use self::search::Miss;
pub use crate::store::{
    Gone, GoneReason, Lease, LeaseOutcome, LeaseStep, LeaseToken, Listing, Lost, MailboxSummary, Mark, Page, Raw,
    StoreError, Stored,
};

use self::attempts::{Ledger, Limits};
use self::rate::Rates;
use crate::clock::{Clock, Timestamp};
use crate::mail::{Budgets, MailboxName, MailboxNameError, MessageId, Naming};
use crate::metrics;
use crate::store::Store;

/// Messages and texts up to this size are parsed and looked through where they come up; larger ones would hold up other
/// connections of the same thread.
const INLINE_MAX_BYTES: usize = 64 * 1024;
/// So many large messages are parsed at once, and so many looked at: each takes its size, or several times that, while it
/// is, and more of them would only wait for the same processors.
const LARGE_AT_ONCE: usize = 2;

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
    /// How much of a message is read into its record.
    pub mime: Budgets,
    /// How many mails a minute one client may bring of one sender; 0 is without limit. It keeps one runaway test from
    /// filling the store.
    pub rate_per_minute: u32,
    /// How many mails a minute one client may bring; 0 is without limit.
    pub rate_per_minute_per_ip: u32,
    /// How many attempts at one mailbox are kept, and how many of one client at none; the oldest go. It keeps a sender that
    /// tries again and again from pushing out what others were told.
    pub attempts_per_mailbox: usize,
    /// How many attempts are kept in all; 0 keeps none. It bounds memory: each takes less than 3 KiB.
    pub attempts_max: usize,
}

/// The mailboxes, for those who bring mail and for those who read it. Clones share the same mailboxes.
#[derive(Clone)]
pub struct Inbox {
    settings: Arc<Settings>,
    store: Store,
    clock: Clock,
    rates: Arc<Rates>,
    ledger: Arc<Ledger>,
    /// Turns at parsing large messages.
    parsing: Arc<Semaphore>,
    /// Turns at reading large messages for what a search wants of their header, and at looking through their texts.
    looking: Arc<Semaphore>,
    /// Turns at looking for regular expressions in one message, which may take long.
    matching: Arc<Semaphore>,
    /// The same where it takes little: nobody who has little to look in waits for those who have much.
    glancing: Arc<Semaphore>,
    metrics: Arc<metrics::Inbox>,
}

impl Inbox {
    /// Mailboxes in `store`.
    #[must_use]
    pub fn new(settings: Settings, store: Store, clock: Clock, metrics: Arc<metrics::Inbox>) -> Self {
        let rates = Arc::new(Rates::new(settings.rate_per_minute, settings.rate_per_minute_per_ip));
        let ledger = Arc::new(Ledger::new(Limits {
            per_place: settings.attempts_per_mailbox,
            in_all: settings.attempts_max,
            shown_for: settings.retention,
        }));
        let [parsing, looking, matching, glancing] = [(); 4].map(|()| Arc::new(Semaphore::new(LARGE_AT_ONCE)));
        let settings = Arc::new(settings);
        Self { settings, store, clock, rates, ledger, parsing, looking, matching, glancing, metrics }
    }

    /// How much of a message is read.
    #[must_use]
    pub fn mime(&self) -> Budgets {
        self.settings.mime
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How long a message is kept.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.settings.retention
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

    /// The raw bytes of one message, to be read in chunks; `None` if it is not there.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn open_raw(&self, mailbox: &MailboxName, id: MessageId) -> Result<Option<Raw>, StoreError> {
        self.store.open_raw(mailbox, id).await
    }

    /// How a message went that is not there any more; `None` if it is there, never was, or is not remembered.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn gone(&self, mailbox: &MailboxName, id: MessageId) -> Result<Option<Gone>, StoreError> {
        self.store.gone(mailbox, id).await
    }

    /// Deletes one message; says whether it was there.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn delete(&self, mailbox: &MailboxName, id: MessageId) -> Result<bool, StoreError> {
        self.store.delete(mailbox, id).await
    }

    /// Deletes all messages of a mailbox, and forgets the attempts at it; says how many messages there were.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn clear(&self, mailbox: &MailboxName) -> Result<u64, StoreError> {
        let cleared = self.store.clear(mailbox).await?;
        self.ledger.clear(mailbox);
        Ok(cleared)
    }

    /// The mail for a mailbox that did not get in, newest first: at most `limit` attempts, none from before `since`.
    #[must_use]
    pub fn attempts(&self, mailbox: &MailboxName, since: Option<Timestamp>, limit: usize) -> Vec<Arc<Attempt>> {
        self.ledger.of(mailbox, since, limit, self.clock.now())
    }

    /// All mail that did not get in, newest first, at most `limit` of it.
    #[must_use]
    pub fn all_attempts(&self, limit: usize) -> Vec<Arc<Attempt>> {
        self.ledger.all(limit, self.clock.now())
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
