use restante::mail::Content;

use super::support::{Api, attachment, message};

#[tokio::test]
async fn a_raw_message_comes_back_byte_for_byte() {
    let api = Api::start().await;
    let mut raw: Vec<u8> = b"Subject: \xff\xfe\r\n\r\n".to_vec();
    raw.extend(0..=255);
    let kept = message(&api.clock, Content::default());
    let id = kept.id;
    api.keep(&["user@example.com"], kept, raw.clone()).await;
    let answer = api.get(&format!("/emails/user/{id}/raw")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "message/rfc822"));
    assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{id}.eml\""));
    assert_eq!(answer.body, raw);
}

#[tokio::test]
async fn the_bodies_are_served_as_what_they_are() {
    let api = Api::start().await;
    let (text, html) = ("größe", "<script>alert(1)</script><p>größe");
    let content = Content { text: Some(text.to_owned()), html: Some(html.to_owned()), ..Content::default() };
    let kept = message(&api.clock, content);
    let path = format!("/emails/user/{}", kept.id);
    api.keep(&["user@example.com"], kept, "").await;
    let answer = api.get(&format!("{path}/text")).await;
    assert_eq!((answer.header("content-type"), answer.text()), ("text/plain; charset=utf-8", text));
    let answer = api.get(&format!("{path}/html")).await;
    assert_eq!((answer.header("content-type"), answer.text()), ("text/html; charset=utf-8", html));
    assert_eq!(answer.header("content-security-policy"), "sandbox; default-src 'none'");
}

#[tokio::test]
async fn a_body_that_is_not_there_is_not_found_but_an_empty_one_is() {
    let api = Api::start().await;
    let kept = message(&api.clock, Content { text: Some(String::new()), ..Content::default() });
    let path = format!("/emails/user/{}", kept.id);
    api.keep(&["user@example.com"], kept, "").await;
    assert_eq!(api.get(&format!("{path}/text")).await.status, 200);
    let (_, detail) = api.get(&format!("{path}/html")).await.problem(404);
    assert_eq!(detail, "the message has no text/html body");
}

#[tokio::test]
async fn an_attachment_is_cut_from_the_raw_message() {
    let api = Api::start().await;
    let attachments = vec![attachment(0, Some("a.bin"), "image/png", 6, 9), attachment(1, None, "text/csv", 9, 10)];
    let kept = message(&api.clock, Content { attachments, ..Content::default() });
    let path = format!("/emails/user/{}/attachments", kept.id);
    api.keep(&["user@example.com"], kept, b"before\x00\xffA;after".to_vec()).await;
    let first = api.get(&format!("{path}/0")).await;
    assert_eq!((first.header("content-type"), &first.body[..]), ("image/png", &b"\x00\xffA"[..]));
    assert_eq!(first.header("content-disposition"), "attachment; filename=\"a.bin\"; filename*=UTF-8''a.bin");
    let second = api.get(&format!("{path}/1")).await;
    assert_eq!((second.header("content-disposition"), second.text()), ("attachment", ";"));
    let (_, detail) = api.get(&format!("{path}/2")).await.problem(404);
    assert!(detail.contains("no attachment 2") && detail.contains("it has 2"), "{detail}");
    for index in ["00", "+0", "-1", "x", "99999999999999999999"] {
        api.get(&format!("{path}/{index}")).await.problem(404);
    }
}

#[tokio::test]
async fn an_attachment_of_a_large_message_is_the_same() {
    let api = Api::start().await;
    let raw: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    let attachments = vec![attachment(0, None, "image/png", 100_000, 900_000)];
    let kept = message(&api.clock, Content { attachments, ..Content::default() });
    let path = format!("/emails/user/{}/attachments/0", kept.id);
    api.keep(&["user@example.com"], kept, raw.clone()).await;
    assert_eq!(api.get(&path).await.body, raw[100_000..900_000]);
}

#[tokio::test]
async fn head_answers_like_get_without_the_body() {
    let api = Api::start().await;
    let kept = message(&api.clock, Content::default());
    let path = format!("/emails/user/{}", kept.id);
    api.keep(&["user@example.com"], kept, "12345").await;
    for path in ["/health".to_owned(), "/emails".to_owned(), path.clone(), format!("{path}/raw")] {
        let (get, head) = (api.get(&path).await, api.ask("HEAD", &path).await);
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        for name in ["content-type", "content-length", "content-disposition"] {
            assert_eq!(get.header(name), head.header(name), "{path} {name}");
        }
        assert!(head.body.is_empty());
    }
}

#[tokio::test]
async fn a_delivered_attachment_comes_back_decoded() {
    let api = Api::start().await;
    let filler = "x".repeat(70) + "\r\n";
    let raw = [
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n",
        // Large enough to be read beside the other requests.
        &filler.repeat(2000),
        "--b\r\nContent-Type: text/html; name=\"../../x.html\"\r\nContent-Disposition: attachment\r\n",
        "Content-Transfer-Encoding: base64\r\n\r\nAAH/PGI+\r\n--b--\r\n",
    ]
    .concat();
    api.deliver(&["user@example.com"], raw).await;
    let listed = &api.get("/emails/user").await.json()[0];
    assert_eq!(listed["attachments"], serde_json::json!(["../../x.html"]));
    let answer = api.get(listed["attachment_records"][0]["url"].as_str().unwrap()).await;
    assert_eq!(answer.body[..], *b"\x00\x01\xff<b>");
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"x.html\"; filename*=UTF-8''x.html");
}

#[tokio::test]
async fn the_code_and_the_link_of_a_delivered_mail_are_a_line_each() {
    let api = Api::start().await;
    let raw = "Subject: Sign in\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
        <p>Order 20418827. Your login code is <b>482&nbsp;913</b>.</p>\r\n\
        <p><a href=\"https://sender.example/signin?a=1&amp;t=8f2a9c40d7be\">Sign in</a> \
        <a href=\"https://sender.example/help\">Help</a></p>\r\n";
    api.deliver(&["user@example.com"], raw).await;
    let listed = &api.get("/emails/user").await.json()[0];
    assert_eq!(listed["codes"][0]["value"], "482913");
    assert_eq!(listed["links"][0]["kind"], "action");
    assert_eq!(listed["links"][1]["href"], "https://sender.example/help");
    let path = format!("/emails/user/{}", listed["id"].as_str().unwrap());
    for (name, line) in [("code", "482913\n"), ("link", "https://sender.example/signin?a=1&t=8f2a9c40d7be\n")] {
        let answer = api.get(&format!("{path}/{name}")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; charset=utf-8"), "{name}");
        assert_eq!(answer.text(), line, "{name}");
    }
}

#[tokio::test]
async fn a_mail_without_a_code_and_without_an_action_has_neither() {
    let api = Api::start().await;
    let raw = "Subject: Order 482913\r\n\r\nYour order 482913 was sent.\r\nhttps://sender.example/privacy\r\n";
    api.deliver(&["user@example.com"], raw).await;
    let listed = &api.get("/emails/user").await.json()[0];
    assert_eq!(listed["codes"], serde_json::json!([]));
    let path = format!("/emails/user/{}", listed["id"].as_str().unwrap());
    assert_eq!(api.get(&format!("{path}/code")).await.problem(404).0, "code not found");
    let (error, detail) = api.get(&format!("{path}/link")).await.problem(404);
    assert_eq!(error, "link not found");
    assert!(detail.contains("none of the 1 links"), "{detail}");
    let nobody = "/emails/user/0199f0c8-1234-7000-8000-000000000000";
    for name in ["code", "link"] {
        assert_eq!(api.get(&format!("{nobody}/{name}")).await.problem(404).0, "message not found");
    }
}
