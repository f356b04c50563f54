//! Mail as a queue: each message to one worker at a time.

use std::collections::HashSet;
use std::time::Duration;

use restante::mail::Content;
use serde_json::{Value, json};

use super::support::{Answer, Api, DEADLINE, KEY, message, read_until};
use super::wait::{deliver, somebody_waits, with_one_place};

/// Claims a message; there has to be one.
async fn claim(api: &Api, query: &str) -> Value {
    api.ask("POST", &format!("/emails/user/claim{query}")).await.json()
}

fn url<'a>(claimed: &'a Value, step: &str) -> &'a str {
    claimed["claim"]["urls"][step].as_str().unwrap()
}

#[tokio::test]
async fn a_claimed_message_is_shown_with_its_lease_and_nobody_else_gets_it() {
    let api = Api::start().await;
    deliver(&api, "first", "text").await;
    deliver(&api, "second", "text").await;
    let listed = api.get("/emails/user").await.json();
    for (place, lease, secs) in [(1, "", 60), (0, "?lease=5m", 300)] {
        let mut claimed = claim(&api, lease).await;
        let claim = claimed.as_object_mut().unwrap().remove("claim").unwrap();
        assert_eq!(claimed, listed[place], "the oldest first, as in a list");
        assert_eq!(claim["expires_at"], api.clock.now().as_secs() + secs);
        let (id, token) = (claimed["id"].as_str().unwrap(), claim["token"].as_str().unwrap());
        let url = |step| format!("/emails/user/{id}/{step}?token={token}");
        assert_eq!(claim["urls"], json!({ "release": url("release"), "done": url("done"), "extend": url("extend") }));
    }
    assert_eq!(api.ask("POST", "/emails/user/claim").await.problem(404).0, "message not found");
    assert_eq!(api.get("/emails/user").await.json(), listed, "a list does not speak of leases");
}

#[tokio::test]
async fn eight_workers_share_two_hundred_messages_and_none_is_done_twice() {
    let api = Api::start().await;
    for number in 0..200 {
        deliver(&api, &format!("job {number}"), "text").await;
    }
    let (done, mut all_done) = tokio::sync::mpsc::unbounded_channel();
    let worker = async || {
        loop {
            let answer = api.ask("POST", "/emails/user/claim?subject=job").await;
            if answer.status == 404 {
                return answer.member("leased");
            }
            let claimed = answer.json();
            done.send(claimed["id"].as_str().unwrap().to_owned()).unwrap();
            api.ask("POST", url(&claimed, "done")).await.json();
        }
    };
    tokio::join!(worker(), worker(), worker(), worker(), worker(), worker(), worker(), worker());
    drop(done);
    let mut ids = Vec::new();
    while let Some(id) = all_done.recv().await {
        ids.push(id);
    }
    assert_eq!(ids.len(), 200);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 200);
    let nothing = api.ask("POST", "/emails/user/claim").await;
    assert_eq!((nothing.member("done"), nothing.member("leased")["count"].clone()), (json!(200), json!(0)));
}

#[tokio::test]
async fn the_message_of_a_worker_that_has_gone_comes_back_and_its_token_is_worth_nothing() {
    let api = Api::start().await;
    deliver(&api, "job", "text").await;
    let first = claim(&api, "?lease=30s").await;
    api.clock.advance(Duration::from_secs(30));
    let second = claim(&api, "").await;
    assert_eq!(first["id"], second["id"]);
    for step in ["release", "extend", "done"] {
        let (error, detail) = api.ask("POST", url(&first, step)).await.problem(409);
        assert_eq!(error, "lease not held");
        assert!(detail.contains(first["id"].as_str().unwrap()), "{detail}");
    }
    api.ask("POST", url(&second, "done")).await.json();
}

#[tokio::test]
async fn a_lease_is_extended_given_back_or_done_with() {
    let api = Api::start().await;
    deliver(&api, "job", "text").await;
    let id = api.get("/emails/user/latest").await.json()["id"].as_str().unwrap().to_owned();
    let claimed = claim(&api, "?lease=10s").await;
    api.clock.advance(Duration::from_secs(9));
    let extended = api.ask("POST", &format!("{}&lease=20s", url(&claimed, "extend"))).await.json();
    assert_eq!(extended["message"], format!("Message {id} is leased for longer"));
    assert_eq!(extended["claim"]["expires_at"], api.clock.now().as_secs() + 20);
    assert_eq!(extended["claim"]["urls"], claimed["claim"]["urls"]);
    api.clock.advance(Duration::from_secs(19));
    let released = api.ask("POST", url(&claimed, "release")).await.json();
    assert_eq!(released, json!({ "message": format!("Message {id} has been released") }));

    let claimed = claim(&api, "").await;
    for _ in 0..2 {
        let done = api.ask("POST", url(&claimed, "done")).await.json();
        assert_eq!(done, json!({ "message": format!("Message {id} is done") }), "an answer may be lost on its way");
    }
    api.clock.advance(Duration::from_secs(7200));
    api.ask("POST", "/emails/user/claim").await.problem(404);
    assert_eq!(api.get(&format!("/emails/user/{id}/text")).await.text(), "text\r\n", "it stays to be read");
}

#[tokio::test]
async fn what_is_wrong_with_a_step_is_said() {
    let api = Api::start().await;
    deliver(&api, "job", "text").await;
    let claimed = claim(&api, "").await;
    let (id, done) = (claimed["id"].as_str().unwrap(), url(&claimed, "done"));
    let other = "0123456789abcdef0123456789abcdef";
    for (path, status, part) in [
        (format!("/emails/user/{id}/done"), 400, "token is missing"),
        (format!("/emails/user/{id}/release?token="), 400, "token is \"\""),
        (format!("/emails/user/{id}/extend?token=x"), 400, "token is \"x\""),
        (format!("{done}&lease=60s"), 400, "\"lease\" is not known; token is allowed"),
        (format!("{}&lease=61m", url(&claimed, "extend")), 400, "lease is \"61m\""),
        (format!("/emails/user/{id}/done?token={other}"), 409, "not that of a lease"),
        (done.replace("/user/", "/other/"), 404, "no message"),
        (format!("/emails/user/latest/done?token={other}"), 404, "not a message id"),
        ("/emails/user/claim?lease=0s".to_owned(), 400, "from 1s to 3600s"),
        ("/emails/user/claim?lease=2h".to_owned(), 400, "from 1s to 3600s"),
        ("/emails/user/claim?wait=61s".to_owned(), 400, "from 1s to 60s"),
        ("/emails/user/claim?limit=1".to_owned(), 400, "\"limit\" is not known"),
        ("/emails/user/claim?q=".to_owned(), 400, "q is empty"),
    ] {
        let (_, detail) = api.ask("POST", &path).await.problem(status);
        assert!(detail.contains(part), "{path}: {detail}");
    }
    for path in [done, "/emails/user/claim"] {
        assert_eq!(api.get(path).await.header("allow"), "POST", "reading changes nothing");
    }
    assert_eq!(
        api.ask("DELETE", &format!("/emails/user/{id}")).await.status,
        200,
        "a lease keeps nobody from deleting"
    );
    assert_eq!(api.ask("POST", done).await.problem(410).0, "message gone");
}

#[tokio::test]
async fn only_what_matches_is_claimed() {
    let api = Api::start().await;
    for subject in ["Verify one", "Reset", "Verify two"] {
        deliver(&api, subject, "text").await;
    }
    let after = api.get("/emails/user").await.json()[2]["seq"].as_u64().unwrap();
    assert_eq!(claim(&api, &format!("?after={after}&subject=verify")).await["subject"], "Verify two");
    assert_eq!(claim(&api, "?q=subject:reset").await["subject"], "Reset");
    assert_eq!(claim(&api, "?subject=verify&from=shop&to=user").await["subject"], "Verify one");
}

#[tokio::test]
async fn who_gets_nothing_learns_what_others_have() {
    let api = Api::start().await;
    for subject in ["Verify one", "Verify two", "Verify three", "Reset"] {
        deliver(&api, subject, "text").await;
    }
    claim(&api, "?subject=verify&lease=90s").await;
    claim(&api, "?subject=verify&lease=30s").await;
    let third = claim(&api, "?subject=verify&lease=10s").await;
    api.ask("POST", url(&third, "done")).await.json();
    claim(&api, "?subject=reset&lease=1s").await;
    let now = api.clock.now().as_secs();
    for (query, count, next, done) in [
        ("?subject=verify", 2, json!(now + 30), 1),
        ("", 3, json!(now + 1), 1),
        ("?subject=nothing", 0, Value::Null, 0),
        ("?after=9999", 0, Value::Null, 0),
    ] {
        let answer = api.ask("POST", &format!("/emails/user/claim{query}")).await;
        let (_, detail) = answer.problem(404);
        assert!(detail.contains("to be claimed in mailbox user"), "{detail}");
        assert_eq!(answer.member("leased"), json!({ "count": count, "next_free_at": next }), "{query}");
        assert_eq!(answer.member("done"), done, "{query}");
        assert!(answer.member("attempts").is_array());
    }
    let answer = api.ask("POST", "/emails/user/claim?subject=nothing").await;
    assert!(answer.member("arrived")[0]["misses"][0].as_str().unwrap().contains("nothing"), "{}", answer.text());
}

#[tokio::test]
async fn who_waits_gets_the_mail_that_comes_and_the_one_that_is_given_back() {
    let api = with_one_place().await;
    let sending = async {
        somebody_waits(&api).await;
        deliver(&api, "Reset", "text").await;
        deliver(&api, "Verify", "text").await;
    };
    let (claimed, ()) = tokio::join!(claim(&api, "?wait=60s&subject=verify"), sending);
    assert_eq!(claimed["subject"], "Verify");
    let releasing = async {
        somebody_waits(&api).await;
        api.ask("POST", url(&claimed, "release")).await.json();
    };
    let (again, ()) = tokio::join!(claim(&api, "?wait=60s&subject=verify"), releasing);
    assert_eq!(again["id"], claimed["id"]);
    assert_ne!(again["claim"]["token"], claimed["claim"]["token"]);
}

#[tokio::test]
async fn who_waits_gets_the_message_whose_lease_ends() {
    let api = with_one_place().await;
    deliver(&api, "job", "text").await;
    let claimed = claim(&api, "?lease=1s").await;
    let passing = async {
        somebody_waits(&api).await;
        api.clock.advance(Duration::from_secs(1));
    };
    let (again, ()) = tokio::join!(claim(&api, "?wait=60s"), passing);
    assert_eq!(again["id"], claimed["id"]);
}

#[tokio::test]
async fn a_claim_that_is_held_ends_with_its_time_and_with_the_server() {
    let api = with_one_place().await;
    let (_, detail) = api.ask("POST", "/emails/user/claim?wait=1s").await.problem(404);
    assert!(detail.contains("waited for 1 s"), "{detail}");
    let stopping = async {
        somebody_waits(&api).await;
        api.tasks.request();
    };
    let (answer, ()) = tokio::join!(api.ask("POST", "/emails/user/claim?wait=60s"), stopping);
    assert_eq!(answer.problem(503).0, "service unavailable");
    assert_eq!(api.tasks.stop(DEADLINE).await, 0);
}

#[tokio::test]
async fn who_goes_away_while_waiting_takes_no_message_along() {
    let api = with_one_place().await;
    let request = format!("POST /emails/user/claim?wait=60s HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\n\r\n");
    let waiting = api.connect(request.as_bytes()).await;
    somebody_waits(&api).await;
    drop(waiting);
    while api.get("/emails/nobody?wait=1s").await.status != 200 {}
    deliver(&api, "job", "text").await;
    claim(&api, "").await;
}

#[tokio::test]
async fn who_goes_away_before_the_answer_is_whole_gives_the_message_back() {
    let api = Api::start().await;
    // Far more than the buffers of a connection hold.
    let content = Content { text: Some("x".repeat(32 << 20)), ..Content::default() };
    api.keep(&["user@example.com"], message(&api.clock, content), "").await;
    let request = format!("POST /emails/user/claim?lease=1h HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\n\r\n");
    let mut going = api.connect(request.as_bytes()).await;
    let head = read_until(&mut going, b"\r\n\r\n").await;
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert_eq!(api.ask("POST", "/emails/user/claim").await.member("leased")["count"], 1);
    drop(going);
    let claimed = claim(&api, "?wait=60s&lease=1h").await;
    assert_eq!(claimed["body_text"].as_str().unwrap().len(), 32 << 20);
    api.ask("POST", url(&claimed, "done")).await.json();
}

#[tokio::test]
async fn a_page_that_the_operator_has_not_named_cannot_claim() {
    let api = Api::start().await;
    deliver(&api, "job", "text").await;
    let request = api.request("POST", "/emails/user/claim").header("X-API-KEY", KEY);
    Answer::of(request.header("Origin", "https://evil.example")).await.problem(403);
    claim(&api, "").await;
}

#[tokio::test]
async fn the_token_of_a_mailbox_claims_there_and_nowhere_else() {
    let api = Api::start().await;
    let fresh = Answer::of(api.request("POST", "/addresses").header("X-API-KEY", KEY)).await;
    let (token, mailbox) = (fresh.member("token"), fresh.member("mailbox"));
    let (token, mailbox) = (token.as_str().unwrap(), mailbox.as_str().unwrap());
    api.deliver(&[&format!("{mailbox}@example.com"), "user@example.com"], "Subject: job\r\n\r\ntext\r\n").await;
    let with_token = async |path: &str| Answer::of(api.request("POST", path).header("X-API-KEY", token)).await;
    let claimed = with_token(&format!("/emails/{mailbox}/claim")).await.json();
    assert_eq!(with_token(url(&claimed, "done")).await.status, 200);
    assert_eq!(with_token("/emails/user/claim").await.status, 403);
    assert_eq!(with_token(url(&claim(&api, "").await, "done")).await.status, 403);
}
