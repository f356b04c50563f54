//! What is remembered of messages that are gone, in one key for each mailbox.
//!
//! ```text
//! id 16 | letter 1 | when it went ms 6 | until when that is remembered ms 6      (big-endian)
//! ```

use fred::types::Value;

use super::member::{Member, moment, moment_bytes};
use super::{Redis, reply};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::gone::Lifetime;
use crate::store::{Gone, GoneReason, StoreError};

const TOMBSTONE_BYTES: usize = 29;
/// How long a message that is gone is remembered at most.
const REMEMBERED_MAX_MS: u64 = 366 * 24 * 60 * 60 * 1000;

/// One message that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tombstone {
    pub(super) id: MessageId,
    pub(super) gone: Gone,
    pub(super) until: Timestamp,
}

impl Tombstone {
    /// That of a message which is removed for `reason` at `at`.
    pub(super) fn of(member: &Member, reason: GoneReason, at: Timestamp) -> Self {
        let lifetime = lifetime(member, at);
        let gone = lifetime.end(reason, at);
        Self { id: member.id, gone, until: lifetime.remembered_until(gone) }
    }

    pub(super) fn write(&self) -> [u8; TOMBSTONE_BYTES] {
        let mut bytes = [0; TOMBSTONE_BYTES];
        bytes[..16].copy_from_slice(self.id.as_bytes());
        bytes[16] = letter(self.gone.reason);
        bytes[17..23].copy_from_slice(&moment_bytes(self.gone.at));
        bytes[23..].copy_from_slice(&moment_bytes(self.until));
        bytes
    }

    /// Reads one; `None` if it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (&[letter], rest) = rest.split_first_chunk()?;
        let (at, until) = rest.split_first_chunk()?;
        let reason = match letter {
            b'D' => GoneReason::Deleted,
            b'E' => GoneReason::Evicted,
            b'X' => GoneReason::Expired,
            _ => return None,
        };
        let until = moment(until.try_into().ok()?);
        Some(Self { id: MessageId::from_bytes(*id), gone: Gone { reason, at: moment(*at) }, until })
    }
}

const fn letter(reason: GoneReason) -> u8 {
    match reason {
        GoneReason::Deleted => b'D',
        GoneReason::Evicted => b'E',
        GoneReason::Expired => b'X',
    }
}

/// The lifetime of a message that is there at `at`: it came before that, and is remembered for a year at most, whatever moment
/// its name begins with.
fn lifetime(member: &Member, at: Timestamp) -> Lifetime {
    let expires_at = member.expires_at;
    let earliest = Timestamp::from_millis(expires_at.as_millis().saturating_sub(REMEMBERED_MAX_MS));
    Lifetime { received_at: member.named_at().min(at).max(earliest), expires_at }
}

impl Redis {
    pub(in crate::store) async fn gone(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Gone>, StoreError> {
        let of_mailbox = self.keys.mailbox(mailbox);
        if let Some(head) = self.head(&of_mailbox, id).await? {
            return Ok(lifetime(&head.member, now).expired(now));
        }
        let key = of_mailbox.gone();
        // The latest comes first: a message may have been kept again, and gone again.
        let all = self.link.call(&key, "ZREVRANGE", [&key, "0", "-1"].map(Value::from).to_vec()).await?;
        let tombstones = reply::bytes(all)?;
        let mut found = tombstones.iter().filter_map(|tombstone| Tombstone::read(tombstone));
        let found = found.find(|tombstone| tombstone.id == id).filter(|tombstone| now < tombstone.until);
        Ok(found.map(|tombstone| tombstone.gone))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tombstone_reads_back_and_nothing_else_is_one(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let Some(tombstone) = Tombstone::read(&bytes) else { return Ok(()) };
            prop_assert_eq!(&tombstone.write()[..], &bytes[..]);
        }
    }

    #[test]
    fn what_had_expired_before_has_gone_by_itself() {
        let received_at = Timestamp::from_millis(1000);
        let member = Member {
            id: MessageId::new(received_at),
            expires_at: Timestamp::from_millis(3000),
            record_len: 0,
            shares_record: false,
            shares_raw: false,
        };
        let deleted = Tombstone::of(&member, GoneReason::Deleted, Timestamp::from_millis(2000));
        assert_eq!(deleted.gone.reason, GoneReason::Deleted);
        assert_eq!(deleted.until, Timestamp::from_millis(4000));
        assert_eq!(Tombstone::read(&deleted.write()), Some(deleted));
        let expired = Tombstone::of(&member, GoneReason::Evicted, Timestamp::from_millis(9000));
        assert_eq!(expired.gone, Gone { reason: GoneReason::Expired, at: member.expires_at });
        assert_eq!(expired.until, Timestamp::from_millis(5000));
    }

    #[test]
    fn a_name_that_begins_with_any_moment_makes_no_memory_longer_than_a_year_or_shorter_than_the_rest_of_its_life() {
        let expires_at = Timestamp::from_millis(1_800_000_000_000);
        let deleted_at = Timestamp::from_millis(1_799_999_999_000);
        for (named_ms, kept_ms) in [(0, REMEMBERED_MAX_MS), (1_900_000_000_000, 1000), (1_799_999_990_000, 10_000)] {
            let id = MessageId::new(Timestamp::from_millis(named_ms));
            let member = Member { id, expires_at, record_len: 0, shares_record: false, shares_raw: false };
            let tombstone = Tombstone::of(&member, GoneReason::Deleted, deleted_at);
            assert_eq!(tombstone.until.as_millis() - deleted_at.as_millis(), kept_ms);
        }
    }
}
