//! The data directory: who may use it, and where in it things lie.

use std::fmt::Write;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::clock::Timestamp;
use crate::store::doubt::{Doubted, Noted};
use crate::store::{OpenError, StoreError};

const DIRECTORY_MODE: u32 = 0o700;
/// Mail is private: nobody but the user of the server reads these files.
pub(super) const FILE_MODE: u32 = 0o600;
/// More than is ever in the lock file.
const LOCK_MAX_BYTES: u64 = 256;

/// A data directory that is ours alone until this value is dropped.
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
    noted: Option<Noted>,
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
        let (lock, noted) = lock;
        Ok(Self { path, lock, noted })
    }

    /// What the last server here knew of the clock; `None` in a directory that is new.
    pub(super) const fn noted(&self) -> Option<Noted> {
        self.noted
    }

    /// Notes for the next start what is known of the clock, which takes no room.
    pub(super) fn note(&mut self, noted: Noted) {
        let before = self.noted.replace(noted).and_then(|before| before.doubted);
        let written = if before == noted.doubted { Ok(()) } else { write(&self.lock, noted.doubted) };
        if let Err(error) = written.and_then(|()| set_sure(&self.lock, noted.sure)) {
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

/// The lock, and what is noted in its file.
fn lock(path: &Path) -> Result<(File, Option<Noted>), LockError> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path.join("segments"))?;
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path.join("restante.lock"))?;
    let is_ours = match lock.try_lock() {
        Ok(()) => true,
        Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        Err(TryLockError::WouldBlock) => false,
    };
    let mut text = Vec::new();
    (&lock).take(LOCK_MAX_BYTES).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    if !is_ours {
        return Err(LockError::Held(text.lines().next().unwrap_or_default().to_owned()));
    }
    let before = lock.metadata()?.modified().ok().filter(|_| !text.is_empty());
    let before = before.and_then(|before| before.duration_since(UNIX_EPOCH).ok());
    let noted = before.map(|before| Noted { sure: Timestamp::from_millis(0).after(before), doubted: doubted(&text) });
    write(&lock, noted.and_then(|noted| noted.doubted))?;
    if let Some(noted) = noted {
        // A start is no word for the clock yet. Where this cannot be done the start counts, and the clock may be doubted longer.
        let _ = set_sure(&lock, noted.sure);
    }
    // SQLite takes over the mode of the index for the files beside it, but makes the index itself readable for everybody.
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path.join("index.sqlite3"))?;
    sync(path)?;
    if let Some(parent) = path.canonicalize()?.parent() {
        // Not ours: where it cannot be opened it has not just been changed by us either.
        let _ = sync(parent);
    }
    Ok((lock, noted))
}

/// Writes who has the directory and, in a second line, since when the clock is doubted and for how many milliseconds it was: over
/// what is there, which takes no room on a disk that is full.
fn write(lock: &File, doubted: Option<Doubted>) -> io::Result<()> {
    let mut text = format!("{}\n", std::process::id());
    if let Some(Doubted { since, lasted }) = doubted {
        _ = writeln!(text, "{} {}", since.as_millis(), lasted.as_millis());
    }
    lock.write_all_at(text.as_bytes(), 0)?;
    lock.set_len(text.len() as u64)
}

/// Reads the second line.
fn doubted(text: &str) -> Option<Doubted> {
    let (since, lasted) = text.lines().nth(1)?.split_once(' ')?;
    let since = Timestamp::from_millis(since.parse().ok()?);
    Some(Doubted { since, lasted: Duration::from_millis(lasted.parse().ok()?) })
}

/// Notes until when it is sure that time has passed: as the time of the lock file.
fn set_sure(lock: &File, sure: Timestamp) -> io::Result<()> {
    lock.set_modified(UNIX_EPOCH + Duration::from_millis(sure.as_millis()))
}

/// Makes the names in a directory durable.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
