//! The whole server: bound, assembled, run, and stopped in order.

mod key;
mod listeners;
mod welcome;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;

use self::listeners::{Addrs, Listeners};
use crate::clock::Clock;
use crate::config::Config;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::smtp::{Server, Transport};
use crate::store::{Kind, OpenError, Store};
use crate::tls::{Source, Tls, TlsError};
use crate::{http, store};

/// How long the store's background work may take to end; it stops between two steps.
const BACKGROUND_GRACE: Duration = Duration::from_secs(5);

/// A running server.
pub struct App {
    addrs: Addrs,
    tls: Tls,
    key: Key,
    config: Config,
    store: Store,
    /// Listeners, sessions and requests.
    traffic: Shutdown,
    /// The work of the store and of the certificates beside them.
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
    #[error("no certificate (TLS_CERT_FILE, TLS_KEY_FILE, ACME_CA_FILE): {0}")]
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
        config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        let metrics = Metrics::new(clock.now());
        let tls = Tls::open(&config.tls, clock.clone(), metrics.tls.clone())?;
        let listeners = Listeners::bind(&config)?;
        let addrs = listeners.addrs();

        let background = Shutdown::new();
        let store = Store::open(&config.store, clock.clone(), metrics.store.clone(), &background).await?;
        let (key, keys) = key::keys(&config.http.keys, data_dir(&config.store))?;
        let inbox = Inbox::new(config.inbox.clone(), store.clone(), clock, metrics.inbox.clone());

        let traffic = Shutdown::new();
        let panics = [traffic.clone(), background.clone()];
        metrics.watch_task_panics(move || panics.iter().map(Shutdown::panics).sum());
        let (backend, counted) = (inbox.clone(), metrics.smtp.clone());
        let smtp = Server::new(config.smtp.clone(), backend, Some(tls.config()?), counted, traffic.clone());
        for (listeners, transport) in [(listeners.smtp, Transport::Clear), (listeners.smtps, Transport::Tls)] {
            listeners.into_iter().for_each(|listener| smtp.listen(listener, transport));
        }
        let settings = http::Settings { keys, ..config.http.clone() };
        let monitor = http::Server::of_metrics(&settings, &metrics, traffic.clone());
        serve(listeners.metrics, &traffic, |listener| monitor.clone().serve(listener));
        let http = http::Server::new(&settings, inbox, &tls, &metrics, traffic.clone());
        if addrs.https.is_empty() {
            serve(listeners.http, &traffic, |listener| http.clone().serve(listener));
        } else {
            let (tls, authority) =
                (tls.https_config()?, config.https_authority(addrs.https.first().map(SocketAddr::port)));
            serve(listeners.https, &traffic, |listener| http.clone().serve_tls(listener, tls.clone()));
            serve(listeners.http, &traffic, |listener| http.clone().serve_redirect(listener, authority.clone()));
        }
        // Not before: a start that fails says nothing but why, and orders no certificate.
        tls.keep_fresh(&background);
        if is_self_signed(&tls) {
            let files = config.tls.file_names();
            tracing::warn!("there is no certificate yet ({files}); clients are shown a self-signed one");
        }
        let Addrs { smtp, smtps, http, https, metrics } = &addrs;
        tracing::info!(?smtp, ?smtps, ?http, ?https, ?metrics, "restante is ready");
        Ok(Self { addrs, tls, key, config, store, traffic, background })
    }

    /// Looks at the certificates now: at new files, and at what ACME has refused.
    pub fn reload(&self) {
        tracing::info!("reading the certificates again");
        self.tls.reload();
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

fn serve<F>(listeners: Vec<TcpListener>, traffic: &Shutdown, served: impl Fn(TcpListener) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    for listener in listeners {
        let serving = served(listener);
        traffic.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the API cannot be served any more");
            }
        });
    }
}

fn is_self_signed(tls: &Tls) -> bool {
    tls.certificates().iter().any(|certificate| certificate.source == Source::SelfSigned)
}

fn data_dir(store: &store::Settings) -> Option<&PathBuf> {
    match &store.kind {
        Kind::Memory | Kind::Redis(_) => None,
        Kind::Embedded { data_dir, .. } => Some(data_dir),
    }
}
