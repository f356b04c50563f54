//! The whole server: bound, assembled, run, and stopped in order.

mod key;
mod welcome;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::config::Config;
use crate::inbox::Inbox;
use crate::shutdown::Shutdown;
use crate::smtp::{Server, Transport};
use crate::store::{Kind, OpenError, Store};
use crate::tls::{self, Source, TlsError};
use crate::{http, store};

/// How long the store's background work may take to end; it stops between two steps.
const BACKGROUND_GRACE: Duration = Duration::from_secs(5);

/// A running server.
pub struct App {
    smtp_addrs: Vec<SocketAddr>,
    smtps_addrs: Vec<SocketAddr>,
    http_addrs: Vec<SocketAddr>,
    certificate: Source,
    key: Key,
    config: Config,
    store: Store,
    /// Listeners, sessions and requests.
    traffic: Shutdown,
    /// The work of the store beside them.
    background: Shutdown,
}

/// Where the key of the API came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The operator set it, and knows it.
    Configured,
    /// It was generated, and has to be told.
    Generated {
        /// The key.
        text: String,
        /// Where it is kept for the next start; nowhere beside a store in memory.
        file: Option<PathBuf>,
    },
}

/// Why the server did not start; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {addr} ({variable}): {error}{hint}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The variable that names it.
        variable: &'static str,
        /// What the system said.
        error: io::Error,
        /// What can be done.
        hint: &'static str,
    },
    /// There is no usable certificate.
    #[error("TLS_CERT_FILE, TLS_KEY_FILE: {0}")]
    Tls(#[from] TlsError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The generated key cannot be kept.
    #[error("cannot keep the generated API key in {file}: {error}; set API_KEY, or make DATA_DIR writable", file = .file.display())]
    Key {
        /// Where it was to be kept.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl App {
    /// Starts the server; on return it takes mail and answers requests.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let certificate = tls::load(&config.tls)?;
        let smtp_listeners = listen(&config.smtp_addrs, "SMTP_ADDR").await?;
        let smtps_listeners = listen(&config.smtps_addrs, "SMTPS_ADDR").await?;
        let http_listeners = listen(&config.http_addrs, "HTTP_ADDR").await?;
        let [smtp_addrs, smtps_addrs, http_addrs] =
            [&smtp_listeners, &smtps_listeners, &http_listeners].map(|listeners| local_addrs(listeners));

        let background = Shutdown::new();
        let store = Store::open(&config.store, clock.clone(), &background).await?;
        let (key, keys) = key::keys(&config.http.keys, data_dir(&config.store))?;
        let inbox = Inbox::new(config.inbox.clone(), store.clone(), clock);

        let traffic = Shutdown::new();
        let smtp = Server::new(config.smtp.clone(), inbox.clone(), Some(certificate.config), traffic.clone());
        for (listeners, transport) in [(smtp_listeners, Transport::Clear), (smtps_listeners, Transport::Tls)] {
            listeners.into_iter().for_each(|listener| smtp.listen(listener, transport));
        }
        let http = http::Server::new(&http::Settings { keys, ..config.http.clone() }, inbox, traffic.clone());
        for listener in http_listeners {
            serve(http.clone(), listener, &traffic);
        }
        // Not before: a start that fails says nothing but why.
        if certificate.source == Source::SelfSigned {
            let wanted = config.tls.cert_file.display();
            tracing::warn!(%wanted, "there are no certificate files; STARTTLS has a self-signed certificate for this run");
        }
        tracing::info!(smtp = ?smtp_addrs, smtps = ?smtps_addrs, http = ?http_addrs, "restante is ready");
        let certificate = certificate.source;
        Ok(Self { smtp_addrs, smtps_addrs, http_addrs, certificate, key, config, store, traffic, background })
    }

    /// Stops in order: no more connections, then the messages and requests in progress, then the store.
    pub async fn stop(self) {
        let cut = self.traffic.stop(self.config.shutdown_grace).await;
        if cut > 0 {
            tracing::warn!(connections = cut, "some connections did not end in time and were cut");
        }
        self.background.stop(BACKGROUND_GRACE).await;
        self.store.close().await;
        tracing::info!("restante has stopped");
    }
}

async fn listen(addrs: &[SocketAddr], variable: &'static str) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for &addr in addrs {
        let listener = TcpListener::bind(addr).await.map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
                io::ErrorKind::AddrInUse => "; another program listens there, stop it or take another port (0 for any)",
                io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
                _ => "",
            };
            StartError::Listen { addr, variable, error, hint }
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn local_addrs(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

fn serve(http: http::Server, listener: TcpListener, traffic: &Shutdown) {
    traffic.spawn(async move {
        if let Err(error) = http.serve(listener).await {
            tracing::error!(%error, "the API cannot be served any more");
        }
    });
}

fn data_dir(store: &store::Settings) -> Option<&PathBuf> {
    match &store.kind {
        Kind::Memory => None,
        Kind::Embedded { data_dir, .. } => Some(data_dir),
    }
}
