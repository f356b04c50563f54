//! Who works on which message, as the index has it. The lease of a message is a part of its row and goes with it.

use std::collections::HashSet;

use rusqlite::{Connection, Row, params};

use super::index::{from_row, to_row};
use super::reader::{Found, Reader, lookup};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::claims::{Claimed, Lease, LeaseOutcome, LeaseStep, LeaseToken, NEVER, RELEASED, Unclaimed};
use crate::store::{Page, StoreError};

const UNCLAIMED: &str = lookup!(
    "WHERE mailbox = ?1 AND seq < ?2 AND seq > ?3 AND +expires_ms > ?4 AND ifnull(+claimed_until_ms, 0) <= ?4
     ORDER BY seq LIMIT ?5"
);
const NEXT_FREE: &str =
    "SELECT min(claimed_until_ms) FROM message WHERE mailbox = ?1 AND claimed_until_ms > ?2 AND claimed_until_ms < ?3";
const CLAIMED: &str =
    "SELECT seq, claimed_until_ms FROM message WHERE mailbox = ?1 AND claimed_until_ms > ?2 AND +expires_ms > ?2";
const CLAIM: &str = "UPDATE message SET claim_token = ?4, claimed_until_ms = ?5
     WHERE id = ?1 AND mailbox = ?2 AND +expires_ms > ?3 AND ifnull(+claimed_until_ms, 0) <= ?3";
const STEP: &str = "UPDATE message SET claimed_until_ms = ?5
     WHERE id = ?1 AND mailbox = ?2 AND +expires_ms > ?3
           AND claim_token = ?4 AND (+claimed_until_ms > ?3 AND +claimed_until_ms <= ?6 OR +claimed_until_ms = ?7)";
const IS_THERE: &str = "SELECT 1 FROM message WHERE id = ?1 AND mailbox = ?2 AND +expires_ms > ?3";

/// The messages that can be claimed, oldest first, without those that are known not to be wanted.
pub(super) fn unclaimed(
    reader: &Reader,
    connection: &Connection,
    mailbox: &MailboxName,
    page: Page,
    unwanted: &HashSet<u64>,
    now: Timestamp,
) -> Result<Unclaimed, StoreError> {
    let mut after = page.after;
    let listing = reader.page(connection, mailbox, page, |wanted| {
        let page = Page { after, limit: wanted, ..page };
        let mut rows = Found::rows(connection, UNCLAIMED, mailbox, page, now)?;
        after = rows.last().map(|row| row.seq).or(after);
        let was_last = rows.len() < wanted;
        rows.retain(|row| !unwanted.contains(&row.seq));
        Ok((rows, was_last))
    })?;
    // Behind the list: what is leased in between ends later than `now` too, and is counted.
    let next_free_at = connection
        .prepare_cached(NEXT_FREE)?
        .query_row(params![mailbox.as_str(), time(now), time(NEVER)], |row| row.get::<_, Option<i64>>(0))?;
    Ok(Unclaimed { listing, next_free_at: next_free_at.map(|at| Timestamp::from_millis(from_row(at))) })
}

/// The messages that cannot be claimed.
pub(super) fn claimed(
    connection: &Connection,
    mailbox: &MailboxName,
    now: Timestamp,
) -> rusqlite::Result<Vec<Claimed>> {
    let read = |row: &Row<'_>| {
        let until = row.get(1).map(|until| Timestamp::from_millis(from_row(until)))?;
        Ok(Claimed { seq: from_row(row.get(0)?), until: (time(until) < time(NEVER)).then_some(until) })
    };
    connection.prepare_cached(CLAIMED)?.query_map(params![mailbox.as_str(), time(now)], read)?.collect()
}

/// Leases the first of `ids` that can be.
pub(super) fn claim(
    connection: &Connection,
    mailbox: &MailboxName,
    ids: &[MessageId],
    lease: Lease,
    now: Timestamp,
) -> rusqlite::Result<Option<MessageId>> {
    let mut claim = connection.prepare_cached(CLAIM)?;
    for id in ids {
        let (token, until) = (lease.token.as_bytes(), time(lease.until));
        if claim.execute(params![id.as_bytes(), mailbox.as_str(), time(now), token, until])? == 1 {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

/// Takes a step with the lease that `token` proves.
pub(super) fn step(
    connection: &Connection,
    mailbox: &MailboxName,
    id: MessageId,
    token: LeaseToken,
    step: LeaseStep,
    now: Timestamp,
) -> rusqlite::Result<LeaseOutcome> {
    // The last end of a live lease with which it can be done, and the end with which it was done before.
    let (latest, repeated) = match step {
        LeaseStep::Release => (time(NEVER) - 1, Some(time(RELEASED))),
        LeaseStep::Finish => (time(NEVER), None),
        LeaseStep::Extend(_) => (time(NEVER) - 1, None),
    };
    let (id, mailbox, now) = (id.as_bytes(), mailbox.as_str(), time(now));
    let values = params![id, mailbox, now, token.as_bytes(), time(step.end()), latest, repeated];
    if connection.prepare_cached(STEP)?.execute(values)? == 1 {
        return Ok(LeaseOutcome::Stepped);
    }
    let is_there = connection.prepare_cached(IS_THERE)?.exists(params![id, mailbox, now])?;
    Ok(if is_there { LeaseOutcome::Refused } else { LeaseOutcome::Missing })
}

fn time(moment: Timestamp) -> i64 {
    to_row(moment.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::schema::tests::plans;

    #[test]
    fn each_question_goes_straight_to_its_rows() {
        let by_id = "SEARCH message USING INDEX message_id (id=? AND mailbox=?)";
        for (steps, index) in plans(&[
            (UNCLAIMED, "SEARCH message USING INDEX message_mailbox (mailbox=? AND seq>? AND seq<?)"),
            (
                NEXT_FREE,
                "SEARCH message USING COVERING INDEX message_claimed (mailbox=? AND claimed_until_ms>? AND claimed_until_ms<?)",
            ),
            (CLAIMED, "SEARCH message USING INDEX message_claimed (mailbox=? AND claimed_until_ms>?)"),
            (CLAIM, by_id),
            (STEP, by_id),
            (IS_THERE, by_id),
        ]) {
            assert_eq!(steps, [index]);
        }
    }
}
