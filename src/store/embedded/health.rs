//! Whether the disk takes what is written to it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::directory::FILE_MODE;

/// What became of the last writes. The writer says, everybody may ask.
pub(super) struct Health {
    trial: PathBuf,
    is_failing: AtomicBool,
}

impl Health {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { trial: data_dir.join("trial"), is_failing: AtomicBool::new(false) }
    }

    /// Notes whether mail could be written.
    pub(super) fn note(&self, is_written: bool) {
        self.is_failing.store(!is_written, Ordering::Relaxed);
    }

    /// Tries to write a file. Where mail could not be written it is tried to the end, with a sync: a server that is sent no
    /// mail because it is not ready would never find out by mail that the disk is well again.
    pub(super) fn check(&self) -> io::Result<()> {
        let mut trial = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&self.trial)?;
        let mut tried = trial.write_all(b"?");
        if tried.is_ok() && self.is_failing.load(Ordering::Relaxed) {
            tried = trial.sync_all();
            self.note(tried.is_ok());
        }
        match fs::remove_file(&self.trial) {
            // One that was given up, as whoever asked has gone away, comes to its end beside the next.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => tried,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_at_the_same_time_finds_the_same_disk() {
        let dir = tempfile::tempdir().unwrap();
        let health = Health::new(dir.path());
        let ask = || (0..2000).all(|_| health.check().is_ok());
        let is_well = std::thread::scope(|scope| {
            let others = [(); 3].map(|()| scope.spawn(ask));
            others.into_iter().all(|other| other.join().unwrap())
        });
        assert!(is_well);
    }

    #[test]
    fn a_disk_that_failed_is_well_again_once_it_takes_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let health = Health::new(&dir.path().join("data"));
        health.note(false);
        assert!(health.check().is_err() && health.is_failing.load(Ordering::Relaxed));
        fs::create_dir(dir.path().join("data")).unwrap();
        assert!(health.check().is_ok() && !health.is_failing.load(Ordering::Relaxed));
        assert_eq!(dir.path().join("data").read_dir().unwrap().count(), 0, "nothing is left behind");
    }
}
