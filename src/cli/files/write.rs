//! Writes mail into files. What lies there already under the same name is replaced, and nothing is there by half.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Record, lines, mbox};
use crate::cli::Format;
use crate::mail::MailboxName;
use crate::store::Stored;

/// Mail is private.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The longest name of a mailbox that is a file name as it is; a file name has 255 bytes at most, and ours have endings.
const NAME_MAX_BYTES: usize = 200;
/// Where a Maildir has what is known beside the bytes; mail programs look into `new`, `cur` and `tmp` alone.
pub(super) const RECORDS: &str = "restante";

/// The files of one mailbox.
pub(crate) enum Writer {
    Eml(PathBuf),
    Maildir(PathBuf),
    Mbox { file: BufWriter<File>, unfinished: PathBuf, path: PathBuf },
}

impl Writer {
    /// Begins the files of `mailbox` below `directory`.
    pub(crate) fn begin(format: Format, directory: &Path, mailbox: &MailboxName) -> io::Result<Self> {
        let name = file_name(mailbox.as_str());
        Ok(match format {
            Format::Eml => Self::Eml(made(directory.join(name))?),
            Format::Maildir => {
                let path = made(directory.join(name))?;
                for part in ["tmp", "new", "cur", RECORDS] {
                    made(path.join(part))?;
                }
                Self::Maildir(path)
            }
            Format::Mbox => {
                made(directory.to_owned())?;
                let path = directory.join(format!("{name}.mbox"));
                let unfinished = path.with_extension("mbox.unfinished");
                Self::Mbox { file: BufWriter::new(created(&unfinished)?), unfinished, path }
            }
        })
    }

    /// Writes one message. They come in the order of their seq.
    pub(crate) fn write(&mut self, stored: &Stored, raw: &[u8]) -> io::Result<()> {
        // A number of sixteen digits holds every seq, so that names sort as the messages came.
        let name = format!("{:016}-{}", stored.seq, stored.message.id);
        match self {
            Self::Eml(directory) => {
                let record = Record::new(stored, raw, false).to_json();
                replace(&directory.join(format!("{name}.json")), &directory.join(".unfinished"), record.as_bytes())?;
                replace(&directory.join(format!("{name}.eml")), &directory.join(".unfinished"), raw)
            }
            Self::Maildir(directory) => {
                let lf = lines::is_crlf(raw);
                let name = format!("{}.{name}.restante", stored.message.received_at.as_secs());
                let (tmp, record) = (directory.join("tmp").join(&name), Record::new(stored, raw, lf).to_json());
                replace(&directory.join(RECORDS).join(format!("{name}.json")), &tmp, record.as_bytes())?;
                let bytes = if lf { &lines::to_lf(raw) } else { raw };
                replace(&directory.join("new").join(name), &tmp, bytes)
            }
            Self::Mbox { file, .. } => mbox::append(file, &Record::new(stored, raw, lines::is_crlf(raw)), raw),
        }
    }

    /// Makes durable what was written.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::Eml(directory) | Self::Maildir(directory) => Ok(rustix::fs::syncfs(File::open(directory)?)?),
            Self::Mbox { file, unfinished, path } => {
                file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
                fs::rename(unfinished, path)
            }
        }
    }
}

fn made(path: PathBuf) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&path)?;
    Ok(path)
}

fn created(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)
}

fn replace(path: &Path, unfinished: &Path, bytes: &[u8]) -> io::Result<()> {
    created(unfinished)?.write_all(bytes)?;
    fs::rename(unfinished, path)
}

/// The name of a mailbox as one of a file: what means something to the system is percent-encoded. It need not be read back,
/// the records have the name.
fn file_name(mailbox: &str) -> String {
    let mut name = String::new();
    for (at, c) in mailbox.chars().enumerate() {
        match c {
            '/' | '%' | '\\' | ':' => name.push_str(&format!("%{:02X}", u32::from(c))),
            '.' if at == 0 => name.push_str("%2E"),
            c => name.push(c),
        }
    }
    if name.len() <= NAME_MAX_BYTES {
        return name;
    }
    let digest: String = Sha256::digest(mailbox).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}~{digest}", &name[..name.floor_char_boundary(NAME_MAX_BYTES / 2)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_one_file_and_stays_below_its_directory() {
        assert_eq!(file_name("john doe+x@example.com"), "john doe+x@example.com");
        assert_eq!(file_name("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd");
        assert_eq!(file_name("100%"), "100%25");
        let (a, b) = (file_name(&"/".repeat(127)), file_name(&"/".repeat(128)));
        assert!(a.len() < NAME_MAX_BYTES && a != b, "{a} {b}");
    }
}
