//! Mail as a queue: each message is leased to one worker at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Inbox;
use super::filter::Filter;
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::{Lease, LeaseOutcome, LeaseStep, LeaseToken, Page, StoreError, Stored};

/// So many messages are looked at for one that can be had, and so many bytes of records: where several workers want the same
/// one, all but one of them take the next.
const CANDIDATES: usize = 10;
const CANDIDATES_MAX_BYTES: u64 = 1024 * 1024;
/// So many messages are looked at in one go to tell why there is nothing to claim, and so many bytes of records.
const BATCH_MESSAGES: usize = 100;
const BATCH_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A message that is leased to whoever reads this.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The message.
    pub stored: Stored,
    /// The lease.
    pub lease: Lease,
}

/// Leases that have perhaps been taken, and that nobody has been told of: a claim that is given up may have one all the same.
#[derive(Debug, Default)]
pub struct InHand(Vec<(MessageId, LeaseToken)>);

impl InHand {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Messages that meet a filter and cannot be claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many are leased.
    pub leased: usize,
    /// When the first of those leases ends.
    pub next_free_at: Option<Timestamp>,
    /// How many are done.
    pub done: usize,
}

/// What a look for something to claim has found.
enum Look {
    Claimed(Box<Claim>),
    /// There was something, but others were faster.
    Lost,
    /// Nothing; at that time a lease ends.
    Nothing(Option<Timestamp>),
}

/// What may be claimed, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// In which mailbox.
    pub mailbox: &'a MailboxName,
    /// What the message has to meet.
    pub filter: &'a Arc<Filter>,
    /// Only what has a larger `seq` than this.
    pub after: Option<u64>,
    /// For how long.
    pub lease: Duration,
}

impl Inbox {
    /// Leases the oldest message that is wished for, is not leased, and is not done; waits for one where there is none, if a time
    /// is given. No two callers have the same message at the same time. What `in_hand` has afterwards, also where this is given
    /// up in the middle, is to be [put back](Inbox::put_back) unless somebody is told of it.
    ///
    /// # Errors
    /// Where the store cannot be read or written.
    pub async fn claim(
        &self,
        wish: Wish<'_>,
        wait_until: Option<Instant>,
        in_hand: &mut InHand,
    ) -> Result<Option<Claim>, StoreError> {
        // Before the first look: what comes or is given back between the two is not missed.
        let mut watch = self.store.watch(wish.mailbox.clone());
        let mut misses = Arc::default();
        loop {
            let next_free_at = match self.look_for_one(&wish, &mut misses, in_hand).await? {
                Look::Claimed(claim) => return Ok(Some(*claim)),
                // Somebody has got on by it, so this comes to an end.
                Look::Lost => continue,
                Look::Nothing(next_free_at) => next_free_at,
            };
            let Some(until) = wait_until.filter(|until| Instant::now() < *until) else { return Ok(None) };
            let wake_at = next_free_at.map_or(until, |at| until.min(Instant::now() + at.since(self.clock.now())));
            // Whatever it was that woke us, the next look tells.
            let _ = timeout_at(wake_at, watch.change()).await;
        }
    }

    /// Gives back what is in hand. What was not leased after all stays as it is.
    ///
    /// # Errors
    /// Where the store cannot be written for one of them; the others are given back all the same.
    pub async fn put_back(&self, mailbox: &MailboxName, InHand(leases): InHand) -> Result<(), StoreError> {
        let mut all = Ok(());
        for (id, token) in leases {
            all = self.step(mailbox, id, token, LeaseStep::Release).await.map(drop).and(all);
        }
        all
    }

    /// Takes a step with the lease that `token` proves.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn step(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        token: LeaseToken,
        step: LeaseStep,
    ) -> Result<LeaseOutcome, StoreError> {
        self.store.step(mailbox, id, token, step).await
    }

    /// Extends the lease that `token` proves: it ends so long from now.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn extend(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        token: LeaseToken,
        lease: Duration,
    ) -> Result<(LeaseOutcome, Lease), StoreError> {
        let until = self.clock.now().after(lease);
        let outcome = self.step(mailbox, id, token, LeaseStep::Extend(until)).await?;
        Ok((outcome, Lease { token, until }))
    }

    /// The messages of a mailbox behind `after` that meet `filter` and that nobody can claim now.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn taken(
        &self,
        mailbox: &MailboxName,
        filter: &Arc<Filter>,
        after: Option<u64>,
    ) -> Result<Taken, StoreError> {
        let claimed = self.store.claimed(mailbox).await?.into_iter();
        let mut claimed: HashMap<_, _> = claimed
            .filter(|claimed| after.is_none_or(|after| claimed.seq > after))
            .map(|claimed| (claimed.seq, claimed.until))
            .collect();
        if !claimed.is_empty() && !filter.is_empty() {
            let matching = self.matching_seqs(mailbox, filter, after).await?;
            claimed.retain(|seq, _| matching.contains(seq));
        }
        let ends: Vec<_> = claimed.values().flatten().copied().collect();
        Ok(Taken { leased: ends.len(), next_free_at: ends.iter().min().copied(), done: claimed.len() - ends.len() })
    }

    async fn matching_seqs(
        &self,
        mailbox: &MailboxName,
        filter: &Arc<Filter>,
        after: Option<u64>,
    ) -> Result<HashSet<u64>, StoreError> {
        let mut page = Page { before: None, after, limit: BATCH_MESSAGES, max_bytes: BATCH_MAX_BYTES };
        let mut seqs = HashSet::new();
        loop {
            let found = self.search(mailbox, filter, page).await?;
            seqs.extend(found.messages.iter().map(|stored| stored.seq));
            page.before = found.messages.last().map(|stored| stored.seq);
            if !found.more {
                return Ok(seqs);
            }
        }
    }

    /// Looks once at all that can be claimed. What does not meet the filter will not do so later: `misses` has it, and it is
    /// not looked at again.
    async fn look_for_one(
        &self,
        wish: &Wish<'_>,
        misses: &mut Arc<HashSet<u64>>,
        in_hand: &mut InHand,
    ) -> Result<Look, StoreError> {
        let mut page = Page { before: None, after: wish.after, limit: CANDIDATES, max_bytes: CANDIDATES_MAX_BYTES };
        let (mut was_there, mut next_free_at) = (false, None);
        loop {
            let unclaimed = self.store.unclaimed(wish.mailbox, page, misses.clone()).await?;
            next_free_at = unclaimed.next_free_at.into_iter().chain(next_free_at).min();
            let seqs: Vec<_> = unclaimed.listing.messages.iter().map(|stored| stored.seq).collect();
            let found = self.matching(wish.filter, unclaimed.listing.messages).await?;
            if let Some(claim) = self.claim_one_of(wish, &found, in_hand).await? {
                return Ok(Look::Claimed(Box::new(claim)));
            }
            was_there |= !found.is_empty();
            page.after = seqs.last().copied().or(page.after);
            let found: HashSet<_> = found.iter().map(|stored| stored.seq).collect();
            Arc::make_mut(misses).extend(seqs.iter().filter(|seq| !found.contains(seq)));
            if !unclaimed.listing.more {
                return Ok(if was_there { Look::Lost } else { Look::Nothing(next_free_at) });
            }
        }
    }

    async fn claim_one_of(
        &self,
        wish: &Wish<'_>,
        candidates: &[Stored],
        in_hand: &mut InHand,
    ) -> Result<Option<Claim>, StoreError> {
        if candidates.is_empty() {
            return Ok(None);
        }
        let ids: Vec<_> = candidates.iter().map(|stored| stored.message.id).collect();
        let lease = Lease { token: LeaseToken::random(), until: self.clock.now().after(wish.lease) };
        // Before the store is asked: where the answer is lost, it is one of these or none.
        in_hand.0 = ids.iter().map(|id| (*id, lease.token)).collect();
        let id = self.store.claim(wish.mailbox, ids, lease).await?;
        in_hand.0.retain(|(candidate, _)| Some(*candidate) == id);
        let stored = id.and_then(|id| candidates.iter().find(|stored| stored.message.id == id));
        Ok(stored.map(|stored| Claim { stored: stored.clone(), lease }))
    }
}
