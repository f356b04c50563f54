//! What every backend must keep to, whatever it is made of: one suite, run on each of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::redis::tests::{Release, Servers};
use super::*;
use crate::clock::Timestamp;
use crate::mail::{Address, Content, Domain, MailParameters, Peer};

const START_MS: u64 = 1_800_000_000_000;
const TTL: Duration = Duration::from_secs(24 * 3600);
const MIB: u64 = 1024 * 1024;

/// The backends under test.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Subject {
    Memory,
    Embedded,
    Redis(Release),
    Cluster,
}

/// A store under test, with the clock that it goes by.
pub(in crate::store) struct Lab {
    pub(in crate::store) store: Store,
    pub(in crate::store) clock: Clock,
    pub(in crate::store) settings: Settings,
    pub(in crate::store) tasks: Shutdown,
    pub(in crate::store) dir: TempDir,
    pub(in crate::store) servers: Option<Servers>,
}

impl Lab {
    pub(in crate::store) async fn open(subject: Subject) -> Self {
        Self::with_limits(subject, 500, u64::MAX).await
    }

    pub(in crate::store) async fn with_limits(subject: Subject, mailbox_max_messages: usize, max_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let servers = match subject {
            Subject::Memory | Subject::Embedded => None,
            Subject::Redis(release) => Some(Servers::one(release, max_bytes != u64::MAX)),
            Subject::Cluster => Some(Servers::cluster(max_bytes != u64::MAX)),
        };
        let kind = match subject {
            Subject::Memory => Kind::Memory,
            Subject::Embedded => Kind::Embedded { data_dir: dir.path().join("data"), min_free_bytes: 0 },
            Subject::Redis(_) | Subject::Cluster => Kind::Redis(servers.as_ref().unwrap().settings()),
        };
        let settings = Settings { kind, mailbox_max_messages, max_bytes };
        let (clock, tasks) = (Clock::manual(Timestamp::from_millis(START_MS)), Shutdown::new());
        let store = Store::open(&settings, clock.clone(), Arc::default(), &tasks).await.unwrap();
        let lab = Self { store, clock, settings, tasks, dir, servers };
        lab.limit_servers(max_bytes).await;
        lab
    }

    /// In Redis the limit is a setting of the server. It counts what the server itself takes to receive a mail too, so it has
    /// received one before.
    async fn limit_servers(&self, max_bytes: u64) {
        let Some(servers) = self.servers.as_ref().filter(|_| max_bytes != u64::MAX) else { return };
        self.deliver("warm", &noise(1, MIB as usize)).await;
        self.store.clear(&name("warm")).await.unwrap();
        servers.limit(max_bytes);
    }

    /// A message that arrives now.
    pub(in crate::store) fn message(&self) -> Message {
        let now = self.clock.now();
        message(now.as_millis(), now.after(TTL).as_millis())
    }

    /// Delivers `raw` now.
    pub(in crate::store) async fn deliver(&self, mailbox: &str, raw: &[u8]) -> (u64, MessageId) {
        let message = self.message();
        let id = message.id;
        let seqs = self.store.append(to(&[mailbox]), message, Bytes::copy_from_slice(raw)).await.unwrap();
        (seqs[0], id)
    }

    pub(in crate::store) async fn seqs(&self, mailbox: &str) -> Vec<u64> {
        self.page(mailbox, ALL).await
    }

    async fn page(&self, mailbox: &str, page: Page) -> Vec<u64> {
        self.store.list(&name(mailbox), page).await.unwrap().messages.iter().map(|stored| stored.seq).collect()
    }

    pub(in crate::store) async fn raw(&self, mailbox: &str, id: MessageId) -> Option<Bytes> {
        self.store.raw(&name(mailbox), id).await.unwrap()
    }

    /// Leases the first of `ids` for a minute.
    pub(in crate::store) async fn claim(&self, mailbox: &str, ids: &[MessageId]) -> Option<(MessageId, LeaseToken)> {
        let lease = Lease { token: LeaseToken::random(), until: self.clock.now().after(LEASE) };
        let claimed = self.store.claim(&name(mailbox), ids.to_vec(), lease).await.unwrap();
        claimed.map(|id| (id, lease.token))
    }

    pub(in crate::store) async fn step(
        &self,
        mailbox: &str,
        id: MessageId,
        token: LeaseToken,
        step: LeaseStep,
    ) -> LeaseOutcome {
        self.store.step(&name(mailbox), id, token, step).await.unwrap()
    }

    async fn unclaimed(&self, mailbox: &str, page: Page, unwanted: &[u64]) -> Unclaimed {
        let unwanted = Arc::new(unwanted.iter().copied().collect());
        self.store.unclaimed(&name(mailbox), page, unwanted).await.unwrap()
    }

    /// How a message went, and how long after the start.
    pub(in crate::store) async fn gone(&self, mailbox: &str, id: MessageId) -> Option<(GoneReason, Duration)> {
        let gone = self.store.gone(&name(mailbox), id).await.unwrap();
        gone.map(|gone| (gone.reason, Duration::from_millis(gone.at.as_millis() - START_MS)))
    }
}

pub(in crate::store) const ALL: Page = Page { before: None, after: None, limit: 1000, max_bytes: u64::MAX };

pub(in crate::store) fn name(text: &str) -> MailboxName {
    MailboxName::stored(text.to_owned())
}

pub(in crate::store) fn to(mailboxes: &[&str]) -> Vec<Delivery> {
    let domain = Domain::Name("example.com".to_owned());
    let rcpt_to = |mailbox: &str| Address::new(mailbox, domain.clone()).into();
    mailboxes.iter().map(|mailbox| Delivery { mailbox: name(mailbox), rcpt_to: rcpt_to(mailbox) }).collect()
}

pub(in crate::store) fn message(received_ms: u64, expires_ms: u64) -> Message {
    let received_at = Timestamp::from_millis(received_ms);
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 2525));
    Message {
        id: MessageId::new(received_at),
        received_at,
        expires_at: Timestamp::from_millis(expires_ms),
        mail_from: Some(Address::parse("\"a sender\"@example.org").unwrap()),
        parameters: MailParameters { size: Some(1834), ..MailParameters::default() },
        peer: Peer { addr, local: addr, helo: "client.example.org".to_owned(), tls: None },
        size: 3,
        content: Content { subject: Some("Grüße \u{0}".to_owned()), ..Content::default() },
    }
}

/// Bytes that are the same in every run and look like nothing in particular.
pub(in crate::store) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(len)
    .collect()
}

macro_rules! contract {
    ($($test:ident)*) => {
        contract! { @each memory super::Subject::Memory; $($test)* }
        contract! { @each embedded super::Subject::Embedded; $($test)* }
        contract! { @each redis super::Subject::Redis(super::Release::Installed); $($test)* }
        contract! { @each redis_6_2 super::Subject::Redis(super::Release::Redis62); $($test)* }
        contract! { @each redis_8 super::Subject::Redis(super::Release::Redis8); $($test)* }
        contract! { @each valkey_8 super::Subject::Redis(super::Release::Valkey8); $($test)* }
        contract! { @each cluster super::Subject::Cluster; $($test)* }
    };
    (@each $module:ident $subject:expr; $($test:ident)*) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test($subject).await; })*
        }
    };
}

contract! {
    what_is_kept_is_found_as_it_was
    an_empty_and_a_large_message_come_back_byte_for_byte
    a_large_message_comes_in_chunks_and_in_parts
    a_message_that_is_deleted_while_it_is_read_is_never_given_out_by_half
    what_is_not_there_is_none_and_no_error
    all_mailboxes_of_a_message_get_it_and_each_sees_its_own_recipient
    the_newest_come_first_and_pages_lead_to_the_oldest
    a_page_has_so_many_bytes_but_always_one_message
    pages_stay_where_they_are_while_mail_arrives
    a_seq_is_never_used_again
    a_clock_that_jumps_loses_nothing_and_mail_stays_in_the_order_of_its_arrival
    delete_takes_one_message_from_one_mailbox
    clear_takes_a_whole_mailbox_and_no_other
    a_message_expires_on_its_own_time_swept_or_not
    a_look_takes_no_mail_away_whatever_the_clock_says
    a_sweep_removes_what_has_expired_and_says_how_many
    a_mailbox_holds_so_many_and_the_oldest_go
    what_is_left_of_a_full_mailbox_is_counted_anew
    a_deleted_message_is_remembered_as_deleted
    an_expired_message_is_remembered_as_expired_swept_or_not
    a_message_that_was_pushed_out_is_remembered_as_evicted
    who_never_had_a_message_learns_nothing_of_it
    what_is_gone_is_forgotten_after_as_long_as_it_was_kept
    a_message_came_when_it_came_whatever_its_name_begins_with
    the_newest_message_of_a_mailbox_is_the_one_that_its_list_begins_with
    so_many_messages_that_are_gone_are_remembered
    a_message_that_is_kept_again_is_not_gone
    a_message_is_leased_once_until_its_lease_ends
    only_the_token_of_a_live_lease_takes_a_step
    what_is_done_is_never_claimed_again_and_stays_readable
    what_can_be_claimed_is_listed_oldest_first
    a_lease_goes_with_its_message
    each_mailbox_of_a_message_has_its_own_lease
    workers_at_once_never_get_the_same_message
    a_message_that_is_given_back_wakes_those_who_watch
    a_full_store_refuses_until_mail_has_expired
    a_message_that_is_shared_is_held_once
    a_message_too_large_does_not_keep_others_out
    events_name_each_mailbox_in_the_order_of_arrival
    a_message_that_was_refused_is_not_told_of
    the_same_message_again_is_kept_once
    mailboxes_are_listed_by_name_with_their_mail
    odd_names_are_mailboxes_of_their_own
    mail_that_arrives_at_once_is_all_kept
    a_change_is_seen_at_once_by_who_looks_all_the_time
    a_mailbox_that_is_cleared_while_mail_arrives_loses_nothing_uncounted
    a_closed_store_is_unavailable
    the_store_sweeps_by_itself
}

async fn what_is_kept_is_found_as_it_was(subject: Subject) {
    let lab = Lab::open(subject).await;
    let message = lab.message();
    let raw = Bytes::from_static(b"From: a\r\n\r\n\xff\x00body\r\n");
    let seqs = lab.store.append(to(&["alice"]), message.clone(), raw.clone()).await.unwrap();
    let alice = name("alice");
    let stored = lab.store.message(&alice, message.id).await.unwrap().unwrap();
    assert_eq!(seqs, [stored.seq]);
    assert_eq!(stored.mailbox, alice);
    assert_eq!(stored.rcpt_to.to_string(), "alice@example.com");
    assert_eq!(*stored.message, message);
    assert_eq!(lab.store.list(&alice, ALL).await.unwrap().messages, [stored]);
    assert_eq!(lab.raw("alice", message.id).await, Some(raw));
    assert!(lab.store.ready().await.is_ok());
}

async fn an_empty_and_a_large_message_come_back_byte_for_byte(subject: Subject) {
    let lab = Lab::open(subject).await;
    for len in [0, 1, 4095, 4096, 4097, 5 * 1024 * 1024 + 7] {
        let raw = noise(len as u64, len);
        let (_, id) = lab.deliver("alice", &raw).await;
        assert!(lab.raw("alice", id).await.unwrap() == raw, "{len} bytes");
    }
}

async fn a_large_message_comes_in_chunks_and_in_parts(subject: Subject) {
    let lab = Lab::open(subject).await;
    let raw = noise(1, 3 * CHUNK_BYTES + 7);
    let (_, id) = lab.deliver("alice", &raw).await;
    let len = raw.len() as u64;
    let open = async || lab.store.open_raw(&name("alice"), id).await.unwrap().unwrap();
    let mut whole = open().await;
    assert_eq!((whole.len(), whole.is_empty()), (len, false));
    let mut read = Vec::new();
    while let Some(chunk) = whole.chunk().await.unwrap() {
        assert!((1..=CHUNK_BYTES).contains(&chunk.len()));
        read.extend_from_slice(&chunk);
    }
    assert!(read == raw);
    assert_eq!(whole.chunk().await.unwrap(), None, "the end stays the end");
    let chunk = CHUNK_BYTES as u64;
    for (part, expected) in [
        (0..len, 0..raw.len()),
        (0..0, 0..0),
        (5..6, 5..6),
        (chunk - 1..2 * chunk + 1, CHUNK_BYTES - 1..2 * CHUNK_BYTES + 1),
        (len - 1..u64::MAX, raw.len() - 1..raw.len()),
        (len + 5..u64::MAX, 0..0),
    ] {
        let cut = open().await.part(part.clone());
        assert_eq!(cut.len(), expected.len() as u64, "{part:?}");
        assert!(cut.front(3).await.unwrap().unwrap() == raw[expected.clone()][..expected.len().min(3)], "{part:?}");
        assert!(cut.into_bytes().await.unwrap().unwrap() == raw[expected], "{part:?}");
    }
    let mut part = open().await.part(10..20).part(2..4);
    for _ in 0..2 {
        assert!(part.chunk().await.unwrap().unwrap() == raw[12..14]);
        part.rewind();
    }
}

async fn a_message_that_is_deleted_while_it_is_read_is_never_given_out_by_half(subject: Subject) {
    let lab = Lab::open(subject).await;
    let raw = noise(2, 5 * CHUNK_BYTES);
    let (_, id) = lab.deliver("alice", &raw).await;
    let mut reading = lab.store.open_raw(&name("alice"), id).await.unwrap().unwrap();
    let mut read = reading.chunk().await.unwrap().unwrap().to_vec();
    assert!(lab.store.delete(&name("alice"), id).await.unwrap());
    assert!(lab.store.open_raw(&name("alice"), id).await.unwrap().is_none());
    loop {
        match reading.chunk().await {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk),
            Ok(None) => break assert!(read == raw, "what comes without an error is the message"),
            Err(_) => break,
        }
    }
}

async fn what_is_not_there_is_none_and_no_error(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (_, id) = lab.deliver("alice", b"hello").await;
    let other = MessageId::new(lab.clock.now());
    for (mailbox, id) in [("alice", other), ("bob", id), ("ALICE", id), ("alic", id)] {
        assert_eq!(lab.store.message(&name(mailbox), id).await.unwrap(), None, "{mailbox}");
        assert_eq!(lab.raw(mailbox, id).await, None, "{mailbox}");
        assert!(!lab.store.delete(&name(mailbox), id).await.unwrap(), "{mailbox}");
    }
    assert!(lab.seqs("bob").await.is_empty());
    assert_eq!(lab.store.clear(&name("bob")).await.unwrap(), 0);
    assert!(lab.store.append(Vec::new(), lab.message(), Bytes::new()).await.unwrap().is_empty());
}

async fn all_mailboxes_of_a_message_get_it_and_each_sees_its_own_recipient(subject: Subject) {
    let lab = Lab::open(subject).await;
    let message = lab.message();
    let id = message.id;
    let mut deliveries = to(&["c", "a", "b"]);
    deliveries[1].rcpt_to =
        "a@example.com NOTIFY=NEVER ALSO=+22a+20b+22@example.com+20ORCPT+3Drfc822;c".parse().unwrap();
    let several = deliveries[1].rcpt_to.clone();
    let seqs = lab.store.append(deliveries, message, Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!(seqs.len(), 3);
    assert_eq!(lab.store.message(&name("a"), id).await.unwrap().unwrap().rcpt_to, several);
    for (mailbox, seq) in ["c", "a", "b"].into_iter().zip(seqs) {
        let stored = lab.store.message(&name(mailbox), id).await.unwrap().unwrap();
        assert_eq!((stored.seq, stored.rcpt_to.first.address.local_part()), (seq, mailbox));
        assert_eq!(lab.raw(mailbox, id).await.unwrap(), b"hello"[..]);
    }
}

async fn the_newest_come_first_and_pages_lead_to_the_oldest(subject: Subject) {
    let lab = Lab::open(subject).await;
    let mut seqs = Vec::new();
    for _ in 0..7 {
        seqs.insert(0, lab.deliver("alice", b"hello").await.0);
        lab.deliver("bob", b"not hers").await;
    }
    assert_eq!(lab.seqs("alice").await, seqs);
    let page = Page { limit: 3, ..ALL };
    assert_eq!(lab.page("alice", page).await, seqs[..3]);
    assert_eq!(lab.page("alice", Page { before: Some(seqs[2]), ..page }).await, seqs[3..6]);
    assert_eq!(lab.page("alice", Page { before: Some(seqs[5]), ..page }).await, seqs[6..]);
    assert!(lab.page("alice", Page { before: Some(seqs[6]), ..page }).await.is_empty());
    assert_eq!(lab.page("alice", Page { after: Some(seqs[5]), ..page }).await, seqs[..3], "still the newest");
    assert_eq!(lab.page("alice", Page { after: Some(seqs[2]), ..ALL }).await, seqs[..2]);
    assert_eq!(lab.page("alice", Page { before: Some(seqs[1]), after: Some(seqs[4]), ..ALL }).await, seqs[2..4]);
    assert!(lab.page("alice", Page { before: Some(seqs[4]), after: Some(seqs[1]), ..ALL }).await.is_empty());
    assert!(lab.page("alice", Page { after: Some(u64::MAX), before: Some(0), ..ALL }).await.is_empty());
    assert_eq!(lab.page("alice", Page { after: Some(0), before: Some(u64::MAX), ..ALL }).await, seqs);
    assert!(lab.page("alice", Page { limit: 0, ..ALL }).await.is_empty());
}

async fn a_page_has_so_many_bytes_but_always_one_message(subject: Subject) {
    let lab = Lab::open(subject).await;
    let mut seqs = Vec::new();
    for _ in 0..5 {
        let text = Some("x".repeat(100_000));
        let content = Content { text, ..Content::default() };
        let message = Message { content, ..lab.message() };
        seqs.insert(0, lab.store.append(to(&["alice"]), message, Bytes::new()).await.unwrap()[0]);
    }
    for (max_bytes, limit, expected, more) in [
        (250_000, 1000, &seqs[..2], true),
        (0, 1000, &seqs[..1], true),
        (u64::MAX, 1000, &seqs[..], false),
        (u64::MAX, 5, &seqs[..], false),
        (u64::MAX, 4, &seqs[..4], true),
    ] {
        let page = Page { limit, max_bytes, ..ALL };
        let listing = lab.store.list(&name("alice"), page).await.unwrap();
        let found: Vec<_> = listing.messages.iter().map(|stored| stored.seq).collect();
        assert_eq!((&found[..], listing.more), (expected, more), "{page:?}");
    }
    let rest = Page { before: Some(seqs[3]), max_bytes: 0, ..ALL };
    assert!(!lab.store.list(&name("alice"), rest).await.unwrap().more);
}

async fn pages_stay_where_they_are_while_mail_arrives(subject: Subject) {
    let lab = Lab::open(subject).await;
    let mut expected = Vec::new();
    for _ in 0..20 {
        expected.insert(0, lab.deliver("alice", b"hello").await.0);
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = lab.page("alice", Page { before, limit: 6, ..ALL }).await;
        lab.deliver("alice", b"later").await;
        let Some(last) = page.last() else { break };
        before = Some(*last);
        seen.extend(page);
    }
    assert_eq!(seen, expected);
}

async fn a_clock_that_jumps_loses_nothing_and_mail_stays_in_the_order_of_its_arrival(subject: Subject) {
    let lab = Lab::open(subject).await;
    let now = lab.clock.now();
    let ahead = now.after(3 * TTL);
    let behind = Timestamp::from_millis(now.as_millis() - 3 * 24 * 3_600_000);
    let (first, first_id) = lab.deliver("alice", b"first").await;
    lab.clock.set(ahead);
    let (second, second_id) = lab.deliver("alice", b"second").await;
    assert_eq!(lab.seqs("alice").await, [second], "by the clock the first has expired");
    lab.clock.set(behind);
    let (third, third_id) = lab.deliver("alice", b"third").await;
    assert!(first < second && second < third, "{first} {second} {third}");
    assert!(first_id != second_id && second_id != third_id && third_id < first_id);
    assert_eq!(lab.seqs("alice").await, [third, second, first]);
    let older = Page { before: Some(third), limit: 1, ..ALL };
    assert_eq!(lab.page("alice", older).await, [second]);
    for (id, raw) in [(first_id, "first"), (second_id, "second"), (third_id, "third")] {
        assert_eq!(lab.raw("alice", id).await.unwrap(), raw);
    }
    lab.clock.set(now);
    assert_eq!(lab.seqs("alice").await, [second, first], "the third expires on its own time");
    let (fourth, _) = lab.deliver("alice", b"fourth").await;
    assert_eq!(lab.seqs("alice").await, [fourth, second, first]);
}

async fn a_seq_is_never_used_again(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (first, id) = lab.deliver("alice", b"1").await;
    lab.store.delete(&name("alice"), id).await.unwrap();
    let (second, _) = lab.deliver("alice", b"2").await;
    lab.store.clear(&name("alice")).await.unwrap();
    let (third, _) = lab.deliver("alice", b"3").await;
    lab.clock.advance(TTL);
    lab.store.sweep().await.unwrap();
    let (fourth, _) = lab.deliver("alice", b"4").await;
    assert!(first < second && second < third && third < fourth, "{first} {second} {third} {fourth}");
}

async fn delete_takes_one_message_from_one_mailbox(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (kept, _) = lab.deliver("alice", b"other").await;
    let shared = lab.message();
    let id = shared.id;
    lab.store.append(to(&["alice", "bob"]), shared, Bytes::from_static(b"shared")).await.unwrap();
    assert!(lab.store.delete(&name("alice"), id).await.unwrap());
    assert!(!lab.store.delete(&name("alice"), id).await.unwrap(), "it was deleted before");
    assert_eq!(lab.seqs("alice").await, [kept]);
    assert_eq!(lab.raw("alice", id).await, None);
    assert_eq!(lab.raw("bob", id).await.unwrap(), b"shared"[..]);
    assert!(lab.store.delete(&name("bob"), id).await.unwrap());
    assert_eq!(lab.raw("bob", id).await, None);
}

async fn clear_takes_a_whole_mailbox_and_no_other(subject: Subject) {
    let lab = Lab::open(subject).await;
    for _ in 0..3 {
        lab.deliver("alice", b"hers").await;
    }
    let shared = lab.message();
    let id = shared.id;
    lab.store.append(to(&["bob", "alice"]), shared, Bytes::from_static(b"shared")).await.unwrap();
    assert_eq!(lab.store.clear(&name("alice")).await.unwrap(), 4);
    assert!(lab.seqs("alice").await.is_empty());
    assert_eq!(lab.raw("bob", id).await.unwrap(), b"shared"[..]);
    assert_eq!(lab.store.clear(&name("alice")).await.unwrap(), 0);
}

async fn a_message_expires_on_its_own_time_swept_or_not(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (_, first) = lab.deliver("alice", b"first").await;
    lab.clock.advance(TTL / 2);
    let (second, _) = lab.deliver("alice", b"second").await;
    lab.clock.advance(TTL / 2 - Duration::from_millis(1));
    assert_eq!(lab.seqs("alice").await.len(), 2, "one millisecond is left");
    lab.clock.advance(Duration::from_millis(1));
    let alice = name("alice");
    assert_eq!(lab.seqs("alice").await, [second], "later mail did not renew the first");
    assert_eq!(lab.store.message(&alice, first).await.unwrap(), None);
    assert_eq!(lab.raw("alice", first).await, None);
    assert!(!lab.store.delete(&alice, first).await.unwrap());
    let summaries = lab.store.mailboxes(None, 10).await.unwrap();
    assert_eq!(summaries.iter().map(|summary| summary.count).collect::<Vec<_>>(), [1]);
    assert_eq!(lab.store.clear(&alice).await.unwrap(), 1);
    assert!(lab.store.mailboxes(None, 10).await.unwrap().is_empty());
}

async fn a_look_takes_no_mail_away_whatever_the_clock_says(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (first, id) = lab.deliver("alice", b"hello").await;
    lab.deliver("bob", b"hello").await;
    lab.clock.advance(TTL / 2);
    let (second, _) = lab.deliver("alice", b"later").await;
    let names = async || lab.store.mailboxes(None, 10).await.unwrap();
    let before = names().await;
    lab.clock.advance(TTL / 2);
    let of_alice = MailboxSummary { count: 1, ..before[0].clone() };
    assert_eq!((names().await, lab.seqs("alice").await), (vec![of_alice], vec![second]));
    lab.clock.advance(TTL);
    assert!(names().await.is_empty() && lab.seqs("alice").await.is_empty());
    assert!(lab.raw("alice", id).await.is_none() && !lab.store.delete(&name("alice"), id).await.unwrap());
    assert_eq!(lab.store.clear(&name("alice")).await.unwrap(), 0);
    lab.clock.set(Timestamp::from_millis(START_MS));
    assert_eq!((names().await, lab.seqs("alice").await), (before, vec![second, first]));
}

async fn a_sweep_removes_what_has_expired_and_says_how_many(subject: Subject) {
    let lab = Lab::with_limits(subject, 2000, u64::MAX).await;
    for _ in 0..1010 {
        lab.deliver("alice", b"old").await;
    }
    lab.store.append(to(&["bob", "carol"]), lab.message(), Bytes::new()).await.unwrap();
    lab.clock.advance(TTL / 2);
    let (seq, id) = lab.deliver("alice", b"new").await;
    assert_eq!(lab.store.sweep().await.unwrap(), 0);
    lab.clock.advance(TTL / 2);
    assert_eq!(lab.store.sweep().await.unwrap(), 1012);
    assert_eq!(lab.store.sweep().await.unwrap(), 0);
    assert_eq!(lab.seqs("alice").await, [seq]);
    assert_eq!(lab.raw("alice", id).await.unwrap(), b"new"[..]);
}

async fn a_mailbox_holds_so_many_and_the_oldest_go(subject: Subject) {
    let lab = Lab::with_limits(subject, 3, u64::MAX).await;
    let (_, first) = lab.deliver("alice", b"first").await;
    let mut seqs = Vec::new();
    lab.deliver("bob", b"not hers").await;
    for _ in 0..3 {
        seqs.insert(0, lab.deliver("alice", b"hello").await.0);
    }
    assert_eq!(lab.seqs("alice").await, seqs);
    assert_eq!(lab.raw("alice", first).await, None);
    assert_eq!(lab.seqs("bob").await.len(), 1);
}

async fn what_is_left_of_a_full_mailbox_is_counted_anew(subject: Subject) {
    let lab = Lab::with_limits(subject, 3, u64::MAX).await;
    for _ in 0..3 {
        lab.deliver("alice", b"old").await;
    }
    let (_, id) = lab.deliver("alice", b"deleted").await;
    lab.store.delete(&name("alice"), id).await.unwrap();
    lab.deliver("alice", b"fits").await;
    assert_eq!(lab.seqs("alice").await.len(), 3);
    lab.store.clear(&name("alice")).await.unwrap();
    for _ in 0..3 {
        lab.deliver("alice", b"new").await;
    }
    assert_eq!(lab.seqs("alice").await.len(), 3);
    lab.clock.advance(TTL);
    lab.store.sweep().await.unwrap();
    for _ in 0..3 {
        lab.deliver("alice", b"newer").await;
    }
    assert_eq!(lab.seqs("alice").await.len(), 3);
}

async fn a_deleted_message_is_remembered_as_deleted(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (_, deleted) = lab.deliver("alice", b"deleted").await;
    let (_, cleared) = lab.deliver("alice", b"cleared").await;
    assert_eq!(lab.gone("alice", deleted).await, None, "it is there");
    lab.clock.advance(TTL / 4);
    lab.store.delete(&name("alice"), deleted).await.unwrap();
    lab.clock.advance(TTL / 4);
    lab.store.clear(&name("alice")).await.unwrap();
    lab.store.delete(&name("alice"), cleared).await.unwrap();
    assert_eq!(lab.gone("alice", deleted).await, Some((GoneReason::Deleted, TTL / 4)));
    assert_eq!(lab.gone("alice", cleared).await, Some((GoneReason::Deleted, TTL / 2)));
}

async fn an_expired_message_is_remembered_as_expired_swept_or_not(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (_, id) = lab.deliver("alice", b"hello").await;
    lab.clock.advance(TTL - Duration::from_millis(1));
    assert_eq!(lab.gone("alice", id).await, None);
    lab.clock.advance(Duration::from_millis(1));
    for _ in 0..2 {
        assert_eq!(lab.gone("alice", id).await, Some((GoneReason::Expired, TTL)));
        lab.clock.advance(TTL / 4);
        lab.store.clear(&name("alice")).await.unwrap();
        lab.store.sweep().await.unwrap();
    }
}

async fn a_message_that_was_pushed_out_is_remembered_as_evicted(subject: Subject) {
    let lab = Lab::with_limits(subject, 2, u64::MAX).await;
    let (_, expired) = lab.deliver("alice", b"expired").await;
    lab.clock.advance(TTL / 2);
    let (_, evicted) = lab.deliver("alice", b"evicted").await;
    lab.clock.advance(TTL / 2);
    for _ in 0..3 {
        lab.deliver("alice", b"newer").await;
    }
    assert_eq!(lab.gone("alice", expired).await, Some((GoneReason::Expired, TTL)), "it had gone by itself");
    assert_eq!(lab.gone("alice", evicted).await, Some((GoneReason::Evicted, TTL)));
}

async fn who_never_had_a_message_learns_nothing_of_it(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (_, deleted) = lab.deliver("alice", b"deleted").await;
    let shared = lab.message();
    let id = shared.id;
    lab.store.append(to(&["alice", "bob"]), shared, Bytes::new()).await.unwrap();
    for message in [deleted, id] {
        lab.store.delete(&name("alice"), message).await.unwrap();
        assert!(lab.gone("alice", message).await.is_some());
        for mailbox in ["bob", "ALICE", "alic", "carol"] {
            assert_eq!(lab.gone(mailbox, message).await, None, "{mailbox}");
        }
    }
    assert_eq!(lab.gone("alice", MessageId::new(lab.clock.now())).await, None);
}

async fn what_is_gone_is_forgotten_after_as_long_as_it_was_kept(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (_, deleted) = lab.deliver("alice", b"deleted").await;
    let (_, expired) = lab.deliver("alice", b"expired").await;
    lab.clock.advance(TTL / 2);
    lab.store.delete(&name("alice"), deleted).await.unwrap();
    for (forgotten, remembered) in [(deleted, Some(expired)), (expired, None)] {
        lab.clock.advance(if remembered.is_some() { TTL } else { TTL / 2 } - Duration::from_millis(1));
        assert!(lab.gone("alice", forgotten).await.is_some());
        lab.clock.advance(Duration::from_millis(1));
        for _ in 0..2 {
            assert_eq!(lab.gone("alice", forgotten).await, None);
            if let Some(remembered) = remembered {
                assert!(lab.gone("alice", remembered).await.is_some());
            }
            lab.store.sweep().await.unwrap();
        }
    }
}

async fn a_message_came_when_it_came_whatever_its_name_begins_with(subject: Subject) {
    let is_exact = matches!(subject, Subject::Memory | Subject::Embedded);
    let lab = Lab::open(subject).await;
    let now = lab.clock.now();
    // As import names the mail of other programs: by a date that its sender has made up.
    let mut ids = Vec::new();
    for named_ms in [0, 2 * START_MS] {
        let message = Message { id: MessageId::new(Timestamp::from_millis(named_ms)), ..lab.message() };
        ids.push(message.id);
        lab.store.append(to(&["alice"]), message.clone(), Bytes::from_static(b"hello")).await.unwrap();
        let summaries = lab.store.mailboxes(None, 10).await.unwrap();
        assert_eq!((summaries.len(), summaries[0].newest_received_at), (1, now));
        assert_eq!(*lab.store.message(&name("alice"), message.id).await.unwrap().unwrap().message, message);
        assert_eq!(lab.raw("alice", message.id).await.unwrap(), b"hello"[..]);
        assert!(lab.store.delete(&name("alice"), message.id).await.unwrap());
    }
    lab.clock.advance(TTL - Duration::from_millis(1));
    for id in &ids {
        assert_eq!(lab.gone("alice", *id).await, Some((GoneReason::Deleted, Duration::ZERO)));
    }
    lab.clock.advance(Duration::from_millis(1));
    // With Redis the name alone says when it came, and it is remembered for a year at most.
    for id in &ids[usize::from(!is_exact)..] {
        assert_eq!(lab.gone("alice", *id).await, None);
    }
}

async fn the_newest_message_of_a_mailbox_is_the_one_that_its_list_begins_with(subject: Subject) {
    let lab = Lab::open(subject).await;
    let now = lab.clock.now();
    lab.deliver("alice", b"hello").await;
    let earlier = now.as_millis() - 3_600_000;
    let older = message(earlier, now.after(TTL).as_millis());
    lab.store.append(to(&["alice"]), older.clone(), Bytes::from_static(b"hello")).await.unwrap();
    let newest = async || lab.store.mailboxes(None, 10).await.unwrap()[0].newest_received_at;
    assert_eq!(lab.store.list(&name("alice"), ALL).await.unwrap().messages[0].message.id, older.id);
    assert_eq!(newest().await, older.received_at);
    // Something may have expired, and each message is looked at.
    let short = message(now.as_millis(), now.as_millis() + 1000);
    lab.store.append(to(&["alice"]), short, Bytes::from_static(b"hello")).await.unwrap();
    lab.clock.advance(Duration::from_secs(1));
    assert_eq!(newest().await, older.received_at);
    assert!(lab.store.delete(&name("alice"), older.id).await.unwrap());
    assert_eq!(newest().await, now);
}

async fn so_many_messages_that_are_gone_are_remembered(subject: Subject) {
    let lab = Lab::with_limits(subject, 1, u64::MAX).await;
    let (_, others) = lab.deliver("bob", b"deleted").await;
    lab.store.delete(&name("bob"), others).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..gone::MAILBOX_MAX + 3 {
        // Ids grow with the time, and with them the order in which they are forgotten.
        lab.clock.advance(Duration::from_millis(1));
        ids.push(lab.deliver("alice", b"evicted").await.1);
    }
    assert_eq!(lab.gone("alice", ids[0]).await, None);
    assert_eq!(lab.gone("alice", ids[1]).await, None);
    for id in &ids[2..ids.len() - 1] {
        assert!(lab.gone("alice", *id).await.is_some());
    }
    assert!(lab.gone("bob", others).await.is_some(), "a mailbox that is flooded pushes out its own");
}

async fn a_message_that_is_kept_again_is_not_gone(subject: Subject) {
    let lab = Lab::open(subject).await;
    let message = lab.message();
    for hours in [1, 2] {
        lab.store.append(to(&["alice"]), message.clone(), Bytes::new()).await.unwrap();
        assert_eq!(lab.gone("alice", message.id).await, None);
        lab.clock.advance(Duration::from_secs(3600));
        lab.store.delete(&name("alice"), message.id).await.unwrap();
        let at = Duration::from_secs(3600 * hours);
        assert_eq!(lab.gone("alice", message.id).await, Some((GoneReason::Deleted, at)));
    }
}

const LEASE: Duration = Duration::from_secs(60);

async fn a_message_is_leased_once_until_its_lease_ends(subject: Subject) {
    let lab = Lab::open(subject).await;
    let ((first_seq, first), (second_seq, second)) =
        (lab.deliver("alice", b"1").await, lab.deliver("alice", b"2").await);
    let ids = vec![first, second];
    let (taken, _) = lab.claim("alice", &ids).await.unwrap();
    assert_eq!(taken, first, "the first that is free");
    lab.clock.advance(LEASE / 2);
    assert_eq!(lab.claim("alice", &ids).await.unwrap().0, second);
    assert_eq!(lab.claim("alice", &ids).await, None);
    let mut claimed = lab.store.claimed(&name("alice")).await.unwrap();
    claimed.sort_by_key(|claimed| claimed.seq);
    let until = |after: Duration| Some(Timestamp::from_millis(START_MS).after(after));
    assert_eq!(
        claimed,
        [Claimed { seq: first_seq, until: until(LEASE) }, Claimed { seq: second_seq, until: until(LEASE + LEASE / 2) },]
    );
    lab.clock.advance(LEASE / 2 - Duration::from_millis(1));
    assert_eq!(lab.claim("alice", &ids).await, None, "a millisecond is left");
    lab.clock.advance(Duration::from_millis(1));
    assert_eq!(lab.claim("alice", &ids).await.unwrap().0, first, "its worker has gone");
    for id in [MessageId::new(lab.clock.now()), second] {
        assert_eq!(lab.claim("alice", &[id]).await, None);
    }
    assert_eq!(lab.claim("bob", &ids).await, None);
}

async fn only_the_token_of_a_live_lease_takes_a_step(subject: Subject) {
    use LeaseOutcome::{Missing, Refused, Stepped};
    let lab = Lab::open(subject).await;
    let (_, id) = lab.deliver("alice", b"hello").await;
    let later = || LeaseStep::Extend(lab.clock.now().after(LEASE));
    assert_eq!(lab.step("alice", id, LeaseToken::random(), LeaseStep::Finish).await, Refused, "nobody has it");
    let (_, token) = lab.claim("alice", &[id]).await.unwrap();
    for step in [LeaseStep::Release, LeaseStep::Finish, later()] {
        assert_eq!(lab.step("alice", id, LeaseToken::random(), step).await, Refused, "{step:?}");
        assert_eq!(lab.step("bob", id, token, step).await, Missing, "{step:?}");
        assert_eq!(lab.step("alice", MessageId::new(lab.clock.now()), token, step).await, Missing, "{step:?}");
    }
    lab.clock.advance(LEASE / 2);
    assert_eq!(lab.step("alice", id, token, later()).await, Stepped);
    lab.clock.advance(LEASE - Duration::from_millis(1));
    assert_eq!(lab.claim("alice", &[id]).await, None, "it was made longer");
    for _ in 0..2 {
        assert_eq!(lab.step("alice", id, token, LeaseStep::Release).await, Stepped, "an answer may be lost");
        assert_eq!(lab.step("alice", id, token, later()).await, Refused);
        assert_eq!(lab.step("alice", id, token, LeaseStep::Finish).await, Refused);
    }
    let released = token;
    let (_, token) = lab.claim("alice", &[id]).await.unwrap();
    assert_eq!(lab.step("alice", id, released, LeaseStep::Release).await, Refused, "another has it");
    lab.clock.advance(LEASE);
    for step in [LeaseStep::Release, LeaseStep::Finish, later()] {
        assert_eq!(lab.step("alice", id, token, step).await, Refused, "the lease has ended: {step:?}");
    }
    assert!(lab.claim("alice", &[id]).await.is_some());
    lab.clock.advance(TTL);
    assert_eq!(lab.step("alice", id, token, LeaseStep::Finish).await, Missing, "the message has expired");
}

async fn what_is_done_is_never_claimed_again_and_stays_readable(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (seq, id) = lab.deliver("alice", b"hello").await;
    let (_, token) = lab.claim("alice", &[id]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(
            lab.step("alice", id, token, LeaseStep::Finish).await,
            LeaseOutcome::Stepped,
            "an answer may be lost"
        );
        lab.clock.advance(LEASE * 2);
    }
    let longer = LeaseStep::Extend(lab.clock.now().after(LEASE));
    for (token, step) in [(token, LeaseStep::Release), (token, longer), (LeaseToken::random(), LeaseStep::Finish)] {
        assert_eq!(lab.step("alice", id, token, step).await, LeaseOutcome::Refused, "{step:?}");
    }
    assert_eq!(lab.claim("alice", &[id]).await, None);
    let unclaimed = lab.unclaimed("alice", ALL, &[]).await;
    assert_eq!((unclaimed.listing.messages, unclaimed.next_free_at), (Vec::new(), None));
    assert_eq!(lab.store.claimed(&name("alice")).await.unwrap(), [Claimed { seq, until: None }]);
    assert_eq!(lab.raw("alice", id).await.unwrap(), b"hello"[..]);
}

async fn what_can_be_claimed_is_listed_oldest_first(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (mut seqs, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let (seq, id) = lab.deliver("alice", b"hello").await;
        seqs.push(seq);
        ids.push(id);
        lab.deliver("bob", b"not hers").await;
    }
    lab.claim("alice", &ids[1..2]).await.unwrap();
    let (_, token) = lab.claim("alice", &ids[3..4]).await.unwrap();
    lab.step("alice", ids[3], token, LeaseStep::Finish).await;
    let next_free_at = Some(lab.clock.now().after(LEASE));
    let page = Page { limit: 2, ..ALL };
    for (page, unwanted, expected, more) in [
        (ALL, &[][..], vec![0, 2, 4, 5, 6], false),
        (page, &[], vec![0, 2], true),
        (page, &[0, 4], vec![2, 5], true),
        (Page { after: Some(seqs[2]), ..page }, &[], vec![4, 5], true),
        (Page { after: Some(seqs[4]), ..page }, &[], vec![5, 6], false),
        (Page { after: Some(seqs[2]), before: Some(seqs[6]), ..ALL }, &[], vec![4, 5], false),
        (Page { after: Some(seqs[6]), ..ALL }, &[], vec![], false),
        (ALL, &[0, 2, 4, 5, 6], vec![], false),
        (Page { max_bytes: 0, ..ALL }, &[0], vec![2], true),
    ] {
        let unwanted: Vec<_> = unwanted.iter().map(|place: &usize| seqs[*place]).collect();
        let found = lab.unclaimed("alice", page, &unwanted).await;
        let listed: Vec<_> = found.listing.messages.iter().map(|stored| stored.seq).collect();
        let expected: Vec<_> = expected.into_iter().map(|place: usize| seqs[place]).collect();
        assert_eq!((listed, found.listing.more), (expected, more), "{page:?}");
        assert_eq!(found.next_free_at, next_free_at);
    }
    lab.clock.advance(LEASE);
    let found = lab.unclaimed("alice", page, &[]).await;
    assert_eq!(found.listing.messages[1].seq, seqs[1]);
    assert_eq!(found.next_free_at, None);
}

async fn a_lease_goes_with_its_message(subject: Subject) {
    let lab = Lab::open(subject).await;
    let message = lab.message();
    for _ in 0..2 {
        lab.store.append(to(&["alice"]), message.clone(), Bytes::new()).await.unwrap();
        let (_, token) = lab.claim("alice", &[message.id]).await.unwrap();
        lab.store.append(to(&["alice"]), message.clone(), Bytes::new()).await.unwrap();
        assert_eq!(lab.claim("alice", &[message.id]).await, None, "it was there already");
        lab.step("alice", message.id, token, LeaseStep::Finish).await;
        assert!(lab.store.delete(&name("alice"), message.id).await.unwrap());
        assert_eq!(lab.step("alice", message.id, token, LeaseStep::Finish).await, LeaseOutcome::Missing);
        assert!(lab.store.claimed(&name("alice")).await.unwrap().is_empty());
    }
}

async fn each_mailbox_of_a_message_has_its_own_lease(subject: Subject) {
    let lab = Lab::open(subject).await;
    let message = lab.message();
    let id = message.id;
    lab.store.append(to(&["alice", "bob"]), message, Bytes::new()).await.unwrap();
    let (_, hers) = lab.claim("alice", &[id]).await.unwrap();
    let (_, his) = lab.claim("bob", &[id]).await.unwrap();
    assert_eq!(lab.step("bob", id, hers, LeaseStep::Finish).await, LeaseOutcome::Refused);
    assert_eq!(lab.step("alice", id, hers, LeaseStep::Finish).await, LeaseOutcome::Stepped);
    assert_eq!(lab.step("bob", id, his, LeaseStep::Release).await, LeaseOutcome::Stepped);
    assert!(lab.claim("bob", &[id]).await.is_some());
}

async fn workers_at_once_never_get_the_same_message(subject: Subject) {
    let lab = Lab::open(subject).await;
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(lab.deliver("alice", b"hello").await.1);
    }
    let (got, mut all_got) = tokio::sync::mpsc::unbounded_channel();
    let workers = (0..8).map(|_| {
        let (store, ids, got, until) = (lab.store.clone(), ids.clone(), got.clone(), lab.clock.now().after(LEASE));
        async move {
            let lease = || Lease { token: LeaseToken::random(), until };
            while let Some(id) = store.claim(&name("alice"), ids.clone(), lease()).await.unwrap() {
                got.send(id).unwrap();
            }
        }
    });
    all(&lab.tasks, workers).await;
    drop(got);
    let mut claimed = Vec::new();
    while let Some(id) = all_got.recv().await {
        claimed.push(id);
    }
    claimed.sort_unstable();
    ids.sort_unstable();
    assert_eq!(claimed, ids);
}

async fn a_message_that_is_given_back_wakes_those_who_watch(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (_, id) = lab.deliver("alice", b"hello").await;
    let (_, token) = lab.claim("alice", &[id]).await.unwrap();
    let later = LeaseStep::Extend(lab.clock.now().after(Duration::from_secs(1)));
    for step in [later, LeaseStep::Release] {
        let mut watch = lab.store.watch(name("alice"));
        lab.step("alice", id, token, step).await;
        tokio::time::timeout(Duration::from_secs(20), watch.change()).await.unwrap();
    }
    let mut watch = lab.store.watch(name("alice"));
    lab.deliver("alice", b"hello").await;
    tokio::time::timeout(Duration::from_secs(20), watch.change()).await.unwrap();
}

async fn a_full_store_refuses_until_mail_has_expired(subject: Subject) {
    let lab = Lab::with_limits(subject, 500, 2 * MIB + MIB / 2).await;
    let raw = Bytes::from(noise(1, MIB as usize));
    for mailbox in ["alice", "bob"] {
        lab.store.append(to(&[mailbox]), lab.message(), raw.clone()).await.unwrap();
    }
    let refused = lab.store.append(to(&["alice", "carol"]), lab.message(), raw.clone()).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    assert_eq!(lab.seqs("alice").await.len(), 1);
    assert!(lab.seqs("carol").await.is_empty());
    lab.clock.advance(TTL);
    assert_eq!(lab.store.sweep().await.unwrap(), 2);
    for mailbox in ["alice", "bob"] {
        lab.store.append(to(&[mailbox]), lab.message(), raw.clone()).await.unwrap();
    }
    assert_eq!(lab.store.clear(&name("alice")).await.unwrap(), 1);
    lab.store.append(to(&["carol"]), lab.message(), raw).await.unwrap();
}

async fn a_message_that_is_shared_is_held_once(subject: Subject) {
    let lab = Lab::with_limits(subject, 500, MIB + MIB / 2).await;
    let raw = Bytes::from(noise(1, MIB as usize));
    let (shared, alone) = (lab.message(), lab.message());
    let id = shared.id;
    lab.store.append(to(&["a", "b", "c"]), shared, raw.clone()).await.unwrap();
    for mailbox in ["a", "b"] {
        assert!(lab.store.delete(&name(mailbox), id).await.unwrap());
        let refused = lab.store.append(to(&["d"]), alone.clone(), raw.clone()).await;
        assert!(matches!(refused, Err(StoreError::Full(_))), "{mailbox}: {refused:?}");
    }
    assert!(lab.store.delete(&name("c"), id).await.unwrap());
    lab.store.append(to(&["d"]), alone, raw).await.unwrap();
}

async fn a_message_too_large_does_not_keep_others_out(subject: Subject) {
    let lab = Lab::with_limits(subject, 500, MIB).await;
    let large = Bytes::from(noise(1, 2 * MIB as usize));
    let (refused, kept) = tokio::join!(
        lab.store.append(to(&["alice"]), lab.message(), large),
        lab.store.append(to(&["alice"]), lab.message(), Bytes::from_static(b"small")),
    );
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    assert_eq!(lab.seqs("alice").await, kept.unwrap());
}

fn told(events: &mut Subscription) -> Event {
    events.try_next().unwrap().unwrap()
}

async fn events_name_each_mailbox_in_the_order_of_arrival(subject: Subject) {
    let lab = Lab::open(subject).await;
    lab.deliver("alice", b"before anybody listened").await;
    let mut events = lab.store.subscribe(None);
    let seqs = lab.store.append(to(&["bob", "alice"]), lab.message(), Bytes::new()).await.unwrap();
    let mut sent_before_the_answer = [told(&mut events), told(&mut events)];
    // Mailboxes on several servers have no order among them.
    sent_before_the_answer.sort_unstable_by_key(|event| event.mailbox.as_str() == "alice");
    let [bob, alice] = sent_before_the_answer;
    assert_eq!(bob, Event { mailbox: name("bob"), seq: seqs[0] });
    assert_eq!(alice, Event { mailbox: name("alice"), seq: seqs[1] });
    let concurrent = (0..50).map(|_| {
        let (store, message) = (lab.store.clone(), lab.message());
        async move { drop(store.append(to(&["carol"]), message, Bytes::new()).await.unwrap()) }
    });
    all(&lab.tasks, concurrent).await;
    let mut last = 0;
    for _ in 0..50 {
        let event = told(&mut events);
        assert!(event.seq > last, "{} after {last}", event.seq);
        last = event.seq;
    }
    assert_eq!(events.try_next(), None);
}

async fn a_message_that_was_refused_is_not_told_of(subject: Subject) {
    let lab = Lab::with_limits(subject, 500, MIB).await;
    let mut events = lab.store.subscribe(None);
    let large = Bytes::from(noise(1, 2 * MIB as usize));
    assert!(lab.store.append(to(&["alice"]), lab.message(), large).await.is_err());
    let (seq, _) = lab.deliver("bob", b"hello").await;
    assert_eq!(told(&mut events), Event { mailbox: name("bob"), seq });
}

async fn the_same_message_again_is_kept_once(subject: Subject) {
    let lab = Lab::open(subject).await;
    let mut events = lab.store.subscribe(None);
    let message = lab.message();
    let raw = Bytes::from_static(b"hello");
    let first = lab.store.append(to(&["alice", "alice"]), message.clone(), raw.clone()).await.unwrap();
    assert_eq!(first[0], first[1]);
    let again = lab.store.append(to(&["alice", "bob"]), message.clone(), raw.clone()).await.unwrap();
    assert_eq!(again[0], first[0]);
    assert_eq!(lab.store.append(to(&["alice"]), message.clone(), raw.clone()).await.unwrap(), [first[0]]);
    assert_eq!(lab.seqs("alice").await, [first[0]]);
    assert!(lab.store.delete(&name("alice"), message.id).await.unwrap());
    assert_eq!(lab.raw("bob", message.id).await, Some(raw));
    assert_eq!(told(&mut events).seq, first[0]);
    assert_eq!(told(&mut events).seq, again[1]);
    assert_eq!(events.try_next(), None);
}

async fn mailboxes_are_listed_by_name_with_their_mail(subject: Subject) {
    let lab = Lab::open(subject).await;
    for mailbox in ["carol", "alice", "äö", "bob", "alice"] {
        lab.clock.advance(Duration::from_millis(5));
        lab.deliver(mailbox, b"hello").await;
    }
    let summary = |mailbox, count, after_ms| MailboxSummary {
        mailbox: name(mailbox),
        count,
        newest_received_at: Timestamp::from_millis(START_MS + after_ms),
    };
    let all = [summary("alice", 2, 25), summary("bob", 1, 20), summary("carol", 1, 5), summary("äö", 1, 15)];
    assert_eq!(lab.store.mailboxes(None, 10).await.unwrap(), all);
    assert_eq!(lab.store.mailboxes(None, 2).await.unwrap(), all[..2]);
    assert_eq!(lab.store.mailboxes(Some(&name("bob")), 1).await.unwrap(), all[2..3]);
    assert_eq!(lab.store.mailboxes(Some(&name("bobby")), 10).await.unwrap(), all[2..]);
    assert!(lab.store.mailboxes(None, 0).await.unwrap().is_empty());
    assert!(lab.store.mailboxes(Some(&name("äö")), 10).await.unwrap().is_empty());
}

async fn odd_names_are_mailboxes_of_their_own(subject: Subject) {
    let lab = Lab::open(subject).await;
    let long = "x".repeat(128);
    let odd = [
        "a",
        "a ",
        "%",
        "_",
        "a%",
        "'; drop table message; --",
        "{}",
        "}x",
        "a{b}c",
        "*",
        "?",
        "\\",
        "../..",
        "🦀",
        "\"",
        &long,
    ];
    for (place, mailbox) in odd.iter().enumerate() {
        let (seq, id) = lab.deliver(mailbox, mailbox.as_bytes()).await;
        assert_eq!(lab.seqs(mailbox).await, [seq], "{mailbox}");
        assert_eq!(lab.raw(mailbox, id).await.unwrap(), mailbox.as_bytes());
        assert_eq!(lab.store.mailboxes(None, 100).await.unwrap().len(), place + 1);
    }
    for mailbox in odd {
        assert_eq!(lab.store.clear(&name(mailbox)).await.unwrap(), 1, "{mailbox}");
    }
}

async fn a_change_is_seen_at_once_by_who_looks_all_the_time(subject: Subject) {
    let lab = Lab::with_limits(subject, 3, u64::MAX).await;
    let over = Arc::new(AtomicBool::new(false));
    let looking: Vec<_> = (0..4)
        .map(|_| {
            let (store, over) = (lab.store.clone(), over.clone());
            lab.tasks.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let found = store.list(&name("alice"), ALL).await.unwrap().messages;
                    for stored in found {
                        store.message(&name("alice"), stored.message.id).await.unwrap();
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let has = async |id| lab.store.message(&name("alice"), id).await.unwrap().is_some();
    for _ in 0..25 {
        assert!(lab.seqs("alice").await.is_empty());
        let (first, first_id) = lab.deliver("alice", b"first").await;
        assert!(lab.seqs("alice").await == [first] && has(first_id).await);
        let (second, second_id) = lab.deliver("alice", b"second").await;
        assert!(lab.seqs("alice").await == [second, first] && has(second_id).await);
        assert!(lab.store.delete(&name("alice"), first_id).await.unwrap());
        assert!(lab.seqs("alice").await == [second] && !has(first_id).await);
        for _ in 0..3 {
            lab.deliver("alice", b"more").await;
        }
        assert!(lab.seqs("alice").await.len() == 3 && !has(second_id).await, "it was pushed out");
        assert_eq!(lab.store.clear(&name("alice")).await.unwrap(), 3);
    }
    over.store(true, Ordering::Relaxed);
    for task in looking {
        task.await.unwrap();
    }
}

async fn mail_that_arrives_at_once_is_all_kept(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (sent, mut kept) = tokio::sync::mpsc::unbounded_channel();
    let senders = (0..32_u64).map(|task| {
        let (store, clock, sent) = (lab.store.clone(), lab.clock.clone(), sent.clone());
        async move {
            for count in 0..20 {
                let now = clock.now();
                let message = message(now.as_millis(), now.after(TTL).as_millis());
                let (id, mailbox) = (message.id, format!("box-{}", (task + count) % 7));
                let raw = noise(task * 100 + count, (task * 311 + count * 97) as usize);
                let seqs = store.append(to(&[&mailbox]), message, raw.clone().into()).await.unwrap();
                assert_eq!(store.message(&name(&mailbox), id).await.unwrap().unwrap().seq, seqs[0]);
                sent.send((mailbox, id, raw, seqs[0])).unwrap();
            }
        }
    });
    all(&lab.tasks, senders).await;
    drop(sent);
    let mut seqs = Vec::new();
    while let Some((mailbox, id, raw, seq)) = kept.recv().await {
        assert!(lab.raw(&mailbox, id).await.unwrap() == raw, "{mailbox} {seq}");
        seqs.push((mailbox, seq));
    }
    assert_eq!(seqs.len(), 32 * 20);
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 32 * 20);
}

async fn a_mailbox_that_is_cleared_while_mail_arrives_loses_nothing_uncounted(subject: Subject) {
    let lab = Lab::with_limits(subject, 10_000, u64::MAX).await;
    let senders = (0..8).map(|_| {
        let (store, clock) = (lab.store.clone(), lab.clock.clone());
        async move {
            for _ in 0..50 {
                let now = clock.now().as_millis();
                let raw = Bytes::from(noise(now, 3000));
                store.append(to(&["alice", "bob"]), message(now, now + 1000), raw).await.unwrap();
            }
        }
    });
    let clearing = async {
        let mut cleared = 0;
        for _ in 0..50 {
            cleared += lab.store.clear(&name("alice")).await.unwrap();
            // A list beside it finds whole messages or none.
            lab.store.list(&name("alice"), ALL).await.unwrap();
        }
        cleared
    };
    let ((), cleared) = tokio::join!(all(&lab.tasks, senders), clearing);
    assert_eq!(cleared + lab.seqs("alice").await.len() as u64, 400);
    assert_eq!(lab.seqs("bob").await.len(), 400);
}

async fn a_closed_store_is_unavailable(subject: Subject) {
    let lab = Lab::open(subject).await;
    let (_, id) = lab.deliver("alice", b"hello").await;
    let clone = lab.store.clone();
    tokio::join!(lab.store.close(), clone.close());
    let (store, alice) = (&lab.store, name("alice"));
    let unavailable = |error| matches!(error, Some(StoreError::Unavailable(_)));
    assert!(unavailable(store.append(to(&["alice"]), lab.message(), Bytes::new()).await.err()));
    assert!(unavailable(store.list(&alice, ALL).await.err()));
    assert!(unavailable(store.message(&alice, id).await.err()));
    assert!(unavailable(store.raw(&alice, id).await.err()));
    assert!(unavailable(store.gone(&alice, id).await.err()));
    let token = LeaseToken::random();
    assert!(unavailable(store.unclaimed(&alice, ALL, Arc::default()).await.err()));
    assert!(unavailable(store.claimed(&alice).await.err()));
    assert!(unavailable(store.claim(&alice, vec![id], Lease { token, until: lab.clock.now() }).await.err()));
    assert!(unavailable(store.step(&alice, id, token, LeaseStep::Finish).await.err()));
    assert!(unavailable(store.delete(&alice, id).await.err()));
    assert!(unavailable(store.clear(&alice).await.err()));
    assert!(unavailable(store.mailboxes(None, 1).await.err()));
    assert!(unavailable(store.ready().await.err()));
    assert!(unavailable(store.sweep().await.err()));
}

async fn the_store_sweeps_by_itself(subject: Subject) {
    let lab = Lab::with_limits(subject, 500, MIB + MIB / 2).await;
    let raw = Bytes::from(noise(1, MIB as usize));
    // By its own clock a server of Redis knows who is days ahead.
    let (now, short) = (Clock::system().now(), Duration::from_secs(30));
    lab.clock.set(now);
    let brief = message(now.as_millis(), now.after(short).as_millis());
    lab.store.append(to(&["alice"]), brief, raw.clone()).await.unwrap();
    lab.clock.advance(short);
    lab.tasks.spawn(sweeper::run(lab.store.clone(), Duration::from_millis(1), lab.tasks.clone()));
    let retried = async {
        while lab.store.append(to(&["alice"]), lab.message(), raw.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), retried).await.unwrap();
    assert_eq!(lab.tasks.stop(Duration::from_secs(20)).await, 0, "the sweeper ends when asked to");
}

/// Runs all of them at once to their end.
pub(in crate::store) async fn all<F>(tasks: &Shutdown, futures: impl Iterator<Item = F>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let running: Vec<_> = futures.map(|future| tasks.spawn(future)).collect();
    for task in running {
        task.await.unwrap();
    }
}
