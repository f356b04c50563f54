//! What the index remembers of messages that are gone. It is written in the transaction that removes them.

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::index::{Counts, from_row, to_row};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::gone::{ALL_MAX, FORGET_STEP, Gone, GoneReason, Lifetime, MAILBOX_MAX};

const OLDEST: &str = "DELETE FROM gone WHERE number IN (SELECT number FROM gone ORDER BY number LIMIT ?1)
     RETURNING mailbox";
const OLDEST_OF_MAILBOX: &str =
    "DELETE FROM gone WHERE number IN (SELECT number FROM gone WHERE mailbox = ?1 ORDER BY id LIMIT ?2)
     RETURNING mailbox";
// Those that went first are forgotten first: when the oldest are not due, the others need not be looked at.
const DUE: &str = "DELETE FROM gone WHERE number IN (
         SELECT number FROM (SELECT number, until_ms FROM gone ORDER BY number LIMIT ?1) WHERE until_ms <= ?2)
     RETURNING mailbox";

/// Remembers how a message went.
pub(super) fn add(
    connection: &Connection,
    counts: &mut Counts,
    mailbox: &MailboxName,
    id: MessageId,
    lifetime: Lifetime,
    gone: Gone,
) -> rusqlite::Result<()> {
    let until = lifetime.remembered_until(gone);
    let row = params![
        mailbox.as_str(),
        id.as_bytes(),
        to_code(gone.reason),
        to_row(gone.at.as_millis()),
        to_row(until.as_millis())
    ];
    let inserted = connection
        .prepare_cached(
            "INSERT INTO gone (mailbox, id, reason, at_ms, until_ms) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (mailbox, id) DO NOTHING",
        )?
        .execute(row)?;
    if inserted == 0 {
        // It had been kept again, and is gone again.
        return connection
            .prepare_cached("UPDATE gone SET reason = ?3, at_ms = ?4, until_ms = ?5 WHERE mailbox = ?1 AND id = ?2")?
            .execute(row)
            .map(drop);
    }
    let count = "SELECT count(*) FROM gone WHERE mailbox = ?1";
    let of_mailbox = counts.gone.add(mailbox, || count_of(connection, count, [mailbox.as_str()]))?;
    counts.all_gone = counts.all_gone.map(|all| all + 1);
    let excess = of_mailbox.saturating_sub(MAILBOX_MAX as u64);
    if excess > 0 {
        remove(connection, counts, OLDEST_OF_MAILBOX, params![mailbox.as_str(), to_row(excess)])?;
    }
    Ok(())
}

/// Keeps to the number of all that are remembered.
pub(super) fn trim(connection: &Connection, counts: &mut Counts) -> rusqlite::Result<()> {
    let all = match counts.all_gone {
        Some(all) => all,
        None => count_of(connection, "SELECT count(*) FROM gone", [])?,
    };
    counts.all_gone = Some(all);
    let excess = all.saturating_sub(ALL_MAX as u64);
    if excess > 0 { remove(connection, counts, OLDEST, [to_row(excess)]) } else { Ok(()) }
}

/// Forgets some of what has been remembered for long enough.
pub(super) fn forget(connection: &Connection, counts: &mut Counts, now: Timestamp) -> rusqlite::Result<()> {
    remove(connection, counts, DUE, params![to_row(FORGET_STEP as u64), to_row(now.as_millis())])
}

/// How a message went that is not there any more.
pub(super) fn find(
    connection: &Connection,
    mailbox: &MailboxName,
    id: MessageId,
    now: Timestamp,
) -> rusqlite::Result<Option<Gone>> {
    let time = |millis| Timestamp::from_millis(from_row(millis));
    let message = params![mailbox.as_str(), id.as_bytes()];
    let kept = connection
        .prepare_cached("SELECT received_ms, expires_ms FROM message WHERE mailbox = ?1 AND id = ?2")?
        .query_row(message, |row| Ok(Lifetime { received_at: time(row.get(0)?), expires_at: time(row.get(1)?) }))
        .optional()?;
    if let Some(lifetime) = kept {
        return Ok(lifetime.expired(now));
    }
    connection
        .prepare_cached("SELECT reason, at_ms FROM gone WHERE mailbox = ?1 AND id = ?2 AND until_ms > ?3")?
        .query_row(params![mailbox.as_str(), id.as_bytes(), to_row(now.as_millis())], |row| {
            Ok(Gone { reason: from_code(row.get(0)?), at: time(row.get(1)?) })
        })
        .optional()
}

fn remove(connection: &Connection, counts: &mut Counts, delete: &str, params: impl Params) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(delete)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        counts.gone.subtract(&MailboxName::stored(row.get(0)?));
        counts.all_gone = counts.all_gone.map(|all| all.saturating_sub(1));
    }
    Ok(())
}

fn count_of(connection: &Connection, count: &str, params: impl Params) -> rusqlite::Result<u64> {
    connection.prepare_cached(count)?.query_row(params, |row| row.get(0).map(from_row))
}

const fn to_code(reason: GoneReason) -> i64 {
    match reason {
        GoneReason::Deleted => 1,
        GoneReason::Expired => 2,
        GoneReason::Evicted => 3,
    }
}

const fn from_code(code: i64) -> GoneReason {
    match code {
        2 => GoneReason::Expired,
        3 => GoneReason::Evicted,
        _ => GoneReason::Deleted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::schema::tests::plans;

    #[test]
    fn the_oldest_are_found_without_a_look_at_the_others() {
        for (steps, step) in plans(&[
            (OLDEST_OF_MAILBOX, "SEARCH gone USING COVERING INDEX gone_message (mailbox=?)"),
            (OLDEST, "SCAN gone"),
            (DUE, "SCAN gone"),
        ]) {
            assert_eq!(steps[0], "SEARCH gone USING INTEGER PRIMARY KEY (rowid=?)", "{steps:?}");
            assert!(steps.contains(&step.to_owned()), "{steps:?}");
            // What is scanned is so in its order, up to the limit.
            assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
        }
    }
}
