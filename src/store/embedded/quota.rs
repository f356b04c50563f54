//! How much room there is: the configured size, and the free bytes of the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::{self, level};
use crate::store::StoreError;

/// So much stays free whatever is configured: what is acknowledged must find room in the index, or nothing could be read, and
/// so must the removal of what has expired, or nothing would come back. It is the log of SQLite before a checkpoint, twice.
const INDEX_ROOM_BYTES: u64 = 8 * 1024 * 1024;

/// What the index takes beside its rows: how messages went that are gone, as many as are remembered, and half-empty pages. What it
/// has above that counts as mail does: a mail of some bytes for a hundred mailboxes takes most of its room there.
const INDEX_FREE_BYTES: u64 = 32 * 1024 * 1024;

/// What is held, and what may be. The writer counts, everybody may ask.
pub(super) struct Quota {
    directory: File,
    max_bytes: u64,
    min_free_bytes: u64,
    held_bytes: AtomicU64,
    /// What the index has above [`INDEX_FREE_BYTES`].
    index_bytes: AtomicU64,
    metrics: Arc<metrics::Store>,
}

impl Quota {
    pub(super) fn new(
        directory: &Path,
        max_bytes: u64,
        min_free_bytes: u64,
        metrics: Arc<metrics::Store>,
    ) -> io::Result<Self> {
        let min_free_bytes = min_free_bytes.max(INDEX_ROOM_BYTES);
        metrics.disk_min_free_bytes.set(level(min_free_bytes));
        let (directory, held_bytes, index_bytes) = (File::open(directory)?, AtomicU64::new(0), AtomicU64::new(0));
        let quota = Self { directory, max_bytes, min_free_bytes, held_bytes, index_bytes, metrics };
        quota.free_bytes()?;
        Ok(quota)
    }

    /// The bytes of the disk that are free for us.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::fstatvfs(&self.directory)?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        self.metrics.disk_free_bytes.set(level(free_bytes));
        Ok(free_bytes)
    }

    /// Whether the directory is there; somebody may have deleted it under us.
    pub(super) fn has_directory(&self) -> io::Result<bool> {
        Ok(self.directory.metadata()?.nlink() > 0)
    }

    /// Whether `more` bytes may be written on a disk with `free_bytes`.
    pub(super) fn admit(&self, more: u64, free_bytes: u64) -> Result<(), StoreError> {
        let held = self.held_bytes.load(Ordering::Relaxed) + self.index_bytes.load(Ordering::Relaxed);
        if held.saturating_add(more) > self.max_bytes {
            return Err(StoreError::Full(format!("{held} of {} bytes are used", self.max_bytes)));
        }
        if free_bytes < self.min_free_bytes.saturating_add(more) {
            let least = self.min_free_bytes;
            return Err(StoreError::Full(format!(
                "{free_bytes} bytes of the disk are free and {least} must stay free"
            )));
        }
        Ok(())
    }

    pub(super) fn add(&self, bytes: u64) {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.held_bytes.inc_by(level(bytes));
    }

    pub(super) fn remove(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.metrics.held_bytes.dec_by(level(bytes));
    }
    /// Notes how large the index is.
    pub(super) fn note_index(&self, bytes: u64) {
        let counted = bytes.saturating_sub(INDEX_FREE_BYTES);
        let before = self.index_bytes.swap(counted, Ordering::Relaxed);
        self.metrics.held_bytes.inc_by(level(counted.saturating_sub(before)));
        self.metrics.held_bytes.dec_by(level(before.saturating_sub(counted)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_index_counts_as_mail_does() {
        let (dir, metrics) = (tempfile::tempdir().unwrap(), Arc::<metrics::Store>::default());
        let quota = Quota::new(dir.path(), 1000, 0, metrics.clone()).unwrap();
        let admits = |more| quota.admit(more, u64::MAX).is_ok();
        quota.note_index(INDEX_FREE_BYTES);
        quota.add(100);
        assert!(admits(900) && !admits(901));
        quota.note_index(INDEX_FREE_BYTES + 300);
        assert!(admits(600) && !admits(601));
        assert_eq!(metrics.held_bytes.get(), 400);
        quota.note_index(0);
        assert!(admits(900) && !admits(901));
        assert_eq!(metrics.held_bytes.get(), 100);
    }
}
