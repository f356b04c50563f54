//! Segment files: what expires in the same hour lies in the same file, so that expiry is mostly an unlink.
//!
//! They are the log of record: an entry that is synced is kept, whether the index knows of it yet or not. A file is written by
//! one run of the server only, at an end that this run has kept track of. What a crash leaves there by half is no entry, and
//! goes with the file. What a sender was told is not kept must not be found there later either: it is cut off.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::buffer::spare_capacity;

use super::directory::{self, FILE_MODE};
use super::entry::Entry;
use super::recovery::Tail;
use crate::clock::Timestamp;
use crate::store::StoreError;

const HOUR_MS: u64 = 3_600_000;
/// The largest hour that a segment id has room for; what expires later still is put there.
const LAST_HOUR: u32 = i32::MAX.cast_unsigned();
/// After a quiet time, and after so many syncs without one, the writer looks whether the file is still there.
const SYNCS_UNTIL_LOOK: u32 = 64;
/// The most parts of one write: `IOV_MAX` of Linux and the BSDs.
const PARTS_MAX: usize = 1024;
/// What a file system frees at once.
const BLOCK_BYTES: u64 = 4096;
/// How much room a segment is given ahead of its end while mail is coming, and what that is written with.
const AHEAD_MAX_BYTES: u64 = 1024 * 1024;
/// Where more than this is synced at once there is no room made: the room, too, has to be written to the disk.
const SMALL_SYNC_MAX_BYTES: u64 = 64 * 1024;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
/// With a retention of a day there are about 25 segments; more open files than this are not worth their descriptors.
const CACHED_FILES: usize = 64;
/// The same for those that are written; where there are more, half as many stay open, those that were written last.
const OPEN_MAX: usize = 64;

/// The name of a segment: the hour in which its messages expire, and a number that no other segment has or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SegmentId(i64);

impl SegmentId {
    fn new(hour: u32, number: u32) -> Self {
        Self(i64::from(hour.min(LAST_HOUR)) << 32 | i64::from(number))
    }

    /// The segment that a row of the index names.
    pub(super) const fn from_row(value: i64) -> Self {
        Self(value)
    }

    pub(super) const fn to_row(self) -> i64 {
        self.0
    }

    fn hour(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }

    /// Whether all that can be in this segment has expired.
    pub(super) fn is_over(self, now: Timestamp) -> bool {
        (u64::from(self.hour()) + 1) * HOUR_MS <= now.as_millis()
    }

    fn number(self) -> u32 {
        u32::try_from(self.0 & i64::from(u32::MAX)).unwrap_or(0)
    }

    fn file_name(self) -> String {
        format!("{}-{}.seg", self.hour(), self.number())
    }

    fn parse(file_name: &str) -> Option<Self> {
        let (hour, number) = file_name.strip_suffix(".seg")?.split_once('-')?;
        Some(Self::new(hour.parse().ok()?, number.parse().ok()?))
    }
}

/// Where an entry begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) segment: SegmentId,
    pub(super) start: u64,
}

/// The segments as the writer sees them.
pub(super) struct Segments {
    path: PathBuf,
    next_number: u32,
    /// The segments that are being written, by their hour.
    open: HashMap<u32, Open>,
    /// Those that are written no less, but are closed until they are, with the end of each.
    closed: HashMap<u32, (SegmentId, u64)>,
    /// How often something was written.
    writes: u64,
    /// For each segment the bytes that died last, so that blocks can be freed that two dead entries share.
    dead: HashMap<SegmentId, Range<u64>>,
}

struct Open {
    id: SegmentId,
    file: File,
    end: u64,
    /// Up to where it is synced, and where the sync before had ended.
    synced_end: u64,
    last_synced_end: u64,
    /// Up to where the file has room, and where its end was when it was last cut back to it.
    room_end: u64,
    quiet_end: u64,
    /// How many syncs there were since it was last quiet.
    syncs: u32,
    /// Which write to a segment was the last one to this.
    last_write: u64,
    #[cfg(test)]
    is_broken: bool,
}

impl Open {
    /// One that is synced up to `end`, and ends there.
    const fn new(id: SegmentId, file: File, end: u64) -> Self {
        Self {
            id,
            file,
            end,
            synced_end: end,
            last_synced_end: end,
            room_end: end,
            quiet_end: end,
            syncs: 0,
            last_write: 0,
            #[cfg(test)]
            is_broken: false,
        }
    }

    /// Writes what has been given a place since the last sync.
    fn write(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.make_room(self.end);
        let written = write_all_at(&self.file, parts, self.synced_end);
        self.room_end = self.room_end.max(self.end);
        if written.is_err()
            && let Err(error) = self.cut(self.synced_end)
        {
            // What comes next overwrites what there is of this.
            tracing::warn!(segment = self.id.file_name(), %error, "half an entry could not be cut off");
        }
        written
    }

    fn sync(&mut self) -> io::Result<()> {
        #[cfg(test)]
        if self.is_broken {
            return Err(io::ErrorKind::Other.into());
        }
        self.file.sync_data()?;
        // A file that somebody has deleted takes writes and syncs as before, and is gone when it is closed. To look each time
        // would cost a load of mail 8 %.
        if self.syncs.is_multiple_of(SYNCS_UNTIL_LOOK) && self.file.metadata()?.nlink() == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the file has been deleted"));
        }
        self.syncs = self.syncs.wrapping_add(1);
        Ok(())
    }

    /// Makes room behind what ends at `end`, for as much again as came since the segment was last quiet: a little
    /// mail takes little. The room is written, not only set aside: to sync bytes over others changes nothing in the file
    /// system, so that it is one write to the disk, where a new block is two or three.
    fn make_room(&mut self, end: u64) {
        let largest_sync = (end - self.synced_end).max(self.synced_end - self.last_synced_end);
        if end <= self.room_end || largest_sync > SMALL_SYNC_MAX_BYTES {
            return;
        }
        self.room_end = end + (end - self.quiet_end).min(AHEAD_MAX_BYTES);
        for start in (end..self.room_end).step_by(ZEROS.len()) {
            let len = ZEROS.len().min(usize::try_from(self.room_end - start).unwrap_or(usize::MAX));
            if let Err(error) = self.file.write_all_at(&ZEROS[..len], start) {
                // Then the file grows as it is written.
                tracing::debug!(segment = self.id.file_name(), %error, "no room could be made ahead");
                return;
            }
        }
    }

    /// Gives back the room that was made ahead.
    fn cut_back(&mut self) {
        if self.room_end > self.end
            && let Err(error) = self.cut(self.end)
        {
            tracing::debug!(segment = self.id.file_name(), %error, "room that was made ahead is not given back");
        }
    }

    /// Cuts off what lies behind `end`.
    fn cut(&mut self, end: u64) -> io::Result<()> {
        self.end = end;
        self.room_end = end;
        self.quiet_end = end;
        self.file.set_len(end)
    }
}

impl Segments {
    /// Opens the directory and lists the segments that are in it, in the order in which they were begun. No number is given
    /// out again that one of them has, or one of those that are `known` from elsewhere.
    pub(super) fn open(path: PathBuf, known: impl Iterator<Item = SegmentId>) -> io::Result<(Self, Vec<SegmentId>)> {
        let mut found = Vec::new();
        for file in path.read_dir()? {
            found.extend(file?.file_name().to_str().and_then(SegmentId::parse));
        }
        found.sort_unstable_by_key(|id| id.number());
        let numbers = found.iter().copied().chain(known).map(|id| id.number().saturating_add(1));
        let next_number = numbers.max().unwrap_or(0);
        let (open, closed, dead) = (HashMap::new(), HashMap::new(), HashMap::new());
        Ok((Self { path, next_number, open, closed, writes: 0, dead }, found))
    }

    /// What a segment holds from `start` on.
    pub(super) fn tail(&self, id: SegmentId, start: u64) -> io::Result<Tail> {
        Tail::open(&self.path.join(id.file_name()), id, start)
    }

    /// Gives an entry of `len` bytes its place behind the others of its hour. [`Segments::write`] puts it there.
    pub(super) fn place(&mut self, expires_at: Timestamp, len: u64) -> io::Result<Place> {
        let hour = u32::try_from(expires_at.as_millis() / HOUR_MS).unwrap_or(LAST_HOUR).min(LAST_HOUR);
        if !self.open.contains_key(&hour) {
            let open = match self.reopen(hour)? {
                Some(open) => open,
                None => self.create(hour)?,
            };
            self.open.insert(hour, open);
        }
        let Some(open) = self.open.get_mut(&hour) else { return Err(io::ErrorKind::NotFound.into()) };
        let start = open.end;
        open.end += len;
        Ok(Place { segment: open.id, start })
    }

    /// Opens the segment of this hour again, where there is one.
    fn reopen(&mut self, hour: u32) -> io::Result<Option<Open>> {
        let Some((id, end)) = self.closed.get(&hour).copied() else { return Ok(None) };
        let opened = match OpenOptions::new().write(true).open(self.path.join(id.file_name())) {
            Ok(file) => Some(Open::new(id, file, end)),
            // Somebody has deleted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        self.closed.remove(&hour);
        Ok(opened)
    }

    fn create(&mut self, hour: u32) -> io::Result<Open> {
        let id = SegmentId::new(hour, self.next_number);
        self.next_number += 1;
        let path = self.path.join(id.file_name());
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        // A file without a durable name would be lost with the power, with all that was synced into it.
        directory::sync(&self.path)?;
        Ok(Open::new(id, file, 0))
    }

    /// Writes entries, all that have been given a place since the last time, and makes them durable. Returns the segments
    /// where that failed, and why: none of their entries is there.
    pub(super) fn write<'a>(
        &mut self,
        entries: impl Iterator<Item = (Place, &'a Entry)>,
    ) -> HashMap<SegmentId, StoreError> {
        let mut parts: HashMap<SegmentId, Vec<IoSlice<'_>>> = HashMap::new();
        for (place, entry) in entries {
            let parts = parts.entry(place.segment).or_default();
            parts.extend([IoSlice::new(&entry.front), IoSlice::new(&entry.raw)]);
        }
        let mut failed = HashMap::new();
        self.writes += 1;
        self.open.retain(|_, open| {
            let Some(parts) = parts.get_mut(&open.id) else { return true };
            open.last_write = self.writes;
            if let Err(error) = open.write(parts) {
                failed.insert(open.id, error.into());
                return true;
            }
            let Err(error) = open.sync() else {
                open.last_synced_end = std::mem::replace(&mut open.synced_end, open.end);
                return true;
            };
            // The kernel may have dropped the pages, and would call the next sync a success.
            tracing::error!(segment = open.id.file_name(), %error, "a segment could not be synced and is given up");
            if let Err(error) = open.cut(open.synced_end).and_then(|()| open.file.sync_all()) {
                tracing::error!(segment = open.id.file_name(), %error, "mail that was refused may be found after a restart");
            }
            failed.insert(open.id, StoreError::Unavailable("the disk did not confirm the write".to_owned()));
            false
        });
        if self.open.len() > OPEN_MAX {
            self.close_some();
        }
        failed
    }

    /// Closes all segments but those that were written last. All that has a place in them is written.
    fn close_some(&mut self) {
        let mut writes: Vec<_> = self.open.values().map(|open| open.last_write).collect();
        writes.sort_unstable_by(|a, b| b.cmp(a));
        let kept_since = writes[OPEN_MAX / 2];
        for (hour, mut open) in self.open.extract_if(|_, open| open.last_write <= kept_since) {
            open.cut_back();
            self.closed.insert(hour, (open.id, open.end));
        }
    }

    /// Gives back the room that was made ahead, while no mail is coming.
    pub(super) fn cut_back(&mut self) {
        for open in self.open.values_mut() {
            open.syncs = 0;
            open.cut_back();
        }
    }

    /// Stops writing the segments whose hour is over, and returns them.
    pub(super) fn retire(&mut self, now: Timestamp) -> Vec<SegmentId> {
        let open = self.open.extract_if(|_, open| open.id.is_over(now)).map(|(_, open)| open.id);
        let closed = self.closed.extract_if(|_, (id, _)| id.is_over(now)).map(|(_, (id, _))| id);
        open.chain(closed).collect()
    }

    /// Whether more entries may come into this segment.
    pub(super) fn is_open(&self, id: SegmentId) -> bool {
        self.open.get(&id.hour()).is_some_and(|open| open.id == id)
            || self.closed.get(&id.hour()).is_some_and(|(closed, _)| *closed == id)
    }

    /// Removes a segment. That is not durable before [`Segments::sync_names`].
    pub(super) fn unlink(&mut self, id: SegmentId) -> io::Result<()> {
        self.dead.remove(&id);
        match std::fs::remove_file(self.path.join(id.file_name())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    pub(super) fn sync_names(&self) -> io::Result<()> {
        directory::sync(&self.path)
    }

    /// Gives back the room of bytes that nobody needs any more, as far as they fill whole blocks.
    pub(super) fn free(&mut self, id: SegmentId, bytes: Range<u64>) {
        let known = self.dead.entry(id).or_insert_with(|| bytes.start..bytes.start);
        if known.end == bytes.start {
            known.end = bytes.end;
        } else {
            *known = bytes.clone();
        }
        let from = known.start.next_multiple_of(BLOCK_BYTES).max(bytes.start / BLOCK_BYTES * BLOCK_BYTES);
        let to = known.end / BLOCK_BYTES * BLOCK_BYTES;
        if from < to
            && let Err(error) = self.punch(id, from, to - from)
        {
            // Then the room comes back with the end of the hour.
            tracing::debug!(segment = id.file_name(), %error, "no hole could be punched");
        }
    }

    #[cfg(target_os = "linux")]
    fn punch(&self, id: SegmentId, start: u64, len: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match self.open.get(&id.hour()) {
            Some(open) if open.id == id => fallocate(&open.file, mode, start, len)?,
            _ => {
                let file = OpenOptions::new().write(true).open(self.path.join(id.file_name()))?;
                fallocate(&file, mode, start, len)?;
            }
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn punch(&self, _id: SegmentId, _start: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// From now on the segments that are being written cannot be synced.
    #[cfg(test)]
    pub(super) fn fail_syncs(&mut self) {
        self.open.values_mut().for_each(|open| open.is_broken = true);
    }

    /// From now on the segment of this hour is `file`, which fails in the way that a test needs.
    #[cfg(test)]
    pub(super) fn divert(&mut self, expires_at: Timestamp, file: File) {
        let hour = u32::try_from(expires_at.as_millis() / HOUR_MS).unwrap();
        let id = SegmentId::new(hour, self.next_number);
        self.next_number += 1;
        self.open.insert(hour, Open::new(id, file, 0));
    }
}

fn write_all_at(file: &File, mut left: &mut [IoSlice<'_>], mut start: u64) -> io::Result<()> {
    // Empty parts would look like a disk that takes nothing.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match rustix::io::pwritev(file, &left[..left.len().min(PARTS_MAX)], start) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                start += count as u64;
                IoSlice::advance_slices(&mut left, count);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The segments as readers see them: open files, kept for the next reader.
pub(super) struct SegmentFiles {
    path: PathBuf,
    open: Mutex<HashMap<SegmentId, Arc<File>>>,
}

impl SegmentFiles {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), open: Mutex::default() }
    }

    /// Reads `len` bytes.
    pub(super) fn read(&self, place: Place, len: usize) -> io::Result<Vec<u8>> {
        let file = self.file(place.segment)?;
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = place.start + bytes.len() as u64;
            match rustix::io::pread(&*file, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Lets go of a segment that has been unlinked: its room is not free before the last descriptor is closed.
    pub(super) fn forget(&self, id: SegmentId) {
        self.files().remove(&id);
    }

    fn file(&self, id: SegmentId) -> io::Result<Arc<File>> {
        // The file is opened under the lock, or it could be put into the map after `forget` has passed.
        let mut files = self.files();
        if let Some(file) = files.get(&id) {
            return Ok(file.clone());
        }
        let file = Arc::new(File::open(self.path.join(id.file_name()))?);
        if files.len() >= CACHED_FILES {
            files.clear();
        }
        files.insert(id, file.clone());
        Ok(file)
    }

    fn files(&self) -> MutexGuard<'_, HashMap<SegmentId, Arc<File>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;

    use super::*;
    use crate::store::contract::message;

    const HOUR: Timestamp = Timestamp::from_millis(5 * HOUR_MS);

    fn entry(raw: &[u8]) -> Entry {
        Entry::new(&message(0, 0), &[], Bytes::copy_from_slice(raw)).unwrap()
    }

    fn append(segments: &mut Segments, expires_at: Timestamp, raw: &[u8]) -> Place {
        let entry = entry(raw);
        let place = segments.place(expires_at, entry.len()).unwrap();
        assert!(segments.write([(place, &entry)].into_iter()).is_empty());
        place
    }

    #[test]
    fn the_name_of_a_file_is_the_id_of_its_segment() {
        for id in [SegmentId::new(500_000, 3), SegmentId::new(u32::MAX, u32::MAX), SegmentId::new(0, 0)] {
            assert_eq!(SegmentId::parse(&id.file_name()), Some(id));
            assert_eq!(SegmentId::from_row(id.to_row()), id);
        }
        assert_eq!(SegmentId::new(500_000, 3).file_name(), "500000-3.seg");
        for name in ["", "5.seg", "5-.seg", "-5-1.seg", "5-1.seg.bak", "a-b.seg"] {
            assert_eq!(SegmentId::parse(name), None, "{name}");
        }
    }

    #[test]
    fn entries_of_one_hour_lie_behind_each_other_in_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let (mut segments, found) = Segments::open(dir.path().to_owned(), std::iter::empty()).unwrap();
        assert!(found.is_empty());
        let first = append(&mut segments, HOUR, b"first");
        let second = append(&mut segments, Timestamp::from_millis(6 * HOUR_MS - 1), b"second");
        let other = append(&mut segments, Timestamp::from_millis(6 * HOUR_MS), b"other");
        assert_eq!((first.start, second.start, other.start), (0, entry(b"first").len(), 0));
        assert!(first.segment == second.segment && first.segment != other.segment);
        segments.cut_back();
        let files = SegmentFiles::new(dir.path());
        let start = second.start + entry(b"second").len() - 6;
        assert_eq!(files.read(Place { start, ..second }, 6).unwrap(), b"second");
        assert!(files.read(Place { start, ..second }, 7).is_err(), "there is nothing behind the end");
    }

    #[test]
    fn a_number_is_never_given_to_two_segments() {
        let dir = tempfile::tempdir().unwrap();
        let (mut segments, _) = Segments::open(dir.path().to_owned(), std::iter::empty()).unwrap();
        let first = append(&mut segments, HOUR, b"").segment;
        assert!(segments.is_open(first));
        assert!(segments.retire(Timestamp::from_millis(6 * HOUR_MS - 1)).is_empty());
        assert!(segments.is_open(first), "its hour has a millisecond left");
        assert_eq!(segments.retire(Timestamp::from_millis(6 * HOUR_MS)), [first]);
        assert!(!segments.is_open(first));
        segments.unlink(first).unwrap();
        let late = append(&mut segments, HOUR, b"").segment;
        assert_ne!(late, first);
        let (mut segments, found) = Segments::open(dir.path().to_owned(), std::iter::empty()).unwrap();
        assert_eq!(found, [late]);
        assert!(append(&mut segments, HOUR, b"").segment.number() > late.number());
    }

    #[test]
    fn few_segments_are_open_however_many_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let (mut segments, _) = Segments::open(dir.path().to_owned(), std::iter::empty()).unwrap();
        let hours: Vec<_> = (5..5 + 3 * OPEN_MAX as u64).map(|hour| Timestamp::from_millis(hour * HOUR_MS)).collect();
        let mut places = Vec::new();
        for round in 0..2 {
            for (at, hour) in hours.iter().enumerate() {
                places
                    .push((append(&mut segments, *hour, format!("{round}-{at}").as_bytes()), format!("{round}-{at}")));
                assert!(segments.open.len() <= OPEN_MAX);
            }
        }
        assert_eq!(dir.path().read_dir().unwrap().count(), hours.len(), "each is written again");
        let files = SegmentFiles::new(dir.path());
        for (place, text) in places {
            let front = entry(text.as_bytes()).len() - text.len() as u64;
            let place = Place { start: place.start + front, ..place };
            assert_eq!(files.read(place, text.len()).unwrap(), text.as_bytes());
            assert!(segments.is_open(place.segment));
        }
        fs::remove_file(dir.path().join(segments.closed[&5].0.file_name())).unwrap();
        assert_eq!(append(&mut segments, hours[0], b"anew").start, 0);
        assert_eq!(segments.retire(*hours.last().unwrap()).len(), hours.len() - 1);
        assert!(segments.closed.len() + segments.open.len() == 1);
    }

    #[test]
    fn an_unlinked_segment_is_gone_for_readers_once_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (mut segments, _) = Segments::open(dir.path().to_owned(), std::iter::empty()).unwrap();
        let place = append(&mut segments, HOUR, b"");
        let files = SegmentFiles::new(dir.path());
        assert!(files.read(place, 1).is_ok());
        segments.unlink(place.segment).unwrap();
        files.forget(place.segment);
        assert_eq!(files.read(place, 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
