//! Redis, as it has to be set for mail: each write is synced before it is answered. Memory and disk are those of the server.

use std::time::Duration;

use restante::store::{Durability, Kind, RedisSettings, Settings, Store};
use tokio::time::{Instant, sleep};

use self::server::Redis as Server;
use crate::embedded::disk_bytes;
use crate::lab::{Lab, Mail, append, report};

#[path = "../../tests/support/redis.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "shared with the tests")]
mod server;

/// How often somebody waits for mail that another program takes.
const WAKES: usize = 1000;
/// How large the messages are that small ones have to get past, and how many come at once, and how often.
const LARGE_BYTES: usize = 40 * 1024 * 1024;
const LARGE_AT_ONCE: usize = 4;
const LARGE_ROUNDS: usize = 3;
/// How many messages that cannot be compressed tell what one of them takes.
const NOISE_MESSAGES: usize = 20_000;

pub(crate) async fn run(messages: usize) {
    let server = Server::start();
    let lab = Lab::new(settings(&server), Mail::Words, messages);
    let store = lab.open().await;
    let empty = Use::of(&server);
    lab.fill(&store).await;
    lab.reads(&store).await;
    let full = Use::of(&server);
    full.show("full", &empty, messages);

    let begin = Instant::now();
    let other = lab.open().await;
    println!("start of another program: {:?}", begin.elapsed());
    lab.expire_half(&other).await;
    let half = Use::of(&server);
    println!(
        "memory: {} MB after the expiry, {} % of before",
        half.memory / 1_000_000,
        half.memory * 100 / full.memory
    );

    wakes(&lab, &store, &other).await;
    large(&lab, &store).await;
    noise().await;
}

fn settings(server: &Server) -> Settings {
    let redis = RedisSettings {
        server: server.url().parse().expect("the URL is good"),
        ca_file: None,
        prefix: "rst".to_owned(),
        wait_replicas: 0,
        durability: Durability::Strict,
    };
    Settings { kind: Kind::Redis(redis), mailbox_max_messages: 1_000_000, max_bytes: u64::MAX }
}

/// What the server takes.
struct Use {
    memory: u64,
    disk: u64,
}

impl Use {
    fn of(server: &Server) -> Self {
        let memory = server.cli(&["INFO", "memory"]);
        let memory = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("it is told");
        Self { memory: memory.trim().parse().expect("it is a number"), disk: disk_bytes(server.dir()) }
    }

    fn show(&self, what: &str, empty: &Self, messages: usize) {
        let each = |full: u64, empty: u64| full.saturating_sub(empty) / messages as u64;
        let (memory, disk) = (each(self.memory, empty.memory), each(self.disk, empty.disk));
        println!("memory: {} MB {what}, {memory} bytes a message", self.memory / 1_000_000);
        println!("append-only file: {} MB {what}, {disk} bytes a message", self.disk / 1_000_000);
    }
}

/// How soon somebody who waits at one program is woken by mail that another has taken.
async fn wakes(lab: &Lab, taking: &Store, waiting: &Store) {
    woken(lab, taking, waiting).await.report("");
    let mut busy = Woken::default();
    lab.others_during(taking, "while others are woken", async || busy = woken(lab, taking, waiting).await).await;
    busy.report(", while others append");
}

/// How long it took until somebody was woken.
#[derive(Default)]
struct Woken {
    from_begin: Vec<Duration>,
    /// Nothing where that was before the acknowledgement.
    from_acknowledgement: Vec<Duration>,
}

impl Woken {
    fn report(self, meanwhile: &str) {
        report(&format!("woken elsewhere, from the begin of an append on{meanwhile}"), self.from_begin);
        report(&format!("woken elsewhere, from its end on{meanwhile}"), self.from_acknowledgement);
    }
}

async fn woken(lab: &Lab, taking: &Store, waiting: &Store) -> Woken {
    let mut woken = Woken::default();
    // A mailbox that nobody else writes to.
    let mailbox = lab.mailbox(77);
    for number in 0..WAKES {
        let mut watch = waiting.watch(mailbox.clone());
        let begin = Instant::now();
        let append = async {
            append(taking, &mailbox, lab.clock.now(), Mail::Words.make(number)).await;
            begin.elapsed()
        };
        let arrival = async {
            watch.arrival().await;
            begin.elapsed()
        };
        let (acknowledged, arrived) = tokio::join!(append, arrival);
        woken.from_begin.push(arrived);
        woken.from_acknowledgement.push(arrived.saturating_sub(acknowledged));
    }
    woken
}

/// What large messages that come and are read cost the small ones.
async fn large(lab: &Lab, store: &Store) {
    lab.others_during(store, "nothing else goes on", async || sleep(Duration::from_secs(5)).await).await;
    let mailbox = lab.mailbox(88);
    let made: Vec<_> = (0..LARGE_AT_ONCE).map(|number| Mail::Large(LARGE_BYTES).make(number)).collect();
    let mut took = Duration::ZERO;
    lab.others_during(store, "40 MB messages come and are read", async || {
        let begin = Instant::now();
        let work = made.into_iter().map(async |made| {
            for _ in 0..LARGE_ROUNDS {
                let id = append(store, &mailbox, lab.clock.now(), made.clone()).await;
                store.raw(&mailbox, id).await.expect("it is read").expect("it is there");
                store.delete(&mailbox, id).await.expect("it is deleted");
            }
        });
        futures_util::future::join_all(work).await;
        took = begin.elapsed();
    })
    .await;
    println!("{LARGE_AT_ONCE} messages of 40 MB at once, {LARGE_ROUNDS} times: kept, read and deleted in {took:?}");
}

/// What a message takes that cannot be compressed.
async fn noise() {
    let server = Server::start();
    let lab = Lab::new(settings(&server), Mail::Noise, NOISE_MESSAGES);
    let store = lab.open().await;
    let empty = Use::of(&server);
    lab.fill(&store).await;
    Use::of(&server).show("full", &empty, NOISE_MESSAGES);
    store.close().await;
}
