//! Fresh addresses, and the tokens that open their mailboxes alone.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use restante::http::Settings;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::support::{Answer, Api, DEADLINE, KEY, NOW, read_until, rest, settings};
use super::{OPEN, ROUTES};

/// Asks for an address with this body.
async fn ask(api: &Api, body: &str) -> Answer {
    let request = api.request("POST", "/addresses").header("X-API-KEY", KEY);
    Answer::of(request.header("Content-Type", "application/json").body(body.to_owned())).await
}

/// A fresh address.
async fn fresh(api: &Api, body: Value) -> Value {
    let answer = ask(api, &body.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// The answer to who has no more than `token`.
async fn with_token(api: &Api, token: &Value, method: &str, path: &str) -> Answer {
    Answer::of(api.request(method, path).header("X-API-KEY", token.as_str().unwrap())).await
}

async fn deliver(api: &Api, to: &Value) {
    let raw = "Subject: Sign in\r\n\r\nYour code is 482 913, or go to https://example.org/confirm?t=8f2a9c40d7be\r\n";
    api.deliver(&[to.as_str().unwrap()], raw).await;
}

#[tokio::test]
async fn a_fresh_address_comes_with_all_that_a_test_needs() {
    let api = Api::start().await;
    let answer = Answer::of(api.request("POST", "/addresses").header("X-API-KEY", KEY)).await;
    assert_eq!((answer.status, answer.header("content-type")), (201, "application/json"));
    let address: Value = serde_json::from_slice(&answer.body).unwrap();
    let (mailbox, token) = (address["mailbox"].as_str().unwrap(), &address["token"]);
    assert_eq!(address["address"], format!("{mailbox}@mx.example.com"));
    assert_eq!(
        (&address["domain"], &address["label"], &address["seq"]),
        (&json!("mx.example.com"), &Value::Null, &json!(0))
    );
    assert_eq!(address["expires_at"], NOW.as_secs() + 60 * 60);
    assert_eq!(answer.header("location"), format!("/emails/{mailbox}"));

    let raw = "Subject: Sign in\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n\
        Your code is 482 913, or go to https://example.org/confirm?t=8f2a9c40d7be\r\n\
        --b\r\nContent-Type: text/html\r\n\r\n<p>Your code\r\n--b--\r\n";
    api.deliver(&[address["address"].as_str().unwrap()], raw).await;
    let urls = address["urls"].as_object().unwrap();
    for (name, url) in urls {
        let method = if name == "claim" { "POST" } else { "GET" };
        let answer = with_token(&api, token, method, url.as_str().unwrap()).await;
        assert_eq!(answer.status, if name == "none" { 409 } else { 200 }, "{name}: {}", answer.text());
    }
    // All that a mailbox has below it, and all that the newest message has that is asked for most.
    let below = urls.values().map(|url| url.as_str().unwrap().split('?').next().unwrap().rsplit('/').next().unwrap());
    let below: HashSet<_> = below.collect();
    for (path, _) in ROUTES {
        if let Some(part) = path.strip_prefix("/emails/user/").filter(|part| !part.contains(['/', '-'])) {
            assert!(below.contains(part), "{path} is not in {below:?}");
        }
    }
    assert_eq!(urls.len(), 12, "{urls:?}");
    let text = async |name: &str| with_token(&api, token, "GET", urls[name].as_str().unwrap()).await.text().to_owned();
    assert_eq!(text("code").await, "482913\n");
    assert_eq!(text("link").await, "https://example.org/confirm?t=8f2a9c40d7be\n");
}

#[tokio::test]
async fn an_address_is_as_it_was_asked_for() {
    let api = Api::start().await;
    let body = json!({ "prefix": "SignUp", "domain": "tests.example.org", "label": "sign-up, run 7", "ttl": "30m" });
    let address = fresh(&api, body).await;
    let written = address["address"].as_str().unwrap();
    assert!(written.starts_with("signup-") && written.ends_with("@tests.example.org"), "{written}");
    assert_eq!((&address["domain"], &address["label"]), (&json!("tests.example.org"), &json!("sign-up, run 7")));
    assert_eq!(address["expires_at"], NOW.as_secs() + 30 * 60);
    assert_eq!(fresh(&api, json!({ "ttl": "24h", "prefix": null })).await["expires_at"], NOW.as_secs() + 24 * 60 * 60);
}

#[tokio::test]
async fn what_cannot_be_had_is_named_with_what_can() {
    let api = Api::start().await;
    for (body, part) in [
        (json!({ "prefix": "a b" }), "prefix is \"a b\"; it must be 1 to 40 letters"),
        (json!({ "domain": "exa mple" }), "domain is \"exa mple\"; it must be a domain name"),
        (json!({ "ttl": "25h" }), "ttl is \"25h\"; it must be a whole number with its unit"),
        (json!({ "ttl": "30" }), "at most the 86400 s"),
        (json!({ "label": "x".repeat(201) }), "label is longer than 200 bytes"),
    ] {
        let (error, detail) = ask(&api, &body.to_string()).await.problem(422);
        assert!(error == "bad address request" && detail.contains(part), "{body}: {detail}");
    }
}

#[tokio::test]
async fn a_body_is_json_with_known_members_and_small() {
    let api = Api::start().await;
    for (body, part) in [
        (r#"{"prefx": "a"}"#, "unknown field `prefx`, expected one of `prefix`, `domain`, `label`, `ttl`"),
        (r#"{"prefix": "a", "prefix": "b"}"#, "duplicate field `prefix`"),
        (r#"{"prefix": 7}"#, "expected a string"),
        (r#"{"prefix": "a"} {}"#, "trailing characters"),
        ("{", "EOF"),
        ("null", "must be a JSON object"),
        ("\"a\"", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        (r#" ["signup"]"#, "must be a JSON object"),
        (" ", "must be a JSON object"),
    ] {
        let (error, detail) = ask(&api, body).await.problem(400);
        assert!(error == "bad request body" && detail.contains(part), "{body}: {detail}");
    }
    for kind in ["application/x-www-form-urlencoded", "text/plain", ""] {
        let request = api.request("POST", "/addresses").header("X-API-KEY", KEY).body("{}");
        let request = if kind.is_empty() { request } else { request.header("Content-Type", kind) };
        let (error, detail) = Answer::of(request).await.problem(415);
        assert!(error == "unsupported media type" && detail.contains("application/json"), "{detail}");
    }
    let large = format!(r#"{{"label": "{}"}}"#, "x".repeat(5000));
    let (_, detail) = ask(&api, &large).await.problem(413);
    assert!(detail.contains("4096 bytes"), "{detail}");
    let request = api.request("POST", "/addresses").header("X-API-KEY", KEY);
    let request = request.header("Content-Type", "Application/JSON; charset=utf-8").body("{}");
    assert_eq!(Answer::of(request).await.status, 201);
}

#[tokio::test]
async fn a_body_that_never_ends_or_does_not_come_is_given_up() {
    let api = Api::with(Settings { request_timeout: Duration::from_millis(300), ..settings() }).await;
    let head = format!(
        "POST /addresses HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let endless = format!("{head}2000\r\n{}\r\n", "x".repeat(0x2000));
    let mut stream = api.connect(endless.as_bytes()).await;
    assert_eq!(read_until(&mut stream, b"\r\n").await, b"HTTP/1.1 413 Payload Too Large\r\n");
    let mut stream = api.connect(format!("{head}5\r\nhello\r\n").as_bytes()).await;
    assert_eq!(read_until(&mut stream, b"\r\n").await, b"HTTP/1.1 503 Service Unavailable\r\n");
}

#[tokio::test]
async fn a_token_opens_its_own_mailbox_and_no_other_route() {
    let api = Api::start().await;
    let [own, other] = [fresh(&api, json!({})).await, fresh(&api, json!({})).await];
    let mailbox = own["mailbox"].as_str().unwrap();
    for (path, methods) in ROUTES.iter().filter(|(path, _)| !OPEN.contains(path)) {
        for &method in *methods {
            let is_own = path.starts_with("/emails/user");
            let path = path.replace("/emails/user", &format!("/emails/{mailbox}"));
            let query = match path.rsplit('/').next() {
                Some("none") => "?for=1s",
                Some("release" | "done") => "?token=01a1f934-d9f6-709c-80fe-535e28ed69b3",
                Some("extend") => "?token=01a1f934-d9f6-709c-80fe-535e28ed69b3&lease=1s",
                _ => "",
            };
            let at = format!("{method} {path}{query}");
            let answer = with_token(&api, &own["token"], method, &format!("{path}{query}")).await;
            if is_own {
                assert!(![400, 401, 403].contains(&answer.status), "{at}: {}", answer.text());
            } else {
                assert_eq!(answer.status, 403, "{at}");
            }
            let answer = with_token(&api, &other["token"], method, &path).await;
            assert_eq!(answer.status, 403, "{at}");
            if method != "HEAD" {
                let (error, detail) = answer.problem(403);
                let theirs = other["mailbox"].as_str().unwrap();
                assert!(error == "token out of scope" && detail.contains(theirs), "{at}: {detail}");
            }
            let bearer = api.request(method, &path).bearer_auth(other["token"].as_str().unwrap());
            assert_eq!(Answer::of(bearer).await.status, 403, "{at}");
        }
    }
    // What is nowhere, and what is written otherwise, is no way around.
    for path in ["/emails/", "/emails/user/a/b/c", "/emails/%zz/events", "/emails/a%00b", "/emails/user%2F..%2Fx"] {
        let answer = with_token(&api, &own["token"], "GET", path).await;
        assert!([400, 403].contains(&answer.status), "{path}: {}", answer.text());
    }
    let upper = format!("/emails/{}@EXAMPLE.org", mailbox.to_uppercase());
    assert_eq!(with_token(&api, &own["token"], "GET", &upper).await.status, 200);
}

#[tokio::test]
async fn a_token_reads_and_deletes_what_is_its_own() {
    let api = Api::start().await;
    let [own, other] = [fresh(&api, json!({})).await, fresh(&api, json!({})).await];
    for address in [&own, &other] {
        deliver(&api, &address["address"]).await;
        deliver(&api, &address["address"]).await;
    }
    let list = |address: &Value| address["urls"]["emails"].as_str().unwrap().to_owned();
    let mails = with_token(&api, &own["token"], "GET", &list(&own)).await.json();
    let path = format!("{}/{}", list(&own), mails[0]["id"].as_str().unwrap());
    assert_eq!(with_token(&api, &own["token"], "DELETE", &path).await.status, 200);
    assert_eq!(with_token(&api, &own["token"], "DELETE", &list(&own)).await.status, 200);
    assert_eq!(api.get(&list(&own)).await.json(), json!([]));
    assert_eq!(api.get(&list(&other)).await.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_token_expires_and_that_is_no_wrong_key() {
    let api = Api::with(Settings { failed_keys_per_minute: 1, ..settings() }).await;
    let address = fresh(&api, json!({ "ttl": "10s" })).await;
    let path = address["urls"]["emails"].as_str().unwrap();
    api.clock.advance(Duration::from_secs(9));
    assert_eq!(with_token(&api, &address["token"], "GET", path).await.status, 200);
    api.clock.advance(Duration::from_secs(1));
    for path in [path, "/emails/other", "/events"] {
        for _ in 0..3 {
            assert_eq!(with_token(&api, &address["token"], "GET", path).await.problem(401).0, "token expired");
        }
    }
    // Nor is one that is used for something else.
    let address = fresh(&api, json!({})).await;
    for _ in 0..3 {
        with_token(&api, &address["token"], "GET", "/emails/other").await.problem(403);
    }
}

/// Signs a token for a mailbox as the server does: everybody can, with any key.
fn signed_with(key: &str, mailbox: &str) -> Value {
    use aws_lc_rs::{hmac, pbkdf2};
    let salt = b"restante: tokens of one mailbox, version 1";
    let (rounds, mut secret) = (100_000.try_into().unwrap(), [0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, &Sha256::digest(key), &mut secret);
    let said = [&[1][..], &4_000_000_000_u64.to_be_bytes(), mailbox.as_bytes()].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), &said);
    json!(format!("restante_{}", URL_SAFE_NO_PAD.encode([&said, tag.as_ref()].concat())))
}

#[tokio::test]
async fn who_signs_tokens_with_guessed_keys_is_not_listened_to_for_a_while() {
    let api = Api::with(Settings { failed_keys_per_minute: 2, ..settings() }).await;
    let address = fresh(&api, json!({})).await;
    let path = address["urls"]["emails"].as_str().unwrap();
    let ask = async |token: &Value| with_token(&api, token, "GET", path).await;
    let mailbox = address["mailbox"].as_str().unwrap();
    let right = signed_with(KEY, mailbox);
    assert_eq!(ask(&right).await.status, 200, "it is signed as the server does it");
    let with_key = async |key| Answer::of(api.request("GET", path).header("X-API-KEY", key)).await;
    let wrong = with_key("wrong").await;
    let guess = signed_with("guess", mailbox);
    for _ in 0..3 {
        // The same again is no new guess.
        let answer = ask(&guess).await;
        assert_eq!((answer.status, &answer.body), (401, &wrong.body));
    }
    ask(&signed_with("another guess", mailbox)).await.problem(401);
    for token in [&signed_with("a third guess", mailbox), &right, &address["token"]] {
        assert_eq!(
            ask(token).await.problem(429).0,
            "too many invalid API keys",
            "whoever guesses learns nothing by it"
        );
    }
    assert_eq!(with_key(KEY).await.status, 200, "keys are counted apart");
}

#[tokio::test]
async fn a_token_is_good_wherever_and_as_long_as_its_key_is() {
    let api = Api::start().await;
    let address = fresh(&api, json!({})).await;
    let path = address["urls"]["emails"].as_str().unwrap();
    let with_keys = async |keys: &[&str]| {
        let keys = keys.iter().map(|key| key.parse().unwrap()).collect();
        let other = Api::with(Settings { keys, ..settings() }).await;
        with_token(&other, &address["token"], "GET", path).await.status
    };
    assert_eq!(with_keys(&["new-key", KEY]).await, 200);
    assert_eq!(with_keys(&["new-key", "another-key"]).await, 401);
}

#[tokio::test]
async fn the_holders_of_tokens_share_the_places_of_their_key() {
    let api = Api::with(Settings { max_waiters_per_key: 1, ..settings() }).await;
    let address = fresh(&api, json!({})).await;
    let events = address["urls"]["events"].as_str().unwrap();
    let stream =
        api.request("GET", events).header("X-API-KEY", address["token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    api.get("/emails/nobody?wait=1s").await.problem(429);
    let another = api.request("GET", "/emails/nobody?wait=1s").header("X-API-KEY", "another-key");
    assert_eq!(Answer::of(another).await.status, 200);
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let api = Api::start().await;
    let address = fresh(&api, json!({ "ttl": "1s" })).await;
    let (events, token) = (address["urls"]["events"].as_str().unwrap(), address["token"].as_str().unwrap());
    let request =
        format!("GET {events} HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {token}\r\nConnection: close\r\n\r\n");
    let mut stream = api.connect(request.as_bytes()).await;
    assert!(rest(&mut stream).await.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn many_tests_side_by_side_never_meet() {
    let api = Api::start().await;
    let one = async |number: usize| {
        let address = fresh(&api, json!({ "prefix": "test" })).await;
        let latest = address["urls"]["latest"].as_str().unwrap();
        let waiting = with_token(&api, &address["token"], "GET", latest);
        let to = address["address"].as_str().unwrap();
        let recipients = [to];
        let sending = api.deliver(&recipients, format!("Subject: for {number}\r\n\r\n"));
        let (answer, ()) = tokio::join!(waiting, sending);
        assert_eq!(answer.json()["subject"], format!("for {number}"));
        to.to_owned()
    };
    let all = futures_util::future::join_all((0..50).map(one));
    let addresses = tokio::time::timeout(DEADLINE, all).await.unwrap();
    assert_eq!(addresses.into_iter().collect::<HashSet<_>>().len(), 50);
}
