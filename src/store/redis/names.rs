//! The list of mailboxes, in slots. A mailbox is in it from its first mail on, and until somebody who looks finds it empty.

use std::collections::BTreeMap;
use std::time::Duration;

use fred::types::Value;

use super::keys::Keys;
use super::link::number;
use super::member::Member;
use super::remove::STEP;
use super::replicas::Trace;
use super::reply;
use super::{Redis, together};
use crate::clock::Timestamp;
use crate::mail::MailboxName;
use crate::store::{MailboxSummary, StoreError};

/// How many mailboxes whose mail expires are taken from a slot at a time.
pub(super) const DUE_STEP: u64 = 100;
/// The id of a message that has come by SMTP begins with the moment in which it came, and so does its seq, by the clock of Redis;
/// so far apart they are at most.
const NAMED_WITHIN: Duration = Duration::from_secs(60);

/// A mailbox in the list.
pub(super) struct Listed {
    pub(super) slot: u8,
    pub(super) mailbox: MailboxName,
    /// When something in it expires, as it is written there. It may hold more, and it may hold nothing.
    pub(super) due: Option<f64>,
}

impl Listed {
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.due.is_none_or(|due| due <= millis(now))
    }
}

/// As a score has it: exact for some hundred thousand years.
fn millis(moment: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a moment in milliseconds has 41 bits")]
    let millis = moment.as_millis() as f64;
    millis
}

impl Redis {
    /// Lists a mailbox that holds a message until `expires_at`.
    pub(super) async fn enlist(&self, mailbox: &MailboxName, expires_at: Timestamp) -> Result<(), StoreError> {
        let (slot, due) = (Keys::slot_of(mailbox.as_str()), number(expires_at.as_millis()));
        let keys = vec![self.keys.names(slot), self.keys.due(slot)];
        self.link.run(&self.scripts.enlist, keys, vec![Value::from(mailbox.as_str()), due.clone()]).await?;
        // Once that is noted, later mail does not list the mailbox again.
        self.replicated(|| vec![Trace::member(self.keys.names(slot), mailbox.as_str())]).await?;
        let of_mailbox = self.keys.mailbox(mailbox);
        self.link.run(&self.scripts.settle, vec![of_mailbox.index(), of_mailbox.state()], vec![due]).await?;
        Ok(())
    }

    pub(in crate::store) async fn mailboxes(
        &self,
        after: Option<&MailboxName>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<MailboxSummary>, StoreError> {
        self.link.check_open()?;
        let mut found = Vec::new();
        let mut after = after.cloned();
        while found.len() < limit {
            let wanted = limit - found.len();
            let listed = self.listed_behind(after.as_ref(), wanted).await?;
            let is_end = listed.len() < wanted;
            after = listed.last().map(|listed| listed.mailbox.clone());
            // Those that turn out to be empty leave room for others.
            let summaries = together(listed.iter().map(|listed| self.summary(listed, now)).collect()).await?;
            found.extend(summaries.into_iter().flatten());
            if is_end {
                break;
            }
        }
        Ok(found)
    }

    /// The next mailboxes of the list: of every slot so many, then those of all of them.
    async fn listed_behind(&self, after: Option<&MailboxName>, count: usize) -> Result<Vec<Listed>, StoreError> {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let of_slots = Keys::slots().map(|slot| {
            let args = [&self.keys.names(slot), &from, "+", "LIMIT", "0", &count.to_string()].map(Value::from);
            async move {
                let names = self.link.call(&self.keys.names(slot), "ZRANGEBYLEX", args.to_vec()).await?;
                Ok::<_, StoreError>(reply::texts(names)?.into_iter().map(move |name| (name, slot)))
            }
        });
        let all: BTreeMap<String, u8> = together(of_slots.collect()).await?.into_iter().flatten().collect();
        together(all.into_iter().take(count).map(|(name, slot)| self.listed(slot, name)).collect()).await
    }

    /// What a mailbox holds; `None` where that is nothing, and where it is empty it is taken out of the list. What has expired
    /// is left to the sweep: to look takes no mail away, whatever the clock says.
    async fn summary(&self, listed: &Listed, now: Timestamp) -> Result<Option<MailboxSummary>, StoreError> {
        if listed.is_due(now) {
            return self.live_summary(listed, now).await;
        }
        let index = self.keys.mailbox(&listed.mailbox).index();
        let (count, newest) = tokio::try_join!(
            self.link.call(&index, "ZCARD", vec![Value::from(index.as_str())]),
            self.newest(&listed.mailbox, None, None, 1),
        )?;
        let count = reply::count(&count);
        if count == 0 {
            self.relist(listed, None).await?;
            return Ok(None);
        }
        match newest.members.last() {
            Some(newest) => self.summed(&listed.mailbox, count, newest, now).await.map(Some),
            // It cannot be read; others can.
            None => self.live_summary(listed, now).await,
        }
    }

    /// The same where something may have expired: each message is looked at.
    async fn live_summary(&self, listed: &Listed, now: Timestamp) -> Result<Option<MailboxSummary>, StoreError> {
        let (mut count, mut newest, mut after) = (0, None, None);
        loop {
            let found = self.oldest(&listed.mailbox, None, after, STEP).await?;
            if after.is_none() && found.last.is_none() {
                self.relist(listed, None).await?;
            }
            for member in found.members.into_iter().filter(|(_, member)| member.is_live(now)) {
                count += 1;
                newest = Some(member);
            }
            after = found.last;
            if found.is_end {
                break;
            }
        }
        match newest {
            Some(newest) => self.summed(&listed.mailbox, count, &newest, now).await.map(Some),
            None => Ok(None),
        }
    }

    /// What is told of a mailbox with so many messages.
    async fn summed(
        &self,
        mailbox: &MailboxName,
        count: u64,
        (seq, newest): &(u64, Member),
        now: Timestamp,
    ) -> Result<MailboxSummary, StoreError> {
        let (named_at, kept_at) = (newest.named_at(), Timestamp::from_millis(seq / 1000));
        let newest_received_at = if named_at.since(kept_at).max(kept_at.since(named_at)) <= NAMED_WITHIN {
            named_at
        } else {
            // Imported, perhaps under a name that does not tell when it came. Its record does.
            match self.message(mailbox, newest.id, now).await {
                Ok(found) => found.map_or(kept_at, |stored| stored.message.received_at),
                Err(StoreError::Damaged(_)) => kept_at,
                Err(error) => return Err(error),
            }
        };
        Ok(MailboxSummary { mailbox: mailbox.clone(), count, newest_received_at })
    }

    /// The mailboxes of a slot in which something expires until `now`.
    pub(super) async fn due(&self, slot: u8, now: Timestamp) -> Result<Vec<Listed>, StoreError> {
        let key = self.keys.due(slot);
        let latest = now.as_millis().to_string();
        let args = [&key, "-inf", &latest, "LIMIT", "0", &DUE_STEP.to_string()].map(Value::from);
        let names = reply::texts(self.link.call(&key, "ZRANGEBYSCORE", args.to_vec()).await?)?;
        together(names.into_iter().map(|name| self.listed(slot, name)).collect()).await
    }

    async fn listed(&self, slot: u8, name: String) -> Result<Listed, StoreError> {
        let args = vec![Value::from(self.keys.due(slot)), Value::from(name.as_str())];
        let due = self.link.call(&self.keys.due(slot), "ZSCORE", args).await?;
        Ok(Listed { slot, mailbox: MailboxName::stored(name), due: due.as_f64() })
    }

    /// Says when something expires next in a mailbox that has been looked at; `None` takes it out of the list, if it is
    /// still empty. Where mail has come meanwhile all stays as it is.
    pub(super) async fn relist(&self, listed: &Listed, next: Option<Timestamp>) -> Result<(), StoreError> {
        let of_mailbox = self.keys.mailbox(&listed.mailbox);
        let moment = next.map_or_else(|| Value::from(""), |next| number(next.as_millis()));
        let keys = vec![of_mailbox.index(), of_mailbox.state()];
        let holds_mail = self.link.run(&self.scripts.settle, keys, vec![moment.clone()]).await?;
        let next = match (next, reply::count(&holds_mail)) {
            (Some(_), 1) | (None, 0) => moment,
            // Something has come or gone; the next look finds out.
            _ => return Ok(()),
        };
        let found = Value::from(listed.due.map_or_else(String::new, |due| due.to_string()));
        let keys = vec![self.keys.names(listed.slot), self.keys.due(listed.slot)];
        self.link.run(&self.scripts.relist, keys, vec![Value::from(listed.mailbox.as_str()), found, next]).await?;
        Ok(())
    }
}
