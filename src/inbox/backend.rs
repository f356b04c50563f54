//! The inbox as the program behind port 25.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use tokio::time::Instant;

use super::rate::TooFast;
use super::{Attempt, INLINE_MAX_BYTES, Inbox};
use crate::mail::{self, Address, Budgets, Content, Domain, Envelope, Message, MessageId, Peer, Recipient};
use crate::smtp::{self, Backend, Reply};
use crate::store::{Delivery, StoreError};

impl Backend for Inbox {
    async fn mail(&self, peer: &Peer, from: Option<&Address>) -> Result<(), Reply> {
        self.rates.check(from, peer.addr.ip()).map_err(|too_fast| {
            let (whose, wait) = match too_fast {
                TooFast::Sender(wait) => ("of this sender", wait),
                TooFast::Client(wait) => ("from your address", wait),
            };
            let seconds = wait.as_secs() + 1;
            Reply::new(450, (4, 7, 1), format!("too many messages {whose}; try again in {seconds} seconds"))
        })
    }

    async fn rcpt(&self, envelope: &Envelope, to: &Address) -> Result<(), Reply> {
        let is_ours = |domain: &Domain| self.settings.domains.accept(domain, envelope.peer.local.ip());
        if !is_ours(to.domain()) && !self.is_postmaster(to) {
            return Err(Reply::new(550, (5, 7, 1), "relaying denied: this server takes no mail for that domain"));
        }
        if let Some(domain) = route(to.local_part()).find(|domain| !is_ours(domain)) {
            let text = format!("relaying denied: the local-part is a route to {domain}, and mail is not sent on");
            return Err(Reply::new(550, (5, 7, 1), text));
        }
        match self.settings.naming.of(to) {
            Ok(_) => Ok(()),
            Err(error) => Err(Reply::new(553, (5, 1, 3), error.to_string())),
        }
    }

    async fn deliver(&self, envelope: &Envelope, raw: Bytes) -> Result<Reply, Reply> {
        let received_at = self.clock.now();
        let id = MessageId::new(received_at);
        let deliveries = self.deliveries(&envelope.rcpt_to);
        let message = Message {
            id,
            received_at,
            expires_at: received_at.after(self.settings.retention),
            mail_from: envelope.mail_from.clone(),
            parameters: envelope.parameters.clone(),
            peer: envelope.peer.clone(),
            size: raw.len() as u64,
            content: self.content(raw.clone()).await,
        };
        let (size, mailboxes) = (raw.len(), deliveries.len());
        match self.store.append(deliveries, message, raw).await {
            Ok(_) => {
                tracing::info!(%id, size, mailboxes, "message kept");
                Ok(Reply::new(250, (2, 0, 0), format!("kept as {id}")))
            }
            Err(error) => Err(refusal(id, &error)),
        }
    }

    fn refused(&self, attempt: smtp::Attempt) {
        let now = self.clock.now();
        self.ledger.record(Attempt::each(attempt, self.settings.naming, now), now);
    }
}

impl Inbox {
    fn is_postmaster(&self, to: &Address) -> bool {
        to.local_part().eq_ignore_ascii_case("postmaster")
            && matches!(to.domain(), Domain::Name(name) if name.eq_ignore_ascii_case(&self.settings.hostname))
    }

    async fn content(&self, raw: Bytes) -> Content {
        let start = Instant::now();
        let content = self.parsed(raw).await;
        self.metrics.parse.observe(start.elapsed());
        content
    }

    async fn parsed(&self, raw: Bytes) -> Content {
        let (size, budgets) = (raw.len(), self.settings.mime);
        let parse = move || record_of(&raw, &budgets);
        if size <= INLINE_MAX_BYTES {
            return parse();
        }
        // The semaphore is never closed.
        let turn = self.parsing.clone().acquire_owned().await;
        let parsing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            parse()
        });
        parsing.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a message was not parsed");
            mail::unreadable()
        })
    }

    /// One delivery for each distinct mailbox.
    fn deliveries(&self, recipients: &[Recipient]) -> Vec<Delivery> {
        let mailbox = |to: &Recipient| self.settings.naming.of(&to.address).ok();
        Delivery::each(recipients.iter().filter_map(|to| Some((mailbox(to)?, to.clone()))))
    }
}

/// The domains that a local-part would be sent on to by servers that still know the routes of old: `user%domain`,
/// `domain!user`, `user@domain` in quotes. Who probes for relays tries them, and nobody else writes them.
fn route(local: &str) -> impl Iterator<Item = Domain> {
    const MARKS: [char; 3] = ['%', '@', '!'];
    let hops = local.match_indices(MARKS).filter_map(|(at, mark)| match mark {
        "!" => local[..at].rsplit(MARKS).next(),
        _ => local[at + 1..].split(MARKS).next(),
    });
    hops.filter(|hop| hop.contains('.') || hop.starts_with('[')).filter_map(|hop| hop.parse().ok())
}

/// What is read out of a message, whatever it is made of.
#[must_use]
pub fn record_of(raw: &[u8], budgets: &Budgets) -> Content {
    contained(|| mail::parse(raw, budgets))
}

/// Contains a panic: the bytes come from strangers, and much of the reading is done by code that is not ours. The message is
/// kept all the same.
fn contained(parse: impl FnOnce() -> Content) -> Content {
    catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|_| {
        tracing::error!("the parser of messages has panicked; the message is kept, but its record is empty");
        mail::unreadable()
    })
}

/// The public text is generic, the cause goes to the log.
fn refusal(id: MessageId, error: &StoreError) -> Reply {
    tracing::error!(%id, %error, "message refused: the store did not keep it");
    match error {
        StoreError::Full(_) => Reply::new(452, (4, 3, 1), "mail system full, try again later"),
        StoreError::Unavailable(_) | StoreError::Damaged(_) => {
            Reply::new(451, (4, 3, 0), "mail system not available, try again later")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::tests::{RETENTION, envelope, inbox, settings};
    use crate::inbox::{Page, Settings};
    use crate::mail::{Naming, NamingScheme};

    fn refused(answer: Result<impl Sized, Reply>) -> (u16, Option<(u8, u16, u16)>) {
        let Err(reply) = answer else { panic!("not refused") };
        (reply.code, reply.enhanced)
    }

    #[tokio::test]
    async fn a_recipient_of_another_domain_is_refused() {
        let inbox = inbox(settings(), u64::MAX).await;
        let ask = async |to: &str| inbox.rcpt(&envelope(&[]), &Address::parse(to).unwrap()).await;
        assert_eq!(ask("user@example.com").await, Ok(()));
        assert_eq!(ask("Postmaster@MX.example.net").await, Ok(()));
        for to in ["user@example.org", "user@mx.example.net", "postmaster@example.org", "user%example.org@[192.0.2.9]"]
        {
            assert_eq!(refused(ask(to).await), (550, Some((5, 7, 1))), "{to}");
        }
    }

    #[tokio::test]
    async fn a_local_part_is_no_way_to_another_domain() {
        let inbox = inbox(settings(), u64::MAX).await;
        let ask = async |local: &str| {
            let to = Address::new(local, "example.com".parse().unwrap());
            inbox.rcpt(&envelope(&[]), &to).await
        };
        for route in [
            "user%example.org",
            "user%example.com%example.org",
            "example.org!user",
            "user@example.org",
            "user@[192.0.2.9]",
            "user%example.org@example.com",
        ] {
            assert_eq!(refused(ask(route).await), (550, Some((5, 7, 1))), "{route}");
        }
        for local in ["user%example.com", "example.com!user", "user@example.com", "100%sure", "wow!", "a@b", "a.b%c"] {
            assert_eq!(ask(local).await, Ok(()), "{local}");
        }
    }

    #[tokio::test]
    async fn a_sender_that_is_too_fast_is_asked_to_wait() {
        let inbox = inbox(Settings { rate_per_minute: 1, ..settings() }, u64::MAX).await;
        let (envelope, sender) = (envelope(&[]), Address::parse("a@sender.example").unwrap());
        assert_eq!(inbox.mail(&envelope.peer, Some(&sender)).await, Ok(()));
        assert_eq!(refused(inbox.mail(&envelope.peer, Some(&sender)).await), (450, Some((4, 7, 1))));
    }

    #[tokio::test]
    async fn each_mailbox_gets_the_message_once_and_for_its_time() {
        let inbox = inbox(settings(), u64::MAX).await;
        let to = ["User@example.com", "other@example.com", "user@example.com"];
        inbox.deliver(&envelope(&to), Bytes::from_static(b"Subject: x\r\n\r\n")).await.unwrap();
        let all = Page { before: None, after: None, limit: 10, max_bytes: 1 << 20 };
        for (mailbox, rcpt_to) in [("user", &[to[0], to[2]][..]), ("other", &[to[1]])] {
            let listed = inbox.list(&inbox.mailbox(mailbox).unwrap(), all).await.unwrap();
            let [stored] = &listed.messages[..] else { panic!("{listed:?}") };
            assert!(stored.rcpt_to.iter().map(ToString::to_string).eq(rcpt_to.iter().copied()), "{stored:?}");
            assert_eq!(stored.message.received_at, inbox.clock.now());
            assert_eq!(stored.message.expires_at, inbox.clock.now().after(RETENTION));
        }
    }

    #[tokio::test]
    async fn a_mailbox_of_a_domain_knows_all_recipients_that_led_to_it() {
        let naming = Naming { scheme: NamingScheme::Domain, ..Naming::default() };
        let inbox = inbox(Settings { naming, ..settings() }, u64::MAX).await;
        let mut envelope = envelope(&["ann@example.com", "bob+x@example.com"]);
        envelope.rcpt_to[1].notify = Some("NEVER".to_owned());
        inbox.deliver(&envelope, Bytes::from_static(b"Subject: x\r\n\r\n")).await.unwrap();
        let all = Page { before: None, after: None, limit: 10, max_bytes: 1 << 20 };
        let listed = inbox.list(&inbox.mailbox("example.com").unwrap(), all).await.unwrap();
        let [stored] = &listed.messages[..] else { panic!("{listed:?}") };
        assert!(stored.rcpt_to.iter().eq(&envelope.rcpt_to), "{stored:?}");
    }

    #[test]
    fn a_panic_of_the_parser_costs_the_record_and_no_more() {
        assert_eq!(contained(|| panic!("a crafted message")), mail::unreadable());
        assert_eq!(mail::unreadable().problems.len(), 1);
        assert_eq!(contained(Content::default), Content::default());
    }

    #[tokio::test]
    async fn a_message_is_read_within_the_budgets_that_are_set() {
        let mime = Budgets { max_parts: 1, ..Budgets::default() };
        let inbox = inbox(Settings { mime, ..settings() }, u64::MAX).await;
        let raw = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n";
        for raw in [raw.to_owned(), raw.to_owned() + &"epilogue\r\n".repeat(INLINE_MAX_BYTES / 10)] {
            let content = inbox.content(raw.into()).await;
            assert_eq!(content.text.as_deref(), Some("one"));
            assert!(content.problems.iter().any(|problem| problem.starts_with("many-parts: ")), "{content:?}");
        }
    }

    #[tokio::test]
    async fn what_the_store_does_not_keep_stays_with_its_sender() {
        let raw = Bytes::from_static(b"Subject: x\r\n\r\n");
        let full = inbox(settings(), 0).await;
        assert_eq!(refused(full.deliver(&envelope(&["a@example.com"]), raw.clone()).await), (452, Some((4, 3, 1))));
        let closed = inbox(settings(), u64::MAX).await;
        closed.store.close().await;
        assert_eq!(refused(closed.deliver(&envelope(&["a@example.com"]), raw).await), (451, Some((4, 3, 0))));
    }
}
