//! The store in memory: what is kept is gone with the process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::claims::{Claimed, Lease, LeaseOutcome, LeaseStep, LeaseToken, Unclaimed};
use super::gone::{Gone, GoneReason, Lifetime, Tombstones};
use super::{Delivery, Event, Events, Listing, MailboxSummary, Page, Raw, Settings, StoreError, Stored, closing};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, Message, MessageId, Recipients};
use crate::metrics::{self, Removal, level};

/// How many expired messages are removed before others get the lock.
const SWEEP_STEP: usize = 500;
/// What a record takes beside its texts, roughly.
const RECORD_OVERHEAD_BYTES: u64 = 1024;
/// What a message takes in each of its mailboxes, measured where it is the only one in each.
const DELIVERY_BYTES: u64 = 2048;

/// Maps behind one lock. It is never held across an await and no call does much under it, so a std mutex is the right one.
pub(super) struct Memory {
    state: Mutex<State>,
    events: Events,
    mailbox_max_messages: usize,
    max_bytes: u64,
}

#[derive(Default)]
struct State {
    closed: bool,
    last_seq: u64,
    held_bytes: u64,
    mailboxes: BTreeMap<MailboxName, Mailbox>,
    /// Every message by its expiry, so that a sweep touches only what is due.
    due: BTreeMap<(Timestamp, u64), MailboxName>,
    gone: Tombstones,
    metrics: Arc<metrics::Store>,
}

#[derive(Default)]
struct Mailbox {
    messages: BTreeMap<u64, Entry>,
    seqs: HashMap<MessageId, u64>,
}

struct Entry {
    rcpt_to: Recipients,
    lease: Option<Lease>,
    body: Arc<Body>,
}

/// What all mailboxes of a message share. The last entry that goes gives its bytes back.
struct Body {
    message: Arc<Message>,
    raw: Bytes,
}

impl Memory {
    pub(super) fn new(settings: &Settings, events: Events, metrics: Arc<metrics::Store>) -> Self {
        Self {
            state: Mutex::new(State { metrics, ..State::default() }),
            events,
            mailbox_max_messages: settings.mailbox_max_messages,
            max_bytes: settings.max_bytes,
        }
    }

    pub(super) fn append(
        &self,
        deliveries: Vec<Delivery>,
        message: Message,
        raw: Bytes,
    ) -> Result<Vec<u64>, StoreError> {
        let body = Arc::new(Body { message: Arc::new(message), raw });
        let mut state = self.open_state()?;
        let of_deliveries = deliveries.iter().map(|delivery| delivery_bytes(&delivery.rcpt_to));
        let more = body.size_bytes() + of_deliveries.sum::<u64>();
        if state.held_bytes.saturating_add(more) > self.max_bytes {
            return Err(StoreError::Full(format!("{} of {} bytes are used", state.held_bytes, self.max_bytes)));
        }
        state.hold(body.size_bytes());
        let mut seqs = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let (seq, fresh) = state.keep(&delivery, &body);
            state.trim(&delivery.mailbox, self.mailbox_max_messages, body.message.received_at);
            seqs.push(seq);
            if fresh {
                // Sent under the lock, so that events come in the order of `seq`.
                self.events.send(Event { mailbox: delivery.mailbox, seq });
            }
        }
        state.release(body);
        Ok(seqs)
    }

    pub(super) fn list(&self, mailbox: &MailboxName, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        let state = self.open_state()?;
        let mut listing = Listing::default();
        let Some(found) = state.mailboxes.get(mailbox) else { return Ok(listing) };
        let before = page.before.map_or(Bound::Unbounded, Bound::Excluded);
        let mut bytes = 0;
        let older = found.messages.range((Bound::Unbounded, before)).rev();
        let wanted = older.take_while(|(seq, _)| page.after.is_none_or(|after| **seq > after));
        for (seq, entry) in wanted.filter(|(_, entry)| entry.is_live(now)) {
            bytes += entry.record_bytes();
            listing.more = page.is_full(listing.messages.len(), bytes);
            if listing.more {
                break;
            }
            listing.messages.push(entry.stored(*seq, mailbox));
        }
        Ok(listing)
    }

    pub(super) fn message(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Stored>, StoreError> {
        let state = self.open_state()?;
        Ok(state.find(mailbox, id, now).map(|(seq, entry)| entry.stored(seq, mailbox)))
    }

    pub(super) fn open_raw(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Raw>, StoreError> {
        let state = self.open_state()?;
        Ok(state.find(mailbox, id, now).map(|(_, entry)| Raw::held(entry.body.raw.clone())))
    }

    pub(super) fn gone(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Gone>, StoreError> {
        let state = self.open_state()?;
        Ok(match state.entry(mailbox, id) {
            Some((_, entry)) => entry.lifetime().expired(now),
            None => state.gone.find(mailbox, id, now),
        })
    }

    pub(super) fn delete(&self, mailbox: &MailboxName, id: MessageId, now: Timestamp) -> Result<bool, StoreError> {
        let mut state = self.open_state()?;
        let Some((seq, _)) = state.find(mailbox, id, now) else { return Ok(false) };
        state.remove(mailbox, seq, GoneReason::Deleted, now);
        Ok(true)
    }

    pub(super) fn clear(&self, mailbox: &MailboxName, now: Timestamp) -> Result<u64, StoreError> {
        let mut state = self.open_state()?;
        let Some(found) = state.mailboxes.get(mailbox) else { return Ok(0) };
        let live: Vec<u64> =
            found.messages.iter().filter(|(_, entry)| entry.is_live(now)).map(|(seq, _)| *seq).collect();
        for seq in &live {
            state.remove(mailbox, *seq, GoneReason::Deleted, now);
        }
        Ok(live.len() as u64)
    }

    pub(super) fn unclaimed(
        &self,
        mailbox: &MailboxName,
        page: Page,
        unwanted: &HashSet<u64>,
        now: Timestamp,
    ) -> Result<Unclaimed, StoreError> {
        let state = self.open_state()?;
        let mut listing = Listing::default();
        let Some(found) = state.mailboxes.get(mailbox) else { return Ok(Unclaimed { listing, next_free_at: None }) };
        let leases = found.messages.values().filter_map(|entry| entry.live_lease(now)?.ends_at());
        let next_free_at = leases.min();
        let after = page.after.map_or(Bound::Unbounded, Bound::Excluded);
        let newer = found.messages.range((after, Bound::Unbounded));
        let wanted = newer.take_while(|(seq, _)| page.before.is_none_or(|before| **seq < before));
        let mut bytes = 0;
        for (seq, entry) in wanted {
            if !entry.is_live(now) || entry.live_lease(now).is_some() || unwanted.contains(seq) {
                continue;
            }
            bytes += entry.record_bytes();
            listing.more = page.is_full(listing.messages.len(), bytes);
            if listing.more {
                break;
            }
            listing.messages.push(entry.stored(*seq, mailbox));
        }
        Ok(Unclaimed { listing, next_free_at })
    }

    pub(super) fn claimed(&self, mailbox: &MailboxName, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
        let state = self.open_state()?;
        let entries = state.mailboxes.get(mailbox).into_iter().flat_map(|found| &found.messages);
        let live = entries.filter(|(_, entry)| entry.is_live(now));
        Ok(live
            .filter_map(|(seq, entry)| Some(Claimed { seq: *seq, until: entry.live_lease(now)?.ends_at() }))
            .collect())
    }

    pub(super) fn claim(
        &self,
        mailbox: &MailboxName,
        ids: &[MessageId],
        lease: Lease,
        now: Timestamp,
    ) -> Result<Option<MessageId>, StoreError> {
        let mut state = self.open_state()?;
        for id in ids {
            if let Some(entry) = state.live_entry(mailbox, *id, now)
                && entry.live_lease(now).is_none()
            {
                entry.lease = Some(lease);
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }

    pub(super) fn step(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        token: LeaseToken,
        step: LeaseStep,
        now: Timestamp,
    ) -> Result<LeaseOutcome, StoreError> {
        let mut state = self.open_state()?;
        let Some(entry) = state.live_entry(mailbox, id, now) else { return Ok(LeaseOutcome::Missing) };
        let Some(until) = entry.lease.and_then(|lease| lease.step(token, step, now)) else {
            return Ok(LeaseOutcome::Refused);
        };
        entry.lease = Some(Lease { token, until });
        Ok(LeaseOutcome::Stepped)
    }

    pub(super) fn mailboxes(
        &self,
        after: Option<&MailboxName>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<MailboxSummary>, StoreError> {
        let state = self.open_state()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = state.mailboxes.range::<MailboxName, _>((from, Bound::Unbounded));
        Ok(behind.filter_map(|(name, mailbox)| mailbox.summary(name, now)).take(limit).collect())
    }

    pub(super) fn ready(&self) -> Result<(), StoreError> {
        let state = self.open_state()?;
        if state.held_bytes >= self.max_bytes {
            return Err(StoreError::Full(format!("all {} bytes are used", self.max_bytes)));
        }
        Ok(())
    }

    pub(super) fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let step = self.open_state()?.expire(now);
            removed += step as u64;
            if step < SWEEP_STEP {
                return Ok(removed);
            }
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        *state = State { closed: true, ..State::default() };
    }

    fn open_state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        if state.closed { Err(closing()) } else { Ok(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts the message into one mailbox, once: says under which `seq`, and whether it is new there.
    fn keep(&mut self, delivery: &Delivery, body: &Arc<Body>) -> (u64, bool) {
        let mailbox = self.mailboxes.entry(delivery.mailbox.clone()).or_default();
        if let Some(seq) = mailbox.seqs.get(&body.message.id) {
            return (*seq, false);
        }
        self.last_seq += 1;
        let seq = self.last_seq;
        mailbox.seqs.insert(body.message.id, seq);
        mailbox.messages.insert(seq, Entry { rcpt_to: delivery.rcpt_to.clone(), lease: None, body: body.clone() });
        self.due.insert((body.message.expires_at, seq), delivery.mailbox.clone());
        self.hold(delivery_bytes(&delivery.rcpt_to));
        (seq, true)
    }

    /// Removes the oldest of a mailbox that has got one more message, at `at`.
    fn trim(&mut self, mailbox: &MailboxName, max_messages: usize, at: Timestamp) {
        while let Some(found) = self.mailboxes.get(mailbox)
            && found.messages.len() > max_messages
            && let Some((oldest, _)) = found.messages.first_key_value()
        {
            let oldest = *oldest;
            self.remove(mailbox, oldest, GoneReason::Evicted, at);
            self.metrics.removed.of(Removal::Evicted).inc();
        }
    }

    fn find(&self, mailbox: &MailboxName, id: MessageId, now: Timestamp) -> Option<(u64, &Entry)> {
        self.entry(mailbox, id).filter(|(_, entry)| entry.is_live(now))
    }

    fn live_entry(&mut self, mailbox: &MailboxName, id: MessageId, now: Timestamp) -> Option<&mut Entry> {
        let found = self.mailboxes.get_mut(mailbox)?;
        let seq = found.seqs.get(&id)?;
        found.messages.get_mut(seq).filter(|entry| entry.is_live(now))
    }

    /// A message, expired or not.
    fn entry(&self, mailbox: &MailboxName, id: MessageId) -> Option<(u64, &Entry)> {
        let found = self.mailboxes.get(mailbox)?;
        let seq = *found.seqs.get(&id)?;
        found.messages.get(&seq).map(|entry| (seq, entry))
    }

    fn remove(&mut self, mailbox: &MailboxName, seq: u64, reason: GoneReason, at: Timestamp) {
        let Some(found) = self.mailboxes.get_mut(mailbox) else { return };
        let Some(entry) = found.messages.remove(&seq) else { return };
        found.seqs.remove(&entry.body.message.id);
        if found.messages.is_empty() {
            self.mailboxes.remove(mailbox);
        }
        self.due.remove(&(entry.body.message.expires_at, seq));
        let lifetime = entry.lifetime();
        self.gone.add(mailbox, entry.body.message.id, lifetime, lifetime.end(reason, at));
        self.held_bytes -= delivery_bytes(&entry.rcpt_to);
        self.release(entry.body);
    }

    fn hold(&mut self, bytes: u64) {
        self.held_bytes += bytes;
        self.metrics.held_bytes.set(level(self.held_bytes));
    }

    fn release(&mut self, body: Arc<Body>) {
        if let Some(body) = Arc::into_inner(body) {
            self.held_bytes -= body.size_bytes();
        }
        self.metrics.held_bytes.set(level(self.held_bytes));
    }

    fn expire(&mut self, now: Timestamp) -> usize {
        let end = (now, u64::MAX);
        let due: Vec<(u64, MailboxName)> =
            self.due.range(..=end).take(SWEEP_STEP).map(|((_, seq), mailbox)| (*seq, mailbox.clone())).collect();
        for (seq, mailbox) in &due {
            self.remove(mailbox, *seq, GoneReason::Expired, now);
        }
        self.gone.forget(now);
        due.len()
    }
}

/// What a message takes in a mailbox.
fn delivery_bytes(rcpt_to: &Recipients) -> u64 {
    DELIVERY_BYTES + rcpt_to.others_bytes() as u64
}

impl Mailbox {
    fn summary(&self, name: &MailboxName, now: Timestamp) -> Option<MailboxSummary> {
        let live = self.messages.values().filter(|entry| entry.is_live(now)).map(|entry| &entry.body.message);
        let (count, newest) = live.fold((0, None), |(count, _), message| (count + 1, Some(message.received_at)));
        newest.map(|newest_received_at| MailboxSummary { mailbox: name.clone(), count, newest_received_at })
    }
}

impl Entry {
    fn is_live(&self, now: Timestamp) -> bool {
        self.body.message.expires_at > now
    }

    /// What keeps others from claiming it.
    fn live_lease(&self, now: Timestamp) -> Option<Lease> {
        self.lease.filter(|lease| lease.is_live(now))
    }

    fn lifetime(&self) -> Lifetime {
        Lifetime::from(&*self.body.message)
    }

    fn record_bytes(&self) -> u64 {
        self.body.record_bytes() + self.rcpt_to.others_bytes() as u64
    }

    fn stored(&self, seq: u64, mailbox: &MailboxName) -> Stored {
        Stored { seq, mailbox: mailbox.clone(), rcpt_to: self.rcpt_to.clone(), message: self.body.message.clone() }
    }
}

impl Body {
    fn size_bytes(&self) -> u64 {
        self.raw.len() as u64 + self.record_bytes()
    }

    fn record_bytes(&self) -> u64 {
        self.message.content.text_bytes() as u64 + RECORD_OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{message, name, to};

    #[test]
    fn small_mail_for_many_takes_room_in_each_mailbox_and_gives_it_back() {
        let settings =
            Settings { kind: crate::store::Kind::Memory, mailbox_max_messages: 1, max_bytes: 110 * DELIVERY_BYTES };
        let memory = Memory::new(&settings, Events::new(), Arc::default());
        let names: Vec<_> = (0..100).map(|number| format!("box-{number}")).collect();
        let all = to(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let append = |deliveries: &[Delivery]| {
            memory.append(deliveries.to_vec(), message(0, 10), Bytes::from_static(b"hi")).map(drop)
        };
        append(&all).unwrap();
        assert!(matches!(append(&all), Err(StoreError::Full(_))));
        // What pushes out another takes its room.
        append(&all[..1]).unwrap();
        let now = Timestamp::from_millis(1);
        assert_eq!(memory.clear(&name("box-0"), now).unwrap(), 1);
        assert_eq!(memory.sweep(Timestamp::from_millis(10)).unwrap(), 99);
        assert_eq!(memory.lock().held_bytes, 0);
    }
}
