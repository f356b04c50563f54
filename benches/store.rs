//! What the embedded store takes and gives: `cargo bench --bench store`. Its files lie below `target`, so that the disk is
//! a real one where `/tmp` is memory.
#![expect(clippy::print_stdout, reason = "what was measured is printed")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use restante::clock::Clock;
use restante::mail::{Address, Content, MailParameters, MailboxName, Message, MessageId, Naming, Peer};
use restante::shutdown::Shutdown;
use restante::store::{Delivery, Kind, Page, Settings, Store};
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(24 * 3600);
const MAILBOXES: usize = 1000;

#[tokio::main]
async fn main() {
    let dir =
        tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).expect("target can be written");
    let tasks = Shutdown::new();
    let kind = Kind::Embedded { data_dir: dir.path().join("data"), min_free_bytes: 0 };
    let settings = Settings { kind, mailbox_max_messages: 500, max_bytes: u64::MAX };
    let store = Store::open(&settings, Clock::system(), Arc::default(), &tasks).await.expect("the store opens");

    appends(&store, &tasks, 32, 4096, 2000).await;
    appends(&store, &tasks, 1, 4096, 4000).await;
    appends(&store, &tasks, 32, 50 * 1024, 400).await;
    appends(&store, &tasks, 8, 5 * 1024 * 1024, 10).await;
    let hot = mailbox("hot");
    for len in [4096, 5 * 1024 * 1024] {
        let id = append(&store, &hot, len).await;
        reads(&format!("raw of {len} bytes"), 500, async || drop(store.raw(&hot, id).await.expect("it is read"))).await;
    }
    for _ in 0..600 {
        append(&store, &hot, 4096).await;
    }
    let page = Page { before: None, after: None, limit: 50, max_bytes: u64::MAX };
    let list = async || assert_eq!(store.list(&hot, page).await.expect("it is listed").messages.len(), 50);
    reads("list of 50", 2000, list).await;
    let names = async || assert_eq!(store.mailboxes(None, 100).await.expect("they are listed").len(), 100);
    reads("100 mailboxes", 100, names).await;
    store.close().await;
    removals(&dir.path().join("removals"), &tasks).await;
}

/// How long it takes to remove what was kept, which is remembered.
async fn removals(data_dir: &Path, tasks: &Shutdown) {
    let clock = Clock::manual(Clock::system().now());
    let kind = Kind::Embedded { data_dir: data_dir.to_owned(), min_free_bytes: 0 };
    let settings = Settings { kind, mailbox_max_messages: 500, max_bytes: u64::MAX };
    let store = Store::open(&settings, clock.clone(), Arc::default(), tasks).await.expect("the store opens");
    appends(&store, tasks, 32, 1024, 3200).await;
    let names: Vec<_> = (0..20).map(|number| mailbox(&format!("box-{number}"))).collect();
    let mut left = names.iter();
    let clear = async || assert_ne!(store.clear(left.next().expect("one is left")).await.expect("it is cleared"), 0);
    reads("clear a mailbox of about 100", names.len(), clear).await;
    clock.advance(TTL + Duration::from_secs(3600));
    let begin = Instant::now();
    let swept = store.sweep().await.expect("it is swept");
    println!("sweep of {swept:<31} in all {:?}", begin.elapsed());
    store.close().await;
}

/// So many tasks keep so many messages each, one after the other.
async fn appends(store: &Store, tasks: &Shutdown, concurrency: usize, len: usize, count: usize) {
    let (times, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let start = Instant::now();
    for task in 0..concurrency {
        let (store, times) = (store.clone(), times.clone());
        tasks.spawn(async move {
            for number in 0..count {
                let mailbox = mailbox(&format!("box-{}", (task * 7919 + number * 31) % MAILBOXES));
                let begin = Instant::now();
                append(&store, &mailbox, len).await;
                times.send(begin.elapsed()).expect("somebody takes the times");
            }
        });
    }
    drop(times);
    let mut all = Vec::with_capacity(concurrency * count);
    while let Some(time) = taken.recv().await {
        all.push(time);
    }
    let rate = all.len() as f64 / start.elapsed().as_secs_f64();
    report(&format!("{rate:.0}/s: {concurrency} tasks append {len} bytes"), all);
}

async fn reads(what: &str, count: usize, mut read: impl AsyncFnMut()) {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        read().await;
        all.push(begin.elapsed());
    }
    report(what, all);
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (median, late) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{what:<40} p50 {median:?}, p99 {late:?}");
}

fn mailbox(name: &str) -> MailboxName {
    Naming::default().parse(name).expect("the name is good")
}

async fn append(store: &Store, mailbox: &MailboxName, len: usize) -> MessageId {
    let now = Clock::system().now();
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 2525));
    let text = "The quick brown fox jumps over the lazy dog.\r\n".repeat(len / 2 / 46);
    let message = Message {
        id: MessageId::new(now),
        received_at: now,
        expires_at: now.after(TTL),
        mail_from: None,
        parameters: MailParameters::default(),
        peer: Peer { addr, local: addr, helo: "bench".to_owned(), tls: None },
        size: len as u64,
        content: Content { subject: Some("bench".to_owned()), text: Some(text), ..Content::default() },
    };
    let id = message.id;
    let rcpt_to = Address::parse("bench@example.com").expect("the address is good");
    let delivery = Delivery { mailbox: mailbox.clone(), rcpt_to: rcpt_to.into() };
    store.append(vec![delivery], message, Bytes::from(vec![b'x'; len])).await.expect("it is kept");
    id
}
