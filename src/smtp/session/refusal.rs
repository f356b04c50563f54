//! Refusals: whose mail they keep out, and when there have been too many.

use super::super::command::{About, Sender};
use super::super::reply::Reply;
use super::{Action, Attempt, Session};
use crate::mail::{Envelope, MailParameters, Recipient};

impl Session {
    /// Refuses a sender, and remembers it for the recipients that a client may have sent along.
    pub(super) fn refuse_mail(&mut self, envelope: Envelope, refusal: Reply) -> Action {
        self.refuse_sender(Attempt::new(envelope, Some(refusal.clone())), refusal)
    }

    fn refuse_sender(&mut self, attempt: Attempt, refusal: Reply) -> Action {
        self.refused_mail = Some(Box::new(attempt.clone()));
        self.attempts.push(attempt);
        self.refuse(refusal)
    }

    /// Refuses a command that could not be read, and keeps in mind whose mail it was about.
    pub(super) fn refuse_malformed(&mut self, line: &[u8], refusal: Reply) -> Action {
        let is_begun = self.envelope.is_some();
        match About::read(line) {
            // Nobody can say whose mail it is.
            Some(About::Mail(Sender::Text(text))) if text.is_empty() && !is_begun => {
                self.refused_mail = None;
                self.refuse(refusal)
            }
            Some(About::Mail(sender)) if self.greeted && !is_begun => {
                let (mail_from, written_from) = match sender {
                    Sender::Address(address) => (Some(address), None),
                    Sender::Nobody => (None, None),
                    Sender::Text(text) => (None, Some(text)),
                };
                let parameters = MailParameters::default();
                let envelope = Envelope { peer: self.peer.clone(), mail_from, parameters, rcpt_to: Vec::new() };
                let attempt = Attempt { written_from, ..Attempt::new(envelope, Some(refusal.clone())) };
                self.refuse_sender(attempt, refusal)
            }
            Some(About::Rcpt(to)) if is_begun => self.refuse_rcpt(to.into(), refusal),
            _ => self.refuse(refusal),
        }
    }

    pub(super) fn refuse_rcpt(&mut self, to: Recipient, refusal: Reply) -> Action {
        self.attempts.extend(self.envelope.as_ref().map(|envelope| attempt_for(envelope, to, &refusal)));
        self.refuse(refusal)
    }

    pub(super) fn refuse(&mut self, refusal: Reply) -> Action {
        // RFC 7504 section 2: no mail here. What follows is no command, or nobody knows where the next one begins.
        if refusal.code == 521 {
            return self.close(refusal);
        }
        self.errors += 1;
        if self.errors > self.settings.max_errors {
            return self.close(Reply::new(421, (4, 7, 0), "too many errors, closing the connection"));
        }
        Action::Say(refusal)
    }
}

/// The mail of `envelope`, kept out for one recipient.
pub(super) fn attempt_for(envelope: &Envelope, to: Recipient, reply: &Reply) -> Attempt {
    let envelope = Envelope {
        peer: envelope.peer.clone(),
        mail_from: envelope.mail_from.clone(),
        parameters: envelope.parameters.clone(),
        rcpt_to: vec![to],
    };
    Attempt::new(envelope, Some(reply.clone()))
}
