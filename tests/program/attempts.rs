//! Mail that did not get in, by the clients that people use, and what the API tells of it.

use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clients::swaks;
use crate::dialogue::Client;
use crate::process::Restante;
use crate::programs::{DEADLINE, Ended, LOOK_EVERY, run};

impl Restante {
    /// The attempts of a path, newest first.
    #[track_caller]
    fn attempts(&self, path: &str) -> Vec<Value> {
        serde_json::from_slice(&self.get(path)).unwrap()
    }

    /// The only attempt of a mailbox.
    #[track_caller]
    fn attempt(&self, mailbox: &str) -> Value {
        let [attempt] = self.attempts(&format!("/emails/{mailbox}/attempts")).try_into().unwrap();
        attempt
    }
}

/// Runs swaks to the refusal with which its attempt ends.
#[track_caller]
fn refused(server: &Restante, to: &str, options: &[&str]) -> Ended {
    let ended = run(swaks(server, to).args(options), b"");
    assert_ne!(ended.code, Some(0), "{}", ended.text());
    ended
}

/// The reply of an attempt, without what differs from run to run.
fn reply(attempt: &Value) -> &str {
    attempt["reply"].as_str().unwrap()
}

#[test]
fn a_mistyped_domain_is_seen_at_the_mailbox_that_was_meant() {
    let (server, _dir) = Restante::start_anywhere(&[("DOMAIN", "example.com")]);
    let ended = refused(&server, "User@exmaple.com", &["--tls"]);
    let attempt = server.attempt("user");
    assert!(ended.text().contains(&format!("<~* {}\n", reply(&attempt))), "{}", ended.text());
    assert!(reply(&attempt).starts_with("550 5.7.1 relaying denied: "), "{attempt}");
    assert_eq!((&attempt["code"], &attempt["from"]), (&json!(550), &json!("sender@example.org")));
    assert_eq!((&attempt["to"], &attempt["mailbox"]), (&json!("User@exmaple.com"), &json!("user")));
    assert_eq!((&attempt["peer"]["ip"], &attempt["peer"]["helo"]), (&json!("127.0.0.1"), &json!("client.example")));
    assert!(attempt["peer"]["tls"].as_str().unwrap().starts_with("TLSv1.3 "), "{attempt}");
    assert!(attempt["attempted_at"].as_u64().unwrap() > 1_700_000_000, "{attempt}");
    assert_eq!(server.mails("user"), Vec::<Value>::new());
}

#[test]
fn each_reader_sees_his_own_attempts_and_only_with_the_key() {
    let (server, _dir) = Restante::start_anywhere(&[("DOMAIN", "example.com")]);
    refused(&server, "first@foreign.example,second@foreign.example", &[]);
    for (own, other) in [("first", "second"), ("second", "first")] {
        let shown = server.attempt(own);
        assert_eq!(shown["to"], format!("{own}@foreign.example"));
        assert!(!shown.to_string().contains(other), "{shown}");
    }
    assert_eq!(server.attempts("/attempts").len(), 2);
    for path in ["/attempts", "/emails/first/attempts"] {
        let answer = server.ask_as_stranger("GET", path);
        assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid API key")));
    }
}

#[test]
fn a_message_that_is_too_large_is_an_attempt_at_each_of_its_recipients() {
    let (server, _dir) = Restante::start_anywhere(&[("SMTP_MAX_MESSAGE_SIZE", "1KiB")]);
    refused(&server, "a@example.com,b@example.com", &["--body", &"too large ".repeat(200)]);
    for mailbox in ["a", "b"] {
        assert!(reply(&server.attempt(mailbox)).starts_with("552 5.3.4 "));
    }
}

#[test]
fn a_sender_that_is_too_fast_is_seen_and_its_recipient_where_it_was_named() {
    let (server, _dir) = Restante::start_anywhere(&[("SMTP_RATE_PER_MINUTE", "1")]);
    run(&mut swaks(&server, "user@example.com"), b"").ok();
    refused(&server, "user@example.com", &[]);
    let [unnamed] = server.attempts("/attempts").try_into().unwrap();
    assert!(reply(&unnamed).starts_with("450 4.7.1 too many messages of this sender"), "{unnamed}");
    assert_eq!((&unnamed["to"], &unnamed["mailbox"]), (&Value::Null, &Value::Null));
    assert_eq!(server.attempts("/emails/user/attempts"), Vec::<Value>::new());
    refused(&server, "user@example.com", &["--pipeline"]);
    let named = server.attempt("user");
    assert!(reply(&named).starts_with("450 4.7.1 "), "{named}");
    assert_eq!(named["to"], "user@example.com");
}

#[test]
fn mail_in_clear_text_is_seen_where_tls_is_required() {
    let (server, _dir) = Restante::start_anywhere(&[("SMTP_TLS", "required")]);
    refused(&server, "user@example.com", &["--pipeline"]);
    assert!(reply(&server.attempt("user")).starts_with("530 5.7.0 "));
    run(swaks(&server, "user@example.com").arg("--tls"), b"").ok();
    assert_eq!(server.mails("user").len(), 1);
}

#[test]
fn a_bare_lf_is_named_as_the_reason() {
    let (server, _dir) = Restante::start_anywhere(&[]);
    let mut client = Client::connect(server.smtp);
    client.begin("user@example.com");
    let said = client.say("Subject: Bare\r\n\r\nfirst\nsecond\r\n.");
    assert!(said.starts_with("550 5.6.11 "), "{said}");
    assert_eq!(reply(&server.attempt("user")), said);
}

#[test]
fn a_client_that_went_away_in_the_middle_of_its_message_is_seen() {
    let (server, _dir) = Restante::start_anywhere(&[("API_RATE_PER_MINUTE", "0")]);
    run(swaks(&server, "user@example.com").args(["--drop-after", "DATA"]), b"");
    let looks = DEADLINE.as_millis() / LOOK_EVERY.as_millis();
    // The server learns of it in its own time.
    let seen = (0..looks).find_map(|_| {
        thread::sleep(LOOK_EVERY);
        server.attempts("/emails/user/attempts").pop()
    });
    let seen = seen.unwrap();
    assert_eq!((&seen["reply"], &seen["code"]), (&Value::Null, &Value::Null));
    assert_eq!(seen["to"], "user@example.com");
}

#[test]
fn a_cleared_mailbox_and_a_restarted_server_know_of_no_attempts() {
    let dir = TempDir::new().unwrap();
    let server = Restante::start(dir.path(), &[("DOMAIN", "example.com")]);
    refused(&server, "user@foreign.example,other@foreign.example", &[]);
    assert_eq!(server.ask("DELETE", "/emails/user").status, 200);
    let [left] = server.attempts("/attempts").try_into().unwrap();
    assert_eq!(left["mailbox"], "other");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let server = Restante::start(dir.path(), &[("DOMAIN", "example.com")]);
    assert_eq!(server.attempts("/attempts"), Vec::<Value>::new());
}

#[test]
fn nothing_is_remembered_where_nothing_shall_be() {
    let (server, _dir) = Restante::start_anywhere(&[("DOMAIN", "example.com"), ("ATTEMPTS_MAX", "0")]);
    refused(&server, "user@foreign.example", &[]);
    for path in ["/attempts", "/emails/user/attempts"] {
        assert_eq!(server.attempts(path), Vec::<Value>::new());
    }
}
