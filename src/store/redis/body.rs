//! Large raw bytes on their way out, piece by piece.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Redis;
use super::keys::Part;
use super::pieces::PIECE_BYTES;
use crate::mail::MessageId;
use crate::store::{CHUNK_BYTES, StoreError};

/// The raw bytes of a message that are kept in pieces, or a part of them. Each piece has a checksum of its own.
pub(in crate::store) struct Body {
    redis: Arc<Redis>,
    id: MessageId,
    /// What is still to come of it.
    range: Range<u64>,
    /// What has been read and not been given out yet.
    held: Bytes,
    len: u64,
}

impl Body {
    pub(super) fn new(redis: Arc<Redis>, id: MessageId, len: u64) -> Self {
        Self { redis, id, range: 0..len, held: Bytes::new(), len }
    }

    pub(in crate::store) fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Only these of its bytes, which it has; to be called before the first chunk is read.
    pub(in crate::store) fn part(self, range: Range<u64>) -> Self {
        let start = self.range.start;
        Self { range: start + range.start..start + range.end, ..self }
    }

    pub(in crate::store) async fn chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.held.is_empty() {
            if self.range.is_empty() {
                return Ok(None);
            }
            self.held = self.read(self.range.clone()).await?;
            self.range.start += self.held.len() as u64;
        }
        Ok(Some(self.held.split_to(self.held.len().min(CHUNK_BYTES))))
    }

    /// The first bytes, at most `len` of them.
    pub(in crate::store) async fn front(&self, len: usize) -> Result<Bytes, StoreError> {
        let mut front = Vec::new();
        let end = self.range.end.min(self.range.start.saturating_add(len as u64));
        while self.range.start + (front.len() as u64) < end {
            front.extend_from_slice(&self.read(self.range.start + front.len() as u64..end).await?);
        }
        Ok(front.into())
    }

    /// The first bytes of `range`, as far as one piece has them.
    async fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        let piece_bytes = PIECE_BYTES as u64;
        let number = range.start / piece_bytes;
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(piece) = self.redis.piece(self.id, Part::Raw, at).await? else {
            return Err(StoreError::Unavailable(format!("message {} was deleted while it was read", self.id)));
        };
        let begins = number * piece_bytes;
        if piece.len() as u64 != piece_bytes.min(self.len - begins) {
            return Err(StoreError::Damaged(format!("the raw bytes of message {} have changed", self.id)));
        }
        let place = |at: u64| usize::try_from(at - begins).unwrap_or(piece.len()).min(piece.len());
        Ok(piece.slice(place(range.start)..place(range.end)))
    }
}
