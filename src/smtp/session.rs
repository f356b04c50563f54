//! One SMTP session as a value: bytes go in, actions come out. No I/O, no clock, no store.
//!
//! The driver hands over what it has read, does what it is told, and brings back the answers of the [`Backend`].
//! A session does not know about time: idle and total limits belong to the driver.
//!
//! [`Backend`]: super::Backend

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::command::{Command, MailParameters, Recipient};
use super::data::{BareLf, ChunkLines, DataDecoder, Receipt, too_large};
use super::reply::Reply;
use crate::mail::{Address, Domain, Envelope, Peer, TlsInfo};

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
    /// The most refused commands between two accepted messages; then the session ends. It stops those who guess.
    pub max_errors: u32,
    /// What becomes of a message with a bare CR or LF.
    pub bare_lf: BareLf,
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
    errors: u32,
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
    AskedRcpt(Address),
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
            errors: 0,
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
        if let Err(refusal) = answer {
            return self.refuse(refusal);
        }
        match (asked, &mut self.envelope) {
            (Phase::AskedMail(envelope), _) => {
                self.envelope = Some(envelope);
                Action::Say(Reply::new(250, (2, 1, 0), "sender ok"))
            }
            (Phase::AskedRcpt(to), Some(envelope)) => {
                envelope.rcpt_to.push(to);
                Action::Say(recipient_ok())
            }
            (other, _) => {
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
            return Some(Err(self.close(Reply::new(521, (5, 5, 2), "bare LF received; lines end in CRLF"))));
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
        let command = match Command::parse(line) {
            Ok(command) => command,
            // A chunk of unknown size follows; none of it may be taken for commands.
            Err(refusal) if is_chunk(line) => return Some(self.close(Reply { code: 521, ..refusal })),
            Err(refusal) => return Some(self.refuse(refusal)),
        };
        Some(match command {
            Command::Bdat { size, last } => {
                self.bdat(size, last);
                return None;
            }
            Command::Ehlo(name) => self.ehlo(name),
            Command::Helo(name) => {
                self.greet(name);
                Action::Say(Reply::basic(250, self.settings.hostname.clone()))
            }
            Command::Mail { from, parameters } => self.mail(from, parameters),
            Command::Rcpt(recipient) => self.rcpt(recipient),
            Command::Data => self.data(),
            Command::Rset => {
                self.reset();
                Action::Say(Reply::new(250, (2, 0, 0), "reset"))
            }
            Command::Noop => Action::Say(Reply::new(250, (2, 0, 0), "ok")),
            Command::Vrfy => Action::Say(Reply::new(252, (2, 5, 2), "not verified; send the mail, RCPT will tell")),
            Command::Help => Action::Say(Reply::new(
                214,
                (2, 0, 0),
                "commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS",
            )),
            Command::Quit => self.close(Reply::new(221, (2, 0, 0), "bye")),
            // A web page can make its reader's browser post to this port, and the body of that request is the page's.
            Command::Http => self.close(Reply::new(521, (5, 7, 0), "this is a mail server, it does not speak HTTP")),
            Command::StartTls => self.start_tls(),
        })
    }

    fn ehlo(&mut self, name: String) -> Action {
        self.greet(name);
        let Self { settings, starttls, .. } = self;
        let mut text = format!(
            "{} greets you\nPIPELINING\n8BITMIME\nSMTPUTF8\nSIZE {}\nCHUNKING\nENHANCEDSTATUSCODES",
            settings.hostname, settings.max_message_bytes
        );
        if *starttls {
            text.push_str("\nSTARTTLS");
        }
        Action::Say(Reply::basic(250, text))
    }

    fn greet(&mut self, name: String) {
        self.peer.helo = name;
        self.greeted = true;
        // RFC 5321 section 4.1.4: as if RSET had been sent.
        self.reset();
    }

    fn mail(&mut self, from: Option<Address>, parameters: MailParameters) -> Action {
        if !self.greeted {
            return self.refuse(out_of_order("send EHLO or HELO first"));
        }
        if self.envelope.is_some() {
            return self.refuse(out_of_order("a mail transaction is open; RSET ends it"));
        }
        let max = self.settings.max_message_bytes;
        if parameters.size.is_some_and(|size| size > max as u64) {
            // RFC 1870 section 6.1.
            return self.refuse(too_large(max));
        }
        if !parameters.smtputf8 && from.as_ref().is_some_and(|from| !from.is_ascii()) {
            return self.refuse(needs_smtputf8());
        }
        self.phase = Phase::AskedMail(Box::new(Envelope {
            peer: self.peer.clone(),
            mail_from: from.clone(),
            rcpt_to: Vec::new(),
            size: parameters.size,
            smtputf8: parameters.smtputf8,
        }));
        Action::Ask(Question::Mail(from))
    }

    fn rcpt(&mut self, recipient: Recipient) -> Action {
        let Some(envelope) = &self.envelope else {
            return self.refuse(out_of_order("send MAIL first"));
        };
        if self.chunked.is_some() {
            return self.refuse(in_chunks());
        }
        let to = match recipient {
            Recipient::Address(address) => address,
            Recipient::Postmaster => Address::new("postmaster", Domain::Name(self.settings.hostname.clone())),
        };
        if envelope.rcpt_to.contains(&to) {
            return Action::Say(recipient_ok());
        }
        if !envelope.smtputf8 && !to.is_ascii() {
            return self.refuse(needs_smtputf8());
        }
        if envelope.rcpt_to.len() >= self.settings.max_recipients {
            // RFC 5321 section 4.5.3.1.10: the client brings the rest in another message, so this is no error of its.
            return Action::Say(Reply::new(452, (4, 5, 3), "too many recipients; send the rest in another message"));
        }
        self.phase = Phase::AskedRcpt(to.clone());
        Action::Ask(Question::Rcpt(to))
    }

    fn data(&mut self) -> Action {
        if self.chunked.is_some() {
            return self.refuse(in_chunks());
        }
        if let Err(refusal) = self.wants_message() {
            return self.refuse(refusal);
        }
        self.phase = Phase::Data(DataDecoder::default(), Receipt::new(self.settings.max_message_bytes));
        Action::Say(Reply::basic(354, "send the message, end it with a dot on a line of its own"))
    }

    fn wants_message(&self) -> Result<(), Reply> {
        match &self.envelope {
            None => Err(out_of_order("send MAIL and RCPT first")),
            // RFC 5321 section 3.3.
            Some(envelope) if envelope.rcpt_to.is_empty() => Err(Reply::new(554, (5, 5, 1), "no valid recipients")),
            Some(_) => Ok(()),
        }
    }

    fn end_of_data(&mut self) -> Action {
        match mem::replace(&mut self.phase, Phase::Command) {
            Phase::Data(_, receipt) => self.deliver(receipt),
            other => {
                self.phase = other;
                Action::Say(out_of_order("no message is coming in"))
            }
        }
    }

    /// RFC 3030 section 2: the bytes of a chunk follow its command whatever the answer, so a refusal comes behind them.
    fn bdat(&mut self, size: u64, last: bool) {
        self.phase = match self.wants_message() {
            Err(refusal) => Phase::Skip { left: size, refusal },
            Ok(()) => {
                let max = self.settings.max_message_bytes;
                self.chunked
                    .get_or_insert_with(|| Chunked { receipt: Receipt::new(max), lines: ChunkLines::default() });
                Phase::Chunk { left: size, last }
            }
        };
    }

    fn end_of_chunk(&mut self, last: bool) -> Action {
        self.phase = Phase::Command;
        match self.chunked.take() {
            Some(Chunked { mut receipt, lines }) if last || receipt.is_refused() => {
                receipt.bare_line_end |= lines.is_open();
                self.deliver(receipt)
            }
            chunked => {
                self.chunked = chunked;
                Action::Say(Reply::new(250, (2, 0, 0), "chunk taken"))
            }
        }
    }

    /// The transaction is over, whatever becomes of the message.
    fn deliver(&mut self, receipt: Receipt) -> Action {
        let envelope = self.envelope.take();
        self.reset();
        match (envelope, receipt.finish(self.settings.bare_lf)) {
            (Some(envelope), Ok(raw)) => {
                self.errors = 0;
                Action::Ask(Question::Deliver(envelope, raw))
            }
            (_, Err(refusal)) => self.refuse(refusal),
            (None, Ok(_)) => self.refuse(out_of_order("send MAIL and RCPT first")),
        }
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
    }

    fn refuse(&mut self, refusal: Reply) -> Action {
        self.errors += 1;
        if self.errors > self.settings.max_errors {
            return self.close(Reply::new(421, (4, 7, 0), "too many errors, closing the connection"));
        }
        Action::Say(refusal)
    }

    fn close(&mut self, reply: Reply) -> Action {
        self.phase = Phase::Closed;
        self.reset();
        Action::Close(reply)
    }
}

fn is_chunk(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
}

/// Takes up to `left` bytes off `input`, and off `left`.
fn take(left: &mut u64, input: &mut BytesMut) -> BytesMut {
    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= size as u64;
    input.split_to(size)
}

fn out_of_order(text: &'static str) -> Reply {
    Reply::new(503, (5, 5, 1), text)
}

fn in_chunks() -> Reply {
    out_of_order("the message is coming in chunks; go on with BDAT, or RSET to give it up")
}

fn recipient_ok() -> Reply {
    Reply::new(250, (2, 1, 5), "recipient ok")
}

/// RFC 6531 section 3.5.
fn needs_smtputf8() -> Reply {
    Reply::new(553, (5, 6, 7), "address is not ASCII; MAIL needs the SMTPUTF8 parameter")
}
