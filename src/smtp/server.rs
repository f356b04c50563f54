//! The SMTP server: accepts connections within limits and runs each in a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::backend::Backend;
use super::connection::{self, Arrival};
use super::limits::Budget;
use super::reply::Reply;
use super::session::SessionSettings;
use crate::connections::{self, Connections, Line, Lines, TooMany};
use crate::metrics::{self, Present, Refused, SmtpEnd};
use crate::shutdown::Shutdown;

/// How long no connection is accepted after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How the server deals with its clients.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The protocol.
    pub session: SessionSettings,
    /// The most connections at a time.
    pub max_connections: usize,
    /// The most connections of one client at a time; of an IPv6 client, of its /64.
    pub max_connections_per_ip: usize,
    /// The most bytes of mail that all connections together hold in memory while it comes in.
    pub max_bytes_in_flight: usize,
    /// How long a client may be silent, or not read what it is told.
    pub idle_timeout: Duration,
    /// How long a connection may last.
    pub session_timeout: Duration,
    /// How long a TLS handshake may take.
    pub tls_handshake_timeout: Duration,
    /// How long a message may take to come in, to which one second is added for each `min_data_bytes_per_second` of it.
    pub data_timeout: Duration,
    /// How slowly a large message may come in. It is the sum that counts: a pause does no harm.
    pub min_data_bytes_per_second: u64,
    /// The balancers: a connection from these networks begins with a header of the PROXY protocol, any other has none.
    pub proxies: Vec<IpNet>,
}

/// How the connections of a listener begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In clear text, where STARTTLS is offered.
    Clear,
    /// With the TLS handshake (RFC 8314 section 3.3).
    Tls,
}

/// An SMTP server. It can listen on several addresses, which share its limits.
pub struct Server<B> {
    shared: Arc<Shared<B>>,
}

/// What every connection needs.
pub(super) struct Shared<B> {
    pub(super) settings: Settings,
    pub(super) session: Arc<SessionSettings>,
    pub(super) backend: B,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) tasks: Shutdown,
    pub(super) budget: Arc<Budget>,
    pub(super) metrics: Arc<metrics::Smtp>,
    connections: Arc<Connections>,
    /// What may be logged of refusals.
    pub(super) lines: Lines,
    /// And of connections that are one too many: who is refused in a loop hides no warning.
    connection_lines: Lines,
}

impl<B> Shared<B> {
    /// Counts and logs a connection that is one too many.
    pub(super) fn turn_away(&self, addr: SocketAddr, too_many: TooMany) {
        if let Some(Line { left_out }) = self.connection_lines.admit(addr.ip(), Instant::now()) {
            tracing::warn!(%addr, ?too_many, left_out, "SMTP connection refused");
        }
        self.metrics.refused.of(Refused::from(too_many)).inc();
    }
}

impl<B: Backend> Server<B> {
    /// A server in front of `backend`; it offers STARTTLS where it has `tls`, counts in `metrics`, and everything it does
    /// runs in `tasks`.
    pub fn new(
        settings: Settings,
        backend: B,
        tls: Option<Arc<ServerConfig>>,
        metrics: Arc<metrics::Smtp>,
        tasks: Shutdown,
    ) -> Self {
        let shared = Shared {
            session: Arc::new(settings.session.clone()),
            backend,
            tls: tls.map(TlsAcceptor::from),
            tasks,
            budget: Budget::new(settings.max_bytes_in_flight, metrics.in_flight_bytes.clone()),
            metrics,
            connections: Connections::new(settings.max_connections, settings.max_connections_per_ip),
            lines: Lines::default(),
            connection_lines: Lines::default(),
            settings,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Accepts connections until the server is asked to stop.
    pub fn listen(&self, listener: TcpListener, transport: Transport) {
        let shared = self.shared.clone();
        self.shared.tasks.spawn(async move {
            while let Some(accepted) = shared.accept(&listener).await {
                match accepted {
                    Ok((stream, addr)) => admit(&shared, stream, addr, transport),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an SMTP connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
    }
}

impl<B> Shared<B> {
    async fn accept(&self, listener: &TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        tokio::select! {
            biased;
            () = self.tasks.requested() => None,
            accepted = listener.accept() => Some(accepted),
        }
    }
}

fn admit<B: Backend>(shared: &Arc<Shared<B>>, stream: TcpStream, addr: SocketAddr, transport: Transport) {
    let is_proxy = connections::is_of(&shared.settings.proxies, addr.ip());
    let admission = if is_proxy { shared.connections.admit_anybody() } else { shared.connections.admit(addr.ip()) };
    match admission {
        Ok(admission) => {
            let arrival = Arrival { stream, addr, transport, is_proxy, admission };
            let shared = shared.clone();
            shared.metrics.accepted.inc();
            let present = Present::new(&shared.metrics.open);
            shared.tasks.clone().spawn(async move {
                let _present = present;
                let metrics = shared.metrics.clone();
                let end = connection::serve(shared, arrival).await.unwrap_or_else(|error| {
                    tracing::debug!(%addr, %error, "SMTP connection lost");
                    SmtpEnd::Lost
                });
                metrics.ended.of(end).inc();
            });
        }
        Err(too_many) => {
            shared.turn_away(addr, too_many);
            // Before TLS there is nobody who would understand.
            let said = match transport {
                Transport::Clear => connections::say_and_close(stream, &refusal(too_many).to_wire()),
                Transport::Tls => Ok(()),
            };
            if let Err(error) = said {
                tracing::debug!(%addr, %error, "refused SMTP connection lost");
            }
        }
    }
}

/// What a connection is told that is one too many.
pub(super) fn refusal(too_many: TooMany) -> Reply {
    let text = match too_many {
        TooMany::InAll => "too many connections, try again later",
        TooMany::OfThisClient => "too many connections from your address, try again later",
    };
    Reply::new(421, (4, 7, 0), text)
}
