//! Reading a segment as the log that it is: entry by entry, up to the first that is not whole.
//!
//! That one was being written when the server died. Nothing behind it is looked for: what looks like an entry there may be
//! part of a message that somebody has sent.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3Default;

use super::entry::{self, HEAD_BYTES, Head, Text};
use super::pending::Unindexed;
use super::segments::{Place, SegmentId};

/// How much is read at once, whatever the length of an entry.
const BUFFER_BYTES: usize = 64 * 1024;

/// The entries of a segment from some place on.
pub(super) struct Tail {
    file: BufReader<File>,
    next: Place,
    end: u64,
}

impl Tail {
    /// Opens the segment file at `path`, to be read from `start` on.
    pub(super) fn open(path: &Path, segment: SegmentId, start: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { file: BufReader::with_capacity(BUFFER_BYTES, file), next: Place { segment, start }, end })
    }

    /// The next entry, if it is whole.
    pub(super) fn next(&mut self) -> io::Result<Option<Unindexed>> {
        let left = self.end.saturating_sub(self.next.start);
        let mut head = [0; HEAD_BYTES];
        if left < HEAD_BYTES as u64 {
            return Ok(None);
        }
        self.file.read_exact(&mut head)?;
        let Some(head) = Head::read(&head).filter(|head| head.len() <= left) else { return Ok(None) };
        if !self.is_intact(head.record)? {
            return Ok(None);
        }
        let mut recipients = Vec::new();
        (&mut self.file).take(head.recipients.len).read_to_end(&mut recipients)?;
        let Some(recipients) = entry::recipients(&head, &recipients) else { return Ok(None) };
        if !self.is_intact(head.raw)? {
            return Ok(None);
        }
        let place = self.next;
        self.next.start += head.len();
        Ok(Some(Unindexed { head, recipients, place }))
    }

    /// Reads over a text, and says whether it is the one that the head speaks of.
    fn is_intact(&mut self, text: Text) -> io::Result<bool> {
        let mut hash = Xxh3Default::new();
        let mut left = text.len;
        let mut buffer = [0; 8192];
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.file.read_exact(&mut buffer[..wanted])?;
            hash.update(&buffer[..wanted]);
            left -= wanted as u64;
        }
        Ok(hash.digest() == text.checksum)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;

    use super::*;
    use crate::store::contract::{message, to};
    use crate::store::embedded::entry::{Entry, Recipient};

    fn entry(seq: u64) -> Vec<u8> {
        let recipients: Vec<_> = to(&["alice", "bob"]).iter().map(Recipient::from).collect();
        let mut entry = Entry::new(&message(1, 2), &recipients, Bytes::from_static(b"raw bytes")).unwrap();
        entry.number(seq);
        [&entry.front[..], &entry.raw].concat()
    }

    /// The seqs of the entries that are found in `bytes`, from `start` on.
    fn seqs(bytes: &[u8], start: u64) -> Vec<u64> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        let mut tail = Tail::open(file.path(), SegmentId::from_row(1), start).unwrap();
        std::iter::from_fn(|| tail.next().unwrap()).map(|found| found.head.first_seq).collect()
    }

    #[test]
    fn an_entry_that_was_cut_off_anywhere_is_not_there_and_those_before_it_are() {
        let (whole, torn) = ([entry(1), entry(3)].concat(), entry(5));
        assert_eq!(seqs(&[&whole[..], &torn].concat(), 0), [1, 3, 5]);
        for len in 0..torn.len() {
            let cut = [&whole[..], &torn[..len]].concat();
            assert_eq!(seqs(&cut, 0), [1, 3], "{len} bytes");
            let mut zeros = cut.clone();
            zeros.resize(whole.len() + torn.len() + 4096, 0);
            // Its last byte is not a zero, so that it is not whole this way either.
            assert_eq!(seqs(&zeros, 0), [1, 3], "{len} bytes and zeros");
            let garbage = [&cut[..], &[b'x'; 300], &entry(7)].concat();
            assert_eq!(seqs(&garbage, 0), [1, 3], "{len} bytes and garbage");
        }
    }

    #[test]
    fn a_tail_begins_where_it_is_told_to() {
        let (first, second) = (entry(1), entry(3));
        let bytes = [&first[..], &second].concat();
        assert_eq!(seqs(&bytes, first.len() as u64), [3]);
        assert_eq!(seqs(&bytes, 1), [0; 0], "there is no entry");
        assert_eq!(seqs(&bytes, bytes.len() as u64), [0; 0]);
        assert_eq!(seqs(&bytes, bytes.len() as u64 + 9), [0; 0], "the segment has been cut off");
    }
}
