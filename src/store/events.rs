//! Who is told that mail has arrived.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Event;
use crate::mail::MailboxName;

/// So many of the last events are held. A subscriber that falls further behind, or comes back later, is told that it has
/// missed some. Each takes some 200 bytes at most.
const BACKLOG: usize = 4096;

/// The events of a store. Clones tell the same listeners.
#[derive(Clone)]
pub(super) struct Events {
    recent: Arc<Mutex<Recent>>,
    /// Wakes the subscribers to all events.
    arrivals: watch::Sender<()>,
    watched: Arc<Mutex<HashMap<MailboxName, Watched>>>,
}

/// The last events, in order: what a slow subscriber has yet to read, and what one that comes back has missed. There is one
/// for all of them, so that a subscriber takes no room but its place, however slow it is.
struct Recent {
    /// Tells this run of the program from others, whose places mean nothing here.
    run: u64,
    /// The place of the first of `notices`.
    first: u64,
    /// `None` stands where events may have been lost on their way here.
    notices: VecDeque<Option<Event>>,
}

/// A place in the order in which one run of the program has heard of mail. It is written as `<run>-<place>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    run: u64,
    place: u64,
}

/// All events, from a place on.
pub struct Subscription {
    events: Events,
    run: u64,
    next: u64,
    /// There is something to miss before `next`.
    lagged: bool,
    arrivals: watch::Receiver<()>,
}

/// Events have been missed, nobody knows which: the mailboxes are to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("events have been missed")]
pub struct Lagged;

/// A mailbox that somebody waits at. An event wakes those who wait at its mailbox and nobody else, however many wait.
struct Watched {
    changes: watch::Sender<Changes>,
    watchers: usize,
}

/// How often something has changed at a mailbox since somebody has watched it.
#[derive(Clone, Copy, Default)]
struct Changes {
    arrivals: u64,
    /// Messages that can be claimed again.
    releases: u64,
}

/// A place at a mailbox, to wait for mail; dropping it frees all that it took.
pub struct Watch {
    events: Events,
    mailbox: MailboxName,
    changes: watch::Receiver<Changes>,
    /// The arrivals that were told of.
    arrivals: u64,
}

impl Events {
    pub(super) fn new() -> Self {
        // Its keys are random, which is all that is asked for here.
        let run = RandomState::new().build_hasher().finish();
        let recent = Recent { run, first: 0, notices: VecDeque::new() };
        Self { recent: Arc::new(Mutex::new(recent)), arrivals: watch::channel(()).0, watched: Arc::default() }
    }

    /// Tells everybody who listens; nobody may be.
    pub(super) fn send(&self, event: Event) {
        if let Some(watched) = self.watched().get(&event.mailbox) {
            watched.changes.send_modify(|changes| changes.arrivals += 1);
        }
        self.recent().push(Some(event));
        self.arrivals.send_replace(());
    }

    /// Tells those who wait for a message of this mailbox that can be claimed: one may be earlier than it was to be.
    pub(super) fn released(&self, mailbox: &MailboxName) {
        if let Some(watched) = self.watched().get(mailbox) {
            watched.changes.send_modify(|changes| changes.releases += 1);
        }
    }

    /// Events may have been lost on their way here: everybody who listens has to look again.
    pub(super) fn lost(&self) {
        self.wake_watchers();
        self.recent().push(None);
        self.arrivals.send_replace(());
    }

    /// Everybody who waits at a mailbox looks again.
    pub(super) fn wake_watchers(&self) {
        for Watched { changes, .. } in self.watched().values() {
            changes.send_modify(|changes| changes.arrivals += 1);
        }
    }

    /// All events behind `mark`; without one, from now on.
    pub(super) fn subscribe(&self, mark: Option<Mark>) -> Subscription {
        let arrivals = self.arrivals.subscribe();
        let recent = self.recent();
        let (run, end) = (recent.run, recent.end());
        let known = mark.filter(|mark| mark.run == run && (recent.first..=end).contains(&mark.place));
        let next = known.map_or(end, |mark| mark.place);
        Subscription { events: self.clone(), run, next, lagged: mark.is_some() && known.is_none(), arrivals }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self, mailbox: MailboxName) -> Watch {
        let mut watched = self.watched();
        let place = watched
            .entry(mailbox.clone())
            .or_insert_with(|| Watched { changes: watch::channel(Changes::default()).0, watchers: 0 });
        place.watchers += 1;
        let changes = place.changes.subscribe();
        let arrivals = changes.borrow().arrivals;
        Watch { events: self.clone(), mailbox, changes, arrivals }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<MailboxName, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    /// The place behind the last one.
    fn end(&self) -> u64 {
        self.first + self.notices.len() as u64
    }

    fn push(&mut self, notice: Option<Event>) {
        if self.notices.len() == BACKLOG {
            self.notices.pop_front();
            self.first += 1;
        }
        self.notices.push_back(notice);
    }

    /// What is at `place`; the error is that it is not held any more. `None` where it is still to come.
    fn at(&self, place: u64) -> Option<Result<Event, Lagged>> {
        let Some(index) = place.checked_sub(self.first) else { return Some(Err(Lagged)) };
        let notice = self.notices.get(usize::try_from(index).ok()?)?;
        Some(notice.clone().ok_or(Lagged))
    }
}

impl Subscription {
    /// The next event; waits for it.
    ///
    /// # Errors
    /// Events have been missed. What comes from now on is told of again.
    pub async fn next(&mut self) -> Result<Event, Lagged> {
        loop {
            if let Some(next) = self.try_next() {
                return next;
            }
            // The sender lives as long as this does.
            let _ = self.arrivals.changed().await;
        }
    }

    /// The next event where there is one already.
    pub fn try_next(&mut self) -> Option<Result<Event, Lagged>> {
        let recent = self.events.recent();
        let found = if self.lagged { Err(Lagged) } else { recent.at(self.next)? };
        // Who has missed some looks at everything: what has come until now need not be told of.
        self.next = if found.is_ok() { self.next + 1 } else { recent.end() };
        self.lagged = false;
        Some(found)
    }

    /// The place behind the last event that was told of.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        Mark { run: self.run, place: self.next }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.run, self.place)
    }
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('-').and_then(|(run, place)| {
            Some(Self { run: u64::from_str_radix(run, 16).ok()?, place: place.parse().ok()? })
        });
        // One spelling each.
        parsed
            .filter(|mark: &Self| mark.to_string() == text)
            .ok_or_else(|| "it must be the id of an event, such as 0123456789abcdef-42".to_owned())
    }
}

impl Watch {
    /// Waits for mail that has arrived since the watch began, or since this last returned. An arrival that comes while
    /// nobody is looking is not lost: the next call returns at once.
    pub async fn arrival(&mut self) {
        let Self { changes, arrivals, .. } = self;
        // The sender lives as long as there is a watch.
        if let Ok(now) = changes.wait_for(|now| now.arrivals != *arrivals).await {
            *arrivals = now.arrivals;
        }
    }

    /// Waits until mail has arrived, or a message has been given back that was leased, in the same way.
    pub async fn change(&mut self) {
        if self.changes.changed().await.is_ok() {
            self.arrivals = self.changes.borrow_and_update().arrivals;
        }
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

    fn event(seq: u64) -> Event {
        Event { mailbox: mailbox("a"), seq }
    }

    #[test]
    fn who_falls_behind_is_told_so_and_then_what_is_new() {
        let events = Events::new();
        let mut slow = events.subscribe(None);
        for seq in 1..=BACKLOG as u64 {
            events.send(event(seq));
        }
        assert_eq!(slow.try_next(), Some(Ok(event(1))), "so much is held");
        events.send(event(5000));
        events.send(event(5001));
        assert_eq!(slow.try_next(), Some(Err(Lagged)));
        assert_eq!(slow.try_next(), None);
        events.send(event(5002));
        assert_eq!(slow.try_next(), Some(Ok(event(5002))));
        assert_eq!(events.recent().notices.len(), BACKLOG);
    }

    #[test]
    fn who_comes_back_goes_on_where_it_was_or_is_told_that_it_cannot() {
        let events = Events::new();
        events.send(event(1));
        let mark = events.subscribe(None).mark();
        events.send(event(2));
        let mut back = events.subscribe(Some(mark));
        assert_eq!((back.try_next(), back.try_next()), (Some(Ok(event(2))), None));
        let of_another_run = Mark { run: mark.run ^ 1, ..mark };
        let of_the_future = Mark { place: u64::MAX, ..mark };
        (0..BACKLOG as u64).for_each(|seq| events.send(event(seq)));
        for unknown in [of_another_run, of_the_future, mark] {
            let mut back = events.subscribe(Some(unknown));
            assert_eq!((back.try_next(), back.try_next()), (Some(Err(Lagged)), None), "{unknown}");
            assert_eq!(back.mark(), events.subscribe(None).mark());
        }
    }

    #[test]
    fn what_was_lost_on_its_way_makes_everybody_look_again() {
        let events = Events::new();
        let (mut all, mut one) = (events.subscribe(None), events.watch(mailbox("a")));
        events.lost();
        events.send(event(1));
        assert!(has_arrived(&mut one));
        assert_eq!((all.try_next(), all.try_next()), (Some(Err(Lagged)), None));
    }

    #[test]
    fn a_mark_has_one_spelling() {
        let mark = Mark { run: 255, place: 7 };
        assert_eq!(mark.to_string(), "00000000000000ff-7");
        assert_eq!(mark.to_string().parse(), Ok(mark));
        for text in ["", "-", "7", "ff-7", "00000000000000FF-7", "00000000000000ff-07", "00000000000000ff-+7"] {
            assert!(text.parse::<Mark>().is_err(), "{text}");
        }
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
