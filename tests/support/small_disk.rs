//! A file system of its own that is soon full. To mount one takes root.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A small file system in memory, gone with the value.
pub(crate) struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts one of `mib` MiB. Where that is not allowed it says that the test is left out; in CI that is a failure.
    pub(crate) fn mount(mib: u32) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let options = format!("size={mib}m,mode=700");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        let output = output.expect("mount is not installed");
        if output.status.success() {
            return Some(Self { dir });
        }
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!is_ci(), "a full disk is not tested, which must not be in CI: {why}");
        // Not by a macro: what those print is shown of tests that fail only.
        _ = writeln!(io::stderr(), "NOT TESTED: what a full disk does, as none can be mounted without root: {why}");
        None
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Fills it to its last byte with a file, which is returned.
    pub(crate) fn fill(&self) -> std::path::PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        for len in [65_536, 4096, 1] {
            while file.write_all(&vec![b'x'; len]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that still runs keeps what it has open.
        _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

fn is_ci() -> bool {
    // Not through `config`, which is the program's.
    Command::new("sh").args(["-c", "test -n \"$CI\""]).status().is_ok_and(|status| status.success())
}
