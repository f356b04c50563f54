//! Clients that ask for large answers and do not read them: what the server holds for each has to be little.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::dialogue::Client;
use crate::process::Restante;
use crate::programs::DEADLINE;

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
fn reader(server: &Restante, path: &str) -> TcpStream {
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
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// How many MB the server came to need at most for so many readers of `path`, and what one of them reads in the end.
fn cost(server: &Restante, path: &str, readers: usize) -> (u64, Vec<u8>) {
    server.forget_peak();
    let before_kb = server.memory_kb("VmHWM");
    let mut reading: Vec<_> = (0..readers).map(|_| reader(server, path)).collect();
    let mut body = Vec::new();
    reading.swap_remove(readers / 2).read_to_end(&mut body).unwrap();
    let cost = server.memory_kb("VmHWM").saturating_sub(before_kb) / 1000;
    println!("{cost} MB for {readers} readers of {path}");
    (cost, body)
}

#[test]
fn readers_who_do_not_read_take_little_memory() {
    let settings = [("SMTP_RATE_PER_MINUTE", "0"), ("API_RATE_PER_MINUTE", "0"), ("MIME_MAX_TEXT_BYTES", "2MiB")];
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
    assert!(cost_of_raw < 80 && cost_of_attachment < 80, "{cost_of_raw} and {cost_of_attachment} MB");
    assert!(cost_of_list < 150, "{cost_of_list} MB");
    let list: Vec<Value> = serde_json::from_slice(&server.get("/emails/list?limit=200")).unwrap();
    assert!(list.iter().all(|message| message["body_text"].as_str().unwrap().len() == MB) && list.len() > 14);
}
