//! Clients that bring mail and delete some of it, whatever becomes of the server meanwhile, and keep account of what they were
//! told. Afterwards all that was acknowledged must be there, byte for byte, and nothing by half.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::reader::Reader;
use crate::process::Restante;
use crate::programs::DEADLINE;

/// How many clients send at the same time.
const CLIENTS: usize = 6;
/// A mailbox that every other mail goes to, beside its own ones.
pub(crate) const SHARED: &str = "everybody";
/// One mail of so many is large, and one of so many is deleted from its first mailbox again.
const LARGE_EVERY: u64 = 8;
const DELETED_EVERY: u64 = 5;
const LARGE_MAX_BYTES: u64 = 1024 * 1024;
/// How long a client waits before it sends again: all that is sent has to be verified.
const PAUSE: Duration = Duration::from_millis(20);

/// No limit that would stand in the way of a load.
pub(crate) const SETTINGS: [(&str, &str); 4] = [
    ("SMTP_RATE_PER_MINUTE", "0"),
    ("API_RATE_PER_MINUTE", "0"),
    ("MAILBOX_MAX_MESSAGES", "1000000"),
    ("SMTP_MAX_CONNECTIONS_PER_IP", "1000"),
];

/// A mail: all of it follows from its name.
#[derive(Clone, Debug)]
struct Mail(String);

impl Mail {
    fn seed(&self) -> u64 {
        // FNV-1a, and a last mix: the names differ only at their ends.
        let hash = self
            .0
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
    }

    /// The mailboxes of its own, one to four.
    fn own(&self) -> Vec<String> {
        (0..=self.seed() % 4).map(|number| format!("{}-{number}", self.0)).collect()
    }

    fn is_shared(&self) -> bool {
        (self.seed() / 4).is_multiple_of(2)
    }

    fn mailboxes(&self) -> Vec<String> {
        self.own().into_iter().chain(self.is_shared().then(|| SHARED.to_owned())).collect()
    }

    fn is_to_be_deleted(&self) -> bool {
        (self.seed() / 8).is_multiple_of(DELETED_EVERY)
    }

    /// A message of its own size and content, 1 KB to 1 MB.
    fn message(&self) -> Vec<u8> {
        let seed = self.seed() / 64;
        let size = match seed % LARGE_EVERY {
            0 => 65_536 + seed % (LARGE_MAX_BYTES - 65_536),
            _ => 1024 + seed % 15_360,
        };
        let size = usize::try_from(size).unwrap();
        let mut message = format!("Subject: {}\r\n\r\n", self.0).into_bytes();
        let mut line = 0;
        while message.len() < size {
            message.extend(format!("{} line {line} \u{e4}\0 {:x}\r\n", self.0, seed.rotate_left(line)).bytes());
            line += 1;
        }
        message
    }
}

/// What is known of a mail that was sent.
#[derive(Clone, Debug, Default)]
struct Known {
    acknowledged: bool,
    /// From which of its mailboxes it was asked to be deleted, and whether that was confirmed.
    deletions: BTreeMap<String, bool>,
}

/// The account of a load, over all servers that it was brought to.
#[derive(Clone, Default)]
pub(crate) struct Account(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    mails: BTreeMap<String, Known>,
    refusals: BTreeMap<String, usize>,
}

impl Account {
    fn note(&self, mail: &Mail, change: impl FnOnce(&mut Known)) {
        change(self.0.lock().unwrap().mails.entry(mail.0.clone()).or_default());
    }

    /// Sends one mail and returns why it was refused.
    pub(crate) fn send(&self, server: &Restante, name: &str) -> Result<(), String> {
        let mail = Mail(name.to_owned());
        self.note(&mail, |_| ());
        match Session::open(server.smtp).unwrap().send(&mail) {
            Told::Acknowledged => self.note(&mail, |known| known.acknowledged = true),
            Told::Refused(reply) => return Err(reply),
            Told::Nothing => panic!("the connection was lost"),
        }
        Ok(())
    }

    /// Deletes all mail, as far as that goes.
    pub(crate) fn delete_all(&self, reader: &Reader) {
        let mails: Vec<_> = self.0.lock().unwrap().mails.keys().cloned().map(Mail).collect();
        for mail in &mails {
            mail.own().iter().for_each(|mailbox| self.clear(reader, mailbox, &[mail]));
        }
        let shared: Vec<_> = mails.iter().filter(|mail| mail.is_shared()).collect();
        self.clear(reader, SHARED, &shared);
    }

    /// Clears a mailbox that has these mails.
    fn clear(&self, reader: &Reader, mailbox: &str, mails: &[&Mail]) {
        let note = |is_confirmed| {
            for mail in mails {
                self.note(mail, |known| *known.deletions.entry(mailbox.to_owned()).or_default() |= is_confirmed);
            }
        };
        note(false);
        if let Some((200, _)) = reader.ask("DELETE", &format!("/emails/{mailbox}")) {
            note(true);
        }
    }

    /// How many mails were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.0.lock().unwrap().mails.values().filter(|known| known.acknowledged).count()
    }

    /// The replies that refused mail, and how often each was given.
    pub(crate) fn refusals(&self) -> BTreeMap<String, usize> {
        self.0.lock().unwrap().refusals.clone()
    }

    /// All that was acknowledged is there and is what was sent; of the rest nothing is there by half.
    pub(crate) fn verify(&self, reader: &Reader) {
        self.check(reader).unwrap();
    }

    /// The same, once what was not acknowledged has been taken back.
    pub(crate) fn verify_soon(&self, reader: &Reader) {
        let mut last = String::new();
        for _ in 0..DEADLINE.as_secs() {
            match self.check(reader) {
                Ok(()) => return,
                Err(error) => last = error,
            }
            thread::sleep(Duration::from_secs(1));
        }
        panic!("{last}");
    }

    /// What is acknowledged now, and not about to be deleted: what comes later may be lost.
    pub(crate) fn settled(&self) -> Self {
        let entries = self.0.lock().unwrap();
        let stays = |name: &String, known: &Known| known.acknowledged && !Mail(name.clone()).is_to_be_deleted();
        let mails = entries.mails.iter().filter(|(name, known)| stays(name, known));
        let mails = mails.map(|(name, known)| (name.clone(), known.clone())).collect();
        Self(Arc::new(Mutex::new(Entries { mails, refusals: BTreeMap::new() })))
    }

    fn check(&self, reader: &Reader) -> Result<(), String> {
        let mut shared = HashMap::new();
        let mut before = u64::MAX;
        for mail in reader.all(SHARED) {
            let seq = mail["seq"].as_u64().unwrap();
            assert!(seq < before, "the newest come first");
            before = seq;
            let name = mail["subject"].as_str().unwrap().to_owned();
            if shared.insert(name.clone(), mail).is_some() {
                return Err(format!("{name} is there twice"));
            }
        }
        let entries = self.0.lock().unwrap();
        for (name, known) in &entries.mails {
            check(reader, &Mail(name.clone()), known, shared.remove(name))?;
        }
        Ok(())
    }
}

fn check(reader: &Reader, mail: &Mail, known: &Known, shared: Option<Value>) -> Result<(), String> {
    let mut found: Vec<(String, Option<Value>)> = Vec::new();
    for mailbox in mail.own() {
        let mut mails = reader.json(&format!("/emails/{mailbox}"));
        if mails.len() > 1 {
            return Err(format!("{mailbox} has it {} times", mails.len()));
        }
        found.push((mailbox, mails.pop()));
    }
    if mail.is_shared() {
        found.push((SHARED.to_owned(), shared));
    }
    if let Some((mailbox, _)) =
        found.iter().find(|(mailbox, mail)| known.deletions.get(mailbox) == Some(&true) && mail.is_some())
    {
        return Err(format!("{mail:?} was deleted from {mailbox}"));
    }
    found.retain(|(mailbox, _)| !known.deletions.contains_key(mailbox));
    let there = found.iter().filter(|(_, mail)| mail.is_some()).count();
    if there != found.len() && (there > 0 || known.acknowledged) {
        let missing: Vec<_> = found.iter().filter(|(_, mail)| mail.is_none()).map(|(mailbox, _)| mailbox).collect();
        return Err(format!("{mail:?}, {known:?}, is not in {missing:?} of {} mailboxes", found.len()));
    }
    for (mailbox, one) in found {
        let Some(one) = one else { continue };
        let raw = reader.get(&format!("/emails/{mailbox}/{}/raw", one["id"].as_str().unwrap()));
        assert!(raw == mail.message(), "{mail:?} in {mailbox} is not what was sent");
    }
    Ok(())
}

/// Clients at work.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    acknowledgements: mpsc::Receiver<()>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Clients that send to these servers, each to one until it loses that, until they are stopped. `round` tells their mails
    /// from those of other loads.
    pub(crate) fn start(servers: &[&Restante], round: usize, account: &Account) -> Self {
        let (acknowledged, acknowledgements) = mpsc::channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let servers: Vec<_> = servers.iter().map(|server| (server.smtp, server.http, server.key.clone())).collect();
        let clients = (0..CLIENTS).map(|number| {
            let client = Client {
                servers: servers.clone(),
                turn: number,
                session: None,
                account: account.clone(),
                acknowledged: acknowledged.clone(),
                is_over: is_over.clone(),
            };
            thread::spawn(move || client.run(&format!("m-{round}-{number}")))
        });
        Self { clients: clients.collect(), is_over, acknowledgements }
    }

    /// Waits until so many more mails have been acknowledged.
    pub(crate) fn wait_for(&self, acknowledgements: usize) {
        for _ in 0..acknowledgements {
            self.acknowledgements.recv_timeout(DEADLINE).expect("mail is taken");
        }
    }

    /// Forgets the acknowledgements up to now.
    pub(crate) fn forget(&self) {
        while self.acknowledgements.try_recv().is_ok() {}
    }

    /// Lets the clients end the mail in hand.
    pub(crate) fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
    }
}

/// What a client was told of a mail.
enum Told {
    Acknowledged,
    Refused(String),
    /// The connection was lost: nobody knows.
    Nothing,
}

struct Client {
    servers: Vec<(SocketAddr, SocketAddr, String)>,
    /// Which of the servers it uses.
    turn: usize,
    session: Option<(Session, Reader)>,
    account: Account,
    acknowledged: mpsc::Sender<()>,
    is_over: Arc<AtomicBool>,
}

impl Client {
    fn run(mut self, name: &str) {
        for number in 0.. {
            if self.is_over.load(Ordering::Relaxed) || !self.connect() {
                return;
            }
            let Some((session, reader)) = &mut self.session else { return };
            let mail = Mail(format!("{name}-{number}"));
            self.account.note(&mail, |_| ());
            match session.send(&mail) {
                Told::Acknowledged => {
                    self.account.note(&mail, |known| known.acknowledged = true);
                    if mail.is_to_be_deleted() {
                        self.account.clear(reader, &mail.own()[0], &[&mail]);
                    }
                    _ = self.acknowledged.send(());
                }
                Told::Refused(reply) => {
                    *self.account.0.lock().unwrap().refusals.entry(reply).or_default() += 1;
                    self.session = None;
                }
                Told::Nothing => self.session = None,
            }
            thread::sleep(PAUSE);
        }
    }

    /// Sees to a session with a server that is there; says whether there is one.
    fn connect(&mut self) -> bool {
        for _ in 0..self.servers.len() {
            if self.session.is_some() {
                break;
            }
            let (smtp, http, key) = &self.servers[self.turn % self.servers.len()];
            match Session::open(*smtp) {
                Some(session) => self.session = Some((session, Reader::at(*http, key))),
                None => self.turn += 1,
            }
        }
        self.session.is_some()
    }
}

/// A connection to the SMTP port of a server that may be lost at any line.
struct Session(BufReader<TcpStream>);

impl Session {
    fn open(addr: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(addr).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.set_nodelay(true).ok()?;
        let mut session = Self(BufReader::new(stream));
        session.reply().filter(|reply| reply.starts_with("220"))?;
        session.say("EHLO client.example").filter(|reply| reply.starts_with("250"))?;
        Some(session)
    }

    fn send(&mut self, mail: &Mail) -> Told {
        let recipients = mail.mailboxes().into_iter().map(|mailbox| format!("RCPT TO:<{mailbox}@example.com>"));
        let commands = std::iter::once("MAIL FROM:<sender@example.com>".to_owned()).chain(recipients);
        for (line, code) in commands.map(|line| (line, "250")).chain([("DATA".to_owned(), "354")]) {
            match self.say(&line) {
                Some(reply) if reply.starts_with(code) => {}
                Some(reply) => return Told::Refused(reply),
                None => return Told::Nothing,
            }
        }
        let written = self.0.get_mut().write_all(&[&mail.message()[..], b".\r\n"].concat());
        match written.ok().and_then(|()| self.reply()) {
            Some(reply) if reply.starts_with("250") => Told::Acknowledged,
            Some(reply) => Told::Refused(reply),
            None => Told::Nothing,
        }
    }

    fn say(&mut self, line: &str) -> Option<String> {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).ok()?;
        self.reply()
    }

    /// The last line of a reply.
    fn reply(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).ok()?;
            match line.as_bytes().get(3) {
                Some(b' ') => return Some(line.trim_end().to_owned()),
                Some(_) => {}
                None => return None,
            }
        }
    }
}
