//! What readers ask for: lists and single messages, by records alone.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fred::types::Value;

use super::Redis;
use super::body::Body;
use super::keys::Part;
use super::member::Member;
use super::value::{HEAD_BYTES, Head};
use super::{pieces, reply, value};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, MessageId};
use crate::store::{Listing, Page, Raw, StoreError, Stored};

/// How many members of an index, and how many records, are read at a time.
const STEP: usize = 100;
/// How many bytes of records are read at a time, unless one alone has more.
const STEP_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// What a record takes beside its texts in the reckoning of pages, as with the other backends.
const RECORD_OVERHEAD_BYTES: u64 = 1024;

/// A stretch of the index of a mailbox.
#[derive(Debug)]
pub(super) struct Stretch {
    /// Its members that can be read, each with its seq.
    pub(super) members: Vec<(u64, Member)>,
    /// The seq with which it ends; `None` where there is nothing.
    pub(super) last: Option<u64>,
    /// Whether there is nothing behind it.
    pub(super) is_end: bool,
}

/// A page of a mailbox on its way.
pub(super) struct Filling<'a> {
    mailbox: &'a MailboxName,
    page: Page,
    pub(super) listing: Listing,
    /// What its records have so far.
    bytes: u64,
    /// How many damaged messages came behind the last one that could be read: they are in the next page, if there is one.
    damaged: u64,
}

impl<'a> Filling<'a> {
    pub(super) fn new(mailbox: &'a MailboxName, page: Page) -> Self {
        Self { mailbox, page, listing: Listing::default(), bytes: 0, damaged: 0 }
    }

    pub(super) fn done(mut self) -> Listing {
        if !self.listing.more {
            self.listing.left_out += self.damaged;
        }
        self.listing
    }
}

impl Redis {
    pub(in crate::store) async fn list(
        &self,
        mailbox: &MailboxName,
        page: Page,
        now: Timestamp,
    ) -> Result<Listing, StoreError> {
        let mut filling = Filling::new(mailbox, page);
        let mut before = page.before;
        // One more than is wanted: whether the mailbox goes on is to be known.
        while filling.listing.messages.len() <= page.limit {
            let wanted = (page.limit - filling.listing.messages.len()).saturating_add(1).min(STEP);
            let found = self.newest(mailbox, before, page.after, wanted).await?;
            before = found.last;
            let live: Vec<_> =
                found.members.into_iter().map(|(_, member)| member).filter(|member| member.is_live(now)).collect();
            if !self.fill(&mut filling, &live).await? || found.is_end {
                break;
            }
        }
        Ok(filling.done())
    }

    /// Reads these messages as far as the page has room for them, and says whether it has for all.
    pub(super) async fn fill(&self, filling: &mut Filling<'_>, members: &[Member]) -> Result<bool, StoreError> {
        let Filling { mailbox, page, listing, bytes, damaged } = filling;
        let mut rest = members;
        while !rest.is_empty() {
            let (some, others) = rest.split_at(fitting(rest, listing.messages.len(), *page, *bytes));
            if some.is_empty() {
                listing.more = true;
                return Ok(false);
            }
            rest = others;
            for found in self.records(mailbox, some).await? {
                let Some((stored, record_bytes)) = found else {
                    *damaged += 1;
                    continue;
                };
                *bytes += record_bytes;
                listing.left_out += std::mem::take(damaged);
                listing.messages.push(stored);
            }
        }
        Ok(true)
    }

    /// The newest messages of a mailbox in these bounds, and their seqs.
    pub(super) async fn newest(
        &self,
        mailbox: &MailboxName,
        before: Option<u64>,
        after: Option<u64>,
        count: usize,
    ) -> Result<Stretch, StoreError> {
        self.index(mailbox, "ZREVRANGEBYSCORE", [bound(before, "+inf"), bound(after, "-inf")], count).await
    }

    /// The oldest ones, in the same way.
    pub(super) async fn oldest(
        &self,
        mailbox: &MailboxName,
        before: Option<u64>,
        after: Option<u64>,
        count: usize,
    ) -> Result<Stretch, StoreError> {
        self.index(mailbox, "ZRANGEBYSCORE", [bound(after, "-inf"), bound(before, "+inf")], count).await
    }

    async fn index(
        &self,
        mailbox: &MailboxName,
        command: &'static str,
        [from, to]: [String; 2],
        count: usize,
    ) -> Result<Stretch, StoreError> {
        let key = self.keys.mailbox(mailbox).index();
        let limit = i64::try_from(count).unwrap_or(-1).to_string();
        let args = [&key, &from, &to, "WITHSCORES", "LIMIT", "0", &limit].map(Value::from);
        let found = reply::bytes(self.link.call(&key, command, args.to_vec()).await?)?;
        let mut stretch = Stretch { members: Vec::new(), last: None, is_end: found.len() / 2 < count };
        let mut found = found.into_iter();
        while let (Some(member), Some(score)) = (found.next(), found.next()) {
            let Some(seq) = str::from_utf8(&score).ok().and_then(|score| score.parse().ok()) else {
                return Err(StoreError::Damaged(format!("the index of mailbox {mailbox} cannot be read")));
            };
            stretch.last = Some(seq);
            stretch.members.extend(Member::read_in(mailbox, &member).map(|member| (seq, member)));
        }
        Ok(stretch)
    }

    /// These messages, as far as they are still there, and how long their records are; `None` for one that is damaged.
    async fn records(
        &self,
        mailbox: &MailboxName,
        members: &[Member],
    ) -> Result<Vec<Option<(Stored, u64)>>, StoreError> {
        let of_mailbox = self.keys.mailbox(mailbox);
        let keys: Vec<_> = members.iter().map(|member| of_mailbox.message(member.id)).collect();
        let args: Vec<_> = keys.iter().map(|key| Value::from(key.as_str())).collect();
        let values = reply::array(self.link.call(&keys[0], "MGET", args).await?)?;
        let mut found = Vec::with_capacity(members.len());
        for (member, value) in members.iter().zip(values) {
            // Deleted or expired since the index was read.
            let Some(value) = value.into_bytes() else { continue };
            let Some(head) = Head::read(&value) else { continue };
            match self.stored(mailbox, &head, &value).await {
                Ok(Some(stored)) => {
                    let others_bytes = stored.rcpt_to.others_bytes() as u64;
                    let bytes = u64::from(member.record_len) + others_bytes + RECORD_OVERHEAD_BYTES;
                    found.push(Some((stored, bytes)));
                }
                Ok(None) => {}
                Err(StoreError::Damaged(error)) => {
                    tracing::error!(%error, "a message is damaged and was left out of a list");
                    found.push(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// One message out of its value; `None` where its record, kept elsewhere, has gone meanwhile.
    async fn stored(&self, mailbox: &MailboxName, head: &Head, value: &Bytes) -> Result<Option<Stored>, StoreError> {
        if !head.member.shares_record {
            return value::stored(mailbox, head, value, None).map(Some);
        }
        let mut record = BytesMut::with_capacity(usize::try_from(head.member.record_len).unwrap_or(0));
        for at in 0..pieces::count(u64::from(head.member.record_len)) {
            let Some(piece) = self.piece(head.member.id, Part::Record, at).await? else { return Ok(None) };
            record.extend_from_slice(&piece);
        }
        let (mailbox, head, value) = (mailbox.clone(), head.clone(), value.clone());
        tokio::task::spawn_blocking(move || value::stored(&mailbox, &head, &value, Some(&record)))
            .await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(format!("not read: {error}"))))
            .map(Some)
    }

    /// A piece of what mailboxes share; `None` if it is not there.
    pub(super) async fn piece(&self, id: MessageId, part: Part, at: usize) -> Result<Option<Bytes>, StoreError> {
        let key = self.keys.piece(id, part, at);
        let packed = self.link.call_bulk(&key, "GET", vec![Value::from(key.as_str())]).await?;
        let Some(packed) = packed.into_bytes() else { return Ok(None) };
        let piece = pieces::unpack_elsewhere(packed).await;
        piece.map(Some).ok_or_else(|| StoreError::Damaged(format!("{key} cannot be read")))
    }

    pub(in crate::store) async fn message(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Stored>, StoreError> {
        let key = self.keys.mailbox(mailbox).message(id);
        let value = self.link.call(&key, "GET", vec![Value::from(key.as_str())]).await?;
        let Some(value) = value.into_bytes() else { return Ok(None) };
        match Head::read_live(&value, now) {
            Some(head) => self.stored(mailbox, &head, &value).await,
            None => Ok(None),
        }
    }

    pub(in crate::store) async fn open_raw(
        self: &Arc<Self>,
        mailbox: &MailboxName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Raw>, StoreError> {
        let of_mailbox = self.keys.mailbox(mailbox);
        let (message, raw) = (of_mailbox.message(id), of_mailbox.raw(id));
        let last = (HEAD_BYTES - 1).to_string();
        let head = [&message, "0", &last].map(Value::from).to_vec();
        // Most raw bytes are small: they come with the head.
        let (head, raw) = tokio::try_join!(
            self.link.call(&message, "GETRANGE", head),
            self.link.call(&raw, "GET", vec![Value::from(raw.as_str())]),
        )?;
        let Some(head) = head.as_bytes().and_then(|head| Head::read_live(head, now)) else { return Ok(None) };
        if head.member.shares_raw {
            return Ok(Some(Raw::redis(Body::new(self.clone(), id, head.raw_len))));
        }
        // It goes together with the message: where it is not there, that has just been deleted.
        let Some(packed) = raw.into_bytes() else { return Ok(None) };
        let bytes = pieces::unpack(&packed)
            .filter(|bytes| bytes.len() as u64 == head.raw_len)
            .ok_or_else(|| StoreError::Damaged(format!("the raw bytes of message {id} have changed")))?;
        Ok(Some(Raw::held(bytes.into())))
    }
}

/// An end of a range of seqs, without the seq itself.
fn bound(seq: Option<u64>, open: &str) -> String {
    seq.map_or_else(|| open.to_owned(), |seq| format!("({seq}"))
}

/// How many of these records are read together: as many as the page has room for, by what the index knows of them.
fn fitting(members: &[Member], listed: usize, page: Page, bytes: u64) -> usize {
    let (mut count, mut sum) = (0, 0_u64);
    for member in members {
        sum += u64::from(member.record_len) + RECORD_OVERHEAD_BYTES;
        if page.is_full(listed + count, bytes.saturating_add(sum)) || (count > 0 && sum > STEP_MAX_BYTES) {
            break;
        }
        count += 1;
    }
    count
}
