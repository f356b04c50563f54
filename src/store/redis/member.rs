//! A member of the index of a mailbox: all that has to be known of a message to leave it out of a list, to take it away, or to
//! reckon how much a list may read, without reading the message.
//!
//! ```text
//! id 16 | expires ms 6 | length of the record 4 | flags 1 | received ms 6      (big-endian)
//! ```
//!
//! The last is left out where the id begins with it, as that of all mail does that has come by SMTP.

use crate::clock::Timestamp;
use crate::mail::MessageId;

/// How long a member is, without and with the moment of the arrival.
pub(super) const MEMBER_BYTES: usize = 27;
pub(super) const MEMBER_MAX_BYTES: usize = MEMBER_BYTES + 6;
/// The flags: which texts are shared, and whether the moment follows. `undo.lua` knows the last one.
const SHARED_RECORD: u8 = 1;
const SHARED_RAW: u8 = 2;
const RECEIVED: u8 = 4;

/// What an index knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: MessageId,
    pub(super) received_at: Timestamp,
    pub(super) expires_at: Timestamp,
    /// Before it was compressed.
    pub(super) record_len: u32,
    /// Whether the record lies in pieces beside the mailboxes, once for all of them.
    pub(super) shares_record: bool,
    /// Whether the raw bytes do.
    pub(super) shares_raw: bool,
}

impl Member {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MEMBER_MAX_BYTES);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&moment_bytes(self.expires_at));
        bytes.extend_from_slice(&self.record_len.to_be_bytes());
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let tells_arrival = self.received_at != named_moment(self.id);
        bytes.push(
            flag(self.shares_record, SHARED_RECORD) | flag(self.shares_raw, SHARED_RAW) | flag(tells_arrival, RECEIVED),
        );
        if tells_arrival {
            bytes.extend_from_slice(&moment_bytes(self.received_at));
        }
        bytes
    }

    /// Reads a member; `None` if it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        Self::split(bytes).filter(|(_, rest)| rest.is_empty()).map(|(member, _)| member)
    }

    /// Reads a member, and what comes behind it; `None` if there is none.
    pub(super) fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (expires, rest) = rest.split_first_chunk()?;
        let (record_len, rest) = rest.split_first_chunk()?;
        let (&flags, mut rest) = rest.split_first()?;
        let id = MessageId::from_bytes(*id);
        let mut received_at = named_moment(id);
        if flags & RECEIVED != 0 {
            let received;
            (received, rest) = rest.split_first_chunk()?;
            received_at = moment(*received);
        }
        let member = Self {
            id,
            received_at,
            expires_at: moment(*expires),
            record_len: u32::from_be_bytes(*record_len),
            shares_record: flags & SHARED_RECORD != 0,
            shares_raw: flags & SHARED_RAW != 0,
        };
        Some((member, rest))
    }

    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at > now
    }

    /// Whether something of the message is kept beside the mailboxes.
    pub(super) fn shares(&self) -> bool {
        self.shares_record || self.shares_raw
    }
}

/// The moment that an id begins with.
fn named_moment(id: MessageId) -> Timestamp {
    let [a, b, c, d, e, f, ..] = *id.as_bytes();
    moment([a, b, c, d, e, f])
}

/// A moment in six bytes, which do until the year 10889.
pub(super) fn moment_bytes(moment: Timestamp) -> [u8; 6] {
    let [_, _, rest @ ..] = moment.as_millis().to_be_bytes();
    rest
}

/// What [`moment_bytes`] has written.
pub(super) fn moment([a, b, c, d, e, f]: [u8; 6]) -> Timestamp {
    Timestamp::from_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_member_reads_back_and_nothing_else_is_one(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            match Member::read(&bytes) {
                Some(member) => {
                    prop_assert_eq!(&member.write()[..26], &bytes[..26]);
                    prop_assert_eq!(Member::read(&member.write()), Some(member));
                }
                None => prop_assert!(bytes.len() != MEMBER_BYTES || bytes[26] & RECEIVED != 0),
            }
        }
    }

    #[test]
    fn a_member_knows_when_its_message_came_and_goes() {
        let received_at = Timestamp::from_millis(1_800_000_000_123);
        let member = Member {
            id: MessageId::new(received_at),
            received_at,
            expires_at: Timestamp::from_millis(1_800_000_000_124),
            record_len: 7,
            shares_record: false,
            shares_raw: true,
        };
        assert_eq!(Member::read(&member.write()), Some(member));
        assert_eq!(member.write().len(), MEMBER_BYTES);
        let imported = Member { received_at: Timestamp::from_millis(1_800_000_000_122), ..member };
        assert_eq!((Member::read(&imported.write()), imported.write().len()), (Some(imported), MEMBER_MAX_BYTES));
        assert!(member.is_live(received_at) && !member.is_live(member.expires_at) && member.shares());
    }
}
