//! One message in a segment file: a head, the record, the deliveries, the raw bytes. The record comes first, so that a list
//! reads records and never what it does not need.
//!
//! ```text
//! magic 8 | id 16 | first seq 8 | received ms 8 | expires ms 8 | lengths of record, deliveries, raw 8 8 8
//!         | xxh3 of record, deliveries, raw 8 8 8 | xxh3 of all this 8 | record | deliveries | raw      (little-endian)
//! ```
//!
//! Record and deliveries are MessagePack, maps with the names of the fields: a later version may add some. In JSON a text of
//! control characters would take six times its room.
//!
//! An entry says all that the index knows of its message: the segments are the log that the index is made from. The first
//! delivery has the first seq, the next the one behind it.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::Timestamp;
use crate::mail::{MailboxName, Message, MessageId};
use crate::store::{Delivery, StoreError};

/// How long the head is.
pub(super) const HEAD_BYTES: usize = 24 + NUMBERS * 8;
const MAGIC: &[u8; 8] = b"restant2";
const NUMBERS: usize = 10;
/// Where the numbers of the head begin, and where its own checksum.
const NUMBERS_AT: usize = 24;
const CHECKSUM_AT: usize = HEAD_BYTES - 8;

/// One mailbox that an entry is for, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recipient {
    #[serde(rename = "m")]
    pub(super) mailbox: MailboxName,
    #[serde(rename = "r")]
    pub(super) rcpt_to: String,
}

impl From<&Delivery> for Recipient {
    fn from(delivery: &Delivery) -> Self {
        Self { mailbox: delivery.mailbox.clone(), rcpt_to: delivery.rcpt_to.to_string() }
    }
}

/// What stands before the texts of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: MessageId,
    pub(super) first_seq: u64,
    pub(super) received_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) record: Text,
    pub(super) recipients: Text,
    pub(super) raw: Text,
}

/// How long one text of an entry is, and its xxh3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) len: u64,
    pub(super) checksum: u64,
}

impl Text {
    fn of(bytes: &[u8]) -> Self {
        Self { len: bytes.len() as u64, checksum: xxh3_64(bytes) }
    }
}

impl Head {
    /// How many bytes come before the raw ones.
    pub(super) fn front_len(&self) -> u64 {
        (HEAD_BYTES as u64).saturating_add(self.record.len).saturating_add(self.recipients.len)
    }

    /// How long the whole entry is.
    pub(super) fn len(&self) -> u64 {
        self.front_len().saturating_add(self.raw.len)
    }

    fn write(&self, head: &mut [u8]) {
        let numbers = [
            self.first_seq,
            self.received_at.as_millis(),
            self.expires_at.as_millis(),
            self.record.len,
            self.recipients.len,
            self.raw.len,
            self.record.checksum,
            self.recipients.checksum,
            self.raw.checksum,
        ];
        head[..8].copy_from_slice(MAGIC);
        head[8..NUMBERS_AT].copy_from_slice(self.id.as_bytes());
        for (place, number) in head[NUMBERS_AT..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = xxh3_64(&head[..CHECKSUM_AT]);
        head[CHECKSUM_AT..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads a head; `None` if it is not one, whole.
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        let mut numbers = [0; NUMBERS];
        for (number, bytes) in numbers.iter_mut().zip(head.get(NUMBERS_AT..HEAD_BYTES)?.chunks_exact(8)) {
            *number = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        let [first_seq, received, expires, record_len, recipients_len, raw_len, record, recipients, raw, checksum] =
            numbers;
        if !head.starts_with(MAGIC) || checksum != xxh3_64(&head[..CHECKSUM_AT]) {
            return None;
        }
        Some(Self {
            id: MessageId::from_bytes(head[8..NUMBERS_AT].try_into().ok()?),
            first_seq,
            received_at: Timestamp::from_millis(received),
            expires_at: Timestamp::from_millis(expires),
            record: Text { len: record_len, checksum: record },
            recipients: Text { len: recipients_len, checksum: recipients },
            raw: Text { len: raw_len, checksum: raw },
        })
    }
}

/// A message ready to be written. Made in the task that delivers it, so that the writer has little to do but write.
pub(super) struct Entry {
    pub(super) head: Head,
    /// Head, record and deliveries.
    pub(super) front: Vec<u8>,
    /// The raw bytes, as they came: they go to the file without being copied.
    pub(super) raw: Bytes,
}

impl Entry {
    pub(super) fn new(message: &Message, recipients: &[Recipient], raw: Bytes) -> Result<Self, StoreError> {
        let mut front = vec![0; HEAD_BYTES];
        write(&mut front, message)?;
        let head = Head {
            id: message.id,
            first_seq: 0,
            received_at: message.received_at,
            expires_at: message.expires_at,
            record: Text::of(&front[HEAD_BYTES..]),
            recipients: Text::of(&[]),
            raw: Text::of(&raw),
        };
        let mut entry = Self { head, front, raw };
        entry.address(recipients)?;
        Ok(entry)
    }

    /// Says whom the entry is for.
    pub(super) fn address(&mut self, recipients: &[Recipient]) -> Result<(), StoreError> {
        let record_end = self.front.len() - usize::try_from(self.head.recipients.len).unwrap_or(0);
        self.front.truncate(record_end);
        write(&mut self.front, recipients)?;
        self.head.recipients = Text::of(&self.front[record_end..]);
        Ok(())
    }

    /// Says which seq the first delivery has. With that the entry is complete.
    pub(super) fn number(&mut self, first_seq: u64) {
        self.head.first_seq = first_seq;
        self.head.write(&mut self.front);
    }

    pub(super) fn len(&self) -> u64 {
        self.head.len()
    }
}

fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> Result<(), StoreError> {
    let written = rmp_serde::encode::write_named(out, value);
    written.map_err(|error| StoreError::Unavailable(format!("the record cannot be written: {error}")))
}

/// A text that its checksum has vouched for: where it cannot be read it was written by another version, or wrongly.
fn read<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    rmp_serde::from_slice(text).inspect_err(|error| tracing::error!(%error, "a whole record cannot be read")).ok()
}

/// Reads the deliveries of an entry; `None` if they are not what its head says.
pub(super) fn recipients(head: &Head, text: &[u8]) -> Option<Vec<Recipient>> {
    if Text::of(text) == head.recipients { read(text) } else { None }
}

/// Reads the record out of the beginning of an entry; `None` if it is not the entry of message `id`, whole.
pub(super) fn record(bytes: &[u8], id: MessageId) -> Option<Message> {
    let (head, record) = bytes.split_at_checked(HEAD_BYTES)?;
    let head = Head::read(head)?;
    if head.id == id && head.record == Text::of(record) { read(record) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::TlsInfo;
    use crate::store::contract::{message, to};

    fn entry(message: &Message) -> Entry {
        let recipients: Vec<_> = to(&["alice", "bob"]).iter().map(Recipient::from).collect();
        let mut entry = Entry::new(message, &recipients, Bytes::from_static(b"raw")).unwrap();
        entry.number(7);
        entry
    }

    #[test]
    fn an_entry_reads_back_as_it_was() {
        let message = message(1, 2);
        let mut entry = entry(&message);
        let head = Head::read(&entry.front).unwrap();
        assert_eq!(head, entry.head);
        assert_eq!((head.id, head.first_seq), (message.id, 7));
        assert_eq!((head.received_at, head.expires_at), (message.received_at, message.expires_at));
        assert_eq!((head.front_len(), head.len()), (entry.front.len() as u64, entry.front.len() as u64 + 3));
        let record_end = HEAD_BYTES + usize::try_from(head.record.len).unwrap();
        assert_eq!(record(&entry.front[..record_end], message.id), Some(message));
        let read = recipients(&head, &entry.front[record_end..]).unwrap();
        assert_eq!(read, to(&["alice", "bob"]).iter().map(Recipient::from).collect::<Vec<_>>());
        entry.address(&read[1..]).unwrap();
        assert_eq!(recipients(&entry.head, &entry.front[record_end..]).unwrap(), read[1..]);
    }

    #[test]
    fn a_record_with_everything_in_it_reads_back_and_is_no_larger_than_its_texts() {
        let raw = b"From: A <a@example.com>\r\nDate: Fri, 20 Nov 2026 13:45:52 +0100\r\nContent-Type: multipart/mixed; boundary=b\r\n\
            \r\n--b\r\nContent-Type: image/png; name=x.png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b--\r\n";
        let mut message = Message {
            content: crate::mail::parse(raw, &crate::mail::Budgets::default()),
            mail_from: None,
            ..message(1, 2)
        };
        message.peer.addr = "[2001:db8::1]:25".parse().unwrap();
        message.peer.tls = Some(TlsInfo { version: "TLSv1.3".to_owned(), cipher: "TLS_AES_256_GCM_SHA384".to_owned() });
        message.content.text = Some("\u{1}\"\\".repeat(100_000));
        assert_eq!(message.content.attachments.len(), 1);
        let entry = entry(&message);
        assert!(entry.head.record.len < 301_500, "{}", entry.head.record.len);
        let record_end = HEAD_BYTES + usize::try_from(entry.head.record.len).unwrap();
        assert_eq!(record(&entry.front[..record_end], message.id), Some(message));
    }

    #[test]
    fn an_entry_with_any_byte_changed_is_none() {
        let message = message(1, 2);
        let entry = entry(&message);
        let record_end = HEAD_BYTES + usize::try_from(entry.head.record.len).unwrap();
        for place in 0..entry.front.len() {
            let mut front = entry.front.clone();
            front[place] ^= 1;
            let (start, text) = front.split_at(record_end);
            let is_whole = record(start, message.id).is_some() && recipients(&entry.head, text).is_some();
            assert!(!is_whole, "byte {place}");
        }
        assert_eq!(record(&entry.front[..40], message.id), None);
        assert_eq!(record(&vec![0; record_end], message.id), None);
    }
}
