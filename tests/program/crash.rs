//! 250 means kept: the program is killed in mid-load, again and again, and nothing that it acknowledged is gone.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::Restante;
use crate::programs::DEADLINE;

/// How often the program is killed.
const ROUNDS: usize = 6;
/// How many clients send at the same time.
const CLIENTS: usize = 6;
/// How many messages a round has to have acknowledged before the kill.
const ACKNOWLEDGED_BEFORE_KILL: usize = 40;
/// Each message goes to its own mailbox and to one that all share.
const SHARED: &str = "everybody";

const SETTINGS: [(&str, &str); 3] =
    [("SMTP_RATE_PER_MINUTE", "0"), ("API_RATE_PER_MINUTE", "0"), ("MAILBOX_MAX_MESSAGES", "1000000")];

#[test]
fn what_was_acknowledged_is_there_after_a_kill_and_nothing_is_there_by_half() {
    let dir = TempDir::new().unwrap();
    let sent = Arc::new(Mutex::new(HashMap::new()));
    for round in 0..ROUNDS {
        let server = Restante::start(dir.path(), &SETTINGS);
        load_and_kill(server, round, &sent);
    }
    let server = Restante::start(dir.path(), &SETTINGS);
    let acknowledged: Vec<_> =
        sent.lock().unwrap().iter().filter(|(_, sent)| sent.acknowledged).map(|(name, _)| name.clone()).collect();
    assert!(acknowledged.len() >= ROUNDS * ACKNOWLEDGED_BEFORE_KILL);
    let api = Api::of(&server);
    for name in &acknowledged {
        let messages = api.json(&format!("/emails/{name}"));
        assert_eq!(messages.as_array().map(Vec::len), Some(1), "{name} was acknowledged");
        let raw = api.get(&format!("/emails/{name}/{}/raw", messages[0]["id"].as_str().unwrap()));
        assert_eq!(raw, sent.lock().unwrap()[name].message, "{name} is not what was sent");
    }
    no_half_message(&api, &sent.lock().unwrap(), acknowledged.len());
}

/// A message that was sent.
struct Sent {
    message: Vec<u8>,
    acknowledged: bool,
}

type Log = Arc<Mutex<HashMap<String, Sent>>>;

/// Every message of the shared mailbox is whole, and is in its own mailbox too; the acknowledged ones are all there.
fn no_half_message(api: &Api, sent: &HashMap<String, Sent>, acknowledged: usize) {
    let mut path = format!("/emails/{SHARED}?limit=200");
    let mut found = 0;
    loop {
        let page = api.json(&path);
        let page = page.as_array().unwrap();
        for message in page {
            let name = message["subject"].as_str().unwrap();
            let raw = api.get(&format!("/emails/{SHARED}/{}/raw", message["id"].as_str().unwrap()));
            assert_eq!(raw, sent[name].message, "{name} is there by half");
            let own = api.json(&format!("/emails/{name}"));
            assert_eq!(own[0]["id"], message["id"], "{name} is in one mailbox of two");
        }
        found += page.len();
        match page.last() {
            Some(last) if page.len() == 200 => path = format!("/emails/{SHARED}?limit=200&before={}", last["seq"]),
            _ => break,
        }
    }
    assert!(found >= acknowledged, "{found} of {acknowledged} are in the shared mailbox");
}

fn load_and_kill(server: Restante, round: usize, sent: &Log) {
    let (acknowledged, acknowledgements) = mpsc::channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (acknowledged, sent, addr) = (acknowledged.clone(), sent.clone(), server.smtp);
            thread::spawn(move || {
                // Until the server dies under it, at whatever line that is.
                for number in 0.. {
                    let name = format!("m-{round}-{client}-{number}");
                    if send(addr, &name, &sent).is_none() {
                        break;
                    }
                    _ = acknowledged.send(());
                }
            })
        })
        .collect();
    for _ in 0..ACKNOWLEDGED_BEFORE_KILL {
        acknowledgements.recv_timeout(DEADLINE).unwrap();
    }
    server.kill();
    for client in clients {
        client.join().unwrap();
    }
}

/// Sends one message to its own and to the shared mailbox; `None` once the connection is lost.
fn send(addr: SocketAddr, name: &str, sent: &Log) -> Option<()> {
    let stream = TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    let mut replies = BufReader::new(stream.try_clone().ok()?);
    let mut say = |text: &[u8], code: &str| -> Option<()> {
        (&stream).write_all(text).ok()?;
        loop {
            let mut line = String::new();
            replies.read_line(&mut line).ok()?;
            if line.as_bytes().get(3) == Some(&b' ') {
                assert!(line.starts_with(code), "{line}");
                return Some(());
            }
            if line.is_empty() {
                return None;
            }
        }
    };
    let message = message(name);
    sent.lock().unwrap().insert(name.to_owned(), Sent { message: message.clone(), acknowledged: false });
    say(b"", "220")?;
    say(b"EHLO client.example\r\n", "250")?;
    say(b"MAIL FROM:<sender@example.com>\r\n", "250")?;
    say(format!("RCPT TO:<{name}@example.com>\r\n").as_bytes(), "250")?;
    say(format!("RCPT TO:<{SHARED}@example.com>\r\n").as_bytes(), "250")?;
    say(b"DATA\r\n", "354")?;
    say(&[&message[..], b".\r\n"].concat(), "250")?;
    sent.lock().unwrap().get_mut(name).unwrap().acknowledged = true;
    Some(())
}

/// A message of its own size and content.
fn message(name: &str) -> Vec<u8> {
    let lines = 1 + name.bytes().map(usize::from).sum::<usize>() % 300;
    let body: String = (0..lines).map(|line| format!("{name} line {line} \u{e4}\u{0}\r\n")).collect();
    format!("Subject: {name}\r\n\r\n{body}").into_bytes()
}

/// The API of a server that runs.
struct Api {
    addr: SocketAddr,
    key: String,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Api {
    fn of(server: &Restante) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // reqwest brings none of its own; whoever is second finds the one of the first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { addr: server.http, key: server.key.clone(), runtime, client: reqwest::Client::new() }
    }

    fn get(&self, path: &str) -> Vec<u8> {
        self.runtime.block_on(async {
            let request = self.client.get(format!("http://{}{path}", self.addr)).header("X-API-KEY", &self.key);
            let response = request.timeout(DEADLINE).send().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            response.bytes().await.unwrap().into()
        })
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path)).unwrap()
    }
}
