//! The inbox as the program behind port 25.

use std::collections::HashSet;

use bytes::Bytes;

use super::Inbox;
use crate::mail::{self, Address, Content, Domain, Envelope, Message, MessageId, Peer};
use crate::smtp::{Backend, Reply};
use crate::store::{Delivery, StoreError};

/// Messages up to this size are parsed where they arrive; larger ones would hold up other connections of the same thread.
const PARSE_INLINE_MAX_BYTES: usize = 64 * 1024;

impl Backend for Inbox {
    async fn mail(&self, peer: &Peer, from: Option<&Address>) -> Result<(), Reply> {
        self.rate.check(from, peer.addr.ip()).map_err(|wait| {
            let seconds = wait.as_secs() + 1;
            Reply::new(450, (4, 7, 1), format!("too many messages of this sender; try again in {seconds} seconds"))
        })
    }

    async fn rcpt(&self, envelope: &Envelope, to: &Address) -> Result<(), Reply> {
        if !self.settings.domains.accept(to.domain(), envelope.peer.local.ip()) && !self.is_postmaster(to) {
            return Err(Reply::new(550, (5, 7, 1), "relaying denied: this server takes no mail for that domain"));
        }
        match self.settings.naming.of(to) {
            Ok(_) => Ok(()),
            Err(error) => Err(Reply::new(553, (5, 1, 3), error.to_string())),
        }
    }

    async fn deliver(&self, envelope: Envelope, raw: Bytes) -> Result<Reply, Reply> {
        let received_at = self.clock.now();
        let id = MessageId::new(received_at);
        let deliveries = self.deliveries(&envelope.rcpt_to);
        let message = Message {
            id,
            received_at,
            expires_at: received_at.after(self.settings.retention),
            mail_from: envelope.mail_from,
            peer: envelope.peer,
            size: raw.len() as u64,
            content: content(raw.clone()).await,
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
}

impl Inbox {
    fn is_postmaster(&self, to: &Address) -> bool {
        to.local_part().eq_ignore_ascii_case("postmaster")
            && matches!(to.domain(), Domain::Name(name) if name.eq_ignore_ascii_case(&self.settings.hostname))
    }

    /// One delivery for each distinct mailbox; it shows the first recipient that led there.
    fn deliveries(&self, recipients: &[Address]) -> Vec<Delivery> {
        let mut seen = HashSet::new();
        recipients
            .iter()
            .filter_map(|to| Some(Delivery { mailbox: self.settings.naming.of(to).ok()?, rcpt_to: to.clone() }))
            .filter(|delivery| seen.insert(delivery.mailbox.clone()))
            .collect()
    }
}

async fn content(raw: Bytes) -> Content {
    if raw.len() <= PARSE_INLINE_MAX_BYTES {
        return mail::parse(&raw);
    }
    tokio::task::spawn_blocking(move || mail::parse(&raw)).await.unwrap_or_else(|error| Content {
        problems: vec![format!("the message could not be read: {error}")],
        ..Content::default()
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
