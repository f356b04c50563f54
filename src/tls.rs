//! Where the certificate comes from: the operator's files, or one made at start for development.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where the certificate is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The certificate chain in PEM, the server's own certificate first, as certbot's `fullchain.pem`.
    pub cert_file: PathBuf,
    /// The private key in PEM, as certbot's `privkey.pem`.
    pub key_file: PathBuf,
    /// The name in a certificate that is made at start because neither file is there.
    pub hostname: String,
}

/// A certificate ready for use, and where it came from.
#[derive(Clone, Debug)]
pub struct Tls {
    /// TLS 1.2 and 1.3 with that certificate.
    pub config: Arc<ServerConfig>,
    /// Where the certificate came from.
    pub source: Source,
}

/// Where a certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The operator's files.
    Files,
    /// Made at start; nobody but us vouches for it.
    SelfSigned,
}

/// Why there is no certificate to be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the two files is there and the other is not.
    #[error("{present} is there but {missing} is not; TLS needs both, or neither for a self-signed certificate", present = .present.display(), missing = .missing.display())]
    Half {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// A file cannot be read, or holds something else.
    #[error("{file}: {problem}", file = .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The two files do not belong together, or TLS does not know their kind of key.
    #[error("{cert} and {key} cannot be used together: {problem}", cert = .cert.display(), key = .key.display())]
    Pair {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What is wrong with them.
        problem: rustls::Error,
    },
    /// No certificate could be made.
    #[error("cannot make a self-signed certificate for {hostname:?}: {problem}")]
    SelfSigned {
        /// The name it was to be made for.
        hostname: String,
        /// Why not.
        problem: String,
    },
}

/// Loads the certificate of the two files, or makes one where neither is there.
///
/// # Errors
/// What is wrong with the files, by name.
pub fn load(settings: &Settings) -> Result<Tls, TlsError> {
    let Settings { cert_file, key_file, .. } = settings;
    match (is_there(cert_file)?, is_there(key_file)?) {
        (true, true) => from_files(cert_file, key_file),
        (false, false) => self_signed(&settings.hostname),
        (true, false) => Err(TlsError::Half { present: cert_file.clone(), missing: key_file.clone() }),
        (false, true) => Err(TlsError::Half { present: key_file.clone(), missing: cert_file.clone() }),
    }
}

/// A file in a directory that must not be looked into may be there: that is for the operator to put right.
fn is_there(file: &Path) -> Result<bool, TlsError> {
    file.try_exists().map_err(|error| unreadable(file, &pem::Error::Io(error), "PEM"))
}

fn from_files(cert_file: &Path, key_file: &Path) -> Result<Tls, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(cert_file, &error, "certificate"))?;
    if chain.is_empty() {
        return Err(unreadable(cert_file, &pem::Error::NoItemsFound, "certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unreadable(key_file, &error, "private key"))?;
    let config = config(chain, key).map_err(|problem| TlsError::Pair {
        cert: cert_file.to_owned(),
        key: key_file.to_owned(),
        problem,
    })?;
    Ok(Tls { config, source: Source::Files })
}

fn self_signed(hostname: &str) -> Result<Tls, TlsError> {
    let failed = |problem: String| TlsError::SelfSigned { hostname: hostname.to_owned(), problem };
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([hostname.to_owned()]).map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(|error| failed(error.to_owned()))?;
    let config = config(vec![cert.der().clone()], key).map_err(|error| failed(error.to_string()))?;
    Ok(Tls { config, source: Source::SelfSigned })
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

fn unreadable(file: &Path, error: &pem::Error, wanted: &str) -> TlsError {
    let problem = match error {
        pem::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "permission denied; make it readable for the user that restante runs as".to_owned()
        }
        pem::Error::NoItemsFound => format!("holds no {wanted} in PEM form"),
        error => format!("no {wanted} can be read from it: {error}"),
    };
    TlsError::File { file: file.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::KeyPair;
    use tempfile::TempDir;

    use super::*;

    fn settings(dir: &TempDir, cert: Option<&str>, key: Option<&str>) -> Settings {
        let (cert_file, key_file) = (dir.path().join("fullchain.pem"), dir.path().join("privkey.pem"));
        for (file, text) in [(&cert_file, cert), (&key_file, key)] {
            if let Some(text) = text {
                fs::write(file, text).unwrap();
            }
        }
        Settings { cert_file, key_file, hostname: "mx.example.com".into() }
    }

    fn pair() -> (String, String) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["mx.example.com".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn the_files_are_used_where_they_are_there() {
        let dir = TempDir::new().unwrap();
        let (cert, key) = pair();
        assert_eq!(load(&settings(&dir, Some(&cert), Some(&key))).unwrap().source, Source::Files);
    }

    #[test]
    fn without_files_a_certificate_is_made() {
        let dir = TempDir::new().unwrap();
        assert_eq!(load(&settings(&dir, None, None)).unwrap().source, Source::SelfSigned);
    }

    #[test]
    fn a_place_that_cannot_be_looked_into_is_not_taken_for_an_empty_one() {
        let dir = TempDir::new().unwrap();
        let good = settings(&dir, Some("no directory"), None);
        let error =
            load(&Settings { cert_file: good.cert_file.join("fullchain.pem"), ..good }).unwrap_err().to_string();
        assert!(error.contains("fullchain.pem/fullchain.pem: "), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_name_of_the_file() {
        let (cert, key) = pair();
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
            let error = load(&settings(&dir, cert, key)).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
