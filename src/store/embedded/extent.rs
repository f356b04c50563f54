//! The raw bytes of one message as they lie in a segment, read piece by piece.
//!
//! The checksum is one over all of them, so they are read twice: first to see that they are right, keeping nothing, then to
//! be given out. What the second reading finds is compared with the first before the last piece is given: between the two
//! the message may have been deleted, and a hole reads as zeros.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::reader::{Reader, is_there};
use super::segments::Place;
use crate::mail::MessageId;
use crate::store::raw::Lost;
use crate::store::{CHUNK_BYTES, StoreError};

/// Where the raw bytes of a message are, and what is known of them.
#[derive(Clone)]
pub(super) struct Bounds {
    pub(super) seq: u64,
    pub(super) id: MessageId,
    pub(super) place: Place,
    pub(super) len: u64,
    pub(super) checksum: u64,
}

/// The raw bytes of a message, or a part of them, on their way out. It keeps no file open: a slow reader must not hold the
/// room of a segment whose hour is over.
pub(in crate::store) struct Extent {
    reader: Arc<Reader>,
    bounds: Bounds,
    part: Range<u64>,
    /// What has been read of the part.
    at: u64,
    /// The checksum of the part, once all bytes were found to be right.
    expected: Option<u64>,
    running: Box<Xxh3>,
}

impl Extent {
    pub(super) fn new(reader: Arc<Reader>, bounds: Bounds) -> Self {
        let part = 0..bounds.len;
        Self { reader, bounds, part, at: 0, expected: None, running: Box::default() }
    }

    pub(in crate::store) const fn len(&self) -> u64 {
        self.bounds.len
    }

    pub(in crate::store) fn part(self, range: Range<u64>) -> Self {
        // The part of a part counts from where that begins.
        let start = self.part.start + range.start;
        let part = start..self.part.start + range.end;
        Self { at: start, part, ..self }
    }

    pub(in crate::store) async fn chunk(&mut self) -> Result<Option<Bytes>, Lost> {
        let expected = match self.expected {
            Some(expected) => expected,
            None => *self.expected.insert(self.verify().await?),
        };
        if self.at >= self.part.end {
            return Ok(None);
        }
        let piece = self.at..self.part.end.min(self.at + CHUNK_BYTES as u64);
        let bytes = self.read(piece.clone()).await?;
        self.running.update(&bytes);
        self.at = piece.end;
        if self.at == self.part.end && self.running.digest() != expected {
            return Err(self.lost().await);
        }
        Ok(Some(bytes))
    }

    pub(in crate::store) fn rewind(&mut self) {
        self.at = self.part.start;
        self.running.reset();
    }

    pub(in crate::store) async fn into_bytes(mut self) -> Result<Bytes, Lost> {
        let mut whole = BytesMut::with_capacity(usize::try_from(self.part.end - self.part.start).unwrap_or(0));
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    pub(in crate::store) async fn front(&self, len: usize) -> Result<Bytes, Lost> {
        let end = self.part.end.min(self.part.start.saturating_add(len as u64));
        let bytes = self.read(self.part.start..end).await?;
        let seq = self.bounds.seq;
        // Bytes are freed only when the index has let go of them: what it still has was there when it was read.
        if self.reader.run(move |_, connection| Ok(is_there(connection, seq)?)).await? {
            return Ok(bytes);
        }
        Err(self.lost().await)
    }

    /// Sees that all bytes of the message are right, and returns the checksum of the part.
    async fn verify(&self) -> Result<u64, Lost> {
        let (bounds, part) = (self.bounds.clone(), self.part.clone());
        let found = self.reader.beside(move |reader| Ok(checksums(reader, &bounds, &part))).await?;
        match found {
            Some((all, part)) if all == self.bounds.checksum => Ok(part),
            _ => Err(self.lost().await),
        }
    }

    async fn read(&self, piece: Range<u64>) -> Result<Bytes, Lost> {
        let bounds = self.bounds.clone();
        let read = self.reader.beside(move |reader| Ok(reader.bytes(bounds.at(piece.start), piece.end - piece.start)));
        match read.await? {
            Some(bytes) => Ok(bytes.into()),
            None => Err(self.lost().await),
        }
    }

    /// Why the bytes are not what they were.
    async fn lost(&self) -> Lost {
        let Bounds { seq, id, .. } = self.bounds;
        match self.reader.run(move |_, connection| Ok(is_there(connection, seq)?)).await {
            Ok(true) => Lost::Failed(StoreError::Damaged(format!("message {id} cannot be read back"))),
            Ok(false) => Lost::Deleted,
            Err(error) => Lost::Failed(error),
        }
    }
}

impl Bounds {
    /// The place of the byte `at` of the message.
    const fn at(&self, at: u64) -> Place {
        Place { start: self.place.start + at, ..self.place }
    }

    /// The bytes, where they are right.
    pub(super) fn whole(&self, reader: &Reader) -> Option<Bytes> {
        let raw = reader.bytes(self.place, self.len)?;
        (xxh3_64(&raw) == self.checksum).then(|| raw.into())
    }
}

/// The checksums of a message and of a part of it; `None` where it cannot be read.
fn checksums(reader: &Reader, bounds: &Bounds, part: &Range<u64>) -> Option<(u64, u64)> {
    let (mut all, mut of_part) = (Xxh3::new(), Xxh3::new());
    for start in (0..bounds.len).step_by(CHUNK_BYTES) {
        let end = bounds.len.min(start + CHUNK_BYTES as u64);
        let bytes = reader.bytes(bounds.at(start), end - start)?;
        all.update(&bytes);
        let within = part.start.max(start)..part.end.min(end);
        if within.start < within.end {
            // Both are less than a chunk behind its start.
            let [from, to] = [within.start, within.end].map(|at| usize::try_from(at - start).unwrap_or(0));
            of_part.update(&bytes[from..to]);
        }
    }
    Some((all.digest(), of_part.digest()))
}
