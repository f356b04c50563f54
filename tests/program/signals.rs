//! The end: a stop lets nobody down, and a kill loses nothing that was acknowledged.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use tempfile::TempDir;

use crate::dialogue::Client;
use crate::process::{self, Restante, command};
use crate::programs;

/// A stop by `signal` with one client that is idle and one in the middle of a message.
fn stops_gracefully(signal: &str) {
    let dir = TempDir::new().unwrap();
    // Longer than a slow machine needs for the rest of the message.
    let server = Restante::start(dir.path(), &[("SHUTDOWN_GRACE", "2m")]);
    let mut idle = Client::connect(server.smtp);
    assert!(idle.say("HELO idle.example").starts_with("250"));
    let mut busy = Client::connect(server.smtp);
    busy.begin("user@example.com");
    busy.send("Subject: Half of it\r\n\r\nbefore the signal\r\n");

    server.signal(signal);
    let farewell = idle.rest();
    assert!(farewell.starts_with("421 4.3.2 "), "{farewell}");
    busy.send("behind the signal\r\n");
    let reply = busy.say(".");
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    let farewell = busy.rest();
    assert!(farewell.starts_with("421 4.3.2 "), "{farewell}");
    assert_eq!(server.wait().code(), Some(0));

    let server = Restante::start(dir.path(), &[]);
    assert_eq!(server.mail("user")["body_text"], "before the signal\r\nbehind the signal\r\n");
}

#[test]
fn sigterm_lets_a_message_in_progress_end() {
    stops_gracefully("TERM");
}

#[test]
fn sigint_lets_a_message_in_progress_end() {
    stops_gracefully("INT");
}

#[test]
fn a_client_that_does_not_end_is_cut_after_the_grace() {
    let dir = TempDir::new().unwrap();
    let server = Restante::start(dir.path(), &[("SHUTDOWN_GRACE", "1s")]);
    let mut busy = Client::connect(server.smtp);
    busy.begin("user@example.com");
    busy.send("Subject: Never finished\r\n");
    server.signal("TERM");
    assert_eq!(busy.rest(), "");
    assert_eq!(server.wait().code(), Some(0));
    let server = Restante::start(dir.path(), &[]);
    assert_eq!(server.ask("GET", "/emails/user").body, b"[]");
}

#[test]
fn a_second_signal_does_not_wait() {
    let dir = TempDir::new().unwrap();
    let server = Restante::start(dir.path(), &[("SHUTDOWN_GRACE", "2m")]);
    let mut idle = Client::connect(server.smtp);
    assert!(idle.say("HELO idle.example").starts_with("250"));
    let mut busy = Client::connect(server.smtp);
    busy.begin("user@example.com");
    server.signal("TERM");
    assert!(idle.rest().starts_with("421 4.3.2 "), "the first signal has arrived");
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(130));
}

#[test]
fn a_signal_during_the_start_ends_it() {
    for signal in ["TERM", "INT"] {
        let dir = TempDir::new().unwrap();
        // Nobody is there, and it is tried for half a minute.
        let away = [("STORE", "redis"), ("REDIS_ADDR", "127.0.0.1:1")];
        let mut server = command(dir.path(), &away).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
        assert!(log.any(|line| line.unwrap().contains("it is tried again")));
        process::signal(&server, signal);
        assert_eq!(programs::wait(&mut server, "restante").code(), Some(0));
        assert!(!log.any(|line| line.unwrap().contains("cannot be used")), "it has not just given up");
    }
}

#[test]
fn an_acknowledged_mail_is_there_after_a_kill_and_the_key_is_the_same() {
    let dir = TempDir::new().unwrap();
    let server = Restante::start(dir.path(), &[]);
    let mut client = Client::connect(server.smtp);
    client.begin("user@example.com");
    assert!(client.say("Subject: Kept\r\n\r\nHello\r\n.").starts_with("250 "));
    let key = server.key.clone();
    server.kill();
    let server = Restante::start(dir.path(), &[]);
    assert_eq!(server.mail("user")["subject"], "Kept");
    assert_eq!(server.key, key);
}
