//! One message in a segment file: a head, the record as JSON, the raw bytes. The record comes first, so that a list reads
//! records and never what it does not need.
//!
//! ```text
//! magic 8 | id 16 | record length 8 | raw length 8 | record xxh3 8 | raw xxh3 8 | record | raw      (little-endian)
//! ```
//!
//! The index knows all of it but the checksum of the record; the head is there for whoever must read a segment without it.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::mail::{Message, MessageId};
use crate::store::StoreError;

/// How long the head is.
pub(super) const HEAD_BYTES: usize = 56;
const MAGIC: &[u8; 8] = b"restant1";

/// A message ready to be written. Made in the task that delivers it, so that the writer has nothing to do but write.
pub(super) struct Entry {
    /// Head and record.
    pub(super) front: Vec<u8>,
    /// The raw bytes, as they came: they go to the file without being copied.
    pub(super) raw: Bytes,
    /// Their xxh3.
    pub(super) checksum: u64,
}

impl Entry {
    pub(super) fn new(message: &Message, raw: Bytes) -> Result<Self, StoreError> {
        let mut front = vec![0; HEAD_BYTES];
        serde_json::to_writer(&mut front, message)
            .map_err(|error| StoreError::Unavailable(format!("the record cannot be written: {error}")))?;
        let (head, record) = front.split_at_mut(HEAD_BYTES);
        let checksum = xxh3_64(&raw);
        head[..8].copy_from_slice(MAGIC);
        head[8..24].copy_from_slice(message.id.as_bytes());
        let numbers = [record.len() as u64, raw.len() as u64, xxh3_64(record), checksum];
        for (place, number) in head[24..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        Ok(Self { front, raw, checksum })
    }

    pub(super) fn record_len(&self) -> u64 {
        (self.front.len() - HEAD_BYTES) as u64
    }

    pub(super) fn len(&self) -> u64 {
        (self.front.len() + self.raw.len()) as u64
    }
}

/// Reads the record out of the `front` of an entry; `None` if it is not the entry of message `id`, whole.
pub(super) fn record(front: &[u8], id: MessageId) -> Option<Message> {
    let (head, record) = front.split_at_checked(HEAD_BYTES)?;
    let intact = head.starts_with(MAGIC)
        && head[8..24] == *id.as_bytes()
        && head[24..32] == (record.len() as u64).to_le_bytes()
        && head[40..48] == xxh3_64(record).to_le_bytes();
    if intact { serde_json::from_slice(record).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::message;

    #[test]
    fn a_record_reads_back_as_it_was() {
        let message = message(1, 2);
        let entry = Entry::new(&message, Bytes::from_static(b"raw")).unwrap();
        assert_eq!(record(&entry.front, message.id), Some(message));
        assert_eq!(entry.len(), entry.record_len() + 56 + 3);
    }

    #[test]
    fn an_entry_with_any_byte_changed_is_no_record() {
        let message = message(1, 2);
        let entry = Entry::new(&message, Bytes::from_static(b"raw")).unwrap();
        // Only what the raw bytes are checked by may change unseen here: their length and their checksum.
        for place in (0..entry.front.len()).filter(|place| !(32..40).contains(place) && !(48..56).contains(place)) {
            let mut front = entry.front.clone();
            front[place] ^= 1;
            assert_eq!(record(&front, message.id), None, "byte {place}");
        }
        assert_eq!(record(&entry.front[..40], message.id), None);
        assert_eq!(record(&vec![0; entry.front.len()], message.id), None);
    }
}
