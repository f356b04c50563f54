//! Answers that were given lately. Who looks at a mailbox looks again, and many may look at the same one: as long as nothing
//! has changed in it, neither the index nor another thread is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::{Listing, Page};

/// How much all of them take together, roughly. Most of it is records that are kept beside them anyway.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// A longer one is not kept: it would push out many.
const ANSWER_MAX_BYTES: u64 = 1024 * 1024;
/// What an answer, and each message of it, takes beside its texts, roughly.
const ANSWER_OVERHEAD_BYTES: u64 = 512;
const MESSAGE_OVERHEAD_BYTES: u64 = 2 * 1024;

/// So many counts there are; mailboxes whose names share one only look once more than they had to.
const COUNTS: usize = 4096;

/// What is asked of the index again and again.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Question {
    List(MailboxName, Page),
    Message(MailboxName, MessageId),
}

/// How often what is found in each mailbox has changed. Clones are the same.
///
/// The order is what makes an answer true: the writer counts a change when readers can see it and before anybody is told of
/// it, and a reader takes the count before it looks.
#[derive(Clone)]
pub(super) struct Changes(Arc<[AtomicU64]>);

/// A question that is to be asked, and how often its mailbox had changed before.
pub(super) struct Unanswered {
    pub(super) question: Question,
    pub(super) now: Timestamp,
    changes: u64,
}

/// The answers; shared by all readers.
pub(super) struct Answers {
    given: Cache<Question, Given, Size>,
    changes: Changes,
}

/// An answer, and when it is true: at that count of changes, from when it was found until the first of its messages expires.
#[derive(Clone)]
struct Given {
    found: Arc<Listing>,
    changes: u64,
    from: Timestamp,
    until: Timestamp,
}

#[derive(Clone)]
struct Size;

impl Weighter<Question, Given> for Size {
    fn weight(&self, _: &Question, given: &Given) -> u64 {
        bytes(&given.found)
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self((0..COUNTS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Changes {
    /// Counts a change of a mailbox.
    pub(super) fn note(&self, mailbox: &MailboxName) {
        self.of(mailbox).fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a change of every mailbox.
    pub(super) fn note_all(&self) {
        for count in &*self.0 {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn of(&self, mailbox: &MailboxName) -> &AtomicU64 {
        let hash = xxh3_64(mailbox.as_str().as_bytes());
        // The remainder is less than a length.
        &self.0[(hash % self.0.len() as u64) as usize]
    }
}

impl Answers {
    pub(super) fn new(changes: Changes) -> Self {
        let most = usize::try_from(MAX_BYTES / (ANSWER_OVERHEAD_BYTES + MESSAGE_OVERHEAD_BYTES)).unwrap_or(usize::MAX);
        Self { given: Cache::with_weighter(most, MAX_BYTES, Size), changes }
    }

    /// The answer that is true at `now`.
    ///
    /// # Errors
    /// The question, where it has to be asked.
    pub(super) fn recall(&self, question: Question, now: Timestamp) -> Result<Arc<Listing>, Unanswered> {
        let changes = self.changes.of(question.mailbox()).load(Ordering::Acquire);
        let is_true = |given: &Given| given.changes == changes && given.from <= now && now < given.until;
        match self.given.get(&question).filter(is_true) {
            Some(given) => Ok(given.found),
            None => Err(Unanswered { question, now, changes }),
        }
    }

    /// Keeps what was found.
    pub(super) fn keep(&self, asked: Unanswered, found: Arc<Listing>) {
        if bytes(&found) > ANSWER_MAX_BYTES {
            return;
        }
        let until = found.messages.iter().map(|stored| stored.message.expires_at).min();
        let until = until.unwrap_or(Timestamp::from_millis(u64::MAX));
        self.given.insert(asked.question, Given { found, changes: asked.changes, from: asked.now, until });
    }
}

impl Question {
    const fn mailbox(&self) -> &MailboxName {
        match self {
            Self::List(mailbox, _) | Self::Message(mailbox, _) => mailbox,
        }
    }
}

fn bytes(found: &Listing) -> u64 {
    let texts: usize = found.messages.iter().map(|stored| stored.text_bytes()).sum();
    ANSWER_OVERHEAD_BYTES + MESSAGE_OVERHEAD_BYTES * found.messages.len() as u64 + texts as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mail::Content;
    use crate::store::Stored;
    use crate::store::contract::{ALL, message, name, to};

    const EXPIRES: Timestamp = Timestamp::from_millis(1000);

    fn listing(text_bytes: usize) -> Arc<Listing> {
        let content = Content { text: Some("x".repeat(text_bytes)), ..Content::default() };
        let message = Arc::new(crate::mail::Message { content, ..message(0, EXPIRES.as_millis()) });
        let rcpt_to = to(&["alice"]).remove(0).rcpt_to;
        let stored = Stored { seq: 1, mailbox: name("alice"), rcpt_to, message };
        Arc::new(Listing { messages: vec![stored], ..Listing::default() })
    }

    fn list(mailbox: &str) -> Question {
        Question::List(name(mailbox), ALL)
    }

    /// Has the answer `found` at `now`.
    fn keep(answers: &Answers, mailbox: &str, now: Timestamp, found: Arc<Listing>) {
        let asked = answers.recall(list(mailbox), now).err().unwrap();
        answers.keep(asked, found);
    }

    #[test]
    fn an_answer_is_true_until_its_mailbox_changes() {
        let changes = Changes::default();
        let answers = Answers::new(changes.clone());
        let now = Timestamp::from_millis(10);
        let known = |mailbox| answers.recall(list(mailbox), now).is_ok();
        for mailbox in ["alice", "bob"] {
            assert!(!known(mailbox));
            keep(&answers, mailbox, now, listing(10));
            assert!(known(mailbox));
        }
        assert!(answers.recall(Question::List(name("alice"), Page { limit: 1, ..ALL }), now).is_err());
        changes.note(&name("alice"));
        assert!(!known("alice") && known("bob"));
        changes.note_all();
        assert!(!known("bob"));
        // What was asked before a change and answered after it may be of before.
        let asked = answers.recall(list("alice"), now).err().unwrap();
        changes.note(&name("alice"));
        answers.keep(asked, listing(10));
        assert!(!known("alice"));
    }

    #[test]
    fn an_answer_is_true_until_a_message_expires_and_not_before_it_was_found() {
        let answers = Answers::new(Changes::default());
        let found = Timestamp::from_millis(10);
        keep(&answers, "alice", found, listing(10));
        keep(&answers, "bob", found, Arc::new(Listing::default()));
        let knows = |mailbox, now| answers.recall(list(mailbox), now).is_ok();
        for (now, alice, bob) in [
            (Timestamp::from_millis(9), false, false),
            (found, true, true),
            (Timestamp::from_millis(999), true, true),
            (EXPIRES, false, true),
            (EXPIRES.after(Duration::from_secs(1_000_000)), false, true),
        ] {
            assert_eq!((knows("alice", now), knows("bob", now)), (alice, bob), "{now:?}");
        }
    }

    #[test]
    fn answers_take_so_much_and_no_more() {
        let answers = Answers::new(Changes::default());
        let now = Timestamp::from_millis(10);
        for number in 0..2 * MAX_BYTES / (64 * 1024) {
            keep(&answers, &number.to_string(), now, listing(64 * 1024));
        }
        assert!(
            answers.given.weight() <= MAX_BYTES && answers.given.weight() > MAX_BYTES / 2,
            "{}",
            answers.given.weight()
        );
        keep(&answers, "long", now, listing(ANSWER_MAX_BYTES as usize));
        assert!(answers.recall(list("long"), now).is_err());
    }
}
