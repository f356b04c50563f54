//! Who is told that mail has arrived.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use super::Event;
use crate::mail::MailboxName;

/// How many events a slow receiver of all of them may fall behind before it is told that it lagged.
const BACKLOG: usize = 1024;

/// The events of a store. Clones tell the same listeners.
#[derive(Clone)]
pub(super) struct Events {
    all: broadcast::Sender<Event>,
    watched: Arc<Mutex<HashMap<MailboxName, Watched>>>,
}

/// A mailbox that somebody waits at. An event wakes those who wait at its mailbox and nobody else, however many wait.
struct Watched {
    arrivals: watch::Sender<()>,
    watchers: usize,
}

/// A place at a mailbox, to wait for mail; dropping it frees all that it took.
pub struct Watch {
    events: Events,
    mailbox: MailboxName,
    arrivals: watch::Receiver<()>,
}

impl Events {
    pub(super) fn new() -> Self {
        Self { all: broadcast::channel(BACKLOG).0, watched: Arc::default() }
    }

    /// Tells everybody who listens; nobody may be.
    pub(super) fn send(&self, event: Event) {
        if let Some(watched) = self.watched().get(&event.mailbox) {
            watched.arrivals.send_replace(());
        }
        let _ = self.all.send(event);
    }

    /// Events may have been lost on their way here: everybody who waits at a mailbox has to look again.
    pub(super) fn lost(&self) {
        self.wake_watchers();
    }

    /// Has everybody who waits at a mailbox look again.
    pub(super) fn wake_watchers(&self) {
        self.watched().values().for_each(|watched| drop(watched.arrivals.send_replace(())));
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.all.subscribe()
    }

    pub(super) fn watch(&self, mailbox: MailboxName) -> Watch {
        let mut watched = self.watched();
        let place =
            watched.entry(mailbox.clone()).or_insert_with(|| Watched { arrivals: watch::channel(()).0, watchers: 0 });
        place.watchers += 1;
        Watch { events: self.clone(), mailbox, arrivals: place.arrivals.subscribe() }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<MailboxName, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Waits for mail that has arrived since the watch began, or since this last returned. An arrival that comes while
    /// nobody is looking is not lost: the next call returns at once.
    pub async fn arrival(&mut self) {
        // The sender lives as long as there is a watch.
        let _ = self.arrivals.changed().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Entry::Occupied(mut place) = self.events.watched().entry(self.mailbox.clone()) {
            place.get_mut().watchers -= 1;
            if place.get().watchers == 0 {
                place.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::mail::Naming;

    fn mailbox(name: &str) -> MailboxName {
        Naming::default().parse(name).unwrap()
    }

    /// Whether mail has arrived; does not wait for it.
    fn has_arrived(watch: &mut Watch) -> bool {
        pin!(watch.arrival()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_watch_hears_of_its_own_mailbox_and_misses_nothing() {
        let events = Events::new();
        let (mut a, mut b) = (events.watch(mailbox("a")), events.watch(mailbox("b")));
        assert!(!has_arrived(&mut a));
        for seq in 1..5000 {
            events.send(Event { mailbox: mailbox("a"), seq });
        }
        assert!(has_arrived(&mut a) && !has_arrived(&mut a));
        assert!(!has_arrived(&mut b));
    }

    #[test]
    fn a_watch_leaves_nothing_behind() {
        let events = Events::new();
        let (first, second) = (events.watch(mailbox("a")), events.watch(mailbox("a")));
        drop(first);
        assert_eq!(events.watched().len(), 1);
        drop(second);
        assert_eq!(events.watched().len(), 0);
    }
}
