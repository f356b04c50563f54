//! The data directory: who may use it, and where in it things lie.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::clock::Timestamp;
use crate::store::{OpenError, StoreError};

const DIRECTORY_MODE: u32 = 0o700;
/// Mail is private: nobody but the user of the server reads these files.
pub(super) const FILE_MODE: u32 = 0o600;

/// A data directory that is ours alone until this value is dropped.
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
    seen: Option<Timestamp>,
}

impl Directory {
    /// Makes the directory if it is not there, and takes it for this process.
    pub(super) fn open(path: PathBuf) -> Result<Self, OpenError> {
        let lock = lock(&path).map_err(|error| match error {
            LockError::Io(error) => {
                let name = path.display();
                OpenError(match StoreError::from(error) {
                    StoreError::Full(error) => {
                        format!("data directory {name} cannot be used: {error}; make some room on its disk")
                    }
                    StoreError::Unavailable(error) | StoreError::Damaged(error) => format!(
                        "data directory {name} cannot be used: {error}; make it readable and writable for this user, or choose another"
                    ),
                })
            }
            LockError::Held(pid) => OpenError(format!(
                "data directory {} is in use by another restante process (pid {pid}); stop it, or choose another directory",
                path.display()
            )),
        })?;
        let (lock, seen) = lock;
        Ok(Self { path, lock, seen })
    }

    /// When a server was last at work here by a clock that it believed; `None` in a directory that is new.
    pub(super) const fn seen(&self) -> Option<Timestamp> {
        self.seen
    }

    /// Notes for the next start that a server is at work here: as the time of the lock file, which takes no room.
    pub(super) fn note(&self, now: Timestamp) {
        if let Err(error) = self.lock.set_modified(UNIX_EPOCH + Duration::from_millis(now.as_millis())) {
            tracing::debug!(%error, "the time cannot be noted");
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn index(&self) -> PathBuf {
        self.path.join("index.sqlite3")
    }

    pub(super) fn segments(&self) -> PathBuf {
        self.path.join("segments")
    }
}

enum LockError {
    Io(io::Error),
    Held(String),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The lock, and when its file was written before.
fn lock(path: &Path) -> Result<(File, Option<Timestamp>), LockError> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path.join("segments"))?;
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path.join("restante.lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            lock.read_to_string(&mut pid)?;
            return Err(LockError::Held(pid.trim().to_owned()));
        }
    }
    let before = lock.metadata()?;
    // Over what is there, which takes no room on a disk that is full.
    let pid = format!("{}\n", std::process::id());
    lock.write_all(pid.as_bytes())?;
    lock.set_len(pid.len() as u64)?;
    let seen = if before.len() > 0 { before.modified().ok() } else { None };
    if let Some(seen) = seen {
        // A start is no word for the clock yet. Where this cannot be done the start counts, and the clock may be doubted longer.
        let _ = lock.set_modified(seen);
    }
    // SQLite takes over the mode of the index for the files beside it, but makes the index itself readable for everybody.
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path.join("index.sqlite3"))?;
    sync(path)?;
    if let Some(parent) = path.canonicalize()?.parent() {
        // Not ours: where it cannot be opened it has not just been changed by us either.
        let _ = sync(parent);
    }
    let since = seen.and_then(|seen| seen.duration_since(UNIX_EPOCH).ok());
    Ok((lock, since.map(|since| Timestamp::from_millis(0).after(since))))
}

/// Makes the names in a directory durable.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
