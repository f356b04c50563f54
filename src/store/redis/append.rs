//! How a message is kept: what is large beside the mailboxes first, where nobody sees it, then all that makes it visible in
//! one script.

use bytes::Bytes;
use fred::types::Value;

use super::deliveries::Attempt;
use super::keys::Part;
use super::link::number;
use super::member::Member;
use super::remove::holder;
use super::replicas::Trace;
use super::{Redis, pieces, reply, to_the_end, together, value};
use crate::clock::Timestamp;
use crate::mail::{MailboxName, Message};
use crate::metrics::Removal;
use crate::store::{Delivery, Event, GoneReason, StoreError, distinct};

/// How much longer than a message lives Redis keeps it. That nobody is served what has expired is seen to at every read, and a
/// sweep takes it away; this is for what no program is left to sweep, and for clocks that differ.
pub(super) const GRACE_MS: u64 = 10 * 60 * 1000;
/// How much longer a mailbox that is empty knows its last seq: its clock, from which the next one comes, may be set back, or
/// be that of another server.
const STATE_MS: u64 = 24 * 60 * 60 * 1000;
/// Texts that take more than this in all mailboxes of a message together are kept once, beside them.
const COPIES_MAX_BYTES: usize = 64 * 1024;
/// How many mailboxes one script serves.
const MAILBOXES_PER_SCRIPT: usize = 100;
/// How many pieces are written before replicas are waited for, so that a large mail never is far ahead of them: small mail on the
/// same master waits behind it, and there is a limit to how long.
const PIECES_AHEAD: usize = 8;
/// Larger messages are made ready on another thread: that takes long enough to hold up others.
const PREPARE_INLINE_MAX_BYTES: usize = 64 * 1024;

/// A message ready to be kept.
pub(super) struct Parcel {
    pub(super) attempt: Attempt,
    pub(super) member: Member,
    pub(super) ttl_ms: u64,
    record: Text,
    raw: Text,
}

/// The record or the raw bytes of a message.
#[derive(Clone)]
struct Text {
    bytes: Bytes,
    /// All of it, packed, where it goes into every mailbox; it is in one piece then.
    copied: Option<Bytes>,
}

/// What became of one delivery.
pub(super) struct Saved {
    seq: u64,
    is_new: bool,
    /// The expiry that the mailbox was listed with.
    listed_until: Option<u64>,
    /// Messages that the mailbox has no room for; they are there until they are removed.
    pub(super) excess: Vec<Member>,
}

impl Redis {
    pub(in crate::store) async fn append(
        &self,
        deliveries: &[Delivery],
        message: Message,
        raw: Bytes,
        now: Timestamp,
    ) -> Result<Vec<u64>, StoreError> {
        self.link.check_open()?;
        let mailboxes = distinct(deliveries).0.iter().map(|delivery| delivery.mailbox.clone()).collect();
        let attempt = Attempt::new(message.id, mailboxes);
        self.append_as(deliveries, message, raw, attempt, now).await
    }

    /// Keeps a message by a delivery that has a name already.
    pub(super) async fn append_as(
        &self,
        deliveries: &[Delivery],
        message: Message,
        raw: Bytes,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Vec<u64>, StoreError> {
        let (recipients, places) = distinct(deliveries);
        if recipients.is_empty() {
            return Ok(Vec::new());
        }
        let parcel = Parcel::pack(message, raw, attempt, now).await?;
        let echo = self.notices.expect(&parcel.attempt.token);
        let saved = match self.deliver(&parcel, &recipients).await {
            Ok(saved) => saved,
            Err(error) => {
                self.regret(&parcel, &error).await;
                return Err(error);
            }
        };
        let arrived = recipients.iter().zip(&saved).filter(|(_, saved)| saved.is_new);
        let events = arrived.map(|(to, saved)| Event { mailbox: to.mailbox.clone(), seq: saved.seq });
        tokio::join!(echo.told_of(events.collect()), self.tidy(&parcel, &recipients, &saved, now));
        Ok(places.into_iter().map(|place| saved[place].seq).collect())
    }

    /// Everything up to the moment from which on the message is kept.
    pub(super) async fn deliver(&self, parcel: &Parcel, recipients: &[&Delivery]) -> Result<Vec<Saved>, StoreError> {
        // A script can name the keys of several mailboxes where they are on one server.
        let per_script = if self.link.is_clustered() { 1 } else { MAILBOXES_PER_SCRIPT };
        let groups = recipients.chunks(per_script);
        let is_open = groups.len() > 1;
        self.write_shared(parcel).await?;
        if is_open {
            self.open_delivery(&parcel.attempt).await?;
        }
        // Before anybody sees the message: who does may delete it at once, with all that it shares.
        self.replicated(|| self.traces_before(parcel, is_open)).await?;
        let saved = together(groups.map(|group| self.save(parcel, group)).collect()).await?;
        self.replicated(|| self.messages(parcel).map(|key| Trace::written(vec![key])).collect()).await?;
        if is_open {
            self.close_delivery(&parcel.attempt).await?;
            // A note that a failover brings back would have the message taken back.
            self.replicated(|| vec![Trace::removed(self.note_of(&parcel.attempt))]).await?;
        }
        Ok(saved.into_iter().flatten().collect())
    }

    /// What there is to see of a delivery before the message is visible.
    fn traces_before(&self, parcel: &Parcel, is_open: bool) -> Vec<Trace> {
        let mut traces = self.not_followed(self.messages(parcel));
        if parcel.member.shares() {
            let id = parcel.member.id;
            let pieces = parcel.pieces().map(|(part, at, _)| self.keys.piece(id, part, at));
            traces.push(Trace::written(std::iter::once(self.keys.holders(id)).chain(pieces).collect()));
        }
        if is_open {
            traces.push(Trace::written(vec![self.note_of(&parcel.attempt)]));
        }
        traces
    }

    /// The key of the message in each of its mailboxes. It stays, as a note, where somebody takes the message out.
    fn messages(&self, parcel: &Parcel) -> impl Iterator<Item = String> {
        parcel.attempt.mailboxes.iter().map(|mailbox| self.keys.mailbox(mailbox).message(parcel.member.id))
    }

    /// Writes what all mailboxes share, having said who needs it: nobody else's deletion takes it away then.
    async fn write_shared(&self, parcel: &Parcel) -> Result<(), StoreError> {
        if !parcel.member.shares() {
            return Ok(());
        }
        let (id, ttl) = (parcel.member.id, number(parcel.ttl_ms));
        let held = self.keys.holders(id);
        for some in parcel.attempt.mailboxes.chunks(MAILBOXES_PER_SCRIPT) {
            let holders = some.iter().map(|mailbox| Value::from(holder(&parcel.attempt.token, mailbox)));
            let args = std::iter::once(ttl.clone()).chain(holders).collect();
            self.link.run(&self.scripts.hold, vec![held.clone()], args).await?;
        }
        let mut written = Vec::new();
        let pieces: Vec<_> = parcel.pieces().collect();
        // Where nobody waits for replicas there is nothing to wait for in between.
        let ahead = if self.replicas.is_some() { PIECES_AHEAD } else { pieces.len().max(1) };
        for some in pieces.chunks(ahead) {
            if !written.is_empty() {
                self.replicated(|| vec![Trace::written(written)]).await?;
            }
            written = some.iter().map(|(part, at, _)| self.keys.piece(id, *part, *at)).collect();
            let writes = written.iter().zip(some);
            let writes = writes.map(|(key, (_, _, piece))| self.write_piece(key, piece.clone(), parcel.ttl_ms));
            together(writes.collect()).await?;
        }
        // The last of them are waited for with all else that is there before the message is visible.
        Ok(())
    }

    async fn write_piece(&self, key: &str, piece: Bytes, ttl_ms: u64) -> Result<(), StoreError> {
        let packed = Value::Bytes(pieces::pack_elsewhere(piece).await?);
        let args = vec![Value::from(key), packed, Value::from("PX"), number(ttl_ms)];
        self.link.call(key, "SET", args).await.map(drop)
    }

    /// Makes the message visible in these mailboxes, in one step.
    async fn save(&self, parcel: &Parcel, recipients: &[&Delivery]) -> Result<Vec<Saved>, StoreError> {
        let (member, attempt) = (&parcel.member, &parcel.attempt);
        let mut keys = Vec::with_capacity(recipients.len() * 4);
        let mut args = vec![
            Value::from(self.keys.channel()),
            Value::from(attempt.token.as_str()),
            number(parcel.ttl_ms),
            number(parcel.ttl_ms.saturating_add(STATE_MS)),
            number(self.mailbox_max_messages),
            Value::Bytes(parcel.raw.copied.clone().unwrap_or_default()),
        ];
        for delivery in recipients {
            let of_mailbox = self.keys.mailbox(&delivery.mailbox);
            let (message, raw) = (of_mailbox.message(member.id), of_mailbox.raw(member.id));
            keys.extend([of_mailbox.index(), of_mailbox.state(), message, raw]);
            let record = parcel.record.copied.as_deref().unwrap_or_default();
            let rcpt_to = delivery.rcpt_to.to_string();
            let behind = value::behind_stamp(member, parcel.raw.bytes.len() as u64, &rcpt_to, record);
            args.push(Value::from(delivery.mailbox.as_str()));
            args.push(Value::Bytes(Bytes::copy_from_slice(&member.write())));
            args.push(Value::Bytes(behind.into()));
        }
        let answers = reply::array(self.link.run(&self.scripts.save, keys, args).await?)?;
        answers.into_iter().map(Saved::read).collect()
    }

    /// What is left to be done once the message is kept. None of it is worth refusing the message for.
    async fn tidy(&self, parcel: &Parcel, recipients: &[&Delivery], saved: &[Saved], now: Timestamp) {
        let expires_at = parcel.member.expires_at;
        let tidied = recipients.iter().zip(saved).map(|(to, saved)| self.tidy_one(&to.mailbox, saved, expires_at, now));
        to_the_end(tidied.collect()).await;
    }

    async fn tidy_one(&self, mailbox: &MailboxName, saved: &Saved, expires_at: Timestamp, now: Timestamp) {
        if saved.listed_until.is_none_or(|until| expires_at.as_millis() < until)
            && let Err(error) = self.enlist(mailbox, expires_at).await
        {
            tracing::warn!(%error, "a mailbox will be in the list of mailboxes with its next mail only");
        }
        if saved.excess.is_empty() {
            return;
        }
        match self.remove(mailbox, &saved.excess, GoneReason::Evicted, now).await {
            Ok(removed) => _ = self.metrics.removed.of(Removal::Evicted).inc_by(removed),
            Err(error) => tracing::warn!(%error, "a mailbox holds more messages than it may until its next mail"),
        }
    }
}

impl Saved {
    fn read(answer: Value) -> Result<Self, StoreError> {
        let words = reply::bytes(answer)?;
        let [seq, what, listed, excess @ ..] = &words[..] else {
            return Err(StoreError::Damaged("the script that saves gave no answer".to_owned()));
        };
        if what == "undone" {
            return Err(StoreError::Unavailable("the delivery took too long and has been taken back".to_owned()));
        }
        let number = |bytes: &Bytes| str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        Ok(Self {
            seq: number(seq).ok_or_else(|| StoreError::Damaged("a message without a seq".to_owned()))?,
            is_new: what == "new",
            listed_until: number(listed),
            excess: excess.iter().filter_map(|member| Member::read(member)).collect(),
        })
    }
}

impl Parcel {
    /// Makes a message ready; on another thread where that takes long.
    pub(super) async fn pack(
        message: Message,
        raw: Bytes,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        if raw.len() + message.content.text_bytes() <= PREPARE_INLINE_MAX_BYTES {
            return Self::pack_here(&message, raw, attempt, now);
        }
        tokio::task::spawn_blocking(move || Self::pack_here(&message, raw, attempt, now))
            .await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(format!("not made ready: {error}"))))
    }

    fn pack_here(message: &Message, raw: Bytes, attempt: Attempt, now: Timestamp) -> Result<Self, StoreError> {
        let copies = attempt.mailboxes.len();
        let record = Text::new(value::write_record(message)?.into(), copies)?;
        let raw = Text::new(raw, copies)?;
        let lifetime_ms = message.expires_at.as_millis().saturating_sub(now.as_millis());
        let member = Member {
            id: message.id,
            expires_at: message.expires_at,
            record_len: u32::try_from(record.bytes.len()).unwrap_or(u32::MAX),
            shares_record: record.copied.is_none(),
            shares_raw: raw.copied.is_none(),
        };
        Ok(Self { attempt, member, ttl_ms: lifetime_ms.saturating_add(GRACE_MS), record, raw })
    }

    /// The pieces that all mailboxes share, each with its place.
    fn pieces(&self) -> impl Iterator<Item = (Part, usize, Bytes)> {
        let of = |text: &Text, part| {
            let count = if text.copied.is_some() { 0 } else { pieces::count(text.bytes.len() as u64) };
            let bytes = text.bytes.clone();
            (0..count).map(move |at| (part, at, pieces::cut(&bytes, at)))
        };
        of(&self.record, Part::Record).chain(of(&self.raw, Part::Raw))
    }

    /// The length of the raw bytes.
    pub(super) fn raw_len(&self) -> u64 {
        self.raw.bytes.len() as u64
    }
}

impl Text {
    fn new(bytes: Bytes, copies: usize) -> Result<Self, StoreError> {
        let copied = if bytes.len() <= pieces::PIECE_BYTES { Some(pieces::pack(&bytes)?) } else { None };
        let copied = copied.filter(|packed| packed.len().saturating_mul(copies) <= COPIES_MAX_BYTES);
        Ok(Self { bytes, copied })
    }
}
