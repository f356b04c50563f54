//! A real server and a plain-spoken client on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use restante::mail::{Address, Envelope, Peer};
use restante::shutdown::Shutdown;
use restante::smtp::{Attempt, Backend, Reply, Server, SessionSettings, Settings, Transport};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::dialogue::{keep, may_receive, may_send};

/// What the tests wait for happens at once; this only ends a test that would hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A backend that remembers the messages it has kept and those it was told were refused. Clones share their memory.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    delivered: Arc<Mutex<Vec<(Envelope, Bytes)>>>,
    refused: Arc<Mutex<Vec<Attempt>>>,
}

impl Recorder {
    /// The messages so far.
    pub(crate) fn delivered(&self) -> Vec<(Envelope, Bytes)> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The mail that did not get in so far.
    pub(crate) fn kept_out(&self) -> Vec<Attempt> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Backend for Recorder {
    async fn mail(&self, _: &Peer, from: Option<&Address>) -> Result<(), Reply> {
        may_send(from)
    }

    async fn rcpt(&self, _: &Envelope, to: &Address) -> Result<(), Reply> {
        may_receive(to)
    }

    async fn deliver(&self, envelope: &Envelope, raw: Bytes) -> Result<Reply, Reply> {
        let reply = keep(&raw)?;
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).push((envelope.clone(), raw));
        Ok(reply)
    }

    fn refused(&self, attempt: Attempt) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
    }
}

/// Limits that no test reaches by accident.
pub(crate) fn server_settings(session: SessionSettings) -> Settings {
    Settings {
        session,
        max_connections: 100,
        max_connections_per_ip: 100,
        max_bytes_in_flight: 100_000_000,
        idle_timeout: DEADLINE,
        session_timeout: DEADLINE,
        tls_handshake_timeout: DEADLINE,
        data_timeout: DEADLINE,
        min_data_bytes_per_second: 1,
        proxies: Vec::new(),
    }
}

/// Starts a server on a free port; it ends with `tasks`.
pub(crate) async fn listen<B: Backend>(
    settings: Settings,
    backend: B,
    tls: Option<Arc<ServerConfig>>,
    transport: Transport,
    tasks: &Shutdown,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
    let addr = listener.local_addr().expect("a bound socket has an address");
    Server::new(settings, backend, tls, Arc::default(), tasks.clone()).listen(listener, transport);
    addr
}

/// The two sides of TLS with a fresh self-signed certificate.
pub(crate) fn tls() -> (Arc<ServerConfig>, TlsConnector) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
    let (certificate, provider) = (signed.cert.der().clone(), Arc::new(default_provider()));
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("the key was just made");
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("the certificate was just made");
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("key and certificate belong together");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), TlsConnector::from(Arc::new(client)))
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A client that sends bytes and reads lines.
pub(crate) struct Client(BufReader<Box<dyn Stream>>);

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self(BufReader::new(Box::new(TcpStream::connect(addr).await?))))
    }

    /// Sends `bytes` in one write.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(DEADLINE, self.0.write_all(bytes)).await??;
        self.0.flush().await
    }

    /// The next line without its CRLF; `None` once the server has closed the connection.
    pub(crate) async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        if timeout(DEADLINE, self.0.read_line(&mut line)).await?? == 0 {
            return Ok(None);
        }
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(Some(line.to_owned())),
            None => Err(io::Error::other(format!("{line:?} is no line"))),
        }
    }

    /// Does the TLS handshake.
    pub(crate) async fn start_tls(self, connector: &TlsConnector) -> io::Result<Self> {
        assert!(self.0.buffer().is_empty(), "the server spoke on after its reply to STARTTLS");
        let name = ServerName::try_from("localhost").expect("localhost is a name");
        let stream = timeout(DEADLINE, connector.connect(name, self.0.into_inner())).await??;
        Ok(Self(BufReader::new(Box::new(stream))))
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}
