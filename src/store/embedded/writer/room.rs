//! Room that is given back: of entries, of segments whose hour is over, and of the index.

use std::ops::Range;

use rusqlite::Connection;

use super::super::held::{self, Held};
use super::super::index::{self, Extent, SWEEP_STEP};
use super::super::pending::Unindexed;
use super::super::segments::SegmentId;
use super::Writer;
use crate::clock::Timestamp;
use crate::store::StoreError;

/// The index is made smaller when so many of its pages, and at least a quarter, are free; so many at a time, as mail waits.
const VACUUM_PAGES: i64 = 256;
/// So many entries of expired mail wait for their room to be given back, at most: that takes a sync, which deliveries wait for.
pub(super) const FREED_MAX: usize = 4096;

impl Writer {
    /// Counts entries off that nothing refers to any more.
    pub(super) fn release(&mut self, freed: Vec<Extent>) {
        for freed in &freed {
            // What was in a segment that is gone went with it.
            if let Some(held) = self.live.get_mut(&freed.place.segment) {
                held.remove(freed.len);
                self.parts.quota.remove(freed.len);
            }
        }
        self.freed.extend(freed);
    }

    /// Gives back the room of the entries that were counted off; `is_synced` says that the index is without them for good.
    /// Says whether that could be done.
    pub(super) fn give_back(&mut self, is_synced: bool) -> bool {
        if self.freed.is_empty() {
            return true;
        }
        if !is_synced && let Err(error) = self.retried(index::sync) {
            tracing::warn!(%error, "the index could not be synced; some room comes back later");
            self.freed.truncate(FREED_MAX);
            return false;
        }
        for (segment, bytes) in merged(std::mem::take(&mut self.freed)) {
            if self.live.contains_key(&segment) {
                self.segments.free(segment, bytes);
            }
        }
        true
    }

    /// The write-ahead log may be what fills the disk, so it is emptied before this fails.
    fn retried(&self, change: impl Fn(&Connection) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        change(&self.parts.connection).or_else(|_| {
            self.checkpoint();
            change(&self.parts.connection)
        })
    }

    /// Gives room back after a sweep, some of it at a time; says whether there is more.
    pub(super) fn tidy(&mut self, now: Timestamp, removed: u64) -> bool {
        // First of all: a segment whose hour is not over must not go before the rows that name it have gone for good.
        let is_synced = self.give_back(false);
        // Those that nothing was ever committed to are not counted yet, and must go too.
        for id in self.segments.retire(now) {
            self.live.entry(id).or_default();
        }
        if self.pending.needs_any(|id| id.is_over(now)) && matches!(self.flush(), Err(StoreError::Full(_))) {
            self.let_go(now);
        }
        // On a full disk the rows of a segment may be there yet. They are not needed to see that it is over, and without
        // its room they could never be removed.
        self.unlink_if(|id, held| (held.entries == 0 && is_synced) || id.is_over(now));
        let has_more = self.vacuum().unwrap_or_else(|error| {
            tracing::warn!(%error, "the index could not be made smaller");
            false
        });
        if removed >= SWEEP_STEP && !has_more {
            self.checkpoint();
        }
        if let Err(error) = self.parts.quota.free_bytes() {
            tracing::warn!(%error, "the free space of the disk cannot be seen");
        }
        has_more
    }

    /// Lets go what is pending in segments that are over: there is no room to index it, and it has expired with the rest.
    fn let_go(&mut self, now: Timestamp) {
        // Without the log only the index knows which seqs have been given out. To note that takes no page of it.
        if let Err(error) = self.retried(|connection| index::note_seq(connection, self.last_seq)) {
            tracing::warn!(%error, "mail that has expired stays, as the last seq cannot be noted; it will be tried again");
            return;
        }
        for Unindexed { head, place, .. } in self.pending.let_go(now) {
            self.release(vec![Extent { place, len: head.len() }]);
        }
    }

    /// Removes the segments that `is_done` says nobody needs, by how many of their entries are referred to.
    pub(super) fn unlink_if(&mut self, is_done: impl Fn(SegmentId, Held) -> bool) {
        let Self { live, segments, pending, parts, .. } = self;
        let mut gone = Vec::new();
        live.retain(|id, held| {
            if segments.is_open(*id) || pending.needs(*id) || !is_done(*id, *held) {
                return true;
            }
            if let Err(error) = segments.unlink(*id) {
                tracing::warn!(segment = ?id, %error, "an expired segment could not be removed; it will be tried again");
                return true;
            }
            parts.files.forget(*id);
            parts.quota.remove(held.bytes);
            // While rows name it, its number stays taken.
            if held.entries == 0 {
                gone.push(*id);
            }
            false
        });
        self.forget(gone);
    }

    /// Forgets up to where segments are indexed that are not there any more.
    pub(super) fn forget(&mut self, gone: Vec<SegmentId>) {
        if gone.is_empty() {
            return;
        }
        // A file that came back with the power would be taken for a log that was never read.
        let synced = self.segments.sync_names().map_err(StoreError::from);
        if synced.is_ok() {
            gone.iter().for_each(|id| self.pending.forget(*id));
        }
        let mut gone = gone.into_iter();
        if let Err(error) = synced.and_then(|()| Ok(gone.try_for_each(|id| held::forget(&self.parts.connection, id))?))
        {
            tracing::warn!(%error, "the index remembers segments that are gone; it will be put right at the next start");
        }
    }

    /// Makes the index a little smaller, where it is worth it; says whether it was.
    fn vacuum(&self) -> rusqlite::Result<bool> {
        let pages = |name| self.parts.connection.query_row(name, [], |row| row.get::<_, i64>(0));
        let (free, all) = (pages("PRAGMA freelist_count")?, pages("PRAGMA page_count")?);
        if free < VACUUM_PAGES || free < all / 4 {
            return Ok(false);
        }
        let mut statement = self.parts.connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut steps = statement.query([])?;
        while steps.next()?.is_some() {}
        Ok(true)
    }
}

/// Joins extents that touch each other.
fn merged(mut extents: Vec<Extent>) -> Vec<(SegmentId, Range<u64>)> {
    extents.sort_unstable();
    let mut joined: Vec<(SegmentId, Range<u64>)> = Vec::new();
    for Extent { place, len } in extents {
        match joined.last_mut() {
            Some((segment, bytes)) if *segment == place.segment && bytes.end == place.start => bytes.end += len,
            _ => joined.push((place.segment, place.start..place.start + len)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::segments::Place;

    #[test]
    fn extents_that_touch_are_one_hole() {
        let segment = SegmentId::from_row;
        let extent = |id, start, len| Extent { place: Place { segment: segment(id), start }, len };
        let extents = vec![extent(2, 30, 10), extent(1, 10, 10), extent(1, 0, 10), extent(2, 0, 5)];
        assert_eq!(merged(extents), [(segment(1), 0..20), (segment(2), 0..5), (segment(2), 30..40)]);
    }
}
