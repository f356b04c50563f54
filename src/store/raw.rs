//! The raw bytes of one message, in chunks: a large mail never has to be in memory as a whole.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::StoreError;
use super::embedded;

/// How much of a large message is in memory at a time.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// The raw bytes of one message, or a part of them.
///
/// Bytes that have changed since they were received are not given out as if they were whole: the last chunk comes only
/// when all of them are right. Where a message is deleted while it is read, that is an error too, and never an early end.
pub struct Raw {
    len: u64,
    source: Source,
}

enum Source {
    /// Bytes that are in memory already, and whole; what is left of them.
    Held(Bytes),
    Embedded(embedded::Extent),
}

impl Raw {
    /// Bytes that are known to be right.
    pub(super) fn held(bytes: Bytes) -> Self {
        Self { len: bytes.len() as u64, source: Source::Held(bytes) }
    }

    pub(super) fn embedded(extent: embedded::Extent) -> Self {
        Self { len: extent.len(), source: Source::Embedded(extent) }
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Only these bytes of it, as far as it has them. To be called before the first chunk is read.
    #[must_use]
    pub fn part(self, range: Range<u64>) -> Self {
        let end = range.end.min(self.len);
        let start = range.start.min(end);
        let source = match self.source {
            Source::Held(bytes) => {
                // What is in memory has lengths that memory has.
                let place = |at: u64| usize::try_from(at).unwrap_or(bytes.len());
                Source::Held(bytes.slice(place(start)..place(end)))
            }
            Source::Embedded(extent) => Source::Embedded(extent.part(start..end)),
        };
        Self { len: end - start, source }
    }

    /// The next bytes, some at least; `None` behind the last.
    ///
    /// # Errors
    /// Where the store cannot be read, the bytes have changed, or the message has been deleted meanwhile.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        match &mut self.source {
            Source::Held(bytes) if bytes.is_empty() => Ok(None),
            Source::Held(bytes) => Ok(Some(bytes.split_to(bytes.len().min(CHUNK_BYTES)))),
            Source::Embedded(extent) => extent.chunk().await,
        }
    }

    /// The first bytes, at most `len` of them, without a look at what comes behind: what the disk has made of them
    /// since they came is found out by [`Raw::chunk`] alone.
    ///
    /// # Errors
    /// Where the store cannot be read, or the message has been deleted meanwhile.
    pub async fn front(&self, len: usize) -> Result<Bytes, StoreError> {
        match &self.source {
            Source::Held(bytes) => Ok(bytes.slice(..len.min(bytes.len()))),
            Source::Embedded(extent) => extent.front(len).await,
        }
    }

    /// All that is left of it, in one piece.
    ///
    /// # Errors
    /// Those of [`Raw::chunk`].
    pub async fn into_bytes(mut self) -> Result<Bytes, StoreError> {
        if let Source::Held(bytes) = self.source {
            return Ok(bytes);
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(self.len).unwrap_or(0));
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}
