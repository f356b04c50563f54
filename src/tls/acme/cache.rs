//! What an ACME server has given is kept over a restart: a server that orders anew at each start is soon refused.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustls_acme::{AccountCache, CertCache};
use sha2::{Digest, Sha256};

use super::super::certificate::{Pair, Source};
use super::super::resolver::Resolver;

/// How many letters of a digest tell the files of different settings apart.
const DIGEST_LETTERS: usize = 16;

/// The files of one account and one set of names. They are for their owner alone, and are exchanged whole.
#[derive(Clone)]
pub(super) struct Cache {
    account: PathBuf,
    certificate: PathBuf,
    resolver: Arc<Resolver>,
}

impl Cache {
    /// The files of `domains` at `directory_url`, in `dir`; what comes in is shown by `resolver`.
    pub(super) fn new(dir: &Path, domains: &[String], directory_url: &str, resolver: Arc<Resolver>) -> Self {
        let mut sorted = domains.to_vec();
        sorted.sort_unstable();
        let named = |name: &str, of: &[String]| dir.join(format!("{name}-{}.pem", digest(directory_url, of)));
        Self {
            account: named("account", &[]).with_extension("p8"),
            certificate: named("certificate", &sorted),
            resolver,
        }
    }

    /// The certificate of before, behind its key.
    pub(super) fn certificate(&self) -> io::Result<Option<Vec<u8>>> {
        read(&self.certificate)
    }
}

fn digest(directory_url: &str, domains: &[String]) -> String {
    let mut digest = Sha256::new_with_prefix(directory_url);
    for domain in domains {
        digest.update([0]);
        digest.update(domain);
    }
    let mut text: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(DIGEST_LETTERS);
    text
}

fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = file.parent().unwrap_or_else(|| Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Under another name until it is whole and on the disk: a crash must not leave half a key.
    let unfinished = file.with_extension("new");
    let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    new.write_all(bytes)?;
    new.sync_all()?;
    fs::rename(unfinished, file)?;
    File::open(dir)?.sync_all()
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

#[async_trait]
impl CertCache for Cache {
    type EC = io::Error;

    /// The library asks before it orders. What there was is shown already, and an order is only made when it is due.
    async fn load_cert(&self, _domains: &[String], _directory_url: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Shows the certificate first: where it cannot be kept it is still good.
    async fn store_cert(&self, _domains: &[String], _directory_url: &str, pem: &[u8]) -> io::Result<()> {
        let pair = Pair::from_pem(Source::Acme, pem, pem).map_err(io::Error::other)?;
        self.resolver.set_acme(pair);
        let (file, pem) = (self.certificate.clone(), pem.to_vec());
        in_background(move || write(&file, &pem)).await
    }
}

#[async_trait]
impl AccountCache for Cache {
    type EA = io::Error;

    async fn load_account(&self, _contact: &[String], _directory_url: &str) -> io::Result<Option<Vec<u8>>> {
        let file = self.account.clone();
        in_background(move || read(&file)).await
    }

    async fn store_account(&self, _contact: &[String], _directory_url: &str, account: &[u8]) -> io::Result<()> {
        let (file, account) = (self.account.clone(), account.to_vec());
        in_background(move || write(&file, &account)).await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rcgen::KeyPair;
    use tempfile::TempDir;

    use super::super::super::certificate::tests::pem;
    use super::*;
    use crate::clock::Clock;

    fn cache(dir: &TempDir, domains: &[&str], directory_url: &str) -> Cache {
        let domains: Vec<_> = domains.iter().map(ToString::to_string).collect();
        Cache::new(
            &dir.path().join("acme"),
            &domains,
            directory_url,
            Arc::new(Resolver::new(Clock::system(), Arc::default())),
        )
    }

    #[tokio::test]
    async fn what_is_kept_is_whole_and_for_its_owner_alone() {
        let dir = TempDir::new().unwrap();
        let cache = cache(&dir, &["mx.example.com"], "https://acme.example/dir");
        assert_eq!(cache.certificate().unwrap(), None);
        assert_eq!(cache.load_account(&[], "").await.unwrap(), None);
        let (cert, key) = pem(&["mx.example.com"], &KeyPair::generate().unwrap());
        let both = (key + &cert).into_bytes();
        for _ in 0..2 {
            cache.store_cert(&[], "", &both).await.unwrap();
            cache.store_account(&[], "", b"account").await.unwrap();
        }
        assert_eq!(cache.certificate().unwrap(), Some(both));
        assert_eq!(cache.load_account(&[], "").await.unwrap().unwrap(), b"account");
        assert_eq!(cache.resolver.acme().unwrap().names, ["mx.example.com"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.path().join("acme")), 0o700);
        let files: Vec<_> = fs::read_dir(dir.path().join("acme")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 2);
        assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    }

    #[test]
    fn other_names_and_other_servers_have_files_of_their_own() {
        let dir = TempDir::new().unwrap();
        let file = |domains: &[&str], url: &str| cache(&dir, domains, url).certificate;
        let usual = file(&["a.example", "b.example"], "https://acme.example/dir");
        assert_eq!(usual, file(&["b.example", "a.example"], "https://acme.example/dir"));
        assert_ne!(usual, file(&["a.example"], "https://acme.example/dir"));
        assert_ne!(usual, file(&["a.example", "b.example"], "https://staging.example/dir"));
    }
}
