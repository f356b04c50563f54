//! How much of each segment the index refers to. It is counted along with the rows: to count them at the start would take
//! seconds where there are a million.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::index::{Extent, from_row, to_row};
use super::segments::SegmentId;

/// The entries of a segment that are referred to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// What the index knows of a segment.
pub(super) struct Known {
    pub(super) held: Held,
    /// Up to where its log has been indexed.
    pub(super) end: u64,
}

/// What a transaction does to it.
#[derive(Default)]
pub(super) struct Changes(HashMap<SegmentId, (Held, Held)>);

impl Held {
    pub(super) fn add(&mut self, len: u64) {
        self.entries += 1;
        self.bytes += len;
    }

    pub(super) fn remove(&mut self, len: u64) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(len);
    }
}

impl Changes {
    pub(super) fn added(&mut self, extent: Extent) {
        self.0.entry(extent.place.segment).or_default().0.add(extent.len);
    }

    pub(super) fn freed(&mut self, extent: Extent) {
        self.0.entry(extent.place.segment).or_default().1.add(extent.len);
    }

    /// Writes them into the rows of their segments; of one that is gone there is none.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut change = connection.prepare_cached(
            "UPDATE segment SET entries = max(entries + ?2 - ?3, 0), bytes = max(bytes + ?4 - ?5, 0) WHERE segment = ?1",
        )?;
        for (segment, (added, freed)) in &self.0 {
            let [more, fewer, larger, smaller] = [added.entries, freed.entries, added.bytes, freed.bytes].map(to_row);
            change.execute(params![segment.to_row(), more, fewer, larger, smaller])?;
        }
        Ok(())
    }
}

/// All segments that the index knows.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<HashMap<SegmentId, Known>> {
    connection
        .prepare("SELECT segment, indexed_end, entries, bytes FROM segment")?
        .query_map([], |row| {
            let held = Held { entries: from_row(row.get(2)?), bytes: from_row(row.get(3)?) };
            Ok((SegmentId::from_row(row.get(0)?), Known { held, end: from_row(row.get(1)?) }))
        })?
        .collect()
}

/// Notes up to where a segment is indexed.
pub(super) fn indexed(connection: &Connection, segment: SegmentId, end: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO segment (segment, indexed_end) VALUES (?1, ?2)
             ON CONFLICT (segment) DO UPDATE SET indexed_end = excluded.indexed_end",
        )?
        .execute([segment.to_row(), to_row(end)])
        .map(drop)
}

/// Forgets a segment. It must be gone for good, or its log would be replayed from the beginning.
pub(super) fn forget(connection: &Connection, segment: SegmentId) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM segment WHERE segment = ?1")?.execute([segment.to_row()]).map(drop)
}
