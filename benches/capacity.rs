//! How much the store holds, and what that costs: `cargo bench --bench capacity -- 1000000`. It fills a store with small
//! messages over a day of its own clock, then looks at lists, the start, the expiry of half of it beside deliveries, memory
//! and disk. Its files lie below `target`, so that the disk is a real one where `/tmp` is memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use restante::clock::{Clock, Timestamp};
use restante::mail::{Address, Content, MailParameters, MailboxName, Message, MessageId, Naming, Peer};
use restante::shutdown::Shutdown;
use restante::store::{Delivery, Kind, Page, Settings, Store};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What `cargo bench` runs with when it is told no number.
const MESSAGES: usize = 20_000;
/// How many of them each mailbox has.
const PER_MAILBOX: usize = 100;
const RAW_BYTES: usize = 1024;
const SENDERS: usize = 32;
const DAY: Duration = Duration::from_secs(24 * 3600);
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const PAGE: Page = Page { before: None, after: None, limit: 50, max_bytes: u64::MAX };

#[tokio::main]
async fn main() {
    let messages = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(MESSAGES);
    let dir =
        tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).expect("target can be written");
    let kind = Kind::Embedded { data_dir: dir.path().join("data"), min_free_bytes: 0 };
    let settings = Settings { kind, mailbox_max_messages: 1_000_000, max_bytes: u64::MAX };
    let lab = Lab { settings, clock: Clock::manual(START), tasks: Shutdown::new(), messages };
    println!("{messages} messages of {RAW_BYTES} bytes in {} mailboxes", lab.mailboxes());

    let store = lab.open().await;
    let empty_kb = memory_kb("VmRSS");
    lab.fill(&store).await;
    lab.reads(&store).await;
    println!("memory: {} MB at the start, {} MB full", empty_kb / 1000, memory_kb("VmRSS") / 1000);
    let full = disk_bytes(dir.path());
    println!("disk: {} MB, {} bytes a message", full / 1_000_000, full / messages as u64);
    store.close().await;

    let begin = Instant::now();
    let store = lab.open().await;
    println!("start: {:?}", begin.elapsed());
    let store = lab.expire_half(store).await;
    let half = disk_bytes(dir.path());
    println!("disk: {} MB after the expiry, {} % of before", half / 1_000_000, half * 100 / full);
    println!("memory: {} MB at the end, {} MB at most", memory_kb("VmRSS") / 1000, memory_kb("VmHWM") / 1000);
    store.close().await;
}

struct Lab {
    settings: Settings,
    clock: Clock,
    tasks: Shutdown,
    messages: usize,
}

impl Lab {
    async fn open(&self) -> Store {
        Store::open(&self.settings, self.clock.clone(), Arc::default(), &self.tasks).await.expect("the store opens")
    }

    fn mailboxes(&self) -> usize {
        (self.messages / PER_MAILBOX).max(1)
    }

    fn mailbox(&self, number: usize) -> MailboxName {
        // Neighbours in time are not neighbours by name.
        let number = number.wrapping_mul(7919) % self.mailboxes();
        Naming::default().parse(&format!("user-{number}")).expect("the name is good")
    }

    /// Keeps all messages, while a day goes by.
    async fn fill(&self, store: &Store) {
        let next = Arc::new(AtomicUsize::new(0));
        let step = DAY / u32::try_from(self.messages).unwrap_or(u32::MAX);
        let (sender, mut times) = mpsc::unbounded_channel();
        let begin = Instant::now();
        for _ in 0..SENDERS {
            let (store, clock, next, sender) = (store.clone(), self.clock.clone(), next.clone(), sender.clone());
            let (messages, names): (_, Vec<_>) =
                (self.messages, (0..self.mailboxes()).map(|number| self.mailbox(number)).collect());
            self.tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= messages {
                        return;
                    }
                    clock.advance(step);
                    let begin = Instant::now();
                    append(&store, &names[number % names.len()], clock.now()).await;
                    sender.send(begin.elapsed()).expect("somebody takes the times");
                }
            });
        }
        drop(sender);
        let mut all = Vec::with_capacity(self.messages);
        while let Some(time) = times.recv().await {
            all.push(time);
        }
        let rate = all.len() as f64 / begin.elapsed().as_secs_f64();
        report(&format!("append, {rate:.0}/s by {SENDERS}"), all);
    }

    async fn reads(&self, store: &Store) {
        let numbers = |count: usize| (0..count).map(|number| self.mailbox(number * 31 + 7));
        let mut listed = Vec::new();
        let mut got = Vec::new();
        for mailbox in numbers(2000) {
            let begin = Instant::now();
            let listing = store.list(&mailbox, PAGE).await.expect("it is listed");
            listed.push(begin.elapsed());
            assert_eq!(listing.messages.len(), PAGE.limit.min(PER_MAILBOX));
            let begin = Instant::now();
            store.raw(&mailbox, listing.messages[7].message.id).await.expect("it is read").expect("it is there");
            got.push(begin.elapsed());
        }
        report(&format!("list of {}", PAGE.limit), listed);
        report("raw", got);
        let mut names = Vec::new();
        for mailbox in numbers(200) {
            let begin = Instant::now();
            store.mailboxes(Some(&mailbox), 100).await.expect("they are listed");
            names.push(begin.elapsed());
        }
        report("100 mailboxes", names);
    }

    /// Lets half of the mail expire while more arrives, and says how long that had to wait.
    async fn expire_half(&self, store: Store) -> Store {
        let quiet = self.deliver_during(&store, async || tokio::time::sleep(Duration::from_secs(2)).await).await;
        report("append by 4, nothing expires", quiet);
        self.clock.advance(DAY / 2);
        let mut took = Duration::ZERO;
        let mut removed = 0;
        let busy = self
            .deliver_during(&store, async || {
                let begin = Instant::now();
                removed = store.sweep().await.expect("it is swept");
                took = begin.elapsed();
            })
            .await;
        println!("expiry: {removed} messages in {took:?}");
        report("append by 4 meanwhile", busy);
        let begin = Instant::now();
        while store.sweep().await.expect("it is swept") > 0 {}
        println!("expiry: all done {:?} later", begin.elapsed());
        store
    }

    async fn deliver_during(&self, store: &Store, work: impl AsyncFnOnce()) -> Vec<Duration> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (sender, mut times) = mpsc::unbounded_channel();
        for task in 0..4 {
            let (store, is_over, sender) = (store.clone(), is_over.clone(), sender.clone());
            let (mailbox, clock) = (self.mailbox(task), self.clock.clone());
            self.tasks.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    append(&store, &mailbox, clock.now()).await;
                    sender.send(begin.elapsed()).expect("somebody takes the times");
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
        drop(sender);
        work().await;
        is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(time) = times.recv().await {
            all.push(time);
        }
        all
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let [median, late, last] =
        [times.len() / 2, times.len() * 99 / 100, times.len() - 1].map(|place| times[place.min(times.len() - 1)]);
    println!("{what}: p50 {median:.1?}, p99 {late:.1?}, max {last:.1?} of {}", times.len());
}

/// A line of `/proc/self/status`, in kB.
fn memory_kb(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|found| found.strip_prefix(line));
    value.and_then(|value| value.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// What the files below `path` take on the disk.
fn disk_bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).expect("the directory can be read");
    let bytes = entries.map(|entry| {
        let entry = entry.expect("the directory can be read");
        let metadata = entry.metadata().expect("the file is there");
        if metadata.is_dir() { disk_bytes(&entry.path()) } else { metadata.blocks() * 512 }
    });
    bytes.sum()
}

async fn append(store: &Store, mailbox: &MailboxName, now: Timestamp) {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 2525));
    let text = "The quick brown fox jumps over the lazy dog.\r\n".repeat(RAW_BYTES / 2 / 46);
    let message = Message {
        id: MessageId::new(now),
        received_at: now,
        expires_at: now.after(DAY),
        mail_from: Some(Address::parse("sender@example.org").expect("the address is good")),
        parameters: MailParameters::default(),
        peer: Peer { addr, local: addr, helo: "bench".to_owned(), tls: None },
        size: RAW_BYTES as u64,
        content: Content { subject: Some("bench".to_owned()), text: Some(text), ..Content::default() },
    };
    let rcpt_to = Address::parse("bench@example.com").expect("the address is good");
    let delivery = Delivery { mailbox: mailbox.clone(), rcpt_to: rcpt_to.into() };
    store.append(vec![delivery], message, Bytes::from(vec![b'x'; RAW_BYTES])).await.expect("it is kept");
}
