//! The mail transaction: MAIL, RCPT, and the message that follows by DATA or in chunks.

use std::mem;

use super::super::answers::{in_chunks, needs_smtputf8, out_of_order, recipient_ok, tls_first};
use super::super::command::Forward;
use super::super::data::{ChunkLines, DataDecoder, Receipt, too_large};
use super::super::reply::Reply;
use super::refusal::attempt_for;
use super::{Action, Attempt, Chunked, Phase, Question, Session};
use crate::mail::{Address, Domain, Envelope, MailParameters};

impl Session {
    pub(super) fn mail(&mut self, from: Option<Address>, parameters: MailParameters) -> Action {
        if !self.greeted {
            return self.refuse(self.too_early("send EHLO or HELO first"));
        }
        if self.envelope.is_some() {
            return self.refuse(out_of_order("a mail transaction is open; RSET ends it"));
        }
        let envelope = Envelope { peer: self.peer.clone(), mail_from: from.clone(), parameters, rcpt_to: Vec::new() };
        if self.wants_tls() {
            return self.refuse_mail(envelope, tls_first());
        }
        let max = self.settings.max_message_bytes;
        if envelope.parameters.size.is_some_and(|size| size > max as u64) {
            // RFC 1870 section 6.1.
            return self.refuse_mail(envelope, too_large(max));
        }
        if !envelope.parameters.smtputf8 && from.as_ref().is_some_and(|from| !from.is_ascii()) {
            return self.refuse_mail(envelope, needs_smtputf8());
        }
        self.phase = Phase::AskedMail(Box::new(envelope));
        Action::Ask(Question::Mail(from))
    }

    pub(super) fn rcpt(&mut self, forward: Forward) -> Action {
        let to = match forward {
            Forward::To(recipient) => recipient,
            Forward::Postmaster => Address::new("postmaster", Domain::Name(self.settings.hostname.clone())).into(),
        };
        let Some(envelope) = &self.envelope else {
            if let Some(Attempt { envelope, written_from, reply: Some(reply) }) = self.refused_mail.as_deref() {
                let written_from = written_from.clone();
                self.attempts.push(Attempt { written_from, ..attempt_for(envelope, to, reply) });
            }
            return self.refuse(self.too_early("send MAIL first"));
        };
        if self.chunked.is_some() {
            return self.refuse(in_chunks());
        }
        if envelope.rcpt_to.iter().any(|taken| taken.address == to.address) {
            return Action::Say(recipient_ok());
        }
        if !envelope.parameters.smtputf8 && !to.address.is_ascii() {
            return self.refuse_rcpt(to, needs_smtputf8());
        }
        if envelope.rcpt_to.len() >= self.settings.max_recipients {
            // RFC 5321 section 4.5.3.1.10: the client brings the rest in another message, so this is no error of its.
            let reply = Reply::new(452, (4, 5, 3), "too many recipients; send the rest in another message");
            self.attempts.push(attempt_for(envelope, to, &reply));
            return Action::Say(reply);
        }
        let address = to.address.clone();
        self.phase = Phase::AskedRcpt(to);
        Action::Ask(Question::Rcpt(address))
    }

    pub(super) fn data(&mut self) -> Action {
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
            None => Err(self.too_early("send MAIL and RCPT first")),
            // RFC 5321 section 3.3.
            Some(envelope) if envelope.rcpt_to.is_empty() => Err(Reply::new(554, (5, 5, 1), "no valid recipients")),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn end_of_data(&mut self) -> Action {
        match mem::replace(&mut self.phase, Phase::Command) {
            Phase::Data(_, receipt) => self.deliver(receipt),
            other => {
                self.phase = other;
                Action::Say(out_of_order("no message is coming in"))
            }
        }
    }

    /// RFC 3030 section 2: the bytes of a chunk follow its command whatever the answer, so a refusal comes behind them.
    pub(super) fn bdat(&mut self, size: u64, last: bool) {
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

    pub(super) fn end_of_chunk(&mut self, last: bool) -> Action {
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
        match (envelope, receipt.finish(self.settings.bare_lf, self.settings.max_text_line_bytes)) {
            (Some(envelope), Ok(raw)) => {
                (self.errors, self.noops) = (0, 0);
                Action::Ask(Question::Deliver(envelope, raw))
            }
            (envelope, Err(refusal)) => {
                self.attempts.extend(envelope.map(|envelope| Attempt::new(*envelope, Some(refusal.clone()))));
                self.refuse(refusal)
            }
            (None, Ok(_)) => self.refuse(out_of_order("send MAIL and RCPT first")),
        }
    }
}
