//! What is kept, and what is shown of it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::mail::{MailboxName, Message, Recipient, Recipients};

/// One mailbox that a message goes to, and the recipients that led there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// The envelope recipients that lead there.
    pub rcpt_to: Recipients,
}

impl Delivery {
    /// One delivery for each distinct mailbox, with all recipients that lead there.
    #[must_use]
    pub fn each(recipients: impl IntoIterator<Item = (MailboxName, Recipient)>) -> Vec<Self> {
        let mut deliveries: Vec<Self> = Vec::new();
        let mut places = HashMap::new();
        for (mailbox, to) in recipients {
            match places.get(&mailbox).and_then(|place: &usize| deliveries.get_mut(*place)) {
                Some(delivery) => delivery.rcpt_to.others.push(to),
                None => {
                    places.insert(mailbox.clone(), deliveries.len());
                    deliveries.push(Self { mailbox, rcpt_to: to.into() });
                }
            }
        }
        deliveries
    }
}

/// A message as one mailbox sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its place in the order of arrival in its mailbox: given out by the store at commit, always growing, never used again.
    pub seq: u64,
    /// The mailbox.
    pub mailbox: MailboxName,
    /// The envelope recipients that led to this mailbox.
    pub rcpt_to: Recipients,
    /// The message.
    pub message: Arc<Message>,
}

impl Stored {
    /// The bytes of its texts: nearly all that it takes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.message.content.text_bytes() + self.rcpt_to.others_bytes()
    }
}

/// Which part of a mailbox to list. The newest come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// Only messages with a smaller `seq`.
    pub before: Option<u64>,
    /// Only messages with a larger `seq`.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: usize,
    /// At most so many bytes of records, but always one message: a mailbox may hold more text than there is memory.
    pub max_bytes: u64,
}

impl Page {
    /// Whether nothing more has place behind `count` messages, where their records with the next one's have `bytes`.
    pub(in crate::store) const fn is_full(&self, count: usize, bytes: u64) -> bool {
        count >= self.limit || (count > 0 && bytes > self.max_bytes)
    }
}

/// A page of a mailbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Its messages, newest first.
    pub messages: Vec<Stored>,
    /// Whether the mailbox goes on behind it, within the bounds that were asked for.
    pub more: bool,
    /// How many messages were left out, as they cannot be read back.
    pub left_out: u64,
}

/// A mailbox that holds mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxSummary {
    /// Its name.
    pub mailbox: MailboxName,
    /// How many messages it holds that have not expired.
    pub count: u64,
    /// When the newest of them arrived, the one that a list begins with.
    pub newest_received_at: Timestamp,
}

/// Mail has arrived. An event names, it does not carry: who misses one looks again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where.
    pub mailbox: MailboxName,
    /// As which message of that mailbox.
    pub seq: u64,
}

/// One delivery for each mailbox, and which of them each of `deliveries` is.
pub(super) fn distinct(deliveries: &[Delivery]) -> (Vec<&Delivery>, Vec<usize>) {
    let mut recipients: Vec<&Delivery> = Vec::with_capacity(deliveries.len());
    let mut places = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        let known = recipients.iter().position(|recipient| recipient.mailbox == delivery.mailbox);
        places.push(known.unwrap_or(recipients.len()));
        if known.is_none() {
            recipients.push(delivery);
        }
    }
    (recipients, places)
}
