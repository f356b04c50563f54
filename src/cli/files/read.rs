//! Finds mail in files and reads it, one message after the other.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::mbox::{self, Reader};
use super::write::RECORDS;
use super::{Found, Record};
use crate::cli::{Format, at};
use crate::clock::Timestamp;

/// So deep is looked for mail below a directory.
const DEPTH_MAX: usize = 16;
/// The most that a record has: a message may have thousands of recipients.
const RECORD_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Where mail lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A message, and the file of its record.
    One(PathBuf, PathBuf),
    /// Many messages.
    Mbox(PathBuf),
}

/// All mail at `path`, a file or a directory, in the order of the names; of one format only where that is given.
pub(crate) fn sources(path: &Path, format: Option<Format>) -> Result<Vec<Source>, String> {
    let mut found = Vec::new();
    let metadata = fs::metadata(path).map_err(at(path))?;
    if metadata.is_dir() {
        directory(path, format, 0, &mut found).map_err(at(path))?;
        return Ok(found);
    }
    let is_mbox = format == Some(Format::Mbox) || (format.is_none() && mbox::is_mbox(&start(path).map_err(at(path))?));
    found.push(if is_mbox { Source::Mbox(path.to_owned()) } else { one(path.to_owned()) });
    Ok(found)
}

fn directory(path: &Path, format: Option<Format>, depth: usize, found: &mut Vec<Source>) -> io::Result<()> {
    if is_maildir(path) {
        return if matches!(format, None | Some(Format::Maildir)) { maildir(path, depth, found) } else { Ok(()) };
    }
    for path in entries(path)? {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        // Not behind links: they can lead in a circle.
        let kind = fs::symlink_metadata(&path)?;
        if kind.is_dir() && depth < DEPTH_MAX {
            directory(&path, format, depth + 1, found)?;
        } else if kind.is_file() && ending == "eml" && matches!(format, None | Some(Format::Eml)) {
            found.push(one(path));
        } else if kind.is_file() && ending == "mbox" && matches!(format, None | Some(Format::Mbox)) {
            found.push(Source::Mbox(path));
        }
    }
    Ok(())
}

fn is_maildir(path: &Path) -> bool {
    ["cur", "new"].iter().all(|part| path.join(part).is_dir())
}

/// A Maildir, and those within it, as Maildir++ has folders.
fn maildir(path: &Path, depth: usize, found: &mut Vec<Source>) -> io::Result<()> {
    let mut messages = [entries(&path.join("cur"))?, entries(&path.join("new"))?].concat();
    messages.retain(|message| message.is_file());
    messages.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    for message in messages {
        // What stands behind the colon is what a reader has noted: seen, answered.
        let name = message.file_name().unwrap_or_default().to_string_lossy();
        let unique = name.split(':').next().unwrap_or_default();
        let record = path.join(RECORDS).join(format!("{unique}.json"));
        found.push(Source::One(message, record));
    }
    for folder in entries(path)? {
        if depth < DEPTH_MAX && is_maildir(&folder) {
            maildir(&folder, depth + 1, found)?;
        }
    }
    Ok(())
}

fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable();
    Ok(entries)
}

fn one(path: PathBuf) -> Source {
    let record = path.with_extension("json");
    Source::One(path, record)
}

fn start(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(8).read_to_end(&mut start)?;
    Ok(start)
}

impl Source {
    /// Reads each message of at most `max_bytes`, and hands it over; or says what is wrong with it.
    pub(crate) fn each(&self, max_bytes: usize, mut take: impl FnMut(Result<Found, String>)) {
        match self {
            Self::One(path, record) => take(message(path, record, max_bytes)),
            Self::Mbox(path) => {
                let mut reader = match File::open(path) {
                    Ok(file) => Reader::new(BufReader::new(file), path.display().to_string(), max_bytes),
                    Err(error) => return take(Err(at(path)(error))),
                };
                loop {
                    match reader.next() {
                        Ok(Some(found)) => take(found),
                        Ok(None) => return,
                        Err(error) => return take(Err(at(path)(error))),
                    }
                }
            }
        }
    }
}

fn message(path: &Path, record: &Path, max_bytes: usize) -> Result<Found, String> {
    let place = path.display().to_string();
    let file = File::open(path).map_err(at(path))?;
    let metadata = file.metadata().map_err(at(path))?;
    if metadata.len() > max_bytes as u64 {
        return Err(format!("{place}: larger than SMTP_MAX_MESSAGE_SIZE"));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes as u64).read_to_end(&mut bytes).map_err(at(path))?;
    let record = match File::open(record) {
        Ok(file) => {
            let mut json = Vec::new();
            file.take(RECORD_MAX_BYTES).read_to_end(&mut json).map_err(at(record))?;
            Some(Record::parse(&json).map_err(|error| format!("{}: {error}", record.display()))?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(at(record)(error)),
    };
    let moment = u64::try_from(metadata.mtime()).ok().map(|seconds| Timestamp::from_millis(seconds * 1000));
    Ok(Found { place, bytes, record, sender: None, moment })
}
