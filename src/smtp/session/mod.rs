//! One SMTP session as a value: bytes go in, actions come out. No I/O, no clock, no store.
//!
//! The driver hands over what it has read, does what it is told, and brings back the answers of the [`Backend`].
//! A session does not know about time: idle and total limits belong to the driver.
//!
//! [`Backend`]: super::Backend

mod refusal;
mod transaction;

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::answers::{out_of_order, recipient_ok, tls_first};
use super::command::Command;
use super::data::{BareLf, ChunkLines, DataDecoder, Receipt};
use super::reply::Reply;
use crate::mail::{Address, Envelope, Peer, Recipient, TlsInfo};

/// What the protocol needs to know.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// Our name in the greeting and the reply to EHLO.
    pub hostname: String,
    /// The longest command line with its CRLF, in bytes. RFC 5321 asks for 512 and its extensions for some more.
    pub max_command_bytes: usize,
    /// The largest message, in bytes.
    pub max_message_bytes: usize,
    /// The most recipients of one message; the client may bring the rest in a second one.
    pub max_recipients: usize,
    /// The longest line of a message with its CRLF, in bytes; 0 is without limit. RFC 5321 asks for 1000, and to take more.
    pub max_text_line_bytes: usize,
    /// The most refused commands between two accepted messages; then the session ends. It stops those who guess.
    pub max_errors: u32,
    /// The most commands that bring no mail forward between two accepted messages; then the session ends. It stops those who
    /// only hold their place.
    pub max_noops: u32,
    /// What becomes of a message with a bare CR or LF.
    pub bare_lf: BareLf,
    /// Whether mail is taken in clear text, where STARTTLS is offered.
    pub require_tls: bool,
    /// Whether the parameters of RFC 3461 are offered. They are recorded; nobody sends the reports.
    pub dsn: bool,
}

/// What the driver has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this reply.
    Say(Reply),
    /// Ask the backend. [`Session::answer`] takes the answer, but for [`Question::Deliver`], whose answer is the reply.
    Ask(Question),
    /// Send this reply, throw away all input that has been read, and do the TLS handshake. A new session follows.
    StartTls(Reply),
    /// Send this reply and close the connection.
    Close(Reply),
}

/// What a session asks the backend.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// May this sender begin? `None` is the null sender.
    Mail(Option<Address>),
    /// May this recipient be taken into [`Session::envelope`]?
    Rcpt(Address),
    /// Keep this message. The answer is the reply to the client; the session has already gone on.
    Deliver(Box<Envelope>, Bytes),
}

/// Mail that did not get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Who tried, and for whom: the recipients that this refusal is about; none where it came to the sender.
    pub envelope: Envelope,
    /// The sender as the client wrote it, where it is no address. The envelope has none then.
    pub written_from: Option<String>,
    /// The refusal; `None` where the client went away before there was one.
    pub reply: Option<Reply>,
}

impl Attempt {
    /// The mail of `envelope`, kept out by `reply`.
    #[must_use]
    pub const fn new(envelope: Envelope, reply: Option<Reply>) -> Self {
        Self { envelope, written_from: None, reply }
    }
}

/// A session with one client.
#[derive(Debug)]
pub struct Session {
    settings: Arc<SessionSettings>,
    peer: Peer,
    starttls: bool,
    greeted: bool,
    /// The mail transaction; the sender has been taken.
    envelope: Option<Box<Envelope>>,
    /// The message of the transaction, once its first chunk has been announced.
    chunked: Option<Chunked>,
    phase: Phase,
    /// The refusals that have just been given, if they kept mail out.
    attempts: Vec<Attempt>,
    /// The refused MAIL: a client that pipelines names its recipients all the same.
    refused_mail: Option<Box<Attempt>>,
    errors: u32,
    noops: u32,
    /// An over-long line is being swallowed.
    overlong: bool,
}

/// What the next input is.
#[derive(Debug)]
enum Phase {
    /// A command line.
    Command,
    /// Nothing is read before the backend has said whether this transaction may begin.
    AskedMail(Box<Envelope>),
    /// Nothing is read before the backend has said whether this recipient may be taken.
    AskedRcpt(Recipient),
    /// The message, up to its lone dot.
    Data(DataDecoder, Receipt),
    /// So many more bytes of a chunk.
    Chunk { left: u64, last: bool },
    /// So many more bytes of a chunk that nobody wants; the refusal follows them.
    Skip { left: u64, refusal: Reply },
    /// Nothing: the connection is to be closed.
    Closed,
}

/// A message that comes in chunks (RFC 3030).
#[derive(Debug)]
struct Chunked {
    receipt: Receipt,
    lines: ChunkLines,
}

impl Session {
    /// A session with the client at `addr` that reached us at `local`. `starttls` says whether STARTTLS is offered, `tls`
    /// what the connection already has.
    #[must_use]
    pub fn new(
        settings: Arc<SessionSettings>,
        addr: SocketAddr,
        local: SocketAddr,
        starttls: bool,
        tls: Option<TlsInfo>,
    ) -> Self {
        Self {
            settings,
            starttls: starttls && tls.is_none(),
            peer: Peer { addr, local, helo: String::new(), tls },
            greeted: false,
            envelope: None,
            chunked: None,
            phase: Phase::Command,
            attempts: Vec::new(),
            refused_mail: None,
            errors: 0,
            noops: 0,
            overlong: false,
        }
    }

    /// The first line of the connection.
    #[must_use]
    pub fn greeting(&self) -> Reply {
        Reply::basic(220, format!("{} ESMTP restante", self.settings.hostname))
    }

    /// The client.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The mail transaction so far.
    #[must_use]
    pub fn envelope(&self) -> Option<&Envelope> {
        self.envelope.as_deref()
    }

    /// Whether a message is coming in: a stop of the server waits for its end.
    #[must_use]
    pub const fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Data(..) | Phase::Chunk { .. }) || self.chunked.is_some()
    }

    /// The memory that the message on its way in takes, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match (&self.phase, &self.chunked) {
            (Phase::Data(_, receipt), _) | (_, Some(Chunked { receipt, .. })) => receipt.held_bytes(),
            _ => 0,
        }
    }

    /// The mail that the last action has kept out; to be asked for after each action.
    pub fn take_attempts(&mut self) -> Vec<Attempt> {
        mem::take(&mut self.attempts)
    }

    /// The mail that was on its way in when the connection ended, with `farewell` as last words. Where it had been refused
    /// already, that is what kept it out. A client that leaves before its message has changed its mind; one that is sent
    /// away then has not.
    #[must_use]
    pub fn interrupted(&mut self, farewell: Option<Reply>) -> Option<Attempt> {
        let is_kept_out = self.is_receiving() || farewell.is_some();
        let envelope = self.envelope.take().filter(|envelope| is_kept_out && !envelope.rcpt_to.is_empty())?;
        let refusal = match (&self.phase, &self.chunked) {
            (Phase::Data(_, receipt), _) | (_, Some(Chunked { receipt, .. })) => receipt.refusal().cloned(),
            _ => None,
        };
        Some(Attempt::new(*envelope, refusal.or(farewell)))
    }

    /// Gives the message on its way in up; the client reads `refusal` once it has sent all of it.
    pub fn refuse_message(&mut self, refusal: Reply) {
        match (&mut self.phase, &mut self.chunked) {
            (Phase::Data(_, receipt), _) | (_, Some(Chunked { receipt, .. })) => receipt.refuse(refusal),
            _ => {}
        }
    }

    /// Takes what it can use from `input` and says what is to be done; `None` if more input is needed.
    pub fn next(&mut self, input: &mut BytesMut) -> Option<Action> {
        loop {
            match &mut self.phase {
                Phase::Command => match self.line(input)? {
                    Err(action) => return Some(action),
                    Ok(line) => {
                        if let Some(action) = self.command(&line) {
                            return Some(action);
                        }
                    }
                },
                Phase::Data(decoder, receipt) => {
                    return if decoder.decode(input, receipt) { Some(self.end_of_data()) } else { None };
                }
                Phase::Chunk { left, last } => {
                    let (chunk, last) = (take(left, input), *last);
                    let done = *left == 0;
                    if let Some(Chunked { receipt, lines }) = &mut self.chunked {
                        receipt.bare_line_end |= lines.has_bare(&chunk);
                        receipt.push(&chunk);
                    }
                    return if done { Some(self.end_of_chunk(last)) } else { None };
                }
                Phase::Skip { left, refusal } => {
                    take(left, input);
                    if *left > 0 {
                        return None;
                    }
                    let refusal = refusal.clone();
                    self.phase = Phase::Command;
                    return Some(self.refuse(refusal));
                }
                Phase::AskedMail(_) | Phase::AskedRcpt(_) => return None,
                Phase::Closed => {
                    input.clear();
                    return None;
                }
            }
        }
    }

    /// Takes the backend's answer about a sender or a recipient.
    pub fn answer(&mut self, answer: Result<(), Reply>) -> Action {
        let asked = mem::replace(&mut self.phase, Phase::Command);
        match (asked, answer, &mut self.envelope) {
            (Phase::AskedMail(envelope), Ok(()), _) => {
                self.envelope = Some(envelope);
                Action::Say(Reply::new(250, (2, 1, 0), "sender ok"))
            }
            (Phase::AskedMail(envelope), Err(refusal), _) => self.refuse_mail(*envelope, refusal),
            (Phase::AskedRcpt(to), Ok(()), Some(envelope)) => {
                envelope.rcpt_to.push(to);
                Action::Say(recipient_ok())
            }
            (Phase::AskedRcpt(to), Err(refusal), _) => self.refuse_rcpt(to, refusal),
            (other, ..) => {
                self.phase = other;
                Action::Say(out_of_order("nothing was asked"))
            }
        }
    }

    /// Takes the next command line off `input`, without its CRLF.
    fn line(&mut self, input: &mut BytesMut) -> Option<Result<BytesMut, Action>> {
        let max = self.settings.max_command_bytes;
        let Some(end) = memchr(b'\n', input) else {
            if self.overlong || input.len() >= max {
                self.overlong = true;
                // The CR is left: the LF that makes it a line end may be the next byte.
                let keep = usize::from(input.last() == Some(&b'\r'));
                input.advance(input.len() - keep);
            }
            return None;
        };
        let mut line = input.split_to(end + 1);
        line.truncate(end);
        if line.last() != Some(&b'\r') {
            // RFC 5321 section 2.3.8. To go on would be to guess where the client's next command begins.
            return Some(Err(self.refuse(Reply::new(521, (5, 5, 2), "bare LF received; lines end in CRLF"))));
        }
        // RFC 5321 section 4.5.3.1.9: an over-long line is refused as a whole; its tail is never run as a command.
        if mem::take(&mut self.overlong) || end >= max {
            return Some(Err(self.refuse(Reply::new(500, (5, 5, 2), "command line is too long"))));
        }
        line.truncate(end - 1);
        Some(Ok(line))
    }

    /// `None` where the reply has to wait for bytes that follow the command.
    fn command(&mut self, line: &[u8]) -> Option<Action> {
        let command = match Command::parse(line, self.settings.dsn) {
            Ok(command) => command,
            Err(refusal) => return Some(self.refuse_malformed(line, refusal)),
        };
        Some(match command {
            Command::Bdat { size, last } => {
                self.bdat(size, last);
                return None;
            }
            Command::Ehlo(name) => self.ehlo(name),
            Command::Helo(name) => {
                self.greet(name);
                self.say_only(Reply::basic(250, self.settings.hostname.clone()))
            }
            Command::Noop => self.say_only(Reply::new(250, (2, 0, 0), "ok")),
            Command::Quit => self.close(Reply::new(221, (2, 0, 0), "bye")),
            Command::StartTls => self.start_tls(),
            // These two say whose mail is kept out, and look for TLS themselves.
            Command::Mail { from, parameters } => self.mail(from, parameters),
            Command::Rcpt(forward) => self.rcpt(forward),
            _ if self.wants_tls() => self.refuse(tls_first()),
            Command::Data => self.data(),
            Command::Rset => {
                self.reset();
                self.say_only(Reply::new(250, (2, 0, 0), "reset"))
            }
            Command::Vrfy => self.say_only(Reply::new(252, (2, 5, 2), "not verified; send the mail, RCPT will tell")),
            Command::Help => self.say_only(Reply::new(
                214,
                (2, 0, 0),
                "commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS",
            )),
        })
    }

    /// RFC 3207 section 4: but for NOOP, EHLO, STARTTLS and QUIT nothing is carried out before TLS is on.
    fn wants_tls(&self) -> bool {
        self.settings.require_tls && self.starttls
    }

    /// What has to come first: TLS, or what `text` says.
    fn too_early(&self, text: &'static str) -> Reply {
        if self.wants_tls() { tls_first() } else { out_of_order(text) }
    }

    /// Answers a command that brings no mail forward.
    fn say_only(&mut self, reply: Reply) -> Action {
        self.noops += 1;
        if self.noops > self.settings.max_noops {
            return self.close(Reply::new(421, (4, 7, 0), "too many commands without mail, closing the connection"));
        }
        Action::Say(reply)
    }

    fn ehlo(&mut self, name: String) -> Action {
        self.greet(name);
        let Self { settings, starttls, .. } = self;
        let mut text = format!(
            "{} greets you\nPIPELINING\n8BITMIME\nSMTPUTF8\nSIZE {}\nCHUNKING\nLIMITS RCPTMAX={}\n",
            settings.hostname, settings.max_message_bytes, settings.max_recipients
        );
        if settings.dsn {
            text.push_str("DSN\n");
        }
        text.push_str("ENHANCEDSTATUSCODES");
        if *starttls {
            text.push_str("\nSTARTTLS");
        }
        self.say_only(Reply::basic(250, text))
    }

    fn greet(&mut self, name: String) {
        self.peer.helo = name;
        self.greeted = true;
        // RFC 5321 section 4.1.4: as if RSET had been sent.
        self.reset();
    }

    fn start_tls(&mut self) -> Action {
        if self.peer.tls.is_some() {
            return self.refuse(out_of_order("TLS is already on"));
        }
        if !self.starttls {
            return self.refuse(Reply::new(502, (5, 5, 1), "TLS is not offered here"));
        }
        // The handshake is followed by a new session: RFC 3207 section 4.2 wants all that was said forgotten.
        self.phase = Phase::Closed;
        Action::StartTls(Reply::new(220, (2, 0, 0), "ready for TLS"))
    }

    fn reset(&mut self) {
        self.envelope = None;
        self.chunked = None;
        self.refused_mail = None;
    }

    fn close(&mut self, reply: Reply) -> Action {
        if reply.is_refusal() {
            let interrupted = self.interrupted(Some(reply.clone()));
            self.attempts.extend(interrupted);
        }
        self.phase = Phase::Closed;
        self.reset();
        Action::Close(reply)
    }
}

/// Takes up to `left` bytes off `input`, and off `left`.
fn take(left: &mut u64, input: &mut BytesMut) -> BytesMut {
    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= size as u64;
    input.split_to(size)
}
