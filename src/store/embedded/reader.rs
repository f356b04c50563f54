//! Reading: a few connections to the index, and the segment files. Reads run beside the writer and never wait for it.
//!
//! Between the look into the index and the look into the segment a message may be deleted and its bytes with it. So what
//! cannot be read is looked up again: it is damage only if the index still has it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::Semaphore;

use super::answers::{Answers, Changes, Question, Unanswered};
use super::entry::{self, HEAD_BYTES};
use super::extent::{Bounds, Extent};
use super::index::{from_row, to_row};
use super::records::Records;
use super::schema;
use super::segments::{Place, SegmentFiles, SegmentId};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::{CHUNK_BYTES, Listing, MailboxSummary, Page, Raw, StoreError, Stored, closing};

/// So many reads run at once; more of them would only wait for the same disk.
const CONNECTIONS: usize = 4;

/// A question whose rows [`Found::from_row`] reads.
macro_rules! lookup {
    ($rest:literal) => {
        concat!(
            "SELECT seq, id, rcpt_to, segment, start, record_len, front_len, raw_len, checksum FROM message ",
            $rest
        )
    };
}

pub(super) use lookup;

// The plus keeps SQLite from going by the index of the expiry, by which nearly every message would have to be looked at.
const LIST: &str =
    lookup!("WHERE mailbox = ?1 AND seq < ?2 AND seq > ?3 AND +expires_ms > ?4 ORDER BY seq DESC LIMIT ?5");
const ONE: &str = lookup!("WHERE id = ?1 AND mailbox = ?2 AND +expires_ms > ?3");
// With `max` alone, SQLite takes `received_ms` from the row that has the maximum.
const MAILBOXES: &str = "SELECT mailbox, count(*), received_ms, max(seq) FROM message
     WHERE mailbox > ?1 AND +expires_ms > ?2 GROUP BY mailbox ORDER BY mailbox LIMIT ?3";

/// The reading side; shared by all callers.
pub(super) struct Reader {
    index: PathBuf,
    files: Arc<SegmentFiles>,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    records: Records,
    answers: Answers,
}

/// A message of a mailbox as the index knows it.
pub(super) struct Found {
    pub(super) seq: u64,
    id: MessageId,
    rcpt_to: String,
    place: Place,
    record_len: u64,
    front_len: u64,
    raw_len: u64,
    checksum: u64,
}

impl Reader {
    pub(super) fn new(index: PathBuf, files: Arc<SegmentFiles>, changes: Changes) -> Self {
        let turns = Arc::new(Semaphore::new(CONNECTIONS));
        let answers = Answers::new(changes);
        Self { index, files, turns, idle: Mutex::default(), records: Records::new(), answers }
    }

    /// What there is to a question, where that is known without a look.
    pub(super) fn recall(
        &self,
        question: Question,
        now: Timestamp,
    ) -> Result<Result<Arc<Listing>, Unanswered>, StoreError> {
        if self.turns.is_closed() { Err(closing()) } else { Ok(self.answers.recall(question, now)) }
    }

    /// What there is to a question.
    pub(super) fn find(&self, connection: &Connection, asked: Unanswered) -> Result<Arc<Listing>, StoreError> {
        let now = asked.now;
        let found = match &asked.question {
            Question::List(mailbox, page) => self.list(connection, mailbox, *page, now)?,
            Question::Message(mailbox, id) => {
                let message = self.message(connection, mailbox, *id, now)?;
                Listing { messages: message.into_iter().collect(), ..Listing::default() }
            }
        };
        let found = Arc::new(found);
        // What could not be read now may be read the next time.
        if found.left_out == 0 {
            self.answers.keep(asked, found.clone());
        }
        Ok(found)
    }

    /// Runs `work` with a connection on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>, &Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.beside(move |reader| {
            let idle = reader.idle().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => schema::reading(&reader.index)?,
            };
            let result = work(reader, &connection);
            if !reader.turns.is_closed() {
                reader.idle().push(connection);
            }
            result
        })
        .await
    }

    /// Runs `work` on a thread that may block, without a connection.
    pub(super) async fn beside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| closing())?;
        let reader = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&reader)
        });
        reading.await.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("a read failed: {error}"))))
    }

    /// Lets nobody in any more and closes the connections.
    pub(super) fn close(&self) {
        self.turns.close();
        self.idle().clear();
    }

    fn list(
        &self,
        connection: &Connection,
        mailbox: &MailboxName,
        page: Page,
        now: Timestamp,
    ) -> Result<Listing, StoreError> {
        let mut before = page.before;
        self.page(connection, mailbox, page, |wanted| {
            let rows = Found::rows(connection, LIST, mailbox, Page { before, limit: wanted, ..page }, now)?;
            before = rows.last().map(|row| row.seq);
            let was_last = rows.len() < wanted;
            Ok((rows, was_last))
        })
    }

    /// Reads as much as `page` has place for of what `next` gives: so many rows, and whether they are the last.
    pub(super) fn page(
        &self,
        connection: &Connection,
        mailbox: &MailboxName,
        page: Page,
        mut next: impl FnMut(usize) -> rusqlite::Result<(Vec<Found>, bool)>,
    ) -> Result<Listing, StoreError> {
        let (mut messages, mut bytes, mut left_out) = (Vec::new(), 0, 0);
        // Damaged ones behind the last that could be read: they are in the next page, if there is one.
        let mut damaged = 0;
        loop {
            // What cannot be read is left out, and the page filled up with what comes behind it; one row more than there
            // is place for tells whether the mailbox goes on.
            let (rows, was_last) = next(page.limit - messages.len() + 1)?;
            for row in rows {
                bytes += row.record_len + row.rcpt_to.len() as u64;
                if page.is_full(messages.len(), bytes) {
                    return Ok(Listing { messages, more: true, left_out });
                }
                match self.stored(&row, mailbox) {
                    Some(stored) => {
                        messages.push(stored);
                        left_out += std::mem::take(&mut damaged);
                    }
                    None if is_there(connection, row.seq)? => {
                        tracing::error!(id = %row.id, %mailbox, "a message is damaged and was left out of a list");
                        damaged += 1;
                    }
                    None => {}
                }
            }
            if was_last {
                return Ok(Listing { messages, more: false, left_out: left_out + damaged });
            }
        }
    }

    fn message(
        &self,
        connection: &Connection,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Stored>, StoreError> {
        let Some(found) = row(connection, mailbox, id, now)? else { return Ok(None) };
        let stored = self.stored(&found, mailbox);
        if stored.is_none() && is_there(connection, found.seq)? {
            return Err(StoreError::Damaged(format!("the record of message {id} cannot be read back")));
        }
        Ok(stored)
    }

    /// The raw bytes of a message: those of a small one are read at once.
    pub(super) fn open_raw(
        self: &Arc<Self>,
        connection: &Connection,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Raw>, StoreError> {
        let Some(found) = row(connection, mailbox, id, now)? else { return Ok(None) };
        let bounds = found.raw();
        if bounds.len > CHUNK_BYTES as u64 {
            return Ok(Some(Raw::embedded(Extent::new(self.clone(), bounds))));
        }
        let raw = bounds.whole(self);
        if raw.is_none() && is_there(connection, found.seq)? {
            return Err(StoreError::Damaged(format!("message {id} cannot be read back")));
        }
        Ok(raw.map(Raw::held))
    }

    /// The message of a row, or nothing if it cannot be read.
    fn stored(&self, found: &Found, mailbox: &MailboxName) -> Option<Stored> {
        let read = || entry::record(&self.bytes(found.place, HEAD_BYTES as u64 + found.record_len)?, found.id);
        let message = self.records.of(found.id, read)?;
        let rcpt_to = found.rcpt_to.parse().ok()?;
        Some(Stored { seq: found.seq, mailbox: mailbox.clone(), rcpt_to, message })
    }

    pub(super) fn bytes(&self, place: Place, len: u64) -> Option<Vec<u8>> {
        let read = self.files.read(place, usize::try_from(len).ok()?);
        read.inspect_err(|error| tracing::debug!(?place, %error, "bytes of a segment cannot be read")).ok()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    /// The rows of a part of a mailbox that `question` asks for.
    pub(super) fn rows(
        connection: &Connection,
        question: &str,
        mailbox: &MailboxName,
        page: Page,
        now: Timestamp,
    ) -> rusqlite::Result<Vec<Self>> {
        connection
            .prepare_cached(question)?
            .query_map(
                params![
                    mailbox.as_str(),
                    page.before.map_or(i64::MAX, to_row),
                    page.after.map_or(0, to_row),
                    to_row(now.as_millis()),
                    to_row(page.limit as u64),
                ],
                Self::from_row,
            )?
            .collect()
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: from_row(row.get(0)?),
            id: MessageId::from_bytes(row.get(1)?),
            rcpt_to: row.get(2)?,
            place: Place { segment: SegmentId::from_row(row.get(3)?), start: from_row(row.get(4)?) },
            record_len: from_row(row.get(5)?),
            front_len: from_row(row.get(6)?),
            raw_len: from_row(row.get(7)?),
            checksum: row.get::<_, i64>(8)?.cast_unsigned(),
        })
    }

    /// Where its raw bytes are.
    const fn raw(&self) -> Bounds {
        let place = Place { start: self.place.start + self.front_len, ..self.place };
        Bounds { seq: self.seq, id: self.id, place, len: self.raw_len, checksum: self.checksum }
    }
}

fn row(
    connection: &Connection,
    mailbox: &MailboxName,
    id: MessageId,
    now: Timestamp,
) -> rusqlite::Result<Option<Found>> {
    connection
        .prepare_cached(ONE)?
        .query_row(params![id.as_bytes(), mailbox.as_str(), to_row(now.as_millis())], Found::from_row)
        .optional()
}

/// Whether the index still has a message.
pub(super) fn is_there(connection: &Connection, seq: u64) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM message WHERE seq = ?1")?.exists([to_row(seq)])
}

/// The mailboxes with mail, by name.
pub(super) fn mailboxes(
    connection: &Connection,
    after: Option<&MailboxName>,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<Vec<MailboxSummary>> {
    connection
        .prepare_cached(MAILBOXES)?
        .query_map(
            // No name is empty, so all are behind the empty one.
            params![after.map_or("", MailboxName::as_str), to_row(now.as_millis()), to_row(limit as u64)],
            |row| {
                Ok(MailboxSummary {
                    mailbox: MailboxName::stored(row.get(0)?),
                    count: from_row(row.get(1)?),
                    newest_received_at: Timestamp::from_millis(from_row(row.get(2)?)),
                })
            },
        )?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::schema::tests::plans;

    #[test]
    fn each_question_goes_straight_to_its_rows() {
        for (steps, index) in plans(&[
            (LIST, "SEARCH message USING INDEX message_mailbox (mailbox=? AND seq>? AND seq<?)"),
            (ONE, "SEARCH message USING INDEX message_id (id=? AND mailbox=?)"),
            (MAILBOXES, "SEARCH message USING COVERING INDEX message_mailbox (mailbox>?)"),
        ]) {
            assert_eq!(steps[0], index, "{steps:?}");
            assert!(!steps.iter().any(|step| step.contains("SCAN") || step.contains("TEMP")), "{steps:?}");
        }
    }
}
