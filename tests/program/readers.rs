//! Clients that ask for large answers and do not read them: what the server holds for each has to be little.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use serde::Deserialize;
use serde_json::Value;

use crate::api::curl;
use crate::dialogue::Client;
use crate::process::Restante;
use crate::programs::{DEADLINE, run};

const MB: usize = 1_000_000;

/// Delivers a mail of `header` and `lines` of control characters, a thousand bytes each with their line break. In JSON a
/// control character is six bytes.
fn deliver(server: &Restante, mailbox: &str, header: &str, lines: usize) {
    let line = "\u{1}".repeat(998) + "\r\n";
    let mut client = Client::connect(server.smtp);
    client.begin(&format!("{mailbox}@example.com"));
    assert!(client.say(&format!("{header}\r\n\r\n{}.", line.repeat(lines))).starts_with("250 2.0.0 "));
}

/// The newest message of a mailbox, of a list that has no more.
fn newest(server: &Restante, mailbox: &str) -> String {
    let list: Vec<Value> = serde_json::from_slice(&server.get(&format!("/emails/{mailbox}?limit=1"))).unwrap();
    format!("/emails/{mailbox}/{}", list[0]["id"].as_str().unwrap())
}

/// A client that has read where the body begins, and reads no more.
fn reader(server: &Restante, path: &str, status: u16) -> TcpStream {
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {}\r\nConnection: close\r\n\r\n", server.key);
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{}", String::from_utf8_lossy(&head));
    stream
}

/// What `work` gives, and how many MB the server came to need for it at most.
#[expect(clippy::print_stdout, reason = "what was measured is printed")]
fn measured<T>(server: &Restante, what: &str, work: impl FnOnce() -> T) -> (u64, T) {
    server.forget_peak();
    let before_kb = server.memory_kb("VmHWM");
    let done = work();
    let cost = server.memory_kb("VmHWM").saturating_sub(before_kb) / 1000;
    println!("{cost} MB for {what}");
    (cost, done)
}

/// How many MB the server came to need at most for so many readers of `path`, and what one of them reads in the end.
fn cost(server: &Restante, path: &str, readers: usize) -> (u64, Vec<u8>) {
    let status = if path.contains("/none?") { 409 } else { 200 };
    measured(server, &format!("{readers} readers of {path}"), || {
        let mut reading: Vec<_> = (0..readers).map(|_| reader(server, path, status)).collect();
        let mut body = Vec::new();
        reading.swap_remove(readers / 2).read_to_end(&mut body).unwrap();
        body
    })
}

#[test]
fn readers_who_do_not_read_take_little_memory() {
    let settings = [("SMTP_RATE_PER_MINUTE", "0"), ("API_RATE_PER_MINUTE", "0")];
    let (server, _dir) = Restante::start_anywhere(&settings);
    // More than a page has of them.
    for _ in 0..20 {
        deliver(&server, "list", "Subject: One of many", 1_000);
    }
    deliver(&server, "large", "Content-Type: application/octet-stream", 20_000);
    let large = newest(&server, "large");

    // As a whole these would be 1.2 GB each, and the list, in JSON, 0.8 GB.
    let (cost_of_raw, raw) = cost(&server, &format!("{large}/raw"), 60);
    assert!(raw.len() > 20 * MB && raw.ends_with(b"\x01\r\n"));
    let (cost_of_attachment, attachment) = cost(&server, &format!("{large}/attachments/0"), 60);
    assert_eq!(attachment.len(), 20 * MB);
    let (cost_of_list, _) = cost(&server, "/emails/list?limit=200", 8);
    // Each of these would be 6 MB, and as much again for each copy.
    let (cost_of_conflict, _) = cost(&server, "/emails/list/none?for=1s", 60);
    assert!(cost_of_conflict < 100, "{cost_of_conflict} MB");
    assert!(cost_of_raw < 80 && cost_of_attachment < 80, "{cost_of_raw} and {cost_of_attachment} MB");
    assert!(cost_of_list < 150, "{cost_of_list} MB");
    let list: Vec<Value> = serde_json::from_slice(&server.get("/emails/list?limit=200")).unwrap();
    assert!(list.iter().all(|message| message["body_text"].as_str().unwrap().len() == MB) && list.len() > 14);
    let conflict = server.ask("GET", "/emails/list/none?for=1s");
    assert_eq!((conflict.status, &conflict.json()["message"]), (409, &list[0]));
}

/// What is looked at of a message.
#[derive(Deserialize)]
struct Listed {
    id: String,
    body_text: String,
}

/// A page of a list, and the path of the next one.
fn page(server: &Restante, path: &str) -> (Vec<Listed>, Option<String>) {
    let key = format!("X-API-KEY: {}", server.key);
    let said = run(curl().args(["--silent", "--include", "--fail", "--header", &key, &server.url(path)]), b"");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let head = said.stdout.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let (head, body) = said.stdout.split_at(head + 4);
    let head = String::from_utf8(head.to_vec()).unwrap();
    let next = head.lines().find_map(|line| line.strip_prefix("link: <")?.strip_suffix(">; rel=\"next\""));
    (serde_json::from_slice(body).unwrap(), next.map(str::to_owned))
}

/// Delivers so many mails with a text of so many lines, a thousand bytes each with their line break. In chunks, which cost
/// the server least.
fn deliver_texts(server: &Restante, mails: usize, lines: usize, letter: &str) {
    let raw = format!("Subject: Text\r\n\r\n{}", (letter.repeat(998) + "\r\n").repeat(lines));
    let mut client = Client::connect(server.smtp);
    client.ehlo();
    for _ in 0..mails {
        for command in ["MAIL FROM:<sender@example.org>", "RCPT TO:<user@example.com>"] {
            assert!(client.say(command).starts_with("250 "));
        }
        client.send(format!("BDAT {} LAST\r\n{raw}", raw.len()));
        assert!(client.line().starts_with("250 2.0.0 "));
    }
}

#[test]
fn a_mailbox_of_five_hundred_mails_of_a_megabyte_takes_little_memory() {
    const MAILS: usize = 500;
    let (server, _dir) = Restante::start_anywhere(&[("SMTP_RATE_PER_MINUTE", "0"), ("API_RATE_PER_MINUTE", "0")]);
    let (cost_of_keeping, ()) = measured(&server, "keeping them", || {
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| deliver_texts(&server, MAILS / 2, 1_000, "x"));
            }
        });
    });
    let (cost_of_reading, ids) = measured(&server, "reading them", || {
        let mut ids = HashSet::new();
        let mut next = Some("/emails/user?limit=200".to_owned());
        while let Some(path) = next {
            let listed;
            (listed, next) = page(&server, &path);
            assert!(listed.iter().all(|message| message.body_text.len() == MB) && listed.len() <= 16);
            ids.extend(listed.into_iter().map(|message| message.id));
        }
        ids
    });
    assert_eq!(ids.len(), MAILS);
    assert!(cost_of_keeping < 100 && cost_of_reading < 100, "{cost_of_keeping} and {cost_of_reading} MB");
}

#[test]
fn a_text_of_forty_megabytes_takes_its_size_a_few_times_and_no_more() {
    let (server, _dir) = Restante::start_anywhere(&[]);
    // In JSON each of these letters is six bytes.
    let (cost_of_keeping, ()) = measured(&server, "keeping it", || deliver_texts(&server, 1, 40_000, "\u{1}"));
    let path = newest(&server, "user");
    let (cost_of_reading, message) = measured(&server, "reading it", || server.get(&path));
    assert!(message.len() > 230 * MB);
    let message: Listed = serde_json::from_slice(&message).unwrap();
    assert_eq!(message.body_text.len(), 40 * MB);
    assert!(cost_of_keeping < 300 && cost_of_reading < 150, "{cost_of_keeping} and {cost_of_reading} MB");
}
