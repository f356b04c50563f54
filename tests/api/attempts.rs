use std::time::Duration;

use restante::smtp::Reply;
use serde_json::{Value, json};

use super::support::{Answer, Api};

/// What the SMTP side says of a domain that is not ours.
fn denied() -> Option<Reply> {
    Some(Reply::new(550, (5, 7, 1), "relaying denied"))
}

/// The recipients of a list of attempts.
fn recipients(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|attempt| attempt["to"].as_str().unwrap_or("nobody")).collect()
}

#[tokio::test]
async fn a_mailbox_nobody_tried_has_no_attempts() {
    let api = Api::start().await;
    for path in ["/emails/nobody/attempts", "/attempts"] {
        assert_eq!(api.get(path).await.json(), json!([]), "{path}");
    }
}

#[tokio::test]
async fn an_attempt_says_who_tried_for_whom_and_what_it_was_told() {
    let api = Api::start().await;
    api.refuse(&["User@foreign.example"], denied());
    api.clock.advance(Duration::from_secs(60));
    api.refuse(&["user@example.com"], None);
    let peer = json!({ "ip": "192.0.2.7", "helo": "client.example", "tls": null });
    let expected = json!([
        {
            "attempted_at": 1_767_323_105, "from": "", "to": "user@example.com", "mailbox": "user", "peer": peer,
            "code": null, "reply": null,
        },
        {
            "attempted_at": 1_767_323_045, "from": "", "to": "User@foreign.example", "mailbox": "user", "peer": peer,
            "code": 550, "reply": "550 5.7.1 relaying denied",
        },
    ]);
    assert_eq!(api.get("/emails/user/attempts").await.json(), expected);
    assert_eq!(api.get("/emails/USER@foreign.example/attempts").await.json(), expected);
    assert_eq!(api.get("/emails/user").await.json(), json!([]));
}

#[tokio::test]
async fn a_reader_of_one_mailbox_sees_the_attempts_at_no_other() {
    let api = Api::start().await;
    api.refuse(&["first@example.com", "second@example.com"], denied());
    for (mailbox, other) in [("first", "second"), ("second", "first")] {
        let answer = api.get(&format!("/emails/{mailbox}/attempts")).await;
        assert_eq!(recipients(&answer.json()), [format!("{mailbox}@example.com")]);
        assert!(!answer.text().contains(other), "{}", answer.text());
    }
    assert_eq!(recipients(&api.get("/attempts").await.json()), ["second@example.com", "first@example.com"]);
}

#[tokio::test]
async fn a_sender_that_was_refused_is_in_the_list_of_all() {
    let api = Api::start().await;
    api.refuse(&[], denied());
    let all = api.get("/attempts").await.json();
    assert_eq!(recipients(&all), ["nobody"]);
    assert_eq!((&all[0]["mailbox"], &all[0]["code"]), (&Value::Null, &json!(550)));
}

#[tokio::test]
async fn a_sender_that_is_no_address_is_shown_as_it_was_written() {
    let api = Api::start().await;
    api.refuse_sender("www-data", &["user@example.com"], denied());
    let at_mailbox = api.get("/emails/user/attempts").await.json();
    assert_eq!(at_mailbox[0]["from"], "www-data");
    assert_eq!(at_mailbox, api.get("/attempts").await.json());
}

#[tokio::test]
async fn a_list_of_attempts_has_fifty_unless_told_otherwise() {
    let api = Api::start().await;
    for number in 0..70 {
        api.refuse(&[&format!("user@d{number}.example")], denied());
    }
    for path in ["/emails/user/attempts", "/attempts"] {
        let newest = recipients(&api.get(path).await.json()).len();
        assert_eq!(newest, 50, "{path}");
        assert_eq!(recipients(&api.get(&format!("{path}?limit=1")).await.json()), ["user@d69.example"]);
        assert_eq!(recipients(&api.get(&format!("{path}?limit=200")).await.json()).len(), 70);
        for query in ["limit=0", "limit=201", "limit=x"] {
            assert_eq!(api.get(&format!("{path}?{query}")).await.problem(400).0, "bad query parameter");
        }
        assert_eq!(api.get(&format!("{path}?before=1")).await.problem(400).0, "unknown query parameter");
    }
}

#[tokio::test]
async fn an_attempt_is_shown_as_long_as_mail_is() {
    let api = Api::start().await;
    api.refuse(&["user@example.com"], denied());
    api.clock.advance(Duration::from_secs(86_400) - Duration::from_millis(1));
    assert_eq!(recipients(&api.get("/emails/user/attempts").await.json()).len(), 1);
    api.clock.advance(Duration::from_millis(1));
    for path in ["/emails/user/attempts", "/attempts"] {
        assert_eq!(api.get(path).await.json(), json!([]), "{path}");
    }
}

#[tokio::test]
async fn clearing_a_mailbox_clears_its_attempts_and_no_others() {
    let api = Api::start().await;
    api.refuse(&["user@example.com", "other@example.com"], denied());
    api.ask("DELETE", "/emails/user").await.json();
    assert_eq!(api.get("/emails/user/attempts").await.json(), json!([]));
    assert_eq!(recipients(&api.get("/attempts").await.json()), ["other@example.com"]);
}

#[tokio::test]
async fn attempts_are_neither_a_message_nor_hidden_by_a_mailbox() {
    let api = Api::start().await;
    api.deliver(&["attempts@example.com"], "Subject: Mine\r\n\r\n").await;
    api.refuse(&["attempts@foreign.example"], denied());
    assert_eq!(api.get("/emails/attempts").await.json()[0]["subject"], "Mine");
    assert_eq!(recipients(&api.get("/emails/attempts/attempts").await.json()), ["attempts@foreign.example"]);
    assert_eq!(api.ask("DELETE", "/emails/attempts/attempts").await.problem(405).0, "method not allowed");
}

#[tokio::test]
async fn attempts_are_for_those_who_have_a_key() {
    let api = Api::start().await;
    api.refuse(&["user@example.com"], denied());
    for path in ["/emails/user/attempts", "/attempts"] {
        let answer = Answer::of(api.request("GET", path)).await;
        assert_eq!(answer.problem(401).0, "invalid API key");
        assert!(!answer.text().contains("example.com"), "{}", answer.text());
    }
}
