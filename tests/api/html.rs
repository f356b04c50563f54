use std::fs;
use std::path::{Path, PathBuf};

use restante::mail::{Attachment, Content};

use super::support::{Answer, Api, attachment, message};

/// The policy under which a page loads from nowhere but this server.
const NEAR: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; frame-ancestors 'self'; default-src 'none'; \
                    img-src 'self' data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'";

/// That of a page for which more is asked for.
const FAR: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; frame-ancestors 'self'; default-src 'none'; \
                   img-src 'self' data: http: https:; media-src http: https:; style-src 'unsafe-inline' http: https:; \
                   font-src data: http: https:; base-uri 'none'; form-action 'none'";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/html").join(name)
}

fn inline_part(index: usize, content_type: &str, id: &str) -> Attachment {
    Attachment { content_id: Some(id.to_owned()), ..attachment(index, None, content_type, index, index + 1) }
}

/// Keeps a message with this HTML; returns its path.
async fn keep(api: &Api, html: &str) -> String {
    let attachments = vec![
        attachment(0, Some("terms.pdf"), "application/pdf", 0, 1),
        inline_part(1, "image/png", "logo@shop.example"),
        inline_part(2, "image/jpeg", "photo@shop.example"),
        inline_part(3, "image/svg+xml", "paper@shop.example"),
    ];
    let kept = message(&api.clock, Content { html: Some(html.to_owned()), attachments, ..Content::default() });
    let path = format!("/emails/user/{}", kept.id);
    api.keep(&["user@example.com"], kept, "abcd").await;
    path
}

#[track_caller]
fn page(answer: &Answer) -> &str {
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"), "{}", answer.text());
    answer.text()
}

/// Each `tests/html/NAME.html` against what stands beside it for each form.
#[tokio::test]
async fn messages_are_rewritten_as_the_files_say() {
    let api = Api::start().await;
    for name in ["newsletter", "hostile"] {
        let sent = fs::read_to_string(file(&format!("{name}.html"))).unwrap();
        let path = keep(&api, &sent).await;
        assert_eq!(page(&api.get(&format!("{path}/html")).await), sent);
        for (form, query) in [("view", "view=1"), ("remote", "view=1&remote=1"), ("inline", "inline=cid")] {
            let answer = api.get(&format!("{path}/html?{query}")).await;
            let rewritten = page(&answer).replace(&path, "/emails/user/ID");
            let expected = file(&format!("{name}.{form}.html"));
            assert_eq!(rewritten, fs::read_to_string(&expected).unwrap(), "{}", expected.display());
        }
    }
}

#[tokio::test]
async fn each_form_has_its_policy() {
    let api = Api::start().await;
    let path = keep(&api, "<p>x").await;
    let shut = "sandbox; default-src 'none'";
    for (query, policy) in [
        ("", shut),
        ("?inline=cid", shut),
        ("?view=0&remote=0", shut),
        ("?view=1", NEAR),
        ("?view=1&inline=cid", NEAR),
        ("?view=1&remote=1", FAR),
    ] {
        let answer = api.get(&format!("{path}/html{query}")).await;
        page(&answer);
        assert_eq!(answer.header("content-security-policy"), policy, "{query}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
    }
    // A page that is kept says of itself what it may load.
    let answer = api.get(&format!("{path}/html?view=1")).await;
    let loads = NEAR.split_once("'self'; ").unwrap().1;
    assert!(page(&answer).contains(&format!("http-equiv=\"Content-Security-Policy\" content=\"{loads}\"")));
}

#[tokio::test]
async fn a_form_that_is_not_known_is_an_error() {
    let api = Api::start().await;
    let path = keep(&api, "<p>x").await;
    for (query, parts) in [
        ("inline=all", ["inline", "\"all\"", "must be cid"]),
        ("view=yes", ["view", "\"yes\"", "0 or 1"]),
        ("view=1&remote=", ["remote", "\"\"", "0 or 1"]),
        ("remote=1", ["remote=1", "needs", "view=1"]),
    ] {
        let (error, detail) = api.get(&format!("{path}/html?{query}")).await.problem(400);
        assert_eq!(error, "bad query parameter");
        assert!(parts.iter().all(|part| detail.contains(part)), "{query}: {detail}");
    }
    let (_, detail) = api.get(&format!("{path}/html?images=1")).await.problem(400);
    assert!(detail.contains("inline, view, remote are allowed"), "{detail}");
}

#[tokio::test]
async fn without_html_there_is_nothing_to_rewrite() {
    let api = Api::start().await;
    let kept = message(&api.clock, Content::default());
    let path = format!("/emails/user/{}/html", kept.id);
    api.keep(&["user@example.com"], kept, "").await;
    for query in ["", "?view=1", "?inline=cid"] {
        let (error, detail) = api.get(&format!("{path}{query}")).await.problem(404);
        assert_eq!((error.as_str(), detail.as_str()), ("body not found", "the message has no text/html body"));
    }
    let gone = path.replace("user", "nobody");
    assert_eq!(api.get(&format!("{gone}?view=1")).await.problem(404).0, "message not found");
}

#[tokio::test]
async fn html_that_takes_too_much_is_refused_and_still_served_as_it_was_sent() {
    let api = Api::start().await;
    let sent = "<b>".repeat(200_000);
    let path = keep(&api, &sent).await;
    for query in ["view=1", "inline=cid"] {
        let (error, detail) = api.get(&format!("{path}/html?{query}")).await.problem(422);
        assert_eq!(error, "HTML too large");
        assert!(detail.contains("32 MiB of it") && detail.contains("without view and inline"), "{detail}");
    }
    assert_eq!(page(&api.get(&format!("{path}/html")).await), sent);
}

/// The page that shows an image has an origin of its own, as every sandbox has.
#[tokio::test]
async fn only_images_that_html_refers_to_may_be_shown_by_a_page_in_a_sandbox() {
    let api = Api::start().await;
    let path = keep(&api, "<p>x").await;
    for (index, policy, content_type) in [
        (0, "same-origin", "application/pdf"),
        (1, "cross-origin", "image/png"),
        (2, "cross-origin", "image/jpeg"),
        (3, "same-origin", "application/octet-stream"),
    ] {
        let answer = api.get(&format!("{path}/attachments/{index}")).await;
        assert_eq!(answer.header("cross-origin-resource-policy"), policy, "{index}");
        assert_eq!(answer.header("content-type"), content_type);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("content-security-policy"), "sandbox; default-src 'none'");
    }
    let without_key = api.request("GET", &format!("{path}/attachments/1"));
    let refused = Answer::of(without_key).await;
    assert_eq!((refused.status, refused.header("cross-origin-resource-policy")), (401, "same-origin"));
}

#[tokio::test]
async fn a_mailbox_with_any_name_has_urls_that_fit_into_html() {
    let api = Api::start().await;
    let content = Content {
        html: Some("<img src=cid:a@b><p style='background:url(cid:a@b)'>".to_owned()),
        attachments: vec![inline_part(0, "image/png", "a@b")],
        ..Content::default()
    };
    let kept = message(&api.clock, content);
    let id = kept.id;
    api.keep(&["\"a'(<&>)b\"@example.com"], kept, "x").await;
    let listed = api.get("/emails/%22a'(%3C&%3E)b%22").await.json();
    let url = listed[0]["attachment_records"][0]["url"].as_str().unwrap();
    let answer = api.get(&url.replace("/attachments/0", "/html?view=1")).await;
    let expected = format!("<img src=\"{url}\"><p style=\"background:url(&quot;{url}&quot;)\">");
    assert!(page(&answer).ends_with(&expected) && url.contains(&id.to_string()), "{expected} in {}", answer.text());
}
