//! Plays a dialogue with the pure [`Session`]: bytes in, a transcript and the kept messages out. No socket, no clock.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use restante::mail::{Address, Envelope, TlsInfo};
use restante::smtp::{Action, Attempt, Question, Reply, Session, SessionSettings};

use crate::dialogue::{keep, may_receive, may_send};

/// A session and everything that has come out of it.
pub(crate) struct Player {
    settings: Arc<SessionSettings>,
    session: Session,
    input: BytesMut,
    /// The reply lines, and `[tls]` and `[closed]` where they happened.
    pub(crate) transcript: Vec<String>,
    /// The messages that were kept.
    pub(crate) delivered: Vec<(Envelope, Bytes)>,
    /// The mail that did not get in.
    pub(crate) refused: Vec<Attempt>,
    /// The sender and the recipients that the backend has taken since the last message.
    taken: Option<(Option<Address>, Vec<Address>)>,
}

impl Player {
    /// A session that has said its greeting.
    pub(crate) fn new(settings: &Arc<SessionSettings>, starttls: bool) -> Self {
        let session = session(settings, starttls, None);
        let (input, settings) = (BytesMut::new(), settings.clone());
        let mut player = Self {
            settings,
            session,
            input,
            transcript: Vec::new(),
            delivered: Vec::new(),
            refused: Vec::new(),
            taken: None,
        };
        player.say(&player.session.greeting());
        player
    }

    /// Hands over one piece of input and carries out all that follows from it.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.input.extend_from_slice(piece);
        while let Some(action) = self.session.next(&mut self.input) {
            self.act(action);
        }
        // A Vec that grows doubles, and no allocation is smaller than a few bytes.
        let most = 2 * self.settings.max_message_bytes.max(8);
        assert!(self.session.held_bytes() <= most, "{} bytes are held", self.session.held_bytes());
    }

    /// The TLS handshake: what was read before it is dropped, and a new session begins.
    pub(crate) fn handshake(&mut self) {
        let tls = TlsInfo { version: "TLSv1.3".to_owned(), cipher: "TLS_AES_128_GCM_SHA256".to_owned() };
        self.input.clear();
        self.taken = None;
        self.session = session(&self.settings, true, Some(tls));
    }

    fn act(&mut self, action: Action) {
        self.refused.extend(self.session.take_attempts());
        match action {
            Action::Say(reply) => self.say(&reply),
            Action::Close(reply) => {
                self.say(&reply);
                self.transcript.push("[closed]".to_owned());
            }
            Action::StartTls(reply) => {
                self.say(&reply);
                self.transcript.push("[tls]".to_owned());
            }
            Action::Ask(Question::Mail(from)) => {
                let answer = may_send(from.as_ref());
                if answer.is_ok() {
                    self.taken = Some((from, Vec::new()));
                }
                let next = self.session.answer(answer);
                self.act(next);
            }
            Action::Ask(Question::Rcpt(to)) => {
                let answer = may_receive(&to);
                if answer.is_ok() {
                    let (_, recipients) = self.taken.as_mut().expect("RCPT was asked without MAIL");
                    recipients.push(to);
                }
                let next = self.session.answer(answer);
                self.act(next);
            }
            Action::Ask(Question::Deliver(envelope, raw)) => self.deliver(*envelope, raw),
        }
    }

    fn deliver(&mut self, envelope: Envelope, raw: Bytes) {
        let recipients_of =
            |envelope: &Envelope| envelope.rcpt_to.iter().map(|to| to.address.clone()).collect::<Vec<_>>();
        let (from, recipients) = self.taken.take().expect("a message came without MAIL");
        assert!(!recipients.is_empty(), "a message came without RCPT");
        assert_eq!(
            (&envelope.mail_from, recipients_of(&envelope)),
            (&from, recipients),
            "a message came with another's envelope"
        );
        assert!(raw.len() <= self.settings.max_message_bytes, "a message of {} bytes was taken", raw.len());
        let answer = keep(&raw);
        match &answer {
            Ok(_) => self.delivered.push((envelope, raw)),
            Err(reply) => self.refused.push(Attempt::new(envelope, Some(reply.clone()))),
        }
        let (Ok(reply) | Err(reply)) = answer;
        self.say(&reply);
    }

    fn say(&mut self, reply: &Reply) {
        let mut wire = Vec::new();
        reply.write_to(&mut wire);
        let wire = String::from_utf8(wire).expect("a reply is text");
        self.transcript.extend(wire.split_terminator("\r\n").map(str::to_owned));
    }
}

fn session(settings: &Arc<SessionSettings>, starttls: bool, tls: Option<TlsInfo>) -> Session {
    let client = SocketAddr::from(([192, 0, 2, 1], 40_000));
    let server = SocketAddr::from(([192, 0, 2, 2], 25));
    Session::new(settings.clone(), client, server, starttls, tls)
}
