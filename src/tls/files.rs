//! The operator's files: read at start, and again whenever what they hold has changed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::TlsError;
use super::certificate::{Pair, PairError, Source};
use super::expiry;
use super::resolver::Resolver;
use crate::clock::Clock;
use crate::metrics::Outcome;

/// How often the files are looked at. Their contents are compared: a notice of the file system would say nothing of a
/// link whose target is exchanged, as certbot does it, nor of a directory that is mounted from elsewhere.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The most that is read of a file; a long chain has some ten kilobytes.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePair {
    /// The certificate chain in PEM, the server's own certificate first, as certbot's `fullchain.pem`.
    pub cert: PathBuf,
    /// The private key in PEM, as certbot's `privkey.pem`.
    pub key: PathBuf,
}

/// What a file holds; nothing where it is not there.
type Content = io::Result<Option<Vec<u8>>>;

/// What all files held at one time, certificate and key of each pair.
pub(super) struct Snapshot(Vec<[Content; 2]>);

impl Snapshot {
    /// Reads all files.
    pub(super) fn take(files: &[FilePair]) -> Self {
        Self(files.iter().map(|pair| [read(&pair.cert), read(&pair.key)]).collect())
    }

    /// The same for the same contents.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for content in self.0.iter().flatten() {
            let of_content = match content {
                Ok(Some(bytes)) => Sha256::digest(bytes),
                Ok(None) => Sha256::digest("not there"),
                Err(error) => Sha256::digest(error.to_string()),
            };
            digest.update(of_content);
        }
        digest.finalize().into()
    }

    /// The certificates of the files; none where no file is there.
    pub(super) fn pairs(&self, files: &[FilePair]) -> Result<Vec<Arc<Pair>>, TlsError> {
        let mut present = None;
        let mut missing = None;
        for (pair, contents) in files.iter().zip(&self.0) {
            for (file, content) in [&pair.cert, &pair.key].into_iter().zip(contents) {
                match content {
                    Ok(Some(_)) => present = present.or(Some(file)),
                    Ok(None) => missing = missing.or(Some(file)),
                    Err(error) => return Err(cannot_read(file, error)),
                }
            }
        }
        match (present, missing) {
            (None, _) => Ok(Vec::new()),
            (Some(present), Some(missing)) => {
                Err(TlsError::Half { present: present.clone(), missing: missing.clone() })
            }
            (Some(_), None) => files.iter().zip(&self.0).map(|(pair, contents)| parse(pair, contents)).collect(),
        }
    }
}

fn read(file: &Path) -> Content {
    // Asked for first: to open a pipe waits for whoever writes into it.
    let contents = fs::metadata(file).and_then(|metadata| {
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        File::open(file)?.take(FILE_MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match contents {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn cannot_read(file: &Path, error: &io::Error) -> TlsError {
    let problem = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "permission denied; make it readable for the user that restante runs as".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    };
    TlsError::File { file: file.to_owned(), problem }
}

fn parse(files: &FilePair, contents: &[Content; 2]) -> Result<Arc<Pair>, TlsError> {
    let [cert, key] = contents.each_ref().map(|content| match content {
        Ok(Some(bytes)) => bytes.as_slice(),
        _ => &[],
    });
    Pair::from_pem(Source::Files, cert, key).map(Arc::new).map_err(|error| match error {
        PairError::Chain(problem) => TlsError::File { file: files.cert.clone(), problem },
        PairError::Key(problem) => TlsError::File { file: files.key.clone(), problem },
        PairError::Mismatch(problem) => TlsError::Pair { cert: files.cert.clone(), key: files.key.clone(), problem },
    })
}

/// Looks at the files from time to time, and takes over what is new and good.
pub(super) struct Watcher {
    files: Vec<FilePair>,
    resolver: Arc<Resolver>,
    clock: Clock,
    /// The contents that have been taken over or refused.
    judged: Option<[u8; 32]>,
    /// Contents that were no good when they were seen first: perhaps only one of the files had been written by then.
    doubted: Option<[u8; 32]>,
    warned: Vec<String>,
}

/// What a look has shown.
#[derive(Debug)]
enum Look {
    Same,
    /// No good, but perhaps not finished.
    Doubtful,
    Fresh(Vec<Arc<Pair>>),
    Gone,
    Refused(TlsError),
}

impl Watcher {
    /// A watcher to whom the contents with the fingerprint `judged` are known.
    pub(super) fn new(files: &[FilePair], judged: [u8; 32], resolver: Arc<Resolver>, clock: Clock) -> Self {
        Self { files: files.to_vec(), resolver, clock, judged: Some(judged), doubted: None, warned: Vec::new() }
    }

    /// Looks at the files again and again, and at once when `asked`.
    pub(super) async fn run(&mut self, mut asked: watch::Receiver<()>) {
        let mut at_once = false;
        loop {
            let files = self.files.clone();
            // A disk that does not answer must not hold up anybody.
            if let Ok(snapshot) = tokio::task::spawn_blocking(move || Snapshot::take(&files)).await {
                let look = self.judge(&snapshot, at_once);
                self.act(look);
            }
            self.warn();
            at_once = match tokio::time::timeout(LOOK_EVERY, asked.changed()).await {
                Ok(Ok(())) => true,
                // Nobody is left who could ask, nor a server to look for.
                Ok(Err(_)) => return,
                Err(_) => false,
            };
        }
    }

    fn judge(&mut self, snapshot: &Snapshot, at_once: bool) -> Look {
        let seen = snapshot.fingerprint();
        if self.judged == Some(seen) && !at_once {
            return Look::Same;
        }
        let look = match snapshot.pairs(&self.files) {
            Ok(pairs) if pairs.is_empty() => Look::Gone,
            Ok(pairs) => Look::Fresh(pairs),
            Err(_) if self.doubted != Some(seen) && !at_once => {
                self.doubted = Some(seen);
                return Look::Doubtful;
            }
            Err(error) => Look::Refused(error),
        };
        self.judged = Some(seen);
        look
    }

    fn act(&self, look: Look) {
        match look {
            Look::Same | Look::Doubtful => {}
            Look::Fresh(pairs) => {
                let names: Vec<_> = pairs.iter().flat_map(|pair| pair.certificate.names.clone()).collect();
                self.resolver.set_files(pairs);
                self.resolver.metrics().reloads.of(Outcome::Ok).inc();
                tracing::info!(?names, "certificate read from its files");
            }
            Look::Gone => {
                if self.resolver.certificates().iter().any(|certificate| certificate.source == Source::Files) {
                    tracing::warn!("the certificate files are gone; the certificate of before stays in use");
                }
            }
            Look::Refused(error) => {
                self.resolver.metrics().reloads.of(Outcome::Failed).inc();
                tracing::error!(%error, "the new certificate is refused; the one of before stays in use");
            }
        }
    }

    /// Says what has not been said yet; a warning counts the days, so that it comes once a day.
    fn warn(&mut self) {
        let warnings = expiry::warnings(&self.resolver.certificates(), self.clock.now());
        for warning in warnings.iter().filter(|warning| !self.warned.contains(warning)) {
            tracing::warn!("{warning}");
        }
        self.warned = warnings;
    }
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;
    use tempfile::TempDir;

    use super::super::certificate::tests::pem;
    use super::*;

    fn files(dir: &TempDir) -> FilePair {
        FilePair { cert: dir.path().join("fullchain.pem"), key: dir.path().join("privkey.pem") }
    }

    fn write(files: &FilePair, cert: Option<&str>, key: Option<&str>) {
        for (file, text) in [(&files.cert, cert), (&files.key, key)] {
            if let Some(text) = text {
                fs::write(file, text).unwrap();
            }
        }
    }

    fn load(files: &FilePair) -> Result<Vec<Arc<Pair>>, TlsError> {
        let files = [files.clone()];
        Snapshot::take(&files).pairs(&files)
    }

    fn fresh(name: &str) -> (String, String) {
        pem(&[name], &KeyPair::generate().unwrap())
    }

    #[test]
    fn the_files_are_used_where_they_are_there() {
        let dir = TempDir::new().unwrap();
        assert!(load(&files(&dir)).unwrap().is_empty());
        let (cert, key) = fresh("mx.example.com");
        write(&files(&dir), Some(&cert), Some(&key));
        assert_eq!(load(&files(&dir)).unwrap()[0].certificate.names, ["mx.example.com"]);
    }

    #[test]
    fn a_pipe_is_no_certificate_and_is_not_waited_for() {
        let dir = TempDir::new().unwrap();
        let pair = files(&dir);
        write(&pair, None, Some(&fresh("mx.example.com").1));
        let made = std::process::Command::new("mkfifo").arg(&pair.cert).status().unwrap();
        assert!(made.success());
        let error = load(&pair).unwrap_err().to_string();
        assert!(error.contains("fullchain.pem: cannot be read: it is not a regular file"), "{error}");
    }

    #[test]
    fn a_place_that_cannot_be_looked_into_is_not_taken_for_an_empty_one() {
        let dir = TempDir::new().unwrap();
        let good = files(&dir);
        write(&good, Some("no directory"), None);
        let error = load(&FilePair { cert: good.cert.join("fullchain.pem"), ..good }).unwrap_err().to_string();
        assert!(error.contains("fullchain.pem/fullchain.pem: "), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_name_of_the_file() {
        let (cert, key) = fresh("mx.example.com");
        let other = KeyPair::generate().unwrap().serialize_pem();
        for (cert, key, named) in [
            (Some(cert.as_str()), None, "privkey.pem is not"),
            (None, Some(key.as_str()), "fullchain.pem is not"),
            (Some("nothing"), Some(&key), "fullchain.pem: holds no certificate"),
            (Some(&cert), Some(""), "privkey.pem: holds no private key"),
            (Some(&cert), Some(&other), "cannot be used together"),
            (Some(&key), Some(&key), "fullchain.pem: holds no certificate"),
        ] {
            let dir = TempDir::new().unwrap();
            write(&files(&dir), cert, key);
            let error = load(&files(&dir)).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn of_several_pairs_all_have_to_be_there() {
        let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let pairs = [files(&one), files(&two)];
        assert!(Snapshot::take(&pairs).pairs(&pairs).unwrap().is_empty());
        let (cert, key) = fresh("one.example.com");
        write(&pairs[0], Some(&cert), Some(&key));
        let error = Snapshot::take(&pairs).pairs(&pairs).unwrap_err().to_string();
        assert!(error.contains(two.path().to_str().unwrap()) && error.contains("is not"), "{error}");
        write(&pairs[1], Some(&cert), Some(&key));
        assert_eq!(Snapshot::take(&pairs).pairs(&pairs).unwrap().len(), 2);
    }

    #[test]
    fn what_is_half_written_is_looked_at_again_and_then_refused() {
        let dir = TempDir::new().unwrap();
        let pair = files(&dir);
        let mut watcher = Watcher::new(
            std::slice::from_ref(&pair),
            [0; 32],
            Arc::new(Resolver::new(Clock::system(), Arc::default())),
            Clock::system(),
        );
        let mut look = |at_once| watcher.judge(&Snapshot::take(&[files(&dir)]), at_once);
        let ((old_cert, old_key), (new_cert, new_key)) = (fresh("old.example.com"), fresh("new.example.com"));
        write(&pair, Some(&old_cert), Some(&old_key));
        assert!(matches!(look(false), Look::Fresh(_)));
        assert!(matches!(look(false), Look::Same));

        write(&pair, Some(&new_cert), None);
        assert!(matches!(look(false), Look::Doubtful));
        assert!(matches!(look(false), Look::Refused(_)));
        assert!(matches!(look(false), Look::Same), "once is enough");
        assert!(matches!(look(true), Look::Refused(_)), "but who asks is told");
        write(&pair, None, Some(&new_key));
        assert!(matches!(look(false), Look::Fresh(_)));

        fs::remove_file(&pair.cert).unwrap();
        assert!(matches!(look(false), Look::Doubtful));
        fs::remove_file(&pair.key).unwrap();
        assert!(matches!(look(false), Look::Gone));
    }
}
