//! A member of the index of a mailbox: all that has to be known of a message to leave it out of a list, to take it away, or to
//! reckon how much a list may read, without reading the message.
//!
//! ```text
//! id 16 | expires ms 6 | length of the record 4 | where its texts are 1      (big-endian)
//! ```

use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};

/// How long a member is.
pub(super) const MEMBER_BYTES: usize = 27;
const SHARED_RECORD: u8 = 1;
const SHARED_RAW: u8 = 2;

/// What an index knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: MessageId,
    pub(super) expires_at: Timestamp,
    /// Before it was compressed.
    pub(super) record_len: u32,
    /// Whether the record lies in pieces beside the mailboxes, once for all of them.
    pub(super) shares_record: bool,
    /// Whether the raw bytes do.
    pub(super) shares_raw: bool,
}

impl Member {
    pub(super) fn write(&self) -> [u8; MEMBER_BYTES] {
        let mut bytes = [0; MEMBER_BYTES];
        bytes[..16].copy_from_slice(self.id.as_bytes());
        bytes[16..22].copy_from_slice(&moment_bytes(self.expires_at));
        bytes[22..26].copy_from_slice(&self.record_len.to_be_bytes());
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        bytes[26] = flag(self.shares_record, SHARED_RECORD) | flag(self.shares_raw, SHARED_RAW);
        bytes
    }

    /// Reads a member; `None` if it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (expires, rest) = rest.split_first_chunk()?;
        let (record_len, flags) = rest.split_first_chunk()?;
        let &[flags] = flags else { return None };
        Some(Self {
            id: MessageId::from_bytes(*id),
            expires_at: moment(*expires),
            record_len: u32::from_be_bytes(*record_len),
            shares_record: flags & SHARED_RECORD != 0,
            shares_raw: flags & SHARED_RAW != 0,
        })
    }

    /// Reads a member of the index of this mailbox; the log tells of one that cannot be read, and all others go on without it.
    pub(super) fn read_in(mailbox: &MailboxName, bytes: &[u8]) -> Option<Self> {
        let member = Self::read(bytes);
        if member.is_none() {
            tracing::error!(%mailbox, "a member of the index of a mailbox cannot be read and is left out");
        }
        member
    }

    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at > now
    }

    /// Whether something of the message is kept beside the mailboxes.
    pub(super) fn shares(&self) -> bool {
        self.shares_record || self.shares_raw
    }

    /// The moment that the id begins with: that of the arrival, but for mail of other programs, which is imported by a date that
    /// anybody may have made up.
    pub(super) fn named_at(&self) -> Timestamp {
        let [a, b, c, d, e, f, ..] = *self.id.as_bytes();
        moment([a, b, c, d, e, f])
    }
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
                Some(member) => prop_assert_eq!(&member.write()[..26], &bytes[..26]),
                None => prop_assert_ne!(bytes.len(), MEMBER_BYTES),
            }
        }
    }

    #[test]
    fn a_member_knows_when_its_message_came_and_goes() {
        let received_at = Timestamp::from_millis(1_800_000_000_123);
        let member = Member {
            id: MessageId::new(received_at),
            expires_at: Timestamp::from_millis(1_800_000_000_124),
            record_len: 7,
            shares_record: false,
            shares_raw: true,
        };
        assert_eq!(Member::read(&member.write()), Some(member));
        assert_eq!(member.named_at(), received_at);
        assert!(member.is_live(received_at) && !member.is_live(member.expires_at) && member.shares());
    }
}
