//! What the writer does to the index: one transaction at a time.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Params, Row, Transaction, params};

use super::entry::HEAD_BYTES;
use super::segments::{Place, SegmentId};
use super::writer::Append;
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::Event;

/// How many expired messages go in one transaction. Deliveries wait for it, so it is short.
pub(super) const SWEEP_STEP: u64 = 500;
/// Mailboxes whose size is remembered. When there are more, all are forgotten and counted again.
const COUNTED_MAILBOXES: usize = 65_536;

/// How many messages a mailbox has, for those that were written to lately: counted once, then kept up to date.
#[derive(Default)]
pub(super) struct Counts(HashMap<MailboxName, u64>);

/// What a transaction means for all that is not in the index. Only once it is committed does that happen.
#[derive(Default)]
pub(super) struct Changes {
    /// Entries that are referred to now.
    pub(super) added: Vec<Extent>,
    /// Entries that nothing refers to any more.
    pub(super) freed: Vec<Extent>,
    /// What is to be told.
    pub(super) events: Vec<Event>,
}

/// An entry as a stretch of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    pub(super) place: Place,
    pub(super) len: u64,
}

/// A transaction under way.
pub(super) struct Update<'a> {
    transaction: Transaction<'a>,
    counts: &'a mut Counts,
    changes: Changes,
}

impl Counts {
    /// Forgets everything, as after a transaction that failed.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl<'a> Update<'a> {
    pub(super) fn new(transaction: Transaction<'a>, counts: &'a mut Counts) -> Self {
        Self { transaction, counts, changes: Changes::default() }
    }

    pub(super) fn commit(self) -> rusqlite::Result<Changes> {
        self.transaction.commit()?;
        Ok(self.changes)
    }

    /// Puts a message into its mailboxes, once each, and pushes the oldest out of those that are over `max_messages`.
    pub(super) fn keep(&mut self, append: &Append, place: Place, max_messages: u64) -> rusqlite::Result<Vec<u64>> {
        let entry = &append.entry;
        self.transaction
            .prepare_cached(
                "INSERT INTO body (segment, start, record_len, raw_len, checksum, refs) VALUES (?1, ?2, ?3, ?4, ?5, 0)",
            )?
            .execute(params![
                place.segment.to_row(),
                to_row(place.start),
                to_row(entry.record_len()),
                to_row(entry.raw.len() as u64),
                entry.checksum.cast_signed(),
            ])?;
        let body_id = self.transaction.last_insert_rowid();
        let mut seqs = Vec::with_capacity(append.deliveries.len());
        let mut fresh = Vec::with_capacity(append.deliveries.len());
        for delivery in &append.deliveries {
            let (seq, is_new) = self.deliver(append, &delivery.mailbox, &delivery.rcpt_to.to_string(), body_id)?;
            seqs.push(seq);
            if is_new {
                fresh.push(&delivery.mailbox);
                self.changes.events.push(Event { mailbox: delivery.mailbox.clone(), seq });
            }
        }
        if fresh.is_empty() {
            self.transaction.prepare_cached("DELETE FROM body WHERE body_id = ?1")?.execute([body_id])?;
            return Ok(seqs);
        }
        self.transaction
            .prepare_cached("UPDATE body SET refs = ?2 WHERE body_id = ?1")?
            .execute(params![body_id, to_row(fresh.len() as u64)])?;
        self.changes.added.push(Extent { place, len: entry.len() });
        for mailbox in fresh {
            self.trim(mailbox, max_messages)?;
        }
        Ok(seqs)
    }

    /// Puts a message into one mailbox: says under which `seq`, and whether it is new there.
    fn deliver(
        &mut self,
        append: &Append,
        mailbox: &MailboxName,
        rcpt_to: &str,
        body_id: i64,
    ) -> rusqlite::Result<(u64, bool)> {
        let inserted = self
            .transaction
            .prepare_cached(
                "INSERT INTO message (id, mailbox, rcpt_to, received_ms, expires_ms, body_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id, mailbox) DO NOTHING",
            )?
            .execute(params![
                append.id.as_bytes(),
                mailbox.as_str(),
                rcpt_to,
                to_row(append.received_at.as_millis()),
                to_row(append.expires_at.as_millis()),
                body_id,
            ])?;
        if inserted == 1 {
            return Ok((from_row(self.transaction.last_insert_rowid()), true));
        }
        let seq = self
            .transaction
            .prepare_cached("SELECT seq FROM message WHERE id = ?1 AND mailbox = ?2")?
            .query_row(params![append.id.as_bytes(), mailbox.as_str()], |row| row.get(0))?;
        Ok((from_row(seq), false))
    }

    /// Removes the oldest of a mailbox that has just got one more message.
    fn trim(&mut self, mailbox: &MailboxName, max_messages: u64) -> rusqlite::Result<()> {
        let count = match self.counts.0.get(mailbox) {
            Some(count) => count + 1,
            None => self
                .transaction
                .prepare_cached("SELECT count(*) FROM message WHERE mailbox = ?1")?
                .query_row([mailbox.as_str()], |row| row.get(0).map(from_row))?,
        };
        let excess = count.saturating_sub(max_messages);
        if excess > 0 {
            let oldest = "SELECT seq, body_id FROM message WHERE mailbox = ?1 ORDER BY seq LIMIT ?2";
            self.remove_all(oldest, params![mailbox.as_str(), to_row(excess)])?;
        }
        if self.counts.0.len() >= COUNTED_MAILBOXES {
            self.counts.forget();
        }
        self.counts.0.insert(mailbox.clone(), count - excess);
        Ok(())
    }

    /// Deletes one message from one mailbox.
    pub(super) fn delete(&mut self, mailbox: &MailboxName, id: MessageId, now: Timestamp) -> rusqlite::Result<bool> {
        self.counts.0.remove(mailbox);
        let one = "SELECT seq, body_id FROM message WHERE id = ?1 AND mailbox = ?2 AND expires_ms > ?3";
        let removed = self.remove_all(one, params![id.as_bytes(), mailbox.as_str(), to_row(now.as_millis())])?;
        Ok(removed == 1)
    }

    /// Deletes all messages of a mailbox; those that have expired are left to the sweep, as they count no more.
    pub(super) fn clear(&mut self, mailbox: &MailboxName, now: Timestamp) -> rusqlite::Result<u64> {
        self.counts.0.remove(mailbox);
        let live = "SELECT seq, body_id FROM message WHERE mailbox = ?1 AND +expires_ms > ?2";
        self.remove_all(live, params![mailbox.as_str(), to_row(now.as_millis())])
    }

    /// Removes some of what has expired, the oldest first; when fewer than [`SWEEP_STEP`] went, that was all.
    pub(super) fn expire(&mut self, now: Timestamp) -> rusqlite::Result<u64> {
        let due = "SELECT seq, body_id FROM message WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2";
        let removed = self.remove_all(due, params![to_row(now.as_millis()), to_row(SWEEP_STEP)])?;
        if removed > 0 {
            self.counts.forget();
        }
        Ok(removed)
    }

    fn remove_all(&mut self, select: &str, params: impl Params) -> rusqlite::Result<u64> {
        let found: Vec<(i64, i64)> = self
            .transaction
            .prepare_cached(select)?
            .query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (seq, body_id) in &found {
            self.transaction.prepare_cached("DELETE FROM message WHERE seq = ?1")?.execute([seq])?;
            self.release(*body_id)?;
        }
        Ok(found.len() as u64)
    }

    /// Takes one reference off a body; with the last one it goes.
    fn release(&mut self, body_id: i64) -> rusqlite::Result<()> {
        let gone = self
            .transaction
            .prepare_cached(
                "DELETE FROM body WHERE body_id = ?1 AND refs <= 1 RETURNING segment, start, record_len, raw_len",
            )?
            .query_row([body_id], extent)
            .optional()?;
        match gone {
            Some(extent) => self.changes.freed.push(extent),
            None => {
                self.transaction
                    .prepare_cached("UPDATE body SET refs = refs - 1 WHERE body_id = ?1")?
                    .execute([body_id])?;
            }
        }
        Ok(())
    }
}

/// Reads `segment, start, record_len, raw_len`.
fn extent(row: &Row<'_>) -> rusqlite::Result<Extent> {
    let segment = SegmentId::from_row(row.get(0)?);
    let place = Place { segment, start: from_row(row.get(1)?) };
    let texts: u64 = from_row(row.get(2)?) + from_row(row.get(3)?);
    Ok(Extent { place, len: HEAD_BYTES as u64 + texts })
}

/// A number as SQLite keeps it: signed.
pub(super) fn to_row(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as SQLite gave it back.
pub(super) fn from_row(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
