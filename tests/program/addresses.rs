//! Fresh addresses from end to end: many tests side by side, each with a token, on servers that share a key.

use std::thread;

use serde_json::Value;

use crate::api::curl;
use crate::dialogue::Client;
use crate::process::Restante;
use crate::programs::run;

/// What curl reads with this key, sent as `Authorization: Bearer`; the status stands behind it.
fn ask(server: &Restante, key: &str, options: &[&str], path: &str) -> String {
    let header = format!("Authorization: Bearer {key}");
    let mut curl = curl();
    curl.args(["--silent", "--write-out", "%{http_code}", "--header", &header]).args(options);
    run(curl.arg(server.url(path)), b"").ok()
}

fn fresh(server: &Restante, body: &str) -> Value {
    let json = ["--header", "Content-Type: application/json", "--data", body];
    let answer = ask(server, &server.key, &json, "/addresses");
    serde_json::from_str(answer.strip_suffix("201").unwrap()).unwrap()
}

fn text<'a>(address: &'a Value, pointer: &str) -> &'a str {
    address.pointer(pointer).unwrap().as_str().unwrap()
}

/// Takes an address, sends its code there, and reads it with nothing but the token.
fn sign_up(server: &Restante, number: u32) {
    let address = fresh(server, r#"{"prefix": "sign-up", "domain": "example.com"}"#);
    let (token, url) = (text(&address, "/token"), text(&address, "/urls/code"));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(server, token, &[], url));
        let mut client = Client::connect(server.smtp);
        client.begin(text(&address, "/address"));
        assert!(client.say(&format!("Subject: Sign up\r\n\r\nYour code is {number}.\r\n.")).starts_with("250 "));
        assert_eq!(waiting.join().unwrap(), format!("{number}\n200"));
    });
}

#[test]
fn each_of_many_tests_reads_its_own_code() {
    let (server, _dir) = Restante::start_anywhere(&[("DOMAIN", "example.com"), ("API_RATE_PER_MINUTE", "0")]);
    thread::scope(|scope| {
        for number in 0..16 {
            let server = &server;
            scope.spawn(move || sign_up(server, 482_913 + number));
        }
    });
    let refused = ask(&server, &server.key, &["--data", "{}"], "/addresses");
    assert!(refused.contains("unsupported media type") && refused.ends_with("415"), "{refused}");
    let json = ["--header", "Content-Type: application/json", "--data", r#"{"domain": "example.org"}"#];
    let refused = ask(&server, &server.key, &json, "/addresses");
    assert!(refused.contains("it must be one of example.com") && refused.ends_with("422"), "{refused}");
}

#[test]
fn a_token_is_taken_by_every_server_with_its_key_and_by_no_other() {
    let with_keys = |keys: &str| Restante::start_anywhere(&[("API_KEY", keys)]);
    let (first, _first) = with_keys("a-key-of-both");
    let address = fresh(&first, "{}");
    let (token, url) = (text(&address, "/token"), text(&address, "/urls/emails"));
    assert_eq!(ask(&first, token, &[], url), "[]200");
    assert_eq!(ask(&with_keys("a-new-key,a-key-of-both").0, token, &[], url), "[]200");
    assert!(ask(&with_keys("a-new-key").0, token, &[], url).ends_with("401"));
}
