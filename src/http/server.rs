//! The connections of the API: how many, how long, and how they end.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::routing::future::RouteFuture;
use axum_server::Handle;
use axum_server::accept::Accept;
use bytes::Bytes;
use hyper_util::rt::TokioTimer;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tower::{BoxError, Service, service_fn};

use super::Settings;
use super::front::over_tls;
use super::origin::Names;
use super::redirect;
use super::router::{of_metrics, router};
use super::stream::{Activity, Watched};
use crate::connections::{self, Admission, Connections, Line, Lines};
use crate::inbox::Inbox;
use crate::metrics::{self, Handshake, Metrics, Present, Refused};
use crate::shutdown::Shutdown;
use crate::tls::{ACME_TLS_ALPN, Tls};

/// The most bytes of a request that are held while its header is not complete; who sends more reads a bare 431.
const HEADER_MAX_BYTES: u32 = 32 * 1024;

/// The most requests that one connection of HTTP/2 may have open.
const STREAMS_MAX: u32 = 64;

/// The API, to be served on any number of listeners. Clones share its limits.
#[derive(Clone)]
pub struct Server {
    settings: Settings,
    api: Router,
    permits: Arc<Semaphore>,
    limits: Limits,
    tasks: Shutdown,
}

impl Server {
    /// The API over `inbox`, which counts in `metrics`. Must be called in a Tokio runtime; what it keeps going in the
    /// background runs in `tasks`.
    #[must_use]
    pub fn new(settings: &Settings, inbox: Inbox, tls: &Tls, metrics: &Metrics, tasks: Shutdown) -> Self {
        Self::of(settings, router(settings, inbox, tls, metrics, &tasks), &metrics.http, tasks)
    }

    /// Nothing but `metrics`, within the same limits, counted by themselves: who uses up the connections of the API does not
    /// hide what goes on.
    #[must_use]
    pub fn of_metrics(settings: &Settings, metrics: &Metrics, tasks: Shutdown) -> Self {
        Self::of(settings, of_metrics(settings, metrics, &tasks), &metrics.http, tasks)
    }

    fn of(settings: &Settings, api: Router, metrics: &Arc<metrics::Http>, tasks: Shutdown) -> Self {
        let limits = Limits {
            connections: Connections::new(settings.max_connections, settings.max_connections_per_ip),
            proxies: settings.trusted_proxies.as_slice().into(),
            opening: settings.header_timeout,
            idle: settings.request_timeout.saturating_add(settings.idle_timeout),
            lines: Arc::default(),
            metrics: metrics.clone(),
        };
        let permits = Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS)));
        Self { settings: settings.clone(), api, permits, limits, tasks }
    }

    /// Serves `listener` until the server is asked to stop; then requests in hand are finished and idle connections
    /// closed. When the returned future is dropped, all its connections are.
    ///
    /// # Errors
    /// Where the listener cannot be used.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let (router, acceptor) = (self.api.clone(), self.limits.clone());
        let names = names(&listener)?;
        self.run(listener, router, acceptor, names, Versions::Http1).await
    }

    /// The same over TLS.
    ///
    /// # Errors
    /// Where the listener cannot be used.
    pub async fn serve_tls(self, listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<()> {
        let router = over_tls(self.api.clone());
        let acceptor = Encrypted { limits: self.limits.clone(), tls: config.into(), tasks: self.tasks.clone() };
        // A name that leads here and is not ours has no certificate here.
        self.run(listener, router, acceptor, Names::Any, Versions::Negotiated).await
    }

    /// Serves no more in clear text than the way to `authority`, where the API is served over TLS.
    ///
    /// # Errors
    /// Where the listener cannot be used.
    pub async fn serve_redirect(self, listener: TcpListener, authority: String) -> io::Result<()> {
        let router = redirect::router(&self.settings, authority, &self.limits.metrics, &self.tasks);
        let acceptor = self.limits.clone();
        let names = names(&listener)?;
        self.run(listener, router, acceptor, names, Versions::Http1).await
    }

    async fn run<A>(
        self,
        listener: TcpListener,
        router: Router,
        acceptor: A,
        names: Names,
        versions: Versions,
    ) -> io::Result<()>
    where
        A: Accept<TcpStream, Connection, Service = Connection> + Clone + Send + Sync + 'static,
        A::Stream: AsyncRead + AsyncWrite + Unpin + Send,
        A::Future: Send,
    {
        let Self { permits, limits, tasks, .. } = self;
        let open = Open(Handle::new());
        let mut server = axum_server::from_tcp(listener.into_std()?)?.handle(open.0.clone()).acceptor(acceptor);
        if versions == Versions::Http1 {
            server = server.http1_only();
        }
        bound(&mut server, limits.opening);

        // The next connection is accepted when this one has its permit: those that are too many wait in the system's queue.
        let serving = server.serve(service_fn(move |peer: SocketAddr| {
            let (router, permits) = (router.clone(), permits.clone());
            async move {
                let permit = permits.acquire_owned().await?;
                Ok::<_, AcquireError>(Connection::new(router, peer, names, permit))
            }
        }));
        tokio::pin!(serving);
        tokio::select! {
            served = &mut serving => return served,
            () = tasks.requested() => open.0.graceful_shutdown(None),
        }
        serving.await
    }
}

/// Which versions of HTTP a listener speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    /// HTTP/1 alone. In clear text nothing but its first bytes would tell what a connection speaks. Few clients use HTTP/2 there,
    /// and once the library has looked at those bytes its buffer is twice as large for as long as the connection is open.
    Http1,
    /// The one that was agreed upon in the TLS handshake.
    Negotiated,
}

/// Without these the library waits for ever.
fn bound<A>(server: &mut axum_server::Server<SocketAddr, A>, header_timeout: Duration) {
    let builder = server.http_builder();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEADER_MAX_BYTES as usize);
    // No pings of our own: they would keep an idle connection from looking idle, and a dead one is idle too.
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEADER_MAX_BYTES).max_concurrent_streams(STREAMS_MAX);
}

/// By which names a listener may be asked in clear text.
fn names(listener: &TcpListener) -> io::Result<Names> {
    let is_loopback = listener.local_addr()?.ip().to_canonical().is_loopback();
    Ok(if is_loopback { Names::Ours } else { Names::Any })
}

/// Closes all connections when it goes.
struct Open(Handle<SocketAddr>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// Puts the limits of a client and of time on a connection.
#[derive(Clone)]
struct Limits {
    connections: Arc<Connections>,
    proxies: Arc<[IpNet]>,
    opening: Duration,
    idle: Duration,
    /// What may be logged of connections that are one too many.
    lines: Arc<Lines>,
    metrics: Arc<metrics::Http>,
}

impl Limits {
    /// Counts a connection and watches it; one that is too many is given back.
    fn admit(
        &self,
        stream: TcpStream,
        mut connection: Connection,
    ) -> Result<io::Result<(Watched<TcpStream>, Connection)>, TcpStream> {
        let ip = connection.peer.ip();
        // A proxy brings many clients; its connections are counted by their permits alone.
        if !connections::is_of(&self.proxies, ip) {
            match self.connections.admit(ip) {
                Ok(admission) => connection.admission = Some(Arc::new(admission)),
                Err(too_many) => {
                    if let Some(Line { left_out }) = self.lines.admit(ip, Instant::now()) {
                        tracing::warn!(addr = %connection.peer, ?too_many, left_out, "HTTP connection refused");
                    }
                    self.metrics.refused.of(Refused::from(too_many)).inc();
                    return Err(stream);
                }
            }
        }
        self.metrics.accepted.inc();
        connection.present = Some(Arc::new(Present::new(&self.metrics.open)));
        // Small answers go out at once.
        let undelayed = stream.set_nodelay(true);
        let watched = Watched::new(stream, connection.activity.clone(), self.opening, self.idle);
        Ok(undelayed.map(|()| (watched, connection)))
    }
}

impl Accept<TcpStream, Connection> for Limits {
    type Stream = Watched<TcpStream>;
    type Service = Connection;
    type Future = Ready<io::Result<(Self::Stream, Connection)>>;

    fn accept(&self, stream: TcpStream, connection: Connection) -> Self::Future {
        let admitted = self.admit(stream, connection);
        ready(admitted.unwrap_or_else(|stream| turn_away(stream).and(Err(io::ErrorKind::ConnectionRefused.into()))))
    }
}

/// The same, and TLS on top. The handshake is part of the time that a client has until its first request.
#[derive(Clone)]
struct Encrypted {
    limits: Limits,
    tls: TlsAcceptor,
    tasks: Shutdown,
}

impl Accept<TcpStream, Connection> for Encrypted {
    type Stream = TlsStream<Watched<TcpStream>>;
    type Service = Connection;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Connection)>> + Send>>;

    fn accept(&self, stream: TcpStream, connection: Connection) -> Self::Future {
        let Self { limits, tls, tasks } = self.clone();
        Box::pin(async move {
            // What is said before the handshake would be no TLS: one that is too many is closed without a word.
            let metrics = limits.metrics.clone();
            let admitted = limits.admit(stream, connection).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            let (stream, connection) = admitted?;
            let stream = tokio::select! {
                () = tasks.requested() => return Err(io::ErrorKind::Interrupted.into()),
                shaken = tls.accept(stream) => shaken,
            };
            let version = stream.as_ref().ok().and_then(|stream| stream.get_ref().1.protocol_version());
            metrics.handshakes.of(Handshake::with(version)).inc();
            let stream = stream?;
            // RFC 8737 section 3: the handshake was the whole question.
            match stream.get_ref().1.alpn_protocol() {
                Some(ACME_TLS_ALPN) => Err(io::ErrorKind::ConnectionAborted.into()),
                _ => Ok((stream, connection)),
            }
        })
    }
}

/// Says why and closes. No request has been read, so the answer is written by hand.
fn turn_away(stream: TcpStream) -> io::Result<()> {
    let problem = r#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"more than HTTP_MAX_CONNECTIONS_PER_IP connections from this address","error":"too many connections"}"#;
    let answer = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Retry-After: 1\r\nConnection: close\r\n\r\n{problem}",
        problem.len()
    );
    connections::say_and_close(stream, answer.as_bytes())
}

/// One connection: the router, and who is at the other end.
#[derive(Clone)]
struct Connection {
    router: Router,
    peer: SocketAddr,
    names: Names,
    activity: Arc<Activity>,
    /// Counted off when the connection has ended, and before its permit lets in another, which would be one too many.
    admission: Option<Arc<Admission>>,
    present: Option<Arc<Present>>,
    /// Given back when the connection has ended.
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Connection {
    fn new(router: Router, peer: SocketAddr, names: Names, permit: OwnedSemaphorePermit) -> Self {
        Self {
            router,
            peer,
            names,
            activity: Arc::default(),
            admission: None,
            present: None,
            _permit: Arc::new(permit),
        }
    }
}

impl<B> Service<Request<B>> for Connection
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <Router as Service<Request<B>>>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.activity.request_arrived();
        request.extensions_mut().insert(self.activity.clone());
        request.extensions_mut().insert(ConnectInfo(self.peer));
        request.extensions_mut().insert(self.names);
        self.router.call(request)
    }
}
