//! The raw bytes of one message, in chunks: a large mail never has to be in memory as a whole.

use std::ops::Range;

use bytes::Bytes;

use super::{StoreError, embedded, redis};

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
    /// Bytes that are in memory already, and whole; and how many of them have been read.
    Held(Bytes, usize),
    Embedded(embedded::Extent),
    Redis(redis::Body),
}

impl Raw {
    /// Bytes that are known to be right.
    pub(super) fn held(bytes: Bytes) -> Self {
        Self { len: bytes.len() as u64, source: Source::Held(bytes, 0) }
    }

    pub(super) fn embedded(extent: embedded::Extent) -> Self {
        Self { len: extent.len(), source: Source::Embedded(extent) }
    }

    pub(super) fn redis(body: redis::Body) -> Self {
        Self { len: body.len(), source: Source::Redis(body) }
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
            Source::Held(bytes, _) => {
                // What is in memory has lengths that memory has.
                let place = |at: u64| usize::try_from(at).unwrap_or(bytes.len());
                Source::Held(bytes.slice(place(start)..place(end)), 0)
            }
            Source::Embedded(extent) => Source::Embedded(extent.part(start..end)),
            Source::Redis(body) => Source::Redis(body.part(start..end)),
        };
        Self { len: end - start, source }
    }

    /// The next bytes, some at least; `None` behind the last.
    ///
    /// # Errors
    /// Where the store cannot be read, the bytes have changed, or the message has been deleted meanwhile.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Lost> {
        match &mut self.source {
            Source::Held(bytes, at) => {
                let chunk = bytes.slice(*at..bytes.len().min(*at + CHUNK_BYTES));
                *at += chunk.len();
                Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
            }
            Source::Embedded(extent) => extent.chunk().await,
            Source::Redis(body) => body.chunk().await,
        }
    }

    /// Goes back to the first byte.
    pub fn rewind(&mut self) {
        match &mut self.source {
            Source::Held(_, at) => *at = 0,
            Source::Embedded(extent) => extent.rewind(),
            Source::Redis(body) => body.rewind(),
        }
    }

    /// The first bytes, at most `len` of them; `None` if the message has been deleted meanwhile. What comes behind is not
    /// looked at: what the disk has made of them since they came is found out by [`Raw::chunk`] alone.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn front(&self, len: usize) -> Result<Option<Bytes>, StoreError> {
        match &self.source {
            Source::Held(bytes, _) => Ok(Some(bytes.slice(..len.min(bytes.len())))),
            Source::Embedded(extent) => unless_deleted(extent.front(len).await),
            Source::Redis(body) => unless_deleted(body.front(len).await),
        }
    }

    /// All of it in one piece; `None` if the message has been deleted meanwhile.
    ///
    /// # Errors
    /// Where the store cannot be read, or the bytes have changed.
    pub async fn into_bytes(self) -> Result<Option<Bytes>, StoreError> {
        match self.source {
            Source::Held(bytes, _) => Ok(Some(bytes)),
            Source::Embedded(extent) => unless_deleted(extent.into_bytes().await),
            Source::Redis(body) => unless_deleted(body.into_bytes().await),
        }
    }
}

/// Why there are no bytes where there were some.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Lost {
    /// The message was deleted, or has expired and was swept.
    #[error("the message was deleted while it was read")]
    Deleted,
    /// Something else.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

impl From<Lost> for StoreError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Deleted => Self::Unavailable(lost.to_string()),
            Lost::Failed(error) => error,
        }
    }
}

fn unless_deleted(read: Result<Bytes, Lost>) -> Result<Option<Bytes>, StoreError> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Lost::Deleted) => Ok(None),
        Err(Lost::Failed(error)) => Err(error),
    }
}
