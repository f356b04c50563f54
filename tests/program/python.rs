//! Mail in by Python's smtplib: other alphabets, sizes and limits.

use std::fs;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::path_of;
use crate::process::Restante;
use crate::programs::{file, fixture, program, run};

/// Runs a script beside this file against the server; returns the JSON that it prints.
#[track_caller]
fn script(server: &Restante, name: &str, arguments: &[&str]) -> Value {
    let mut python = program("python3");
    let ended = run(python.arg(fixture(name)).arg(server.smtp.to_string()).args(arguments), b"");
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// The SHA-256 of `bytes` as the API writes it.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_alphabet_comes_out_as_it_went_in() {
    let (server, _dir) = Restante::start_anywhere(&[]);
    let sent = script(&server, "alphabets.py", &[]);
    let mail = server.mail("user");
    for field in ["from", "to", "subject", "body_text", "body_html", "attachments", "header_from", "header_to"] {
        assert_eq!(mail[field], sent[field], "{field}");
    }
    assert!(mail["peer"]["tls"].is_string());
    assert_eq!(mail["problems"].as_array().unwrap().len(), 0);
    let attached = server.get(mail["attachment_records"][0]["url"].as_str().unwrap());
    assert_eq!(attached, (0..=255).collect::<Vec<u8>>());
}

#[test]
fn an_address_may_be_in_any_alphabet() {
    let (server, _dir) = Restante::start_anywhere(&[]);
    let sent = script(&server, "smtputf8.py", &[]);
    // The local-part of the recipient, percent-encoded.
    let mail = server.mail("%E7%94%A8%E6%88%B7");
    for field in ["from", "to", "subject", "body_text", "mailbox"] {
        assert_eq!(mail[field], sent[field], "{field}");
    }
}

#[test]
fn twenty_megabytes_come_out_byte_for_byte() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let attachment = noise(15_000_000);
    let attached = file(dir.path(), "noise.bin", &attachment);
    let message = dir.path().join("message.eml");
    script(&server, "attach.py", &[&attached, message.to_str().unwrap()]);
    let message = fs::read(message).unwrap();
    assert!(message.len() > 20_000_000, "{}", message.len());

    let mail = server.mail("user");
    assert_eq!(mail["size"], message.len());
    let raw = server.get(&format!("{}/raw", path_of(&mail)));
    assert_eq!(sha256(&raw), sha256(&message));
    let record = &mail["attachment_records"][0];
    let decoded = server.get(record["url"].as_str().unwrap());
    assert_eq!(sha256(&decoded), sha256(&attachment));
    assert_eq!(record["sha256"], sha256(&attachment));
    assert_eq!(record["size"], attachment.len());
    assert!(server.memory_kb("VmHWM") < MEMORY_MAX_KB, "{} kB", server.memory_kb("VmHWM"));
}

/// The program with one mail of 20 MB on its way: its bytes twice or so, not one more copy for each step.
const MEMORY_MAX_KB: u64 = 100_000;

#[test]
fn after_a_mail_that_is_too_large_the_connection_goes_on() {
    let (server, _dir) = Restante::start_anywhere(&[("SMTP_MAX_MESSAGE_SIZE", "1MiB")]);
    let replies = script(&server, "too_large.py", &[]);
    for step in ["declared", "sent"] {
        let reply = replies[step].as_str().unwrap();
        assert!(reply.starts_with("552 5.3.4 "), "{step}: {reply}");
    }
    assert_eq!(server.mail("user")["subject"], "small enough");
}

/// Bytes in which no two pieces are alike, the same at every call (xorshift64).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len.div_ceil(8)).flatten().take(len).collect()
}
