//! A store to be filled, and the times of what is done with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use restante::clock::{Clock, Timestamp};
use restante::mail::{Address, Content, MailParameters, MailboxName, Message, MessageId, Naming, Peer};
use restante::shutdown::Shutdown;
use restante::store::{Delivery, Page, Settings, Store};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// How many messages each mailbox has.
const PER_MAILBOX: usize = 100;
const SENDERS: usize = 32;
/// How many go on while something else is done, and how long each rests between two messages.
const OTHERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const DAY: Duration = Duration::from_secs(24 * 3600);
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const PAGE: Page = Page { before: None, after: None, limit: 50, max_bytes: u64::MAX };

pub(crate) struct Lab {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) tasks: Shutdown,
    mail: Mail,
    messages: usize,
}

/// What the messages are made of.
#[derive(Clone, Copy)]
pub(crate) enum Mail {
    /// 1 KB, the same byte again and again, for a store that compresses nothing.
    Even,
    /// 2.6 KB of words, as text mail is.
    Words,
    /// 1 KB that cannot be compressed, and no text.
    Noise,
    /// As many bytes as that, which cannot be compressed either.
    Large(usize),
}

impl Mail {
    /// The raw bytes and the text of one of them.
    pub(crate) fn make(self, number: usize) -> (Bytes, Option<String>) {
        match self {
            Self::Even => {
                let text = "The quick brown fox jumps over the lazy dog.\r\n".repeat(11);
                (Bytes::from(vec![b'x'; 1024]), Some(text))
            }
            Self::Words => {
                let mut text = String::new();
                for byte in noise(number).take(350) {
                    text.push_str(WORDS[usize::from(byte) % WORDS.len()]);
                    text.push_str(if byte % 12 == 0 { "\r\n" } else { " " });
                }
                let header = format!(
                    "Received: from client.example.org by mx.example.com; {number}\r\nMessage-ID: <{number}.{:x}@x>\r\n\
                     From: A sender <sender@example.org>\r\nTo: bench@example.com\r\nSubject: bench {number}\r\n\r\n",
                    number.wrapping_mul(0x9e37_79b9)
                );
                (Bytes::from(header + &text), Some(text))
            }
            Self::Noise => Self::Large(1024).make(number),
            Self::Large(len) => (noise(number).take(len).collect::<Vec<_>>().into(), None),
        }
    }
}

const WORDS: [&str; 40] = [
    "account", "address", "and", "are", "at", "before", "code", "confirm", "customer", "delivery", "details", "for",
    "from", "have", "hello", "here", "if", "in", "invoice", "is", "it", "message", "not", "number", "of", "on",
    "order", "password", "please", "support", "thank", "that", "the", "this", "to", "verify", "we", "will", "you",
    "your",
];

/// Bytes that look like nothing in particular, the same for the same seed.
fn noise(seed: usize) -> impl Iterator<Item = u8> {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
}

impl Lab {
    pub(crate) fn new(settings: Settings, mail: Mail, messages: usize) -> Self {
        let lab = Self { settings, clock: Clock::manual(START), tasks: Shutdown::new(), mail, messages };
        println!("{messages} messages of {} bytes in {} mailboxes", mail.make(1).0.len(), lab.mailboxes());
        lab
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.settings, self.clock.clone(), Arc::default(), &self.tasks).await.expect("the store opens")
    }

    fn mailboxes(&self) -> usize {
        (self.messages / PER_MAILBOX).max(1)
    }

    pub(crate) fn mailbox(&self, number: usize) -> MailboxName {
        // Neighbours in time are not neighbours by name.
        let number = number.wrapping_mul(7919) % self.mailboxes();
        Naming::default().parse(&format!("user-{number}")).expect("the name is good")
    }

    /// Keeps all messages, while a day goes by.
    pub(crate) async fn fill(&self, store: &Store) {
        let next = Arc::new(AtomicUsize::new(0));
        let step = DAY / u32::try_from(self.messages).unwrap_or(u32::MAX);
        let (sender, times) = mpsc::unbounded_channel();
        let begin = Instant::now();
        for _ in 0..SENDERS {
            let (store, clock, next, sender) = (store.clone(), self.clock.clone(), next.clone(), sender.clone());
            let (messages, mail) = (self.messages, self.mail);
            let names: Vec<_> = (0..self.mailboxes()).map(|number| self.mailbox(number)).collect();
            self.tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= messages {
                        return;
                    }
                    clock.advance(step);
                    let made = mail.make(number);
                    let begin = Instant::now();
                    append(&store, &names[number % names.len()], clock.now(), made).await;
                    sender.send(begin.elapsed()).expect("somebody takes the times");
                }
            });
        }
        drop(sender);
        let all = collect(times).await;
        let rate = all.len() as f64 / begin.elapsed().as_secs_f64();
        report(&format!("append, {rate:.0}/s by {SENDERS}"), all);
    }

    pub(crate) async fn reads(&self, store: &Store) {
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
    pub(crate) async fn expire_half(&self, store: &Store) {
        self.others_during(store, "nothing expires", async || sleep(Duration::from_secs(2)).await).await;
        self.clock.advance(DAY / 2);
        let mut took = Duration::ZERO;
        let mut removed = 0;
        self.others_during(store, "half expires", async || {
            let begin = Instant::now();
            removed = store.sweep().await.expect("it is swept");
            took = begin.elapsed();
        })
        .await;
        println!("expiry: {removed} messages in {took:?}");
        let begin = Instant::now();
        while store.sweep().await.expect("it is swept") > 0 {}
        println!("expiry: all done {:?} later", begin.elapsed());
    }

    /// Reports how long small messages and lists take while `work` is done.
    pub(crate) async fn others_during(&self, store: &Store, what: &str, work: impl AsyncFnOnce()) {
        let is_over = Arc::new(AtomicBool::new(false));
        let ((appended, appends), (listed, lists)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        for task in 0..OTHERS {
            let (store, is_over, mail) = (store.clone(), is_over.clone(), self.mail);
            let (appended, listed) = (appended.clone(), listed.clone());
            let (mailbox, clock) = (self.mailbox(task), self.clock.clone());
            self.tasks.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let made = mail.make(task);
                    let begin = Instant::now();
                    append(&store, &mailbox, clock.now(), made).await;
                    appended.send(begin.elapsed()).expect("somebody takes the times");
                    let begin = Instant::now();
                    store.list(&mailbox, PAGE).await.expect("it is listed");
                    listed.send(begin.elapsed()).expect("somebody takes the times");
                    sleep(PAUSE).await;
                }
            });
        }
        drop((appended, listed));
        work().await;
        is_over.store(true, Ordering::Relaxed);
        report(&format!("append by {OTHERS}, {what}"), collect(appends).await);
        report(&format!("list of {}, {what}", PAGE.limit), collect(lists).await);
    }
}

pub(crate) async fn collect(mut times: mpsc::UnboundedReceiver<Duration>) -> Vec<Duration> {
    let mut all = Vec::new();
    while let Some(time) = times.recv().await {
        all.push(time);
    }
    all
}

pub(crate) fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let [median, late, last] =
        [times.len() / 2, times.len() * 99 / 100, times.len() - 1].map(|place| times[place.min(times.len() - 1)]);
    println!("{what}: p50 {median:.1?}, p99 {late:.1?}, max {last:.1?} of {}", times.len());
}

/// Keeps a message that is made of these raw bytes and this text.
pub(crate) async fn append(
    store: &Store,
    mailbox: &MailboxName,
    now: Timestamp,
    (raw, text): (Bytes, Option<String>),
) -> MessageId {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 2525));
    let id = MessageId::new(now);
    let message = Message {
        id,
        received_at: now,
        expires_at: now.after(DAY),
        mail_from: Some(Address::parse("sender@example.org").expect("the address is good")),
        parameters: MailParameters::default(),
        peer: Peer { addr, local: addr, helo: "bench".to_owned(), tls: None },
        size: raw.len() as u64,
        content: Content { subject: Some("bench".to_owned()), text, ..Content::default() },
    };
    let rcpt_to = Address::parse("bench@example.com").expect("the address is good");
    let delivery = Delivery { mailbox: mailbox.clone(), rcpt_to: rcpt_to.into() };
    store.append(vec![delivery], message, raw).await.expect("it is kept");
    id
}
