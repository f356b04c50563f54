//! The driver of one connection: owns the socket, the time limits and TLS, and does what the session says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::backend::Backend;
use super::limits::Budget;
use super::proxy::{self, Ends, Header, NoHeader, Progress};
use super::reply::Reply;
use super::server::{self, Shared, Transport};
use super::session::{Action, Attempt, Question, Session};
use crate::connections::{Admission, Line, shortened};
use crate::mail::{Envelope, Peer, TlsInfo};
use crate::metrics::{Handshake, KeptOut, SmtpEnd};

/// The room for input of a connection that sends commands; there may be thousands of them.
const COMMAND_BUFFER_BYTES: usize = 4 * 1024;
/// The room for input of a connection that sends a large message.
const MESSAGE_BUFFER_BYTES: usize = 64 * 1024;
/// Replies to pipelined commands are collected up to this size before they are sent.
const OUTPUT_BUFFER_BYTES: usize = 4 * 1024;
/// How long a balancer may take for its header; it comes with the first segment, or something is wrong.
const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to close its side once we have closed ours.
const LINGER: Duration = Duration::from_secs(1);

/// A connection that has just been accepted.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) addr: SocketAddr,
    pub(super) transport: Transport,
    /// Whether it comes from a balancer, which says first whose connection it passes on.
    pub(super) is_proxy: bool,
    pub(super) admission: Admission,
}

/// One connection.
struct Connection<B> {
    shared: Arc<Shared<B>>,
    ends: Ends,
    /// When the connection has lasted long enough.
    end: Instant,
}

/// A message on its way in: since when, and how much of it has come.
struct Reception {
    start: Instant,
    bytes: u64,
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed(SmtpEnd),
    StartTls,
}

/// What a connection was waiting for.
enum Wake {
    Input,
    /// The end, with these last words; without any where the client has closed its side.
    End(SmtpEnd, Option<Reply>),
}

/// Serves a connection from its first byte to its last; says how it ended.
pub(super) async fn serve<B: Backend>(shared: Arc<Shared<B>>, arrival: Arrival) -> io::Result<SmtpEnd> {
    let Arrival { mut stream, addr, transport, is_proxy, mut admission } = arrival;
    // Replies are small and the client waits for each of them.
    stream.set_nodelay(true)?;
    let mut ends = Ends { client: addr, local: stream.local_addr()? };
    if is_proxy && let Header::Proxied(said) = timeout(PROXY_HEADER_TIMEOUT, proxy_header(&mut stream)).await?? {
        ends = said;
        if let Err(too_many) = admission.belongs_to(ends.client.ip()) {
            shared.turn_away(ends.client, too_many);
            if transport == Transport::Clear {
                stream.write_all(&server::refusal(too_many).to_wire()).await?;
            }
            return Ok(closed(&mut stream, SmtpEnd::Refused).await);
        }
    }
    let end = Instant::now() + shared.settings.session_timeout;
    Connection { shared, ends, end }.run(stream, transport).await
}

async fn proxy_header(stream: &mut TcpStream) -> io::Result<Header> {
    let mut start = Vec::new();
    loop {
        match proxy::read(&start) {
            Ok(Progress::Whole(header)) => return Ok(header),
            Ok(Progress::Missing(missing)) => {
                let known = start.len();
                start.resize(known + missing, 0);
                // Looked at as it comes: what begins otherwise is not waited for.
                let read = stream.read(&mut start[known..]).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                start.truncate(known + read);
            }
            Err(NoHeader) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a balancer began without a PROXY header"));
            }
        }
    }
}

impl<B: Backend> Connection<B> {
    async fn run(&self, mut stream: TcpStream, transport: Transport) -> io::Result<SmtpEnd> {
        if transport == Transport::Clear {
            let session = self.session(None);
            let greeting = session.greeting();
            if let End::Closed(end) = self.converse(&mut stream, session, Some(greeting)).await? {
                return Ok(closed(&mut stream, end).await);
            }
        }
        let Some(acceptor) = &self.shared.tls else { return Ok(SmtpEnd::Lost) };
        let mut stream = self.shake(acceptor, stream).await?;
        let session = self.session(Some(tls_info(&stream)));
        // RFC 3207 section 4.2: behind STARTTLS it is for the client to begin.
        let greeting = (transport == Transport::Tls).then(|| session.greeting());
        match self.converse(&mut stream, session, greeting).await? {
            End::Closed(end) => Ok(closed(&mut stream, end).await),
            // A session within TLS offers none.
            End::StartTls => Ok(SmtpEnd::Lost),
        }
    }

    async fn shake(&self, acceptor: &TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let time = self.shared.settings.tls_handshake_timeout;
        let shaken = timeout(time, acceptor.accept(stream)).await.map_err(io::Error::from).flatten();
        let version = shaken.as_ref().ok().and_then(|stream| stream.get_ref().1.protocol_version());
        self.shared.metrics.handshakes.of(Handshake::with(version)).inc();
        shaken
    }

    fn session(&self, tls: Option<TlsInfo>) -> Session {
        let Ends { client, local } = self.ends;
        Session::new(self.shared.session.clone(), client, local, self.shared.tls.is_some(), tls)
    }

    /// Leads one session to its end. What has been read beyond a STARTTLS is dropped here (RFC 3207 section 4.2).
    async fn converse<S>(&self, stream: &mut S, mut session: Session, greeting: Option<Reply>) -> io::Result<End>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (mut input, mut output) = (BytesMut::new(), Vec::new());
        let mut share = Budget::share(self.shared.budget.clone(), self.ends.client.ip());
        let mut reception = None;
        if let Some(greeting) = greeting {
            greeting.write_to(&mut output);
        }
        loop {
            while let Some(action) = session.next(&mut input) {
                if !session.is_receiving() {
                    // The next message has its own time, also where it began in the same piece.
                    reception = None;
                }
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
                share.resize(session.held_bytes());
            }
            self.send(stream, &mut output).await?;
            let (end, farewell) = match self.wait(stream, &mut input, &session, &mut reception).await {
                Ok(Wake::Input) => continue,
                Ok(Wake::End(end, farewell)) => (Ok(end), farewell),
                Err(error) => (Err(error), None),
            };
            if let Some(attempt) = session.interrupted(farewell.clone()) {
                self.refused(attempt);
            }
            let end = end?;
            farewell.iter().for_each(|reply| reply.write_to(&mut output));
            self.send(stream, &mut output).await?;
            return Ok(End::Closed(end));
        }
    }

    /// Does what the session says, but for sending the reply, which waits until all input has been worked through.
    async fn act(&self, action: Action, session: &mut Session, output: &mut Vec<u8>) -> Option<End> {
        let mut action = action;
        loop {
            let (reply, end) = match action {
                Action::Say(reply) => (reply, None),
                Action::StartTls(reply) => (reply, Some(End::StartTls)),
                Action::Close(reply) => {
                    let end = if reply.is_refusal() { SmtpEnd::TooManyCommands } else { SmtpEnd::Quit };
                    (reply, Some(End::Closed(end)))
                }
                // Pinned, or every connection would keep the room for it while it is idle.
                Action::Ask(Question::Deliver(envelope, raw)) => (Box::pin(self.deliver(*envelope, raw)).await, None),
                Action::Ask(Question::Mail(from)) => {
                    let answer = self.shared.backend.mail(session.peer(), from.as_ref()).await;
                    action = session.answer(answer);
                    continue;
                }
                Action::Ask(Question::Rcpt(to)) => {
                    let answer = match session.envelope() {
                        Some(envelope) => self.shared.backend.rcpt(envelope, &to).await,
                        None => Ok(()),
                    };
                    action = session.answer(answer);
                    continue;
                }
            };
            let attempts = session.take_attempts();
            if reply.is_refusal() {
                self.log(&reply, session.peer(), attempts.first());
                self.shared.metrics.refusal(reply.code, reply.enhanced);
            }
            attempts.into_iter().for_each(|attempt| self.refused(attempt));
            reply.write_to(output);
            return end;
        }
    }

    fn log(&self, reply: &Reply, peer: &Peer, attempt: Option<&Attempt>) {
        let Some(Line { left_out }) = self.shared.lines.admit(self.ends.client.ip(), Instant::now()) else { return };
        // Not the address: it may be somebody's. As text the domain is escaped, and cannot look like other lines.
        let to = attempt.and_then(|attempt| attempt.envelope.rcpt_to.first());
        let domain = to.map(|to| to.address.domain().to_string());
        let (helo, domain) = (shortened(&peer.helo), domain.as_deref().map(shortened));
        tracing::info!(addr = %self.ends.client, helo, domain, %reply, left_out, "SMTP refusal");
    }

    /// Hands a message over; the reply says what became of it.
    async fn deliver(&self, envelope: Envelope, raw: Bytes) -> Reply {
        let Shared { metrics, backend, .. } = &*self.shared;
        let start = Instant::now();
        metrics.received_bytes.inc_by(raw.len() as u64);
        let delivered = backend.deliver(&envelope, raw).await;
        metrics.delivery.observe(start.elapsed());
        match delivered {
            Ok(reply) => {
                metrics.messages.inc();
                metrics.recipients.inc_by(envelope.rcpt_to.len() as u64);
                reply
            }
            Err(reply) => {
                self.refused(Attempt::new(envelope, Some(reply.clone())));
                reply
            }
        }
    }

    fn refused(&self, attempt: Attempt) {
        let class = match &attempt.reply {
            None => KeptOut::Interrupted,
            Some(reply) if reply.code < 500 => KeptOut::ForNow,
            Some(_) => KeptOut::ForGood,
        };
        self.shared.metrics.kept_out.of(class).inc();
        self.shared.backend.refused(attempt);
    }

    async fn wait<S>(
        &self,
        stream: &mut S,
        input: &mut BytesMut,
        session: &Session,
        reception: &mut Option<Reception>,
    ) -> io::Result<Wake>
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
        if receiving {
            // What came in one piece with the command counts too.
            reception.get_or_insert(Reception { start: now, bytes: session.held_bytes() as u64 });
        } else {
            *reception = None;
        }
        let (deadline, farewell) = self.deadline(now, reception.as_ref());
        if now >= deadline {
            // Looked at first: a client that never pauses would keep the timer below from being asked.
            return Ok(Wake::End(SmtpEnd::Timeout, Some(farewell)));
        }
        tokio::select! {
            biased;
            () = self.shared.tasks.requested(), if !receiving => {
                let farewell = Reply::new(421, (4, 3, 2), "server is stopping, try again later");
                Ok(Wake::End(SmtpEnd::Stopping, Some(farewell)))
            }
            read = stream.read_buf(input) => match read? {
                0 => Ok(Wake::End(SmtpEnd::Closed, None)),
                bytes => {
                    reception.iter_mut().for_each(|reception| reception.bytes += bytes as u64);
                    Ok(Wake::Input)
                }
            },
            () = sleep_until(deadline) => Ok(Wake::End(SmtpEnd::Timeout, Some(farewell))),
        }
    }

    /// Until when the client has to be heard, and what it is told then.
    fn deadline(&self, now: Instant, reception: Option<&Reception>) -> (Instant, Reply) {
        let settings = &self.shared.settings;
        let mut first = (now + settings.idle_timeout, "nothing heard for too long, closing the connection");
        if let Some(Reception { start, bytes }) = reception {
            let earned = Duration::from_secs(bytes / settings.min_data_bytes_per_second);
            let slow = *start + settings.data_timeout + earned;
            first = first.min((slow, "message comes in too slowly, closing the connection"));
        }
        let (deadline, text) = first.min((self.end, "connection has lasted too long, closing it"));
        (deadline, Reply::new(421, (4, 4, 2), text))
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

/// Closes a connection that has come to its `end`; the client may have gone before.
async fn closed<S>(stream: &mut S, end: SmtpEnd) -> SmtpEnd
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if let Err(error) = close(stream).await {
        tracing::debug!(%error, "SMTP connection lost at its end");
    }
    end
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
