use std::time::Duration;

use restante::mail::{
    Body, Code, CodeSource, Content, Disposition, HeaderAddress, Link, LinkKind, MailParameters, Ret, TlsInfo,
};
use serde_json::{Value, json};

use super::support::{Api, MAILBOX_MAX_MESSAGES, NOW, attachment, message};

fn person(name: Option<&str>, address: &str) -> HeaderAddress {
    HeaderAddress { name: name.map(str::to_owned), address: Some(address.to_owned()) }
}

fn code() -> Code {
    let context = "Your code is 482913.".to_owned();
    Code { value: "482913".to_owned(), score: 90, source: CodeSource::Html, context }
}

fn link() -> Link {
    let href = "https://example.com/confirm?t=1".to_owned();
    Link { href, text: "Confirm".to_owned(), kind: LinkKind::Action, score: 85 }
}

/// Two that lead to the same mailbox.
fn recipients() -> Value {
    json!([
        { "address": "UserName@example.com", "notify": ["SUCCESS", "DELAY"], "orcpt": "rfc822;user+tag@example.org" },
        { "address": "username@example.net", "notify": null, "orcpt": null },
    ])
}

#[tokio::test]
async fn a_message_has_exactly_the_keys_of_the_contract() {
    let api = Api::start().await;
    let mut file = attachment(0, Some("file.pdf"), "application/pdf", 0, 4);
    file.content_id = Some("cid@example.com".to_owned());
    file.disposition = Disposition::Inline;
    file.subject = Some("Attached".to_owned());
    let mut kept = message(
        &api.clock,
        Content {
            subject: Some("Test Email".to_owned()),
            message_id: Some("1@example.com".to_owned()),
            date: Some("2026-01-02T03:04:05Z".to_owned()),
            from: Some(person(Some("Ann"), "ann@example.com")),
            to: vec![person(None, "list@example.com")],
            cc: vec![person(None, "cc@example.com")],
            reply_to: vec![person(None, "reply@example.com")],
            in_reply_to: vec!["0@example.com".to_owned()],
            references: vec!["0@example.com".to_owned()],
            list_unsubscribe: vec!["https://example.com/out".to_owned()],
            text: Some("Plain text content".to_owned()),
            html: Some("<p>HTML content</p>".to_owned()),
            attachments: vec![file, attachment(1, None, "image/png", 4, 5)],
            codes: vec![code()],
            links: vec![link()],
            problems: vec!["a problem".to_owned()],
        },
    );
    kept.size = 1834;
    kept.peer.tls = Some(TlsInfo { version: "TLSv1.3".to_owned(), cipher: "TLS_AES_256_GCM_SHA384".to_owned() });
    kept.parameters = MailParameters {
        size: Some(1800),
        body: Some(Body::EightBitMime),
        smtputf8: false,
        ret: Some(Ret::Hdrs),
        envid: Some("QQ+2B1".to_owned()),
    };
    let id = kept.id.to_string();
    let to = "UserName@example.com NOTIFY=SUCCESS,DELAY ORCPT=rfc822;user+2Btag@example.org";
    let seq = api.keep(&[to, "username@example.net"], kept, "").await[0];
    let mut expected = json!({
        "id": id, "from": "sender@example.com", "to": "UserName@example.com", "subject": "Test Email",
        "body_text": "Plain text content", "body_html": "<p>HTML content</p>", "attachments": ["file.pdf", ""],
        "received_at": 1_767_323_045, "seq": seq, "mailbox": "username", "expires_at": 1_767_409_445, "size": 1834,
        "recipients": recipients(),
        "attachment_records": [
            { "index": 0, "filename": "file.pdf", "content_type": "application/pdf", "disposition": "inline",
              "content_id": "cid@example.com", "size": 4, "sha256": "00".repeat(32), "subject": "Attached",
              "url": format!("/emails/username/{id}/attachments/0") },
            { "index": 1, "filename": null, "content_type": "image/png", "disposition": "attachment",
              "content_id": null, "size": 1, "sha256": "00".repeat(32), "subject": null,
              "url": format!("/emails/username/{id}/attachments/1") },
        ],
        "message_id": "1@example.com", "date": "2026-01-02T03:04:05Z",
        "header_from": { "name": "Ann", "address": "ann@example.com" },
        "header_to": [{ "name": null, "address": "list@example.com" }],
        "cc": [{ "name": null, "address": "cc@example.com" }],
        "reply_to": [{ "name": null, "address": "reply@example.com" }],
        "in_reply_to": ["0@example.com"], "references": ["0@example.com"],
        "list_unsubscribe": ["https://example.com/out"],
        "codes": [{ "value": "482913", "score": 90, "source": "html", "context": "Your code is 482913." }],
        "links": [{ "href": "https://example.com/confirm?t=1", "text": "Confirm", "kind": "action", "score": 85 }],
        "peer": { "ip": "192.0.2.7", "helo": "client.example", "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384" },
        "envelope": {
            "size": 1800, "body": "8BITMIME", "smtputf8": false, "ret": "HDRS", "envid": "QQ+1",
            "notify": ["SUCCESS", "DELAY"], "orcpt": "rfc822;user+tag@example.org",
        },
        "problems": ["a problem"],
    });
    assert_eq!(api.get("/emails/username").await.json(), json!([expected]));
    expected["headers"] = json!([]);
    assert_eq!(api.get(&format!("/emails/username/{id}")).await.json(), expected);
}

#[tokio::test]
async fn what_a_message_does_not_have_is_not_invented() {
    let api = Api::start().await;
    let mut bounce = message(&api.clock, Content::default());
    bounce.mail_from = None;
    api.keep(&["user@example.com"], bounce, "").await;
    let shown = &api.get("/emails/user").await.json()[0];
    for empty in ["from", "subject", "body_text", "body_html"] {
        assert_eq!(shown[empty], "", "{empty}");
    }
    for absent in ["message_id", "date", "header_from"] {
        assert_eq!(shown[absent], Value::Null, "{absent}");
    }
    assert_eq!(shown["peer"]["tls"], Value::Null);
    for unsaid in ["size", "body", "ret", "envid", "notify", "orcpt"] {
        assert_eq!(shown["envelope"][unsaid], Value::Null, "{unsaid}");
    }
    let lists = ["header_to", "cc", "reply_to", "in_reply_to", "references", "list_unsubscribe"];
    for none in ["attachments", "attachment_records", "codes", "links", "problems"].into_iter().chain(lists) {
        assert_eq!(shown[none], json!([]), "{none}");
    }
}

#[tokio::test]
async fn a_reader_never_sees_the_other_recipients() {
    let api = Api::start().await;
    let kept = message(&api.clock, Content::default());
    let id = kept.id;
    api.keep(&["user@example.com", "hidden@example.com"], kept, "Subject: x\r\n\r\n").await;
    for path in ["/emails/user".to_owned(), format!("/emails/user/{id}"), format!("/emails/user/{id}/headers")] {
        assert!(!api.get(&path).await.text().contains("hidden"), "{path}");
    }
    assert_eq!(api.get(&format!("/emails/hidden/{id}")).await.json()["to"], "hidden@example.com");
    api.get(&format!("/emails/other/{id}")).await.problem(404);
}

#[tokio::test]
async fn mail_is_found_by_each_recipient_that_led_to_its_mailbox() {
    let api = Api::start().await;
    let recipients = ["user@example.com", "USER@example.com", "other@example.com"];
    api.deliver(&recipients, "Subject: x\r\n\r\n").await;
    for to in &recipients[..2] {
        let found = api.get(&format!("/emails/user?to={to}")).await.json();
        assert_eq!(found[0]["to"], recipients[0], "{to}");
        let addresses: Vec<_> = found[0]["recipients"].as_array().unwrap().iter().map(|to| &to["address"]).collect();
        assert_eq!(addresses, recipients[..2]);
    }
    assert_eq!(api.get("/emails/user?to=other").await.json(), json!([]));
    let missed = api.get("/emails/user/latest?to=bob").await.member("arrived");
    let misses = missed[0]["misses"][0].as_str().unwrap();
    assert!(misses.contains(recipients[0]) && misses.contains(recipients[1]) && !misses.contains("other"), "{misses}");
}

#[tokio::test]
async fn a_delivered_mail_is_shown_with_all_its_headers_in_order() {
    let api = Api::start().await;
    let raw = "Received: one\r\nReceived: two\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\nhello\r\n";
    api.deliver(&["user@example.com"], raw).await;
    let listed = &api.get("/emails/user").await.json()[0];
    assert_eq!(listed["subject"], "grüße");
    assert_eq!(listed["headers"], Value::Null);
    let path = format!("/emails/user/{}", listed["id"].as_str().unwrap());
    let shown = api.get(&path).await.json();
    let names: Vec<_> = shown["headers"].as_array().unwrap().iter().map(|field| field["name"].clone()).collect();
    assert_eq!(names, ["Received", "Received", "Subject"]);
    assert_eq!(shown["headers"][2]["value"], "grüße");
    assert!(shown["headers"][2]["raw"].as_str().unwrap().contains("=?utf-8?q?"));
    assert_eq!(api.get(&format!("{path}/headers")).await.json(), shown["headers"]);
}

#[tokio::test]
async fn a_deleted_message_is_gone() {
    let api = Api::start().await;
    let kept = message(&api.clock, Content::default());
    let path = format!("/emails/user/{}", kept.id);
    let expected = json!({ "message": format!("Message {} has been deleted", kept.id) });
    api.keep(&["user@example.com"], kept, "").await;
    assert_eq!(api.ask("DELETE", &path).await.json(), expected);
    for (method, below) in [
        ("GET", ""),
        ("HEAD", ""),
        ("DELETE", ""),
        ("GET", "/raw"),
        ("GET", "/text"),
        ("GET", "/html"),
        ("GET", "/html?view=1"),
        ("GET", "/headers"),
        ("GET", "/code"),
        ("GET", "/link"),
        ("GET", "/attachments/0"),
    ] {
        let path = format!("{path}{below}");
        let answer = api.ask(method, &path).await;
        assert_eq!(answer.status, 410, "{method} {path}");
        if method != "HEAD" {
            let (error, detail) = answer.problem(410);
            assert!(error == "message gone" && detail.ends_with("was deleted from mailbox user"), "{detail}");
            assert_eq!((answer.member("reason"), answer.member("at")), (json!("deleted"), json!(NOW.as_secs())));
        }
        let elsewhere = path.replace("/user/", "/other/");
        assert_eq!(api.ask(method, &elsewhere).await.status, 404, "{method} {elsewhere}");
    }
    assert_eq!(api.get("/emails/user/latest").await.problem(404).0, "message not found");
}

#[tokio::test]
async fn who_comes_too_late_learns_what_became_of_a_message() {
    let api = Api::start().await;
    let expired = message(&api.clock, Content::default());
    let (expired_path, expires_at) = (format!("/emails/user/{}", expired.id), expired.expires_at.as_secs());
    api.keep(&["user@example.com"], expired, "").await;
    let evicted = message(&api.clock, Content::default());
    let evicted_path = format!("/emails/full/{}", evicted.id);
    api.keep(&["full@example.com"], evicted, "").await;
    for _ in 0..MAILBOX_MAX_MESSAGES {
        api.keep(&["full@example.com"], message(&api.clock, Content::default()), "").await;
    }
    let answer = api.get(&evicted_path).await;
    assert!(answer.problem(410).1.contains("was pushed out by newer ones"), "{}", answer.text());
    assert_eq!(answer.member("reason"), "evicted");
    api.clock.advance(Duration::from_secs(86_400));
    let answer = api.get(&expired_path).await;
    assert!(answer.problem(410).1.contains("has expired"), "{}", answer.text());
    assert_eq!((answer.member("reason"), answer.member("at")), (json!("expired"), json!(expires_at)));
}
