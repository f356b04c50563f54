//! Events from node to node: the script that saves publishes one, and every node, its own included, hears it. So does the one
//! that gives a message back to be claimed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::Message;
use fred::types::config::Server;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use crate::mail::MailboxName;
use crate::shutdown::Shutdown;
use crate::store::{Event, Events};

/// How long a delivery waits to hear of itself, so that events come in the order of arrival. Then it tells this node by itself.
const ECHO_TIMEOUT: Duration = Duration::from_millis(250);
/// How often whoever waits looks anyway. What was published while a node had no connection, that node has not heard.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often the connection is asked whether it is alive, and how long that may take: on one that only listens nobody would
/// notice that the other end is gone. The question is to subscribe once more, as nothing else may be said there.
const ASK_EVERY: Duration = Duration::from_secs(2);
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// What this node hears.
#[derive(Clone)]
pub(super) struct Notices {
    events: Events,
    /// Tells this node from others.
    node: Arc<str>,
    own: Arc<Mutex<HashMap<String, UnboundedSender<Event>>>>,
}

/// The connection that hears of new mail.
pub(super) struct Ear {
    subscriber: SubscriberClient,
    channel: String,
    messages: Receiver<Message>,
    reconnects: Receiver<Server>,
}

/// What is said on the channel.
#[derive(Debug, PartialEq, Eq)]
enum Notice {
    /// Mail has arrived, by the delivery with this token.
    Arrived(String, Event),
    /// A message can be claimed earlier than it was to be, as this node knows already.
    Released(String, MailboxName),
}

/// A delivery of this node that has yet to hear of itself.
pub(super) struct Echo {
    notices: Notices,
    token: String,
    heard: UnboundedReceiver<Event>,
}

impl Notices {
    pub(super) fn new(events: Events) -> Self {
        Self { events, node: Uuid::new_v4().simple().to_string().into(), own: Arc::default() }
    }

    /// How this node names itself where it gives a message back.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// Prepares to hear of the delivery with this token; to be called before it is made.
    pub(super) fn expect(&self, token: &str) -> Echo {
        let (sender, heard) = unbounded_channel();
        self.own().insert(token.to_owned(), sender);
        Echo { notices: self.clone(), token: token.to_owned(), heard }
    }

    /// Begins to hear: nothing that is published from now on is missed without notice.
    ///
    /// # Errors
    /// Redis does not allow it.
    pub(super) async fn subscribe(&self, subscriber: &SubscriberClient, channel: &str) -> Result<Ear, Error> {
        let (messages, reconnects) = (subscriber.message_rx(), subscriber.reconnect_rx());
        subscriber.subscribe(channel).await?;
        Ok(Ear { subscriber: subscriber.clone(), channel: channel.to_owned(), messages, reconnects })
    }

    /// Listens until the tasks are to stop.
    pub(super) async fn listen(self, mut ear: Ear, tasks: Shutdown) {
        let mut look = interval(LOOK_EVERY);
        let mut ask = interval(ASK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = tasks.requested() => return,
                message = ear.messages.recv() => match message {
                    Ok(message) => self.hear(&message, &ear.channel),
                    Err(RecvError::Lagged(_)) => self.events.lost(),
                    Err(RecvError::Closed) => return,
                },
                reconnected = ear.reconnects.recv() => match reconnected {
                    Err(RecvError::Closed) => return,
                    _ => self.resubscribe(&ear).await,
                },
                _ = look.tick() => self.events.wake_watchers(),
                _ = ask.tick() => ear.check().await,
            }
        }
    }

    /// Subscribes on a connection that was made anew; then everybody looks, as nothing was heard until now.
    async fn resubscribe(&self, ear: &Ear) {
        if ear.is_subscribed().await {
            self.events.lost();
        } else {
            // The next connection subscribes.
            let _ = ear.subscriber.force_reconnection().await;
        }
    }

    fn hear(&self, message: &Message, channel: &str) {
        if message.channel != channel {
            return;
        }
        match message.value.as_str().and_then(|text| read(&text)) {
            Some(Notice::Arrived(token, event)) => {
                self.events.send(event.clone());
                if let Some(delivery) = self.own().get(&token) {
                    // Where it does not wait any more it has been dropped meanwhile.
                    let _ = delivery.send(event);
                }
            }
            Some(Notice::Released(node, mailbox)) if *node != *self.node => self.events.released(&mailbox),
            Some(Notice::Released(..)) => {}
            // Of a later version perhaps.
            None => tracing::debug!(?message, "not understood"),
        }
    }

    fn own(&self) -> MutexGuard<'_, HashMap<String, UnboundedSender<Event>>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Echo {
    /// Waits until all of these have been heard, and tells this node of those that are not in time.
    pub(super) async fn told_of(mut self, mut expected: Vec<Event>) {
        let hear = async {
            while !expected.is_empty() {
                let Some(event) = self.heard.recv().await else { return };
                expected.retain(|other| *other != event);
            }
        };
        if timeout(ECHO_TIMEOUT, hear).await.is_err() {
            tracing::debug!(count = expected.len(), "events are late");
        }
        for event in expected {
            self.notices.events.send(event);
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.notices.own().remove(&self.token);
    }
}

impl Ear {
    /// Whether it is subscribed, from now on at least.
    async fn is_subscribed(&self) -> bool {
        matches!(timeout(ASK_TIMEOUT, self.subscriber.subscribe(self.channel.as_str())).await, Ok(Ok(())))
    }

    /// Makes another connection where this one does not answer.
    async fn check(&self) {
        if self.subscriber.is_connected() && !self.is_subscribed().await {
            tracing::warn!("Redis does not answer on the connection that hears of new mail; another one is made");
            let _ = self.subscriber.force_reconnection().await;
        }
    }
}

/// Reads what a script has published: the token, the seq and the name; or the node, a dash and the name.
fn read(text: &str) -> Option<Notice> {
    let mut words = text.splitn(3, ' ');
    let (token, seq, name) = (words.next()?, words.next()?, words.next()?);
    let (token, mailbox) = (token.to_owned(), MailboxName::stored(name.to_owned()));
    let notice = match seq {
        "-" => Notice::Released(token, mailbox),
        seq => Notice::Arrived(token, Event { mailbox, seq: seq.parse().ok()? }),
    };
    (!name.is_empty()).then_some(notice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read_and_all_else_is_not() {
        let (token, mailbox) = ("0123456789abcdef".to_owned(), MailboxName::stored("a b".to_owned()));
        let event = Event { mailbox: mailbox.clone(), seq: 1_800_000_000_000_000 };
        let arrived = Notice::Arrived(token.clone(), event);
        assert_eq!(read("0123456789abcdef 01800000000000000 a b"), Some(arrived));
        assert_eq!(read("0123456789abcdef - a b"), Some(Notice::Released(token, mailbox)));
        for text in ["", "x", "x 1", "x 1 ", "x y a", "x -1 a", "x -", "x - "] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
