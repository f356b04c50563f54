//! Who works on which message: a hash for each mailbox, with the token and the end of each lease.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use fred::types::Value;

use super::link::number;
use super::read::Filling;
use super::{Redis, reply};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::claims::NEVER;
use crate::store::{Claimed, Lease, LeaseOutcome, LeaseStep, LeaseToken, Page, StoreError, Unclaimed};

/// How many messages are looked at in one script, and how many members of an index are read at a time.
const STEP: usize = 200;
/// How many digits a token has.
const TOKEN_DIGITS: usize = 32;

impl Redis {
    pub(in crate::store) async fn unclaimed(
        &self,
        mailbox: &MailboxName,
        page: Page,
        unwanted: &HashSet<u64>,
        now: Timestamp,
    ) -> Result<Unclaimed, StoreError> {
        let (leases, mut found) =
            tokio::try_join!(self.leases(mailbox, now), self.oldest(mailbox, page.before, page.after, STEP),)?;
        let next_free_at = leases.values().copied().filter(|until| *until < NEVER).min();
        let mut filling = Filling::new(mailbox, page);
        loop {
            found.members.retain(|(seq, member)| {
                member.is_live(now) && !leases.contains_key(&member.id) && !unwanted.contains(seq)
            });
            let members: Vec<_> = found.members.into_iter().map(|(_, member)| member).collect();
            if !self.fill(&mut filling, &members).await? || found.is_end {
                return Ok(Unclaimed { listing: filling.done(), next_free_at });
            }
            found = self.oldest(mailbox, page.before, found.last, STEP).await?;
        }
    }

    pub(in crate::store) async fn claimed(
        &self,
        mailbox: &MailboxName,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let leases = self.leases(mailbox, now).await?;
        let all = self.newest(mailbox, None, None, usize::MAX).await?.members;
        let live = all.into_iter().filter(|(_, member)| member.is_live(now));
        let claimed = live.filter_map(|(seq, member)| Some((seq, *leases.get(&member.id)?)));
        Ok(claimed.map(|(seq, until)| Claimed { seq, until: (until < NEVER).then_some(until) }).collect())
    }

    pub(in crate::store) async fn claim(
        &self,
        mailbox: &MailboxName,
        ids: &[MessageId],
        lease: Lease,
        now: Timestamp,
    ) -> Result<Option<MessageId>, StoreError> {
        self.link.check_open()?;
        let of_mailbox = self.keys.mailbox(mailbox);
        for step in ids.chunks(STEP) {
            let mut keys = vec![of_mailbox.leases(), of_mailbox.index()];
            keys.extend(step.iter().map(|id| of_mailbox.message(*id)));
            let mut args = vec![number(now.as_millis()), Value::from(lease.token.to_string())];
            args.push(number(lease.until.as_millis()));
            args.extend(step.iter().map(field));
            let which = reply::count(&self.link.run(&self.scripts.claim, keys, args).await?);
            if let Some(id) = usize::try_from(which).ok().and_then(|which| step.get(which.checked_sub(1)?)) {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }

    pub(in crate::store) async fn step(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        token: LeaseToken,
        step: LeaseStep,
        now: Timestamp,
    ) -> Result<LeaseOutcome, StoreError> {
        let of_mailbox = self.keys.mailbox(mailbox);
        let name = match step {
            LeaseStep::Release => "release",
            LeaseStep::Finish => "finish",
            LeaseStep::Extend(_) => "extend",
        };
        let (token, name) = (Value::from(token.to_string()), Value::from(name));
        let mut args = vec![number(now.as_millis()), token, name, number(step.end().as_millis()), field(&id)];
        args.extend([self.keys.channel(), self.notices.node(), mailbox.as_str()].map(Value::from));
        let keys = vec![of_mailbox.leases(), of_mailbox.message(id)];
        Ok(match reply::count(&self.link.run(&self.scripts.step, keys, args).await?) {
            0 => LeaseOutcome::Missing,
            1 => LeaseOutcome::Refused,
            _ => LeaseOutcome::Stepped,
        })
    }

    /// The leases of a mailbox that have not ended, and when they do.
    async fn leases(&self, mailbox: &MailboxName, now: Timestamp) -> Result<HashMap<MessageId, Timestamp>, StoreError> {
        let key = self.keys.mailbox(mailbox).leases();
        let mut fields =
            reply::bytes(self.link.call(&key, "HGETALL", vec![Value::from(key.as_str())]).await?)?.into_iter();
        let mut leases = HashMap::new();
        while let (Some(id), Some(lease)) = (fields.next(), fields.next()) {
            let ends = lease.get(TOKEN_DIGITS..).and_then(|ends| str::from_utf8(ends).ok()?.parse().ok());
            if let (Ok(id), Some(ends)) = (<[u8; 16]>::try_from(&id[..]), ends.map(Timestamp::from_millis))
                && now < ends
            {
                leases.insert(MessageId::from_bytes(id), ends);
            }
        }
        Ok(leases)
    }
}

fn field(id: &MessageId) -> Value {
    Value::Bytes(Bytes::copy_from_slice(id.as_bytes()))
}
