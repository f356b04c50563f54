//! Filters, waiting, and the newest message.

use std::time::Duration;

use restante::http::Settings;
use restante::smtp::Reply;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::support::{Answer, Api, KEY, read_until, settings};

pub(super) async fn deliver(api: &Api, subject: &str, body: &str) {
    api.deliver(
        &["user@example.com"],
        format!("From: Shop <shop@example.org>\r\nSubject: {subject}\r\n\r\n{body}\r\n"),
    )
    .await;
}

fn subjects(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|message| message["subject"].as_str().unwrap()).collect()
}

/// An API that holds one request at a time, so that a second one tells whether there is a first.
pub(super) async fn with_one_place() -> Api {
    Api::with(Settings { max_waiters: 1, ..settings() }).await
}

/// Returns once a request is being held.
pub(super) async fn somebody_waits(api: &Api) {
    while api.get("/emails/nobody?wait=1s").await.status != 429 {}
}

#[tokio::test]
async fn a_list_shows_what_matches() {
    let api = Api::start().await;
    for (subject, body) in [("Verify one", "code 1"), ("Reset", "code 2"), ("Verify two", "code 3")] {
        deliver(&api, subject, body).await;
    }
    for (query, expected) in [
        ("subject=verify", vec!["Verify two", "Verify one"]),
        ("q=subject:verify+-two", vec!["Verify one"]),
        ("q=%22code+2%22", vec!["Reset"]),
        ("from=shop&to=user@example.com&subject=reset", vec!["Reset"]),
        ("q=re:/code+[12]/&limit=1", vec!["Reset"]),
        ("q=header:subject=two", vec!["Verify two"]),
        ("q=nothing", vec![]),
    ] {
        assert_eq!(subjects(&api.get(&format!("/emails/user?{query}")).await.json()), expected, "{query}");
    }
    let page = api.get("/emails/user?subject=verify&limit=1").await;
    let next = page.header("link").split(['<', '>']).nth(1).unwrap();
    assert!(next.contains("subject=verify"), "{next}");
    let rest = api.get(next).await;
    assert_eq!((subjects(&rest.json()), rest.header("link")), (vec!["Verify one"], ""));
    // Whatever a client sends, it is written as a URL is.
    let mut stream = api
        .connect(
            format!("GET /emails/user?limit=1&q=-\u{e9}{{|^}}+verify HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\n\r\n")
                .as_bytes(),
        )
        .await;
    let head = String::from_utf8(read_until(&mut stream, b"\r\n\r\n").await).unwrap();
    assert!(head.contains("&q=-%C3%A9%7B%7C%5E%7D%20verify>; rel=\"next\""), "{head}");
}

#[tokio::test]
async fn a_filter_deletes_what_matches_and_nothing_else() {
    let api = Api::start().await;
    for subject in ["Verify one", "Reset", "Verify two"] {
        deliver(&api, subject, "text").await;
    }
    let answer = api.ask("DELETE", "/emails/user?subject=verify").await.json();
    assert_eq!(answer["deleted"], 2);
    assert_eq!(subjects(&api.get("/emails/user").await.json()), ["Reset"]);
    api.ask("DELETE", "/emails/user?q=").await.problem(400);
    assert_eq!(subjects(&api.get("/emails/user").await.json()), ["Reset"]);
    let all = api.ask("DELETE", "/emails/user").await.json();
    assert_eq!(all, json!({ "message": "All messages for user have been cleared" }));
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_told_before_anything_is_waited_for() {
    let api = Api::start().await;
    for (path, part) in [
        ("?q=subjct:x&wait=60s", "q, column 1: \"subjct\" is no field"),
        ("?q=a+%22b", "q, column 3: there is no \""),
        ("?subject=", "subject: write the text"),
        ("?q=", "q is empty"),
        ("?q=+", "q is empty"),
        ("?wait=61s", "wait is \"61s\"; it must be a whole number with its unit, from 1s to 60s"),
        ("?wait=30", "wait is \"30\""),
        ("?wait=60s&count=0", "count is \"0\"; it must be a whole number from 1 to 50"),
        ("?count=2", "give wait too"),
        ("/latest?wiat=60s", "\"wiat\" is not known; after, from, to, subject, q, wait"),
        ("/latest/text?q=(&wait=60s", "q, column 1: there is no ) for this ("),
        ("/latest?limit=1", "\"limit\" is not known"),
        ("/latest/html?viwe=1&wait=60s", "\"viwe\" is not known; inline, view, remote, after"),
        ("/latest/text?view=1&wait=60s", "\"view\" is not known"),
        ("?to=a+b@example.com", "to is \"a b@example.com\", and no address has a blank; write %2B"),
        ("/latest?from=a%20b@example.com", "write %2B"),
        ("/none", "for is missing; write for=5s"),
        ("/none?for=2m", "for is \"2m\""),
        ("/none?wait=5s", "\"wait\" is not known"),
    ] {
        let (_, detail) = api.get(&format!("/emails/user{path}")).await.problem(400);
        assert!(detail.contains(part), "{path}: {detail}");
    }
}

#[tokio::test]
async fn a_request_is_held_until_the_mail_is_there() {
    let api = with_one_place().await;
    let waiting = api.get("/emails/user?wait=60s&count=2&subject=verify");
    let sending = async {
        somebody_waits(&api).await;
        for subject in ["Verify one", "Reset", "Verify two"] {
            deliver(&api, subject, "text").await;
        }
    };
    let (answer, ()) = tokio::join!(waiting, sending);
    assert_eq!(subjects(&answer.json()), ["Verify two", "Verify one"]);
}

#[tokio::test]
async fn a_list_that_was_waited_for_in_vain_is_what_there_is() {
    let api = Api::start().await;
    deliver(&api, "Verify", "text").await;
    let answer = api.get("/emails/user?wait=1s&count=2").await;
    assert_eq!(subjects(&answer.json()), ["Verify"]);
}

#[tokio::test]
async fn the_newest_message_is_had_whole_and_in_parts() {
    let api = Api::start().await;
    deliver(&api, "Verify", "old").await;
    deliver(&api, "Verify", "new").await;
    deliver(&api, "Reset", "other").await;
    let latest = api.get("/emails/user/latest?subject=verify").await.json();
    assert_eq!((&latest["body_text"], latest["headers"].as_array().unwrap().len()), (&json!("new\r\n"), 2));
    assert_eq!(api.get("/emails/user/latest/text?subject=verify").await.text(), "new\r\n");
    assert_eq!(api.get("/emails/user/latest/text").await.text(), "other\r\n");
    assert!(api.get("/emails/user/latest/raw").await.text().ends_with("\r\n\r\nother\r\n"));
    assert_eq!(api.get("/emails/user/latest/headers").await.json()[1]["value"], "Reset");
    api.get("/emails/user/latest/html?view=1&subject=reset").await.problem(404);
    api.get("/emails/user/latest/attachments/0").await.problem(404);
    // What deletes has to name what it means.
    api.ask("DELETE", "/emails/user/latest").await.problem(405);
    let after = api.get("/emails/user").await.json()[0]["seq"].as_u64().unwrap();
    api.get(&format!("/emails/user/latest?after={after}")).await.problem(404);
}

#[tokio::test]
async fn the_code_and_the_link_of_the_newest_message_are_a_line_each() {
    let api = Api::start().await;
    deliver(&api, "Sign in", "Your verification code is 482 913.\r\nOr confirm: https://example.org/confirm?t=1").await;
    deliver(&api, "News", "Nothing to do.").await;
    assert_eq!(api.get("/emails/user/latest/code?subject=sign").await.text(), "482913\n");
    assert_eq!(api.get("/emails/user/latest/code?q=has:code").await.text(), "482913\n");
    assert_eq!(api.get("/emails/user/latest/link?q=code:482913").await.text(), "https://example.org/confirm?t=1\n");
    // What has none is not the one that is meant.
    assert_eq!(api.get("/emails/user/latest/code").await.text(), "482913\n");
    assert_eq!(api.get("/emails/user/latest/link").await.text(), "https://example.org/confirm?t=1\n");
    assert_eq!(api.get("/emails/user/latest/text").await.text(), "Nothing to do.\r\n");
}

#[tokio::test]
async fn the_code_and_the_link_are_waited_for_whatever_else_comes() {
    let api = with_one_place().await;
    deliver(&api, "Welcome", "Nothing to do.").await;
    for (part, body, line) in [
        ("code", "Your verification code is 482 913.", "482913\n"),
        ("link", "Please confirm: https://example.org/confirm?t=1", "https://example.org/confirm?t=1\n"),
    ] {
        let path = format!("/emails/user/latest/{part}?wait=60s&subject=sign");
        let sending = async {
            somebody_waits(&api).await;
            deliver(&api, "Sign up", "Nothing to do.").await;
            deliver(&api, "Sign in", body).await;
        };
        let (answer, ()) = tokio::join!(api.get(&path), sending);
        assert_eq!((answer.status, answer.text()), (200, line));
        api.ask("DELETE", "/emails/user").await.json();
    }
}

#[tokio::test]
async fn who_gets_no_code_or_link_is_told_what_came_without() {
    let api = Api::start().await;
    deliver(&api, "Welcome", "Nothing to do.").await;
    for (part, which, miss) in [
        ("code", "a code", "has:code: no code was found in it"),
        ("link", "a link to act on", "has:link: no link to act on was found in it"),
    ] {
        let answer = api.get(&format!("/emails/user/latest/{part}?wait=1s")).await;
        let (error, detail) = answer.problem(404);
        assert_eq!(error, format!("{part} not found"));
        assert!(detail.contains(&format!("no message with {which} in mailbox user; waited for 1 s")), "{detail}");
        assert_eq!(answer.member("arrived")[0]["misses"], json!([miss]));
        let other = api.get(&format!("/emails/user/latest/{part}?subject=sign")).await;
        assert!(other.problem(404).1.contains(&format!("no message with {which} that matches in mailbox user")));
        assert_eq!(other.member("arrived")[0]["misses"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn the_newest_message_is_waited_for() {
    let api = with_one_place().await;
    deliver(&api, "Verify", "old").await;
    let seq = api.get("/emails/user").await.json()[0]["seq"].as_u64().unwrap();
    let path = format!("/emails/user/latest/text?subject=verify&wait=60s&after={seq}");
    let sending = async {
        somebody_waits(&api).await;
        deliver(&api, "Reset", "no").await;
        deliver(&api, "Verify", "new").await;
    };
    let (answer, ()) = tokio::join!(api.get(&path), sending);
    assert_eq!(answer.text(), "new\r\n");
}

#[tokio::test]
async fn who_finds_nothing_is_told_what_came_instead() {
    let api = Api::start().await;
    deliver(&api, "Reset your password", "text").await;
    let answer = api.get("/emails/user/latest?subject=Verify&wait=1s").await;
    let (error, detail) = answer.problem(404);
    assert_eq!(error, "message not found");
    assert!(detail.contains("no message that matches in mailbox user; waited for 1 s"), "{detail}");
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    let arrived = problem["arrived"].as_array().unwrap();
    assert_eq!((arrived.len(), &arrived[0]["subject"]), (1, &json!("Reset your password")));
    assert_eq!(arrived[0]["misses"], json!([r#"subject: wanted "Verify", got "Reset your password""#]));
    assert_eq!(problem["attempts"], json!([]));
}

#[tokio::test]
async fn who_finds_nothing_is_told_what_was_refused() {
    let api = Api::start().await;
    api.refuse(&["user@example.com"], Some(Reply::new(550, (5, 7, 1), "relaying denied")));
    let answer = api.get("/emails/user/latest").await;
    answer.problem(404);
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["attempts"][0]["to"], "user@example.com");
    assert!(problem["attempts"][0]["reply"].as_str().unwrap().starts_with("550 5.7.1"), "{problem}");
    assert_eq!(problem["arrived"], json!([]));
}

#[tokio::test]
async fn nothing_is_expected_until_something_comes() {
    let api = with_one_place().await;
    deliver(&api, "Welcome", "text").await;
    let nothing = api.get("/emails/user/none?for=1s&subject=verify").await;
    assert_eq!((nothing.status, nothing.text()), (204, ""));

    let sending = async {
        somebody_waits(&api).await;
        deliver(&api, "Verify", "text").await;
    };
    let (answer, ()) = tokio::join!(api.get("/emails/user/none?for=60s&subject=verify"), sending);
    assert_eq!(answer.problem(409).0, "message found");
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["message"]["subject"], "Verify");
    // What is there already is not nothing, unless it is left out.
    api.get("/emails/user/none?for=60s").await.problem(409);
    let seq = problem["message"]["seq"].as_u64().unwrap();
    assert_eq!(api.get(&format!("/emails/user/none?for=1s&after={seq}")).await.status, 204);
}

#[tokio::test]
async fn one_key_does_not_take_all_places() {
    let api = Api::with(Settings { max_waiters: 2, max_waiters_per_key: 1, ..settings() }).await;
    let waiting = api.get("/emails/user?wait=60s");
    let others = async {
        let refused = loop {
            let answer = api.get("/emails/nobody?wait=1s").await;
            if answer.status == 429 {
                break answer;
            }
        };
        assert_eq!(refused.problem(429).0, "too many waiting requests");
        assert_eq!(refused.header("retry-after"), "1");
        let another = api.request("GET", "/emails/nobody?wait=1s").header("X-API-KEY", "another-key");
        assert_eq!(Answer::of(another).await.status, 200);
        // Who does not ask to be held needs no place.
        assert_eq!(api.get("/emails/nobody").await.status, 200);
        deliver(&api, "Verify", "text").await;
    };
    let (answer, ()) = tokio::join!(waiting, others);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn who_goes_away_gives_the_place_back() {
    let api = with_one_place().await;
    let request = format!("GET /emails/user/latest?wait=60s HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\n\r\n");
    let waiting: TcpStream = api.connect(request.as_bytes()).await;
    somebody_waits(&api).await;
    drop(waiting);
    while api.get("/emails/nobody?wait=1s").await.status != 200 {}
}

#[tokio::test]
async fn a_stop_ends_what_is_held_at_once() {
    let api = with_one_place().await;
    let stopping = async {
        somebody_waits(&api).await;
        api.tasks.request();
    };
    let (answer, ()) = tokio::join!(api.get("/emails/user/latest?wait=60s"), stopping);
    assert_eq!(answer.problem(503).0, "service unavailable");
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(api.tasks.stop(Duration::from_secs(10)).await, 0);
}

#[tokio::test]
async fn a_connection_with_a_held_request_is_not_idle() {
    let short = Duration::from_millis(100);
    let api = Api::with(Settings { request_timeout: short, idle_timeout: short, ..settings() }).await;
    assert_eq!(api.get("/emails/user?wait=1s").await.json(), json!([]));
}

#[tokio::test]
async fn the_time_of_a_request_begins_when_it_is_not_held_any_more() {
    let api = Api::with(Settings { request_timeout: Duration::from_millis(500), ..settings() }).await;
    assert_eq!(api.get("/emails/user?wait=1s").await.json(), json!([]));
}
