//! What goes: deleted, pushed out, or expired.

use bytes::Bytes;
use fred::types::Value;

use super::Redis;
use super::append::GRACE_MS;
use super::keys::{Keys, MailboxKeys, Part};
use super::link::number;
use super::member::Member;
use super::names::{DUE_STEP, Listed};
use super::tombstones::Tombstone;
use super::value::{HEAD_BYTES, Head};
use super::{pieces, reply, together};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::gone::MAILBOX_MAX;
use crate::store::{GoneReason, StoreError};

/// How many members of an index are read, and how many messages are removed, at a time.
pub(super) const STEP: usize = 200;

/// How long a note stays in the place of a message: a command of the delivery that brought it may still be on its way.
const NOTE_MS: u64 = 10 * 60 * 1000;

impl Redis {
    pub(in crate::store) async fn delete(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let of_mailbox = self.keys.mailbox(mailbox);
        match self.head(&of_mailbox, id).await? {
            Some(head) if head.member.is_live(now) => {
                Ok(self.remove(mailbox, &[head.member], GoneReason::Deleted, now).await? == 1)
            }
            _ => Ok(false),
        }
    }

    /// Deletes all messages of a mailbox; those that have expired are left to the sweep, as they count no more.
    pub(in crate::store) async fn clear(&self, mailbox: &MailboxName, now: Timestamp) -> Result<u64, StoreError> {
        // What comes from now on stays.
        let Some(last) = self.newest(mailbox, None, None, 1).await?.last else { return Ok(0) };
        let (mut removed, mut after) = (0, None);
        loop {
            let found = self.oldest(mailbox, Some(last + 1), after, STEP).await?;
            after = found.last;
            let live: Vec<_> =
                found.members.into_iter().map(|(_, member)| member).filter(|member| member.is_live(now)).collect();
            removed += self.remove(mailbox, &live, GoneReason::Deleted, now).await?;
            if found.is_end {
                return Ok(removed);
            }
        }
    }

    /// Removes messages of one mailbox, and says how many of them its index had.
    pub(super) async fn remove(
        &self,
        mailbox: &MailboxName,
        members: &[Member],
        reason: GoneReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let of_mailbox = self.keys.mailbox(mailbox);
        let mut removed = 0;
        for step in members.chunks(STEP) {
            // Read first: afterwards nobody knows who held the body.
            let sharing = step.iter().filter(|member| member.shares());
            let heads = together(sharing.map(|member| self.head(&of_mailbox, member.id)).collect()).await?;
            let mut keys = vec![of_mailbox.index(), of_mailbox.gone(), of_mailbox.leases()];
            keys.extend(step.iter().flat_map(|member| [of_mailbox.message(member.id), of_mailbox.raw(member.id)]));
            let tombstones: Vec<_> = step.iter().map(|member| Tombstone::of(member, reason, now)).collect();
            let until = tombstones.iter().map(|tombstone| tombstone.until).max().unwrap_or(now);
            let gone_ms = until.as_millis().saturating_sub(now.as_millis()).saturating_add(GRACE_MS);
            let mut args =
                vec![Value::from(note(reason)), number(NOTE_MS), number(gone_ms), number(MAILBOX_MAX as u64)];
            for (member, tombstone) in step.iter().zip(tombstones) {
                args.push(Value::Bytes(Bytes::copy_from_slice(&member.write())));
                args.push(number(tombstone.gone.at.as_millis()));
                args.push(Value::Bytes(Bytes::copy_from_slice(&tombstone.write())));
            }
            let was_there = reply::array(self.link.run(&self.scripts.remove, keys, args).await?)?;
            removed += was_there.iter().map(reply::count).sum::<u64>();
            let holder = [mailbox];
            together(heads.iter().flatten().map(|head| self.release(head, &holder)).collect()).await?;
        }
        Ok(removed)
    }

    /// The head of a message, whether it has expired or not; `None` if there is none.
    pub(super) async fn head(&self, of_mailbox: &MailboxKeys, id: MessageId) -> Result<Option<Head>, StoreError> {
        let key = of_mailbox.message(id);
        let args = vec![Value::from(key.as_str()), Value::from("0"), number(HEAD_BYTES as u64 - 1)];
        let value = self.link.call(&key, "GETRANGE", args).await?;
        Ok(value.as_bytes().and_then(Head::read))
    }

    /// Says that these mailboxes need the shared body of a message no more; the last one takes it away.
    pub(super) async fn release(&self, head: &Head, mailboxes: &[&MailboxName]) -> Result<(), StoreError> {
        let member = &head.member;
        if !member.shares() {
            return Ok(());
        }
        let pieces = |part, len| (0..pieces::count(len)).map(move |at| self.keys.piece(member.id, part, at));
        let mut keys = vec![self.keys.holders(member.id)];
        if member.shares_record {
            keys.extend(pieces(Part::Record, u64::from(member.record_len)));
        }
        if member.shares_raw {
            keys.extend(pieces(Part::Raw, head.raw_len));
        }
        for step in mailboxes.chunks(STEP) {
            let holders = step.iter().map(|mailbox| Value::from(holder(&head.token, mailbox))).collect();
            self.link.run(&self.scripts.release, keys.clone(), holders).await?;
        }
        Ok(())
    }

    pub(in crate::store) async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.link.check_open()?;
        let mut removed = 0;
        for slot in Keys::slots() {
            let mut first = None;
            loop {
                let due = self.due(slot, now).await?;
                removed +=
                    together(due.iter().map(|listed| self.expire(listed, now)).collect()).await?.iter().sum::<u64>();
                // Those that mail has come to meanwhile are still due, and those whose mail cannot be read stay so; the next
                // sweep has them.
                let is_stuck = due.first().map(|listed| &listed.mailbox) == first.as_ref();
                if (due.len() as u64) < DUE_STEP || is_stuck {
                    break;
                }
                first = due.into_iter().next().map(|listed| listed.mailbox);
            }
        }
        self.look_at_memory().await;
        Ok(removed)
    }

    /// Removes what has expired in one mailbox, and notes when something expires next.
    pub(super) async fn expire(&self, listed: &Listed, now: Timestamp) -> Result<u64, StoreError> {
        let index = self.keys.mailbox(&listed.mailbox).index();
        let (mut removed, mut next, mut at) = (0, None, 0);
        loop {
            let step = [&index, &at.to_string(), &(at + STEP - 1).to_string()].map(Value::from).to_vec();
            let found = reply::bytes(self.link.call(&index, "ZRANGE", step).await?)?;
            let members = found.iter().filter_map(|member| Member::read_in(&listed.mailbox, member));
            let (live, expired): (Vec<_>, Vec<_>) = members.partition(|member| member.is_live(now));
            next = live.iter().map(|member| member.expires_at).chain(next).min();
            let is_end = found.len() < STEP;
            at += found.len() - expired.len();
            removed += self.remove(&listed.mailbox, &expired, GoneReason::Expired, now).await?;
            if is_end {
                break;
            }
        }
        self.relist(listed, next).await?;
        Ok(removed)
    }
}

/// The kind of the note that stays. Of what has expired there is none: nobody delivers that any more.
const fn note(reason: GoneReason) -> &'static str {
    match reason {
        GoneReason::Deleted => "D",
        GoneReason::Evicted => "E",
        GoneReason::Expired => "",
    }
}

/// How a mailbox is called among those that hold a shared body.
pub(super) fn holder(token: &str, mailbox: &MailboxName) -> String {
    format!("{token}:{mailbox}")
}
