//! What the writer does to the index: one transaction at a time.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, params};

use super::held::{self, Changes};
use super::pending::{Pending, Unindexed};
use super::segments::{Place, SegmentId};
use super::tombstones;
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::gone::{GoneReason, Lifetime};

/// How many expired messages go in one transaction. Deliveries wait for it, so it is short.
pub(super) const SWEEP_STEP: u64 = 100;
/// How long a page is; see `schema`.
const PAGE_BYTES: u64 = 4096;
/// Mailboxes whose size is remembered. When there are more, all are forgotten and counted again.
const COUNTED_MAILBOXES: usize = 65_536;

/// How many rows there are of what, as far as it is known: counted once, then kept up to date.
#[derive(Default)]
pub(super) struct Counts {
    /// The messages of the mailboxes that were written to lately.
    messages: CountByMailbox,
    /// The messages that are gone of the mailboxes that lost some lately.
    pub(super) gone: CountByMailbox,
    /// All messages that are gone.
    pub(super) all_gone: Option<u64>,
}

#[derive(Default)]
pub(super) struct CountByMailbox(HashMap<MailboxName, u64>);

/// A question for rows that are to be removed; [`Removal::from_row`] reads them.
macro_rules! removal {
    ($rest:literal) => {
        concat!(
            "SELECT seq, id, segment, start, front_len + raw_len, mailbox, received_ms, expires_ms FROM message ",
            $rest
        )
    };
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
    /// Whether it is remembered how messages went.
    remembers: bool,
    /// Entries that nothing refers to any more. Their room may be given back once the transaction is durable.
    freed: Vec<Extent>,
    changes: Changes,
    /// How many messages their mailboxes had no room for.
    evicted: u64,
}

/// What a transaction has done that is of interest outside of the index.
pub(super) struct Done {
    /// Entries that nothing refers to any more.
    pub(super) freed: Vec<Extent>,
    /// How many messages their mailboxes had no room for.
    pub(super) evicted: u64,
}

/// A row that is to be removed.
struct Removal {
    seq: i64,
    id: MessageId,
    mailbox: MailboxName,
    lifetime: Lifetime,
    extent: Extent,
}

impl Removal {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let place = Place { segment: SegmentId::from_row(row.get(2)?), start: from_row(row.get(3)?) };
        let extent = Extent { place, len: from_row(row.get(4)?) };
        let time = |column| Ok::<_, rusqlite::Error>(Timestamp::from_millis(from_row(row.get(column)?)));
        Ok(Self {
            seq: row.get(0)?,
            id: MessageId::from_bytes(row.get(1)?),
            mailbox: MailboxName::stored(row.get(5)?),
            lifetime: Lifetime { received_at: time(6)?, expires_at: time(7)? },
            extent,
        })
    }
}

impl Counts {
    /// Forgets everything, as after a transaction that failed.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl CountByMailbox {
    /// Counts one more row of a mailbox; where its rows are not known they are counted, and it is one of them already.
    pub(super) fn add(
        &mut self,
        mailbox: &MailboxName,
        count: impl FnOnce() -> rusqlite::Result<u64>,
    ) -> rusqlite::Result<u64> {
        if let Some(known) = self.0.get_mut(mailbox) {
            *known += 1;
            return Ok(*known);
        }
        let counted = count()?;
        if self.0.len() >= COUNTED_MAILBOXES {
            self.0.clear();
        }
        self.0.insert(mailbox.clone(), counted);
        Ok(counted)
    }

    /// Counts one row less.
    pub(super) fn subtract(&mut self, mailbox: &MailboxName) {
        if let Some(known) = self.0.get_mut(mailbox) {
            *known = known.saturating_sub(1);
        }
    }
}

impl<'a> Update<'a> {
    /// On a full disk nothing is remembered: it would take room to remove what has expired.
    pub(super) fn new(transaction: Transaction<'a>, counts: &'a mut Counts, remembers: bool) -> Self {
        Self { transaction, counts, remembers, freed: Vec::new(), changes: Changes::default(), evicted: 0 }
    }

    pub(super) fn commit(self) -> rusqlite::Result<Done> {
        self.changes.write(&self.transaction)?;
        self.transaction.commit()?;
        Ok(Done { freed: self.freed, evicted: self.evicted })
    }

    /// For what changes rows and removes none.
    pub(super) fn connection(&self) -> &Connection {
        &self.transaction
    }

    /// Takes in all that is pending, and notes up to where the segments have been read with it.
    pub(super) fn index(&mut self, pending: &Pending, last_seq: u64, max_messages: u64) -> rusqlite::Result<()> {
        for message in pending.messages() {
            self.changes.added(Extent { place: message.place, len: message.head.len() });
            self.keep(message, max_messages)?;
        }
        for (segment, end) in pending.ends() {
            held::indexed(&self.transaction, segment, end)?;
        }
        self.transaction.prepare_cached("UPDATE counter SET last_seq = ?1")?.execute([to_row(last_seq)])?;
        Ok(())
    }

    /// Puts a message into its mailboxes, once each, and pushes the oldest out of those that are over `max_messages`.
    fn keep(&mut self, message: &Unindexed, max_messages: u64) -> rusqlite::Result<()> {
        let Unindexed { head, recipients, place } = message;
        let mut is_kept = false;
        for (recipient, seq) in recipients.iter().zip(head.first_seq..) {
            let inserted = self
                .transaction
                .prepare_cached(
                    "INSERT INTO message (seq, id, mailbox, rcpt_to, received_ms, expires_ms, segment, start,
                                          record_len, front_len, raw_len, checksum)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (id, mailbox) DO NOTHING",
                )?
                .execute(params![
                    to_row(seq),
                    head.id.as_bytes(),
                    recipient.mailbox.as_str(),
                    recipient.rcpt_to,
                    to_row(head.received_at.as_millis()),
                    to_row(head.expires_at.as_millis()),
                    place.segment.to_row(),
                    to_row(place.start),
                    to_row(head.record.len),
                    to_row(head.front_len()),
                    to_row(head.raw.len),
                    head.raw.checksum.cast_signed(),
                ])?;
            if inserted == 1 {
                is_kept = true;
                self.trim(&recipient.mailbox, max_messages, head.received_at)?;
            }
        }
        if !is_kept {
            self.release(head.id, Extent { place: *place, len: head.len() })?;
        }
        Ok(())
    }

    /// Removes the oldest of a mailbox that has just got one more message, at `at`.
    fn trim(&mut self, mailbox: &MailboxName, max_messages: u64, at: Timestamp) -> rusqlite::Result<()> {
        let transaction = &self.transaction;
        let count = self.counts.messages.add(mailbox, || {
            transaction
                .prepare_cached("SELECT count(*) FROM message WHERE mailbox = ?1")?
                .query_row([mailbox.as_str()], |row| row.get(0).map(from_row))
        })?;
        let excess = count.saturating_sub(max_messages);
        if excess > 0 {
            let oldest = removal!("WHERE mailbox = ?1 ORDER BY seq LIMIT ?2");
            self.evicted +=
                self.remove_all(oldest, params![mailbox.as_str(), to_row(excess)], GoneReason::Evicted, at)?;
        }
        Ok(())
    }

    /// Deletes one message from one mailbox.
    pub(super) fn delete(&mut self, mailbox: &MailboxName, id: MessageId, now: Timestamp) -> rusqlite::Result<bool> {
        let one = removal!("WHERE id = ?1 AND mailbox = ?2 AND +expires_ms > ?3");
        let row = params![id.as_bytes(), mailbox.as_str(), to_row(now.as_millis())];
        Ok(self.remove_all(one, row, GoneReason::Deleted, now)? == 1)
    }

    /// Deletes all messages of a mailbox; those that have expired are left to the sweep, as they count no more.
    pub(super) fn clear(&mut self, mailbox: &MailboxName, now: Timestamp) -> rusqlite::Result<u64> {
        let live = removal!("WHERE mailbox = ?1 AND +expires_ms > ?2");
        self.remove_all(live, params![mailbox.as_str(), to_row(now.as_millis())], GoneReason::Deleted, now)
    }

    /// Removes some of what has expired, the oldest first; when fewer than [`SWEEP_STEP`] went, that was all.
    pub(super) fn expire(&mut self, now: Timestamp) -> rusqlite::Result<u64> {
        tombstones::forget(&self.transaction, self.counts, now)?;
        let due = removal!("WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2");
        let due_now = params![to_row(now.as_millis()), to_row(SWEEP_STEP)];
        self.remove_all(due, due_now, GoneReason::Expired, now)
    }

    fn remove_all(
        &mut self,
        select: &str,
        params: impl Params,
        reason: GoneReason,
        at: Timestamp,
    ) -> rusqlite::Result<u64> {
        let found: Vec<_> = self
            .transaction
            .prepare_cached(select)?
            .query_map(params, Removal::from_row)?
            .collect::<rusqlite::Result<_>>()?;
        for Removal { seq, id, mailbox, lifetime, extent } in &found {
            self.transaction.prepare_cached("DELETE FROM message WHERE seq = ?1")?.execute([seq])?;
            self.counts.messages.subtract(mailbox);
            self.release(*id, *extent)?;
            if self.remembers {
                tombstones::add(&self.transaction, self.counts, mailbox, *id, *lifetime, lifetime.end(reason, at))?;
            }
        }
        if self.remembers && !found.is_empty() {
            tombstones::trim(&self.transaction, self.counts)?;
        }
        Ok(found.len() as u64)
    }

    /// Frees an entry if no copy of its message is left that refers to it.
    fn release(&mut self, id: MessageId, extent: Extent) -> rusqlite::Result<()> {
        let Place { segment, start } = extent.place;
        let is_needed = self
            .transaction
            .prepare_cached("SELECT 1 FROM message WHERE id = ?1 AND segment = ?2 AND start = ?3")?
            .exists(params![id.as_bytes(), segment.to_row(), to_row(start)])?;
        if !is_needed {
            self.freed.push(extent);
            self.changes.freed(extent);
        }
        Ok(())
    }
}

/// Whether the next transactions are synced. What was found in the log need not be, it is found there again; but what was
/// deleted must stay so, and bytes may be given back only when a replay of the log will not come by them any more.
pub(super) fn set_durable(connection: &Connection, is_durable: bool) -> rusqlite::Result<()> {
    connection.execute_batch(if is_durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" })
}

/// Makes the transactions durable that were not synced: a sync takes all before it along, and a change to be synced.
pub(super) fn sync(connection: &Connection) -> rusqlite::Result<()> {
    set_durable(connection, true)?;
    let synced = connection.prepare_cached("UPDATE counter SET syncs = syncs + 1")?.execute([]);
    set_durable(connection, false)?;
    synced.map(drop)
}

/// Notes for good the largest seq that was given out.
pub(super) fn note_seq(connection: &Connection, last_seq: u64) -> rusqlite::Result<()> {
    set_durable(connection, true)?;
    let noted = connection.prepare_cached("UPDATE counter SET last_seq = ?1")?.execute([to_row(last_seq)]);
    set_durable(connection, false)?;
    noted.map(drop)
}

/// How many bytes of the index are in use.
pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = |pragma| connection.prepare_cached(pragma)?.query_row([], |row| row.get(0).map(from_row));
    let (all, free): (u64, u64) = (pages("PRAGMA page_count")?, pages("PRAGMA freelist_count")?);
    Ok(all.saturating_sub(free) * PAGE_BYTES)
}

/// The seq of a message in a mailbox.
pub(super) fn seq(connection: &Connection, id: MessageId, mailbox: &MailboxName) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT seq FROM message WHERE id = ?1 AND mailbox = ?2")?
        .query_row(params![id.as_bytes(), mailbox.as_str()], |row| row.get(0).map(from_row))
        .optional()
}

/// The largest id that there is.
pub(super) fn largest_id(connection: &Connection) -> rusqlite::Result<Option<MessageId>> {
    let id: Option<[u8; 16]> = connection.query_row("SELECT max(id) FROM message", [], |row| row.get(0))?;
    Ok(id.map(MessageId::from_bytes))
}

/// The largest seq that was ever given out, as far as the index knows.
pub(super) fn last_seq(connection: &Connection) -> rusqlite::Result<u64> {
    let greatest = "SELECT max(last_seq, (SELECT ifnull(max(seq), 0) FROM message)) FROM counter";
    connection.query_row(greatest, [], |row| row.get(0).map(from_row))
}

/// A number as SQLite keeps it: signed.
pub(super) fn to_row(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as SQLite gave it back.
pub(super) fn from_row(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
