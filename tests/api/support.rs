//! A server of its own for each test, on a port of its own, with a clock that stands still.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use restante::clock::{Clock, Timestamp};
use restante::http::{self, Settings};
use restante::inbox::{self, Domains, Inbox};
use restante::mail::{
    Address, Attachment, Budgets, Content, Disposition, Envelope, MailParameters, Message, MessageId, Naming, Peer,
    Recipient, TransferEncoding,
};
use restante::metrics::Metrics;
use restante::shutdown::Shutdown;
use restante::smtp::{Attempt, Backend, Reply};
use restante::store::{self, Delivery, Kind, Store};
use restante::tls::{self, Tls};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The key of every server here.
pub(crate) const KEY: &str = "the-key";

/// How long anything may take before the test has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// 2026-01-02T03:04:05.678Z.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_678);

/// So many messages a mailbox holds there.
pub(crate) const MAILBOX_MAX_MESSAGES: usize = 1000;

/// A running API over an empty store in memory.
pub(crate) struct Api {
    pub(crate) addr: SocketAddr,
    pub(crate) inbox: Inbox,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) tasks: Shutdown,
    pub(crate) metrics: Metrics,
    pub(crate) served: JoinHandle<()>,
    tls: Tls,
    server: http::Server,
    client: Client,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Settings whose limits no test meets by chance.
pub(crate) fn settings() -> Settings {
    Settings {
        keys: vec![KEY.parse().unwrap(), "another-key".parse().unwrap()],
        metrics: true,
        rate_per_minute: 0,
        failed_keys_per_minute: 0,
        hosts: Vec::new(),
        cors_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        max_waiters: 100,
        max_waiters_per_key: 100,
        max_connections: 100,
        max_connections_per_ip: 100,
        header_timeout: DEADLINE,
        request_timeout: DEADLINE,
        idle_timeout: DEADLINE,
    }
}

/// An inbox over an empty store in memory.
pub(crate) async fn inbox(clock: &Clock, metrics: &Metrics, tasks: &Shutdown) -> (Inbox, Store) {
    let settings =
        store::Settings { kind: Kind::Memory, mailbox_max_messages: MAILBOX_MAX_MESSAGES, max_bytes: 1 << 30 };
    let store = Store::open(&settings, clock.clone(), metrics.store.clone(), tasks).await.unwrap();
    let settings = inbox::Settings {
        hostname: "mx.example.com".into(),
        domains: Domains::Any,
        naming: Naming::default(),
        retention: Duration::from_secs(86_400),
        mime: Budgets::default(),
        rate_per_minute: 0,
        rate_per_minute_per_ip: 0,
        attempts_per_mailbox: 100,
        attempts_max: 1000,
    };
    (Inbox::new(settings, store.clone(), clock.clone(), metrics.inbox.clone()), store)
}

/// A certificate made for this run.
pub(crate) fn tls(clock: &Clock, metrics: &Metrics) -> Tls {
    let settings =
        tls::Settings { files: Vec::new(), files_are_named: false, hostname: "mx.example.com".to_owned(), acme: None };
    Tls::open(&settings, clock.clone(), metrics.tls.clone()).unwrap()
}

async fn listen(server: http::Server, tasks: &Shutdown) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (addr, tasks.spawn(async move { server.serve(listener).await.unwrap() }))
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let clock = Clock::manual(NOW);
        let tasks = Shutdown::new();
        let metrics = Metrics::new(NOW);
        let (inbox, store) = inbox(&clock, &metrics, &tasks).await;
        let tls = tls(&clock, &metrics);
        let server = http::Server::new(&settings, inbox.clone(), &tls, &metrics, tasks.clone());
        let (addr, served) = listen(server.clone(), &tasks).await;
        // reqwest brings none of its own; whoever is second finds the one of the first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::builder().timeout(DEADLINE).build().unwrap();
        Self { addr, inbox, store, clock, tasks, metrics, tls, server, served, client }
    }

    /// Serves the same API on one more address.
    pub(crate) async fn listen(&self) -> SocketAddr {
        listen(self.server.clone(), &self.tasks).await.0
    }

    /// Serves the same API over TLS.
    pub(crate) async fn listen_tls(&self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (server, config) = (self.server.clone(), self.tls.https_config().unwrap());
        self.tasks.spawn(async move { server.serve_tls(listener, config).await.unwrap() });
        addr
    }

    /// Serves no more than the way to the API over TLS, and `/health`.
    pub(crate) async fn listen_redirect(&self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = self.server.clone();
        self.tasks.spawn(async move { server.serve_redirect(listener, "api.example.com".to_owned()).await.unwrap() });
        addr
    }

    /// Serves the metrics on an address of their own.
    pub(crate) async fn listen_metrics(&self) -> SocketAddr {
        listen(http::Server::of_metrics(&settings(), &self.metrics, self.tasks.clone()), &self.tasks).await.0
    }

    /// A request without a key to another address.
    pub(crate) fn request_at(&self, addr: SocketAddr, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse::<Method>().unwrap(), format!("http://{addr}{path}"))
    }

    /// A request without a key.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.request_at(self.addr, method, path)
    }

    /// The answer to a request with the key.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> Answer {
        Answer::of(self.request(method, path).header("X-API-KEY", KEY)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).await
    }

    /// Keeps `message` for `recipients`; returns the `seq` in each of their mailboxes.
    pub(crate) async fn keep(&self, recipients: &[&str], message: Message, raw: impl Into<Bytes>) -> Vec<u64> {
        let delivery = |to: &&str| {
            let rcpt_to: Recipient = to.parse().unwrap();
            (self.inbox.mailbox(&rcpt_to.address.to_string()).unwrap(), rcpt_to)
        };
        self.store.append(Delivery::each(recipients.iter().map(delivery)), message, raw.into()).await.unwrap()
    }

    /// Delivers `raw` from the null sender as the SMTP side would.
    pub(crate) async fn deliver(&self, recipients: &[&str], raw: impl Into<Bytes>) {
        self.inbox.deliver(&self.envelope(recipients), raw.into()).await.unwrap();
    }

    /// Tells that mail was refused whose sender is no address, as the SMTP side would.
    pub(crate) fn refuse_sender(&self, written: &str, recipients: &[&str], reply: Option<Reply>) {
        let written_from = Some(written.to_owned());
        self.inbox.refused(Attempt { written_from, ..Attempt::new(self.envelope(recipients), reply) });
    }

    /// Tells that mail from the null sender was refused, as the SMTP side would; without a reply, that its client went away.
    pub(crate) fn refuse(&self, recipients: &[&str], reply: Option<Reply>) {
        self.inbox.refused(Attempt::new(self.envelope(recipients), reply));
    }

    fn envelope(&self, recipients: &[&str]) -> Envelope {
        let peer = message(&self.clock, Content::default()).peer;
        let rcpt_to = recipients.iter().map(|to| address(to).into()).collect();
        Envelope { peer, mail_from: None, parameters: MailParameters::default(), rcpt_to }
    }

    /// A connection on which `bytes` have been written.
    pub(crate) async fn connect(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // A stream has no end.
        let is_stream = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if is_stream { Bytes::new() } else { response.bytes().await.unwrap() };
        Self { status, headers, body }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The JSON of a good answer.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!((self.status, self.header("content-type")), (200, "application/json"), "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// One member of a document, whatever its status.
    pub(crate) fn member(&self, name: &str) -> Value {
        let document: Value = serde_json::from_slice(&self.body).unwrap();
        document[name].clone()
    }

    /// The problem document of an error: its `error` and its `detail`.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> (String, String) {
        assert_eq!((self.status, self.header("content-type")), (status, "application/problem+json"), "{}", self.text());
        let document: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document["type"], "about:blank");
        assert_eq!(document["status"], status);
        assert!(!document["title"].as_str().unwrap().is_empty());
        let text = |member: &str| document[member].as_str().unwrap().to_owned();
        (text("error"), text("detail"))
    }
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A message from `sender@example.com` with nothing in it.
pub(crate) fn message(clock: &Clock, content: Content) -> Message {
    let now = clock.now();
    Message {
        id: MessageId::new(now),
        received_at: now,
        expires_at: now.after(Duration::from_secs(86_400)),
        mail_from: Some(address("sender@example.com")),
        parameters: MailParameters::default(),
        peer: Peer {
            addr: "192.0.2.7:49152".parse().unwrap(),
            local: "192.0.2.1:25".parse().unwrap(),
            helo: "client.example".to_owned(),
            tls: None,
        },
        size: 0,
        content,
    }
}

/// An attachment that is the bytes `start..end` of the raw message.
pub(crate) fn attachment(
    index: usize,
    filename: Option<&str>,
    content_type: &str,
    start: usize,
    end: usize,
) -> Attachment {
    Attachment {
        index,
        filename: filename.map(str::to_owned),
        content_type: content_type.to_owned(),
        content_id: None,
        disposition: Disposition::Attachment,
        size: (end - start) as u64,
        sha256: "00".repeat(32),
        start,
        end,
        encoding: TransferEncoding::Identity,
        subject: None,
    }
}

/// What is left to read until the server closes the connection, however it does.
pub(crate) async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE / 2, stream.read_to_end(&mut bytes)).await;
    let _closed = read.expect("the server keeps the connection open");
    bytes
}

/// Reads until `end` has come.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let byte = tokio::time::timeout(DEADLINE, stream.read_u8()).await.expect("no answer");
        bytes.push(byte.expect("the connection was closed"));
    }
    bytes
}
