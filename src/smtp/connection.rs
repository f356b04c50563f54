//! The driver of one connection: owns the socket, the time limits and TLS, and does what the session says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::backend::Backend;
use super::limits::Budget;
use super::reply::Reply;
use super::server::Shared;
use super::session::{Action, Question, Session};
use crate::mail::TlsInfo;

/// The room for input of a connection that sends commands; there may be thousands of them.
const COMMAND_BUFFER_BYTES: usize = 4 * 1024;
/// The room for input of a connection that sends a large message.
const MESSAGE_BUFFER_BYTES: usize = 64 * 1024;
/// Replies to pipelined commands are collected up to this size before they are sent.
const OUTPUT_BUFFER_BYTES: usize = 4 * 1024;
/// How long a client may take to close its side once we have closed ours.
const LINGER: Duration = Duration::from_secs(1);

/// One connection.
pub(super) struct Connection<B> {
    shared: Arc<Shared<B>>,
    addr: SocketAddr,
    /// When the connection has lasted long enough.
    end: Instant,
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    StartTls,
}

/// What a connection was waiting for.
enum Wake {
    Input,
    Gone,
    Idle,
    Over,
    Stop,
}

impl<B: Backend> Connection<B> {
    pub(super) fn new(shared: Arc<Shared<B>>, addr: SocketAddr) -> Self {
        let end = Instant::now() + shared.settings.session_timeout;
        Self { shared, addr, end }
    }

    pub(super) async fn run(&self, mut stream: TcpStream) -> io::Result<()> {
        // Replies are small and the client waits for each of them.
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let session = self.session(local, None);
        let greeting = session.greeting();
        match (self.converse(&mut stream, session, Some(greeting)).await?, &self.shared.tls) {
            (End::StartTls, Some(acceptor)) => {
                let mut stream = timeout(self.shared.settings.tls_handshake_timeout, acceptor.accept(stream)).await??;
                let session = self.session(local, Some(tls_info(&stream)));
                self.converse(&mut stream, session, None).await?;
                close(&mut stream).await
            }
            _ => close(&mut stream).await,
        }
    }

    fn session(&self, local: SocketAddr, tls: Option<TlsInfo>) -> Session {
        Session::new(self.shared.session.clone(), self.addr, local, self.shared.tls.is_some(), tls)
    }

    /// Leads one session to its end. What has been read beyond a STARTTLS is dropped here (RFC 3207 section 4.2).
    async fn converse<S>(&self, stream: &mut S, mut session: Session, greeting: Option<Reply>) -> io::Result<End>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (mut input, mut output) = (BytesMut::new(), Vec::new());
        let mut share = Budget::share(self.shared.budget.clone());
        if let Some(greeting) = greeting {
            greeting.write_to(&mut output);
        }
        loop {
            while let Some(action) = session.next(&mut input) {
                if let Some(end) = self.act(action, &mut session, &mut output).await {
                    self.send(stream, &mut output).await?;
                    return Ok(end);
                }
                if output.len() > OUTPUT_BUFFER_BYTES {
                    self.send(stream, &mut output).await?;
                }
            }
            if !share.resize(session.held_bytes()) {
                session.refuse_message(Reply::new(452, (4, 3, 1), "too much mail at once, try again later"));
            }
            self.send(stream, &mut output).await?;
            let farewell = match self.wait(stream, &mut input, &session).await? {
                Wake::Input => continue,
                Wake::Gone => return Ok(End::Closed),
                Wake::Idle => Reply::new(421, (4, 4, 2), "nothing heard for too long, closing the connection"),
                Wake::Over => Reply::new(421, (4, 4, 2), "connection has lasted too long, closing it"),
                Wake::Stop => Reply::new(421, (4, 3, 2), "server is stopping, try again later"),
            };
            farewell.write_to(&mut output);
            self.send(stream, &mut output).await?;
            return Ok(End::Closed);
        }
    }

    /// Does what the session says, but for sending the reply, which waits until all input has been worked through.
    async fn act(&self, action: Action, session: &mut Session, output: &mut Vec<u8>) -> Option<End> {
        let mut action = action;
        loop {
            let (reply, end) = match action {
                Action::Say(reply) => (reply, None),
                Action::StartTls(reply) => (reply, Some(End::StartTls)),
                Action::Close(reply) => (reply, Some(End::Closed)),
                Action::Ask(Question::Deliver(envelope, raw)) => {
                    let (Ok(reply) | Err(reply)) = self.shared.backend.deliver(*envelope, raw).await;
                    (reply, None)
                }
                Action::Ask(Question::Mail(from)) => {
                    let answer = self.shared.backend.mail(session.peer(), from.as_ref()).await;
                    action = session.answer(answer);
                    continue;
                }
                Action::Ask(Question::Rcpt(to)) => {
                    let answer = match session.envelope() {
                        Some(envelope) => self.shared.backend.rcpt(envelope, &to).await.inspect_err(|_| {
                            // Not the address: it may be somebody's. As text it is escaped, and cannot look like other lines.
                            let domain = to.domain().to_string();
                            tracing::info!(addr = %self.addr, domain, "recipient refused");
                        }),
                        None => Ok(()),
                    };
                    action = session.answer(answer);
                    continue;
                }
            };
            if reply.is_refusal() {
                tracing::info!(addr = %self.addr, helo = session.peer().helo, %reply, "SMTP refusal");
            }
            reply.write_to(output);
            return end;
        }
    }

    async fn wait<S>(&self, stream: &mut S, input: &mut BytesMut, session: &Session) -> io::Result<Wake>
    where
        S: AsyncRead + Unpin + Send,
    {
        let receiving = session.is_receiving();
        if input.is_empty() && !receiving {
            // Its capacity does not tell how large it is: what has been taken off the front still belongs to it.
            *input = BytesMut::new();
        }
        input.reserve(session.held_bytes().clamp(COMMAND_BUFFER_BYTES, MESSAGE_BUFFER_BYTES));
        let now = Instant::now();
        if now >= self.end {
            // Looked at first: a client that never pauses would keep the timer below from being asked.
            return Ok(Wake::Over);
        }
        let idle = now + self.shared.settings.idle_timeout;
        tokio::select! {
            biased;
            () = self.shared.tasks.requested(), if !receiving => Ok(Wake::Stop),
            read = stream.read_buf(input) => Ok(if read? == 0 { Wake::Gone } else { Wake::Input }),
            () = sleep_until(idle.min(self.end)) => Ok(if idle < self.end { Wake::Idle } else { Wake::Over }),
        }
    }

    /// Sends in one write: clients are known to stumble over replies that come in pieces.
    async fn send<S>(&self, stream: &mut S, output: &mut Vec<u8>) -> io::Result<()>
    where
        S: AsyncWrite + Unpin + Send,
    {
        if !output.is_empty() {
            timeout(self.shared.settings.idle_timeout, async {
                stream.write_all(output).await?;
                stream.flush().await
            })
            .await??;
            output.clear();
        }
        Ok(())
    }
}

/// Closes so that the last reply arrives: a socket that is dropped while input is unread is reset (RFC 1122 section
/// 4.2.2.13), and a reset takes away what the client has not read yet.
async fn close<S>(stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let closing = async {
        stream.shutdown().await?;
        copy(stream, &mut sink()).await
    };
    timeout(LINGER, closing).await.map_or(Ok(()), |closed| closed.map(drop))
}

fn tls_info(stream: &TlsStream<TcpStream>) -> TlsInfo {
    let (_, connection) = stream.get_ref();
    let version = connection.protocol_version().and_then(|version| version.as_str());
    let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    TlsInfo {
        version: version.unwrap_or_default().replace('_', "."),
        // rustls marks the suites of TLS 1.3, IANA does not.
        cipher: cipher.unwrap_or_default().replacen("TLS13_", "TLS_", 1),
    }
}
