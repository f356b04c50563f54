//! The key of the API where the operator set none: generated, and kept for the next start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustls::crypto::aws_lc_rs;

use super::{Key, StartError};
use crate::config::KEY_FILE;
use crate::http::ApiKey;

/// 192 bits; nobody guesses that.
const KEY_BYTES: usize = 24;

/// The configured keys, or one that is generated and kept in `data_dir`.
pub(super) fn keys(configured: &[ApiKey], data_dir: Option<&PathBuf>) -> Result<(Key, Vec<ApiKey>), StartError> {
    if !configured.is_empty() {
        return Ok((Key::Configured, configured.to_vec()));
    }
    let file = data_dir.map(|dir| dir.join(KEY_FILE));
    let failed = |error| StartError::Key { file: file.clone().unwrap_or_default(), error };
    let text = match &file {
        Some(file) => kept(file),
        None => generated(),
    }
    .map_err(failed)?;
    match text.parse() {
        Ok(key) => Ok((Key::Generated { text, file }, vec![key])),
        Err(error) => {
            Err(failed(io::Error::new(io::ErrorKind::InvalidData, format!("what it holds is no key: {error}"))))
        }
    }
}

/// The key that an earlier start has left, or a new one.
fn kept(file: &Path) -> io::Result<String> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = generated()?;
            // Under another name until it is whole: what a full disk or a kill leaves must not be taken for a key.
            let unfinished = file.with_extension("new");
            let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            writeln!(new, "{text}")?;
            new.sync_all()?;
            fs::rename(unfinished, file)?;
            Ok(text)
        }
        Err(error) => Err(error),
    }
}

fn generated() -> io::Result<String> {
    let mut bytes = [0; KEY_BYTES];
    let random = aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_generated_key_is_kept_for_its_owner_only_and_used_again() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().to_path_buf();
        let (first, found) = keys(&[], Some(&path)).unwrap();
        assert_eq!(found.len(), 1);
        let mode = fs::metadata(path.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(keys(&[], Some(&path)).unwrap().0, first);
        let Key::Generated { text, .. } = first else { panic!("{first:?}") };
        assert_eq!(text.len(), 2 * KEY_BYTES);
    }

    #[test]
    fn a_start_that_was_cut_short_leaves_no_half_key() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("api-key.new"), "0123").unwrap();
        let Key::Generated { text, .. } = keys(&[], Some(&dir.path().to_path_buf())).unwrap().0 else { panic!() };
        assert_eq!(fs::read_to_string(dir.path().join(KEY_FILE)).unwrap(), text + "\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_configured_key_leaves_no_file() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().to_path_buf();
        let configured = ["secret".parse().unwrap()];
        assert_eq!(keys(&configured, Some(&path)).unwrap().0, Key::Configured);
        assert!(!path.join(KEY_FILE).exists());
    }

    #[test]
    fn a_damaged_key_file_is_said_by_name() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(KEY_FILE), "two words\n").unwrap();
        let error = keys(&[], Some(&dir.path().to_path_buf())).unwrap_err().to_string();
        assert!(error.contains("api-key") && error.contains("set API_KEY"), "{error}");
    }
}
