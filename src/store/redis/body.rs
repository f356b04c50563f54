//! Large raw bytes on their way out, piece by piece.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Redis;
use super::keys::Part;
use super::pieces::PIECE_BYTES;
use crate::mail::MessageId;
use crate::store::raw::Lost;
use crate::store::{CHUNK_BYTES, StoreError};

/// The raw bytes of a message that are kept in pieces, or a part of them. Each piece has a checksum of its own.
pub(in crate::store) struct Body {
    redis: Arc<Redis>,
    id: MessageId,
    len: u64,
    part: Range<u64>,
    /// What has been read of the part.
    at: u64,
    /// What has been read and not been given out yet.
    held: Bytes,
}

impl Body {
    pub(super) fn new(redis: Arc<Redis>, id: MessageId, len: u64) -> Self {
        Self { redis, id, len, part: 0..len, at: 0, held: Bytes::new() }
    }

    pub(in crate::store) const fn len(&self) -> u64 {
        self.part.end - self.part.start
    }

    pub(in crate::store) fn part(self, range: Range<u64>) -> Self {
        // The part of a part counts from where that begins.
        let start = self.part.start + range.start;
        let part = start..self.part.start + range.end;
        Self { at: start, part, ..self }
    }

    pub(in crate::store) async fn chunk(&mut self) -> Result<Option<Bytes>, Lost> {
        if self.held.is_empty() {
            if self.at >= self.part.end {
                return Ok(None);
            }
            self.held = self.read(self.at..self.part.end).await?;
            self.at += self.held.len() as u64;
        }
        Ok(Some(self.held.split_to(self.held.len().min(CHUNK_BYTES))))
    }

    pub(in crate::store) fn rewind(&mut self) {
        self.at = self.part.start;
        self.held.clear();
    }

    pub(in crate::store) async fn into_bytes(self) -> Result<Bytes, Lost> {
        self.bytes(self.part.clone()).await
    }

    pub(in crate::store) async fn front(&self, len: usize) -> Result<Bytes, Lost> {
        let end = self.part.end.min(self.part.start.saturating_add(len as u64));
        self.bytes(self.part.start..end).await
    }

    async fn bytes(&self, mut range: Range<u64>) -> Result<Bytes, Lost> {
        let mut bytes = BytesMut::with_capacity(usize::try_from(range.end - range.start).unwrap_or(0));
        while !range.is_empty() {
            let some = self.read(range.clone()).await?;
            range.start += some.len() as u64;
            bytes.extend_from_slice(&some);
        }
        Ok(bytes.freeze())
    }

    /// The first bytes of `range`, as far as one piece has them.
    async fn read(&self, range: Range<u64>) -> Result<Bytes, Lost> {
        let piece_bytes = PIECE_BYTES as u64;
        let number = range.start / piece_bytes;
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(piece) = self.redis.piece(self.id, Part::Raw, at).await? else { return Err(Lost::Deleted) };
        let begins = number * piece_bytes;
        if piece.len() as u64 != piece_bytes.min(self.len - begins) {
            return Err(StoreError::Damaged(format!("the raw bytes of message {} have changed", self.id)).into());
        }
        let place = |at: u64| usize::try_from(at - begins).unwrap_or(piece.len()).min(piece.len());
        Ok(piece.slice(place(range.start)..place(range.end)))
    }
}
