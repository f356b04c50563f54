//! Where the certificate comes from, one for all ports: the operator's files, ACME, or one made at start for development.

mod acme;
mod certificate;
mod expiry;
mod files;
mod resolver;
mod self_signed;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::sync::watch;

pub use self::acme::AcmeSettings;
pub use self::certificate::{Certificate, Source};
pub use self::files::FilePair;

use self::acme::Acme;
use self::files::{Snapshot, Watcher};
use self::resolver::Resolver;
use crate::clock::Clock;
use crate::metrics;
use crate::shutdown::Shutdown;

/// The protocol by which an ACME server asks whether a name is ours (RFC 8737 section 3).
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// Where certificates come from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's files; where none of them is there, a certificate is made, unless they are named.
    pub files: Vec<FilePair>,
    /// Whether the operator has said where they are, so that they have to be there.
    pub files_are_named: bool,
    /// The name in a certificate that is made.
    pub hostname: String,
    /// Certificates by ACME for the names that the files do not have.
    pub acme: Option<AcmeSettings>,
}

impl Settings {
    /// The operator's files, to be told.
    #[must_use]
    pub fn file_names(&self) -> String {
        let files = self.files.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        files.map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// Why there is no certificate to be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the files is there and another is not.
    #[error("{present} is there but {missing} is not; TLS needs both, or neither for a self-signed certificate", present = .present.display(), missing = .missing.display())]
    Half {
        /// A file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// The operator has said where the files are, and none of them is there.
    #[error("none of the files is there ({0}); are their names right?")]
    NoFiles(String),
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
    /// TLS itself cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// The certificates of the server. Clones share them.
#[derive(Clone, Debug)]
pub struct Tls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    files: Vec<FilePair>,
    /// Of what the files held at start.
    fingerprint: [u8; 32],
    acme: Option<Arc<Acme>>,
    resolver: Arc<Resolver>,
    clock: Clock,
    /// Changes when somebody asks for the certificates to be looked at now.
    asked: watch::Sender<()>,
}

impl Tls {
    /// Reads the files and what ACME has brought before; makes a certificate where there is none of both. What becomes of
    /// certificates is counted in `metrics`.
    ///
    /// # Errors
    /// What is wrong with the files, by name.
    pub fn open(settings: &Settings, clock: Clock, metrics: Arc<metrics::Tls>) -> Result<Self, TlsError> {
        let resolver = Arc::new(Resolver::new(clock.clone(), metrics));
        let files = Snapshot::take(&settings.files);
        let pairs = files.pairs(&settings.files)?;
        // By ACME there may be others: a certificate of one's own that is missing would not be missed.
        if pairs.is_empty() && settings.files_are_named {
            return Err(TlsError::NoFiles(settings.file_names()));
        }
        resolver.set_files(pairs);
        let acme = match &settings.acme {
            Some(acme) => Some(Arc::new(Acme::open(acme, resolver.clone())?)),
            None => None,
        };
        if resolver.certificates().is_empty() {
            resolver.set_self_signed(self_signed::pair(&settings.hostname)?);
        }
        let shared = Shared {
            files: settings.files.clone(),
            fingerprint: files.fingerprint(),
            acme,
            resolver,
            clock,
            asked: watch::Sender::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Keeps the certificates fresh in `tasks`: looks at the files, orders by ACME, and warns of what expires.
    pub fn keep_fresh(&self, tasks: &Shutdown) {
        let Shared { files, fingerprint, resolver, clock, asked, .. } = &*self.shared;
        let mut watcher = Watcher::new(files, *fingerprint, resolver.clone(), clock.clone());
        let (group, asked) = (tasks.clone(), asked.subscribe());
        tasks.spawn(async move {
            tokio::select! {
                () = group.requested() => {}
                () = watcher.run(asked) => {}
            }
        });
        if let Some(acme) = self.shared.acme.clone() {
            let (group, clock, asked) = (tasks.clone(), self.shared.clock.clone(), self.shared.asked.subscribe());
            tasks.spawn(async move {
                tokio::select! {
                    () = group.requested() => {}
                    () = acme.run(&clock, asked) => {}
                }
            });
        }
    }

    /// Looks at the files now, and tries again what ACME has refused.
    pub fn reload(&self) {
        self.shared.asked.send_replace(());
    }

    /// TLS 1.2 and 1.3 with the certificate of the moment, for a protocol without ALPN.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        self.shared.config(&[]).map(Arc::new).map_err(TlsError::Setup)
    }

    /// The same for HTTP/2 and HTTP/1.1, and for the questions of an ACME server where one is used.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn https_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let mut protocols = vec![&b"h2"[..], b"http/1.1"];
        if self.shared.acme.is_some() {
            protocols.push(ACME_TLS_ALPN);
        }
        self.shared.config(&protocols).map(Arc::new).map_err(TlsError::Setup)
    }

    /// The certificates in use.
    #[must_use]
    pub fn certificates(&self) -> Vec<Certificate> {
        self.shared.resolver.certificates()
    }

    /// What is to be said about their expiry.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        expiry::warnings(&self.certificates(), self.shared.clock.now())
    }
}

impl Shared {
    fn config(&self, protocols: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.resolver.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // Sessions are resumed by tickets, which take no memory here; their keys change every few hours.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(config)
    }
}
