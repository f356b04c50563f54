//! What is kept under the key of a message: the message as its mailbox has it, or a note in its place.
//!
//! ```text
//! L | seq 17 digits | token 16 digits | member 27 | length of the raw bytes 8 | of the recipient 4 | recipient | record
//! D, E or U | seq | token                                     (deleted, evicted, undone; see `scripts`)
//! ```
//!
//! The script that saves writes the stamp, seq and token, itself: it alone knows the seq.

use std::sync::Arc;

use super::member::{MEMBER_BYTES, Member};
use super::pieces;
use crate::clock::Timestamp;
use crate::mail::{MailboxName, Message};
use crate::store::{StoreError, Stored};

/// How long the stamp is: kind, seq and token.
const STAMP_BYTES: usize = 1 + SEQ_DIGITS + TOKEN_DIGITS;
const SEQ_DIGITS: usize = 17;
/// How long the token of a delivery is.
pub(super) const TOKEN_DIGITS: usize = 16;
/// How long a head is: what has to be read to find or to remove what belongs to a message.
pub(super) const HEAD_BYTES: usize = STAMP_BYTES + MEMBER_BYTES + 8;

/// What stands before the texts of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    /// Names the delivery that brought the message here.
    pub(super) token: String,
    pub(super) member: Member,
    pub(super) raw_len: u64,
}

impl Head {
    /// Reads the head of a message; `None` if it is not there, or there is a note in its place.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let (stamp, rest) = value.split_at_checked(STAMP_BYTES)?;
        let (seq, token) = stamp.strip_prefix(b"L")?.split_at(SEQ_DIGITS);
        let (member, rest) = rest.split_at_checked(MEMBER_BYTES)?;
        Some(Self {
            seq: str::from_utf8(seq).ok()?.parse().ok()?,
            token: str::from_utf8(token).ok()?.to_owned(),
            member: Member::read(member)?,
            raw_len: u64::from_be_bytes(*rest.first_chunk()?),
        })
    }

    /// The head of a message that is to be served at `now`.
    pub(super) fn read_live(value: &[u8], now: Timestamp) -> Option<Self> {
        Self::read(value).filter(|head| head.member.is_live(now))
    }
}

/// What the script writes behind the stamp. `record` is packed, or empty where it is kept elsewhere.
pub(super) fn behind_stamp(member: &Member, raw_len: u64, rcpt_to: &str, record: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(MEMBER_BYTES + 12 + rcpt_to.len() + record.len());
    let rcpt_len = u32::try_from(rcpt_to.len()).unwrap_or(u32::MAX);
    value.extend_from_slice(&member.write());
    value.extend_from_slice(&raw_len.to_be_bytes());
    value.extend_from_slice(&rcpt_len.to_be_bytes());
    value.extend_from_slice(rcpt_to.as_bytes());
    value.extend_from_slice(record);
    value
}

/// A message as its mailbox has it; `shared` is its record, unpacked, where that is kept elsewhere.
pub(super) fn stored(
    mailbox: &MailboxName,
    head: &Head,
    value: &[u8],
    shared: Option<&[u8]>,
) -> Result<Stored, StoreError> {
    let damaged = || StoreError::Damaged(format!("message {} of mailbox {mailbox} cannot be read", head.member.id));
    let rest = value.get(HEAD_BYTES..).ok_or_else(damaged)?;
    let (rcpt_len, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
    let rcpt_len = usize::try_from(u32::from_be_bytes(*rcpt_len)).map_err(|_| damaged())?;
    let (rcpt_to, record) = rest.split_at_checked(rcpt_len).ok_or_else(damaged)?;
    let rcpt_to = str::from_utf8(rcpt_to).ok().and_then(|text| text.parse().ok()).ok_or_else(damaged)?;
    let message = match shared {
        Some(record) => read_record(record),
        None => pieces::unpack(record).and_then(|record| read_record(&record)),
    };
    let message = message.filter(|message| message.id == head.member.id).ok_or_else(damaged)?;
    Ok(Stored { seq: head.seq, mailbox: mailbox.clone(), rcpt_to, message: Arc::new(message) })
}

/// A record in MessagePack, a map with the names of the fields: a later version may add some.
pub(super) fn write_record(message: &Message) -> Result<Vec<u8>, StoreError> {
    let written = rmp_serde::to_vec_named(message);
    written.map_err(|error| StoreError::Unavailable(format!("the record cannot be written: {error}")))
}

fn read_record(record: &[u8]) -> Option<Message> {
    let read = rmp_serde::from_slice(record);
    read.inspect_err(|error| tracing::error!(%error, "a whole record cannot be read")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{message, name};

    fn value(kind: &str, message: &Message) -> (Member, Vec<u8>) {
        let record = write_record(message).unwrap();
        let member = Member {
            id: message.id,
            expires_at: message.expires_at,
            record_len: u32::try_from(record.len()).unwrap(),
            shares_record: false,
            shares_raw: false,
        };
        let mut value = format!("{kind}00001800000000007fedcba9876543210").into_bytes();
        value.extend(behind_stamp(&member, 9, "alice@example.com", &pieces::pack(&record).unwrap()));
        (member, value)
    }

    #[test]
    fn a_message_reads_back_and_a_note_is_none() {
        let message = message(1, 2);
        let (member, bytes) = value("L", &message);
        let head = Head::read(&bytes[..HEAD_BYTES]).unwrap();
        let expected = Head { seq: 1_800_000_000_007, token: "fedcba9876543210".to_owned(), member, raw_len: 9 };
        assert_eq!(head, expected);
        let found = stored(&name("alice"), &head, &bytes, None).unwrap();
        assert_eq!((*found.message).clone(), message);
        assert_eq!((found.seq, found.rcpt_to.to_string()), (head.seq, "alice@example.com".to_owned()));
        assert_eq!(Head::read_live(&bytes, Timestamp::from_millis(1)), Some(head));
        assert_eq!(Head::read_live(&bytes, Timestamp::from_millis(2)), None);
        assert_eq!(Head::read(&value("D", &message).1), None);
    }

    #[test]
    fn what_is_cut_or_changed_is_damaged_and_never_another_message() {
        let message = message(1, 2);
        let (_, bytes) = value("L", &message);
        for len in 0..bytes.len() {
            let Some(head) = Head::read(&bytes[..len]) else { continue };
            assert!(stored(&name("alice"), &head, &bytes[..len], None).is_err(), "{len} bytes");
        }
        for place in HEAD_BYTES + 21..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let head = Head::read(&changed).unwrap();
            if let Ok(stored) = stored(&name("alice"), &head, &changed, None) {
                assert_eq!(*stored.message, message, "byte {place}");
            }
        }
    }
}
