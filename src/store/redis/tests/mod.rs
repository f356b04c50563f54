//! What is particular to Redis; the rest is in the contract of all backends.

mod nodes;
#[path = "../../../../tests/support/redis.rs"]
mod redis;
#[path = "../../../../tests/support/redis_cluster.rs"]
mod redis_cluster;
#[path = "../../../../tests/support/redis_sentinel.rs"]
mod redis_sentinel;

mod replicas;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use self::redis::Redis as Server;
pub(in crate::store) use self::redis::Release;
use self::redis_cluster::Cluster;
use self::redis_sentinel::Sentinels;
use super::append::Parcel;
use super::deliveries::Attempt;
use super::{Durability, RedisServer, RedisSettings, together};
use crate::clock::{Clock, Timestamp};
use crate::mail::{Content, Message, MessageId};
use crate::metrics::{self, Removal};
use crate::shutdown::Shutdown;
use crate::store::contract::{ALL, message, name, noise, to};
use crate::store::{Events, GoneReason, Kind, Lagged, OpenError, Page, Settings, Store, StoreError};

static ONE: LazyLock<Server> = LazyLock::new(Server::start);
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(3, 0));

/// What some messages take beside their bytes.
const OVERHEAD_BYTES: u64 = 200 * 1024;

/// The servers of a store under test: those that all tests share, where it can do with a prefix of its own.
pub(in crate::store) enum Servers {
    Shared(String),
    One(Server),
    Cluster(Cluster),
}

impl Servers {
    /// One server; one of its own where what it holds is to be limited.
    pub(in crate::store) fn one(release: Release, is_limited: bool) -> Self {
        static REDIS_6_2: LazyLock<Server> = LazyLock::new(|| Server::start_release(Release::Redis62, &[]));
        static REDIS_8: LazyLock<Server> = LazyLock::new(|| Server::start_release(Release::Redis8, &[]));
        static VALKEY_8: LazyLock<Server> = LazyLock::new(|| Server::start_release(Release::Valkey8, &[]));
        if is_limited {
            return Self::One(Server::start_release(release, &[]));
        }
        let shared = match release {
            Release::Installed => &ONE,
            Release::Redis62 => &REDIS_6_2,
            Release::Redis8 => &REDIS_8,
            Release::Valkey8 => &VALKEY_8,
        };
        Self::Shared(shared.url())
    }

    /// A cluster; where what it holds is to be limited, one of its own with a single master, which has all of it.
    pub(in crate::store) fn cluster(is_limited: bool) -> Self {
        if is_limited { Self::Cluster(Cluster::start(1, 0)) } else { Self::Shared(CLUSTER.url()) }
    }

    /// From now on the server has room for `max_bytes` more than it holds.
    pub(in crate::store) fn limit(&self, max_bytes: u64) {
        let server = match self {
            Self::Shared(_) => return,
            Self::One(server) => server,
            Self::Cluster(cluster) => &cluster.nodes[0],
        };
        let memory = server.cli(&["INFO", "memory"]);
        let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        let limit = used.trim().parse::<u64>().unwrap() + max_bytes + OVERHEAD_BYTES;
        assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", &limit.to_string()]), "OK");
    }

    /// How to use them, with a prefix that nobody else has.
    pub(in crate::store) fn settings(&self) -> RedisSettings {
        let url = match self {
            Self::Shared(url) => url.clone(),
            Self::One(server) => server.url(),
            Self::Cluster(cluster) => cluster.url(),
        };
        settings(&url)
    }
}

fn settings(url: &str) -> RedisSettings {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let server: RedisServer = url.parse().unwrap();
    let prefix = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    RedisSettings { server, ca_file: None, prefix, wait_replicas: 0, durability: Durability::Warn }
}

/// A store of its own kind of settings, and what it lives with.
struct Node {
    store: Store,
    clock: Clock,
}

impl Node {
    async fn open(redis: &RedisSettings) -> Result<Self, OpenError> {
        Self::open_in(redis, &Shutdown::new()).await
    }

    async fn open_in(redis: &RedisSettings, tasks: &Shutdown) -> Result<Self, OpenError> {
        let settings = Settings { kind: Kind::Redis(redis.clone()), mailbox_max_messages: 500, max_bytes: 0 };
        let clock = Clock::system();
        let store = Store::open(&settings, clock.clone(), Arc::default(), tasks).await?;
        Ok(Self { store, clock })
    }

    fn message(&self) -> Message {
        let now = self.clock.now().as_millis();
        message(now, now + 3_600_000)
    }

    async fn deliver(&self, mailboxes: &[&str], raw: &'static [u8]) -> Result<MessageId, StoreError> {
        let message = self.message();
        let id = message.id;
        self.store.append(to(mailboxes), message, Bytes::from_static(raw)).await.map(|_| id)
    }

    async fn ids(&self, mailbox: &str) -> Vec<MessageId> {
        let listing = self.store.list(&name(mailbox), ALL).await.unwrap();
        listing.messages.iter().map(|stored| stored.message.id).collect()
    }

    /// Delivers as soon as that can be done.
    async fn deliver_in_time(&self, mailboxes: &[&str]) -> MessageId {
        eventually("mail is taken", async || self.deliver(mailboxes, b"later").await.ok()).await
    }
}

/// A Redis without the store around it.
async fn open(redis: &RedisSettings) -> Arc<super::Redis> {
    open_with(redis, 500).await
}

async fn open_with(redis: &RedisSettings, mailbox_max_messages: usize) -> Arc<super::Redis> {
    let settings = Settings { kind: Kind::Redis(redis.clone()), mailbox_max_messages, max_bytes: 0 };
    super::Redis::open(&settings, redis, Events::new(), Arc::default(), &Shutdown::new()).await.unwrap()
}

/// Waits until something is there; panics when it has been looked for too often.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looked = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, looked).await.unwrap_or_else(|_| panic!("{what}: it does not happen"))
}

/// Long enough for a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long the store may let somebody wait who it cannot serve: the SMTP client and the reader both wait for it.
const REFUSED_WITHIN: Duration = Duration::from_secs(6);

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_refuses_mail_in_time_and_what_was_refused_never_appears() {
    let server = Server::start();
    let node = Node::open(&settings(&server.url())).await.unwrap();
    let kept = node.deliver(&["alice"], b"before").await.unwrap();
    server.pause();
    let began = tokio::time::Instant::now();
    let alice = name("alice");
    let (refused, list, ready) =
        tokio::join!(node.deliver(&["alice"], b"refused"), node.store.list(&alice, ALL), node.store.ready());
    assert!(is_unavailable(&refused) && is_unavailable(&list) && is_unavailable(&ready));
    assert!(began.elapsed() < REFUSED_WITHIN, "{:?}", began.elapsed());
    server.resume();
    let later = node.deliver_in_time(&["alice"]).await;
    eventually("it is ready", async || node.store.ready().await.ok()).await;
    eventually("what was refused is taken back", async || {
        let notes = server.cli(&["--scan", "--pattern", "*{alice}:m:*"]);
        (notes.lines().count() == 3).then_some(())
    })
    .await;
    assert_eq!(node.ids("alice").await, [later, kept]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_taken_back_before_a_stop_where_redis_comes_back_in_time() {
    let (server, tasks) = (Server::start(), Shutdown::new());
    let settings = settings(&server.url());
    let node = Node::open_in(&settings, &tasks).await.unwrap();
    server.pause();
    let refused = join_all((0..8).map(|_| node.deliver(&["alice"], b"refused"))).await;
    assert!(refused.iter().all(is_unavailable));
    tasks.request();
    server.resume();
    assert_eq!(tasks.stop(DEADLINE).await, 0);
    node.store.close().await;
    let other = Node::open(&settings).await.unwrap();
    assert_eq!(other.ids("alice").await, []);
    let notes = server.cli(&["--scan", "--pattern", "*{alice}:m:*"]);
    assert_eq!(notes.lines().count(), 8, "that they are taken back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_back_holds_up_no_stop_for_longer_than_it_waits() {
    /// As long as the server waits for the work of its store.
    const GRACE: Duration = Duration::from_secs(5);
    let (server, tasks) = (Server::start(), Shutdown::new());
    let node = Node::open_in(&settings(&server.url()), &tasks).await.unwrap();
    server.pause();
    assert!(is_unavailable(&node.deliver(&["alice"], b"refused").await));
    assert_eq!(tasks.stop(GRACE).await, 0, "the log says what is left there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_all_is_there_again_and_whoever_waited_looks_again() {
    let mut server = Server::start();
    let node = Node::open(&settings(&server.url())).await.unwrap();
    let kept = node.deliver(&["alice"], b"before").await.unwrap();
    let (mut watch, mut events) = (node.store.watch(name("bob")), node.store.subscribe(None));
    server.kill();
    assert!(is_unavailable(&node.deliver(&["alice"], b"refused").await));
    assert!(server.dir().join("appendonlydir").exists(), "so this is what was synced");
    server.restart();
    tokio::time::timeout(DEADLINE, watch.arrival()).await.unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, events.next()).await.unwrap(), Err(Lagged), "events may have been lost");
    let later = node.deliver_in_time(&["alice"]).await;
    assert_eq!(node.ids("alice").await, [later, kept]);
    assert_eq!(node.store.raw(&name("alice"), kept).await.unwrap().unwrap(), b"before"[..]);
    let mut watch = node.store.watch(name("alice"));
    node.deliver(&["alice"], b"heard").await.unwrap();
    tokio::time::timeout(DEADLINE, watch.arrival()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_becomes_a_replica_is_unavailable_until_it_is_a_master_again() {
    let server = Server::start();
    let node = Node::open(&settings(&server.url())).await.unwrap();
    node.deliver(&["alice"], b"before").await.unwrap();
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    assert!(is_unavailable(&node.deliver(&["alice"], b"refused").await));
    assert_eq!(server.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    node.deliver_in_time(&["alice"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_redis_has_forgotten_are_told_again() {
    let server = Server::start();
    let node = Node::open(&settings(&server.url())).await.unwrap();
    node.deliver(&["alice"], b"1").await.unwrap();
    assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    node.deliver(&["alice"], b"2").await.unwrap();
    assert_eq!(node.ids("alice").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_what_can_be_claimed_takes_few_commands_however_much_cannot() {
    let server = Server::start();
    let node = Node::open(&settings(&server.url())).await.unwrap();
    together((0..250).map(|_| node.deliver(&["alice"], b"job")).collect()).await.unwrap();
    let mut seqs: Vec<_> = node.store.list(&name("alice"), ALL).await.unwrap().messages;
    seqs.reverse();
    let seqs: Vec<_> = seqs.iter().map(|stored| stored.seq).collect();
    assert_eq!(server.cli(&["CONFIG", "RESETSTAT"]), "OK");
    let unwanted = Arc::new(seqs[..210].iter().copied().collect());
    let unclaimed = node.store.unclaimed(&name("alice"), Page { limit: 10, ..ALL }, unwanted).await.unwrap();
    let found: Vec<_> = unclaimed.listing.messages.iter().map(|stored| stored.seq).collect();
    assert_eq!((&found[..], unclaimed.listing.more), (&seqs[210..220], true));
    let stats = server.cli(&["INFO", "commandstats"]);
    for (command, calls) in [("hgetall", 1), ("zrangebyscore", 2), ("mget", 1)] {
        assert!(stats.contains(&format!("cmdstat_{command}:calls={calls},")), "{command}: {stats}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_master_of_a_cluster_is_gone_no_mailbox_gets_a_mail_that_was_refused() {
    let mut cluster = Cluster::start(2, 0);
    cluster.nodes.iter().for_each(|node| _ = node.cli(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]));
    let node = Node::open(&settings(&cluster.url())).await.unwrap();
    let all: Vec<_> = ('a'..='p').map(String::from).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    node.deliver(&all, b"to all").await.unwrap();
    let gone = cluster.master_of("t:{a}:i");
    cluster.nodes[gone].kill();
    let left: Vec<_> = all.iter().filter(|name| is_served_by(&cluster, 1 - gone, name)).collect();
    assert!(!left.is_empty() && left.len() < all.len(), "{left:?}");
    assert!(is_unavailable(&node.deliver(&all, b"refused").await));
    cluster.nodes[gone].restart();
    cluster.until_all("cluster_state:ok");
    let later = node.deliver_in_time(&all).await;
    for name in &all {
        eventually("what was refused is taken back", async || (node.ids(name).await.len() == 2).then_some(())).await;
        assert_eq!(node.ids(name).await[0], later);
    }
}

fn is_served_by(cluster: &Cluster, node: usize, mailbox: &str) -> bool {
    let answer = cluster.nodes[node].cli(&["EXISTS", &format!("t:{{{mailbox}}}:i")]);
    answer == "0" || answer == "1"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_its_program_left_open_is_taken_back_in_every_mailbox() {
    let redis = open(&settings(&CLUSTER.url())).await;
    let now = Clock::system().now();
    // One that was imported: its name does not tell when it came.
    let id = MessageId::new(Timestamp::from_millis(1));
    let message = Message { id, ..message(now.as_millis(), now.as_millis() + 3_600_000) };
    let mailboxes = to(&["a", "b", "c"]).iter().map(|delivery| delivery.mailbox.clone()).collect();
    let left_open = Attempt::new(message.id, mailboxes);
    redis.open_delivery(&left_open).await.unwrap();
    let deliveries = to(&["a", "b"]);
    redis.append_as(&deliveries, message.clone(), Bytes::from_static(b"x"), left_open.clone(), now).await.unwrap();
    assert_eq!(redis.list(&name("a"), ALL, now).await.unwrap().messages.len(), 1);
    redis.open_delivery(&left_open).await.unwrap();
    redis.take_back_open(left_open.slot(), &left_open.token).await.unwrap();
    for mailbox in ["a", "b", "c"] {
        assert!(redis.list(&name(mailbox), ALL, now).await.unwrap().messages.is_empty());
        assert_eq!(redis.newest(&name(mailbox), None, None, 1).await.unwrap().last, None);
        assert_eq!(redis.message(&name(mailbox), message.id, now).await.unwrap(), None);
    }
    assert!(redis.close_delivery(&left_open).await.is_err(), "it counts no more");
    let late = redis.append_as(&to(&["c"]), message.clone(), Bytes::new(), left_open, now).await;
    assert!(is_unavailable(&late), "a command that was on its way brings it back");
    redis.append(&to(&["c"]), message, Bytes::new(), now).await.unwrap();
}

/// Delivers a mail to this mailbox, noted in one of these slots, as a program leaves it that was killed behind the last mailbox
/// so many seconds ago.
async fn leave_open(redis: &super::Redis, mailbox: &str, slots: Range<u8>, ago: i64) {
    let now = Clock::system().now();
    let message = message(now.as_millis(), now.as_millis() + 3_600_000);
    let mut attempts = std::iter::repeat_with(|| Attempt::new(message.id, vec![name(mailbox)]));
    let attempt = attempts.find(|attempt| slots.contains(&attempt.slot())).unwrap();
    redis.append_as(&to(&[mailbox]), message.clone(), Bytes::from_static(b"x"), attempt.clone(), now).await.unwrap();
    redis.open_delivery(&attempt).await.unwrap();
    let key = redis.keys.open(attempt.slot());
    let master = &CLUSTER.nodes[CLUSTER.master_of(&key)];
    let began: i64 = master.cli(&["ZSCORE", &key, &attempt.token]).parse().unwrap();
    master.cli(&["ZADD", &key, "XX", &(began - ago).to_string(), &attempt.token]);
}

async fn count(redis: &super::Redis, mailbox: &str) -> usize {
    redis.list(&name(mailbox), ALL, Clock::system().now()).await.unwrap().messages.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_whose_program_has_died_is_soon_taken_back_by_another_and_a_younger_one_is_not() {
    let redis = open(&settings(&CLUSTER.url())).await;
    // In a slot that is looked at first: who has taken back the old one has seen it.
    leave_open(&redis, "young", 0..8, 2).await;
    leave_open(&redis, "old", 8..16, 16).await;
    eventually("it is taken back", async || (count(&redis, "old").await == 0).then_some(())).await;
    assert_eq!(count(&redis, "young").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_cannot_be_taken_back_keeps_no_other_from_it() {
    let redis = open(&settings(&CLUSTER.url())).await;
    let (list, note) = (redis.keys.open(0), redis.keys.open_delivery(0, "damaged"));
    let master = &CLUSTER.nodes[CLUSTER.master_of(&list)];
    assert_eq!(master.cli(&["SET", &note, "no delivery"]), "OK");
    assert_eq!(master.cli(&["ZADD", &list, "0", "damaged"]), "1");
    for (mailbox, slots) in [("same", 0..1), ("later", 1..16)] {
        leave_open(&redis, mailbox, slots, 16).await;
        eventually("it is taken back", async || (count(&redis, mailbox).await == 0).then_some(())).await;
    }
    assert_eq!(master.cli(&["EXISTS", &note]), "1", "or this shows nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_of_a_message_has_a_ttl_and_goes_with_the_last_mailbox() {
    let server = Server::start();
    let node = Node::open(&settings(&server.url())).await.unwrap();
    let large = Bytes::from(vec![b'x'; 2_000_000]);
    let text = Some("y".repeat(1_000_000));
    let message = Message { content: Content { text, ..Content::default() }, ..node.message() };
    let id = message.id;
    node.store.append(to(&["a", "b"]), message.clone(), large.clone()).await.unwrap();
    assert_eq!(node.store.raw(&name("a"), id).await.unwrap().unwrap(), large);
    assert_eq!(*node.store.message(&name("b"), id).await.unwrap().unwrap().message, message);
    let keys = server.cli(&["--scan"]);
    for key in keys.lines().filter(|key| !key.ends_with(":names") && !key.ends_with(":due")) {
        let ttl: i64 = server.cli(&["PTTL", key]).parse().unwrap();
        assert!(ttl > 3_600_000, "{key} has {ttl}");
    }
    let pieces = || server.cli(&["--scan", "--pattern", &format!("*{{{id}}}:*")]).lines().count();
    assert_eq!(pieces(), 1 + 4 + 2, "holders, raw bytes, record");
    assert!(node.store.delete(&name("a"), id).await.unwrap());
    assert_eq!(pieces(), 7);
    assert!(node.store.delete(&name("b"), id).await.unwrap());
    assert_eq!(pieces(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_mailbox_has_no_room_for_goes_with_a_later_mail_where_a_program_died_before_it_did() {
    let redis = open_with(&settings(&ONE.url()), 1).await;
    let (alice, now) = (name("alice"), Clock::system().now());
    let new = || message(now.as_millis(), now.as_millis() + 3_600_000);
    // Its bytes lie beside the mailbox.
    let (first, large) = (new(), Bytes::from(noise(1, 200_000)));
    redis.append(&to(&["alice"]), first.clone(), large, now).await.unwrap();
    let second = new();
    let attempt = Attempt::new(second.id, vec![alice.clone()]);
    let parcel = Parcel::pack(second.clone(), Bytes::new(), attempt, now).await.unwrap();
    redis.deliver(&parcel, &to(&["alice"]).iter().collect::<Vec<_>>()).await.unwrap();
    let listed = async || redis.list(&alice, ALL, now).await.unwrap().messages;
    assert_eq!(listed().await.len(), 2, "what can be read is listed");
    let third = new();
    redis.append(&to(&["alice"]), third.clone(), Bytes::new(), now).await.unwrap();
    assert!(listed().await.iter().map(|stored| stored.message.id).eq([third.id]));
    for id in [first.id, second.id] {
        assert_eq!(redis.message(&alice, id, now).await.unwrap(), None);
        assert_eq!(redis.gone(&alice, id, now).await.unwrap().unwrap().reason, GoneReason::Evicted);
        assert_eq!(ONE.cli(&["--scan", "--pattern", &format!("*{{{id}}}:*")]), "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_deliveries_to_a_full_mailbox_push_out_one_message_each_and_at_most_one_more() {
    let redis = open_with(&settings(&ONE.url()), 2).await;
    let now = Clock::system().now();
    let (mut ids, mut named) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let message = message(now.as_millis(), now.as_millis() + 3_600_000);
        let attempt = Attempt::new(message.id, vec![name("alice")]);
        ids.push(message.id);
        let parcel = Parcel::pack(message, Bytes::new(), attempt, now).await.unwrap();
        // Nothing is removed meanwhile, as where all of them come at once.
        let saved = redis.deliver(&parcel, &to(&["alice"]).iter().collect::<Vec<_>>()).await.unwrap();
        named.push(saved[0].excess.iter().map(|member| member.id).collect::<Vec<_>>());
    }
    let expected = |at: usize| match at {
        0..2 => vec![],
        2 => vec![ids[0]],
        _ => vec![ids[at - 2], ids[0]],
    };
    assert_eq!(named, (0..8).map(expected).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_an_index_that_cannot_be_read_is_in_nobodys_way() {
    let settings = settings(&ONE.url());
    let (node, redis) = (Node::open(&settings).await.unwrap(), open(&settings).await);
    let other = node.deliver(&["alice"], b"hello").await.unwrap();
    let index = redis.keys.mailbox(&name("alice")).index();
    let unreadable = "a member as a later version may write it";
    // The newest of all.
    assert_eq!(ONE.cli(&["ZADD", &index, "9000000000000000", unreadable]), "1");
    assert_eq!(node.ids("alice").await, [other]);
    let summaries = node.store.mailboxes(None, 10).await.unwrap();
    assert_eq!((summaries.len(), summaries[0].count), (1, 1));
    let unclaimed = node.store.unclaimed(&name("alice"), ALL, Arc::default()).await.unwrap();
    assert_eq!(unclaimed.listing.messages.len(), 1);
    assert!(node.store.claimed(&name("alice")).await.unwrap().is_empty());
    assert_eq!(node.store.clear(&name("alice")).await.unwrap(), 1);
    assert_eq!(node.ids("alice").await, []);
    assert_eq!(node.store.mailboxes(None, 10).await.unwrap(), []);
    assert_eq!(ONE.cli(&["ZRANGE", &index, "0", "-1"]), unreadable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_uses_of_its_memory_and_what_went_by_itself_is_told() {
    let server = Server::start_with(&["maxmemory 64mb"]);
    let settings =
        Settings { kind: Kind::Redis(settings(&server.url())), mailbox_max_messages: 2, max_bytes: u64::MAX };
    let (clock, metrics) = (Clock::manual(Clock::system().now()), Arc::<metrics::Store>::default());
    let store = Store::open(&settings, clock.clone(), metrics.clone(), &Shutdown::new()).await.unwrap();
    let [used, max] = [&metrics.redis_used_bytes, &metrics.redis_max_bytes];
    assert!(used.get() > 0 && max.get() == 64 << 20, "{} of {}", used.get(), max.get());
    let before = used.get();
    let node = Node { store, clock };
    let large: &[u8] = noise(1, 4 << 20).leak();
    for _ in 0..3 {
        node.deliver(&["alice"], large).await.unwrap();
    }
    node.store.sweep().await.unwrap();
    assert!(used.get() > before + (7 << 20), "{} of {before}", used.get());
    node.clock.advance(Duration::from_secs(3600));
    assert!(node.store.mailboxes(None, 10).await.unwrap().is_empty());
    let removed = |reason| metrics.removed.of(reason).get();
    assert_eq!((removed(Removal::Evicted), removed(Removal::Expired)), (1, 0), "a look takes nothing away");
    node.store.sweep().await.unwrap();
    assert_eq!((removed(Removal::Evicted), removed(Removal::Expired)), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_could_lose_mail_is_refused_where_that_is_asked_for() {
    let server = Server::start_with(&["appendfsync everysec", "maxmemory-policy allkeys-lru"]);
    let strict = RedisSettings { durability: Durability::Strict, ..settings(&server.url()) };
    let error = Node::open(&strict).await.err().unwrap().to_string();
    for part in ["STORE_DURABILITY=strict", "appendfsync is everysec", "maxmemory-policy is allkeys-lru"] {
        assert!(error.contains(part), "{error}");
    }
    Node::open(&settings(&server.url())).await.unwrap();
    let forbidden = Server::start_with(&["rename-command CONFIG \"\""]);
    Node::open(&settings(&forbidden.url())).await.unwrap();
    let strict = RedisSettings { durability: Durability::Strict, ..settings(&forbidden.url()) };
    assert!(Node::open(&strict).await.err().unwrap().to_string().contains("appendfsync is not told"));
    Node::open(&RedisSettings { durability: Durability::Strict, ..settings(&ONE.url()) }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_up_later_is_waited_for_and_nothing_is_left_of_the_tries() {
    let mut server = Server::start();
    let settings = settings(&server.url());
    server.kill();
    let start = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let (node, server) = tokio::join!(Node::open(&settings), start);
    let (node, server) = (node.unwrap(), server.unwrap());
    node.deliver(&["alice"], b"hello").await.unwrap();
    let clients = server.cli(&["CLIENT", "LIST"]);
    assert_eq!(clients.lines().filter(|line| !line.contains("cmd=client")).count(), 3, "{clients}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_and_a_node_of_a_cluster_are_not_taken_for_a_master_of_its_own() {
    let replica = Server::start_with(&["replicaof 127.0.0.1 1"]);
    let error = Node::open(&settings(&replica.url())).await.err().unwrap().to_string();
    assert!(error.contains("is a replica"), "{error}");
    let error = Node::open(&settings(&CLUSTER.nodes[0].url())).await.err().unwrap().to_string();
    assert!(error.contains("redis-cluster://"), "{error}");
    let error = Node::open(&settings(&format!("redis-cluster://{}", ONE.addr()))).await.err().unwrap().to_string();
    assert!(error.contains("cluster support disabled"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_sentinel_makes_the_master_takes_the_mail_and_is_listened_to() {
    let mut sentinels = Sentinels::start();
    let node = Node::open(&settings(&sentinels.url())).await.unwrap();
    let kept = node.deliver(&["alice"], b"before").await.unwrap();
    let replicated = || sentinels.servers[1].cli(&["--scan", "--pattern", "*:m:*"]).lines().count();
    eventually("it is replicated", async || (replicated() == 1).then_some(())).await;
    let mut watch = node.store.watch(name("bob"));
    sentinels.servers[0].kill();
    sentinels.until_failed_over_from(0);
    let later = node.deliver_in_time(&["alice"]).await;
    assert_eq!(node.ids("alice").await, [later, kept]);
    tokio::time::timeout(DEADLINE, watch.arrival()).await.unwrap();
    let mut watch = node.store.watch(name("carol"));
    node.deliver_in_time(&["carol"]).await;
    tokio::time::timeout(DEADLINE, watch.arrival()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_used_and_a_wrong_one_is_refused_at_once_and_never_shown() {
    let server = Server::start_with(&["requirepass \"s3cret@/ %\""]);
    let with = |password: &str| settings(&format!("redis://:{password}@{}", server.addr()));
    let node = Node::open(&with("s3cret%40%2F%20%25")).await.unwrap();
    node.deliver(&["alice"], b"hello").await.unwrap();
    let error = Node::open(&with("hunter2")).await.err().unwrap().to_string();
    assert!(error.contains("REDIS_URL: redis://127.0.0.1:") && error.contains("WRONGPASS"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_known_by_a_private_certificate_and_no_other_is_trusted() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    let port = redis::free_port();
    let _server = Server::start_with(&[
        &format!("tls-port {port}"),
        &format!("tls-cert-file {}", certificate.display()),
        &format!("tls-key-file {}", key.display()),
        &format!("tls-ca-cert-file {}", certificate.display()),
        "tls-auth-clients no",
    ]);
    let settings = settings(&format!("rediss://localhost:{port}"));
    let trusting = RedisSettings { ca_file: Some(certificate), ..settings.clone() };
    Node::open(&trusting).await.unwrap().deliver(&["alice"], b"hello").await.unwrap();
    let error = Node::open(&settings).await.err().unwrap().to_string();
    assert!(error.contains("InvalidCertificate"), "{error}");
    let error = Node::open(&RedisSettings { ca_file: Some(key), ..settings }).await.err().unwrap().to_string();
    assert!(error.contains("REDIS_CA_FILE="), "{error}");
}
