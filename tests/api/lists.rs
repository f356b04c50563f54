use std::time::Duration;

use restante::mail::Content;
use serde_json::{Value, json};

use super::support::{Api, message};

/// The path in a `Link` to the next page.
fn next(link: &str) -> Option<&str> {
    link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")
}

fn seqs(page: &Value) -> Vec<u64> {
    page.as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

async fn fill(api: &Api, recipient: &str, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    for _ in 0..count {
        seqs.extend(api.keep(&[recipient], message(&api.clock, Content::default()), "").await);
    }
    seqs
}

#[tokio::test]
async fn an_unknown_mailbox_is_an_empty_list() {
    let api = Api::start().await;
    let answer = api.get("/emails/nobody").await;
    assert_eq!((answer.json(), answer.header("link")), (json!([]), ""));
    assert_eq!(api.get("/emails").await.json(), json!([]));
}

#[tokio::test]
async fn a_list_is_walked_page_by_page_from_the_newest() {
    let api = Api::start().await;
    let mut kept = fill(&api, "user@example.com", 5).await;
    kept.reverse();
    let mut path = Some("/emails/user?limit=2".to_owned());
    let mut pages = Vec::new();
    while let Some(at) = path {
        let answer = api.get(&at).await;
        pages.push(seqs(&answer.json()));
        path = next(answer.header("link")).map(str::to_owned);
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(pages.concat(), kept);
}

#[tokio::test]
async fn a_page_of_large_messages_is_cut_and_names_the_next() {
    let api = Api::start().await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let text = Some("x".repeat(10 << 20));
        kept.extend(
            api.keep(&["user@example.com"], message(&api.clock, Content { text, ..Content::default() }), "").await,
        );
    }
    let mut path = Some("/emails/user".to_owned());
    let mut pages = Vec::new();
    while let Some(at) = path {
        let answer = api.get(&at).await;
        pages.push(seqs(&answer.json()));
        path = next(answer.header("link")).map(str::to_owned);
    }
    assert_eq!(pages, [[kept[2]], [kept[1]], [kept[0]]]);
}

#[tokio::test]
async fn a_full_last_page_names_no_next_one() {
    let api = Api::start().await;
    fill(&api, "user@example.com", 2).await;
    assert_eq!(api.get("/emails/user?limit=2").await.header("link"), "");
}

#[tokio::test]
async fn a_page_has_fifty_messages_unless_told_otherwise() {
    let api = Api::start().await;
    fill(&api, "user@example.com", 201).await;
    assert_eq!(seqs(&api.get("/emails/user").await.json()).len(), 50);
    let most = api.get("/emails/user?limit=200").await;
    assert_eq!(seqs(&most.json()).len(), 200);
    assert!(next(most.header("link")).is_some());
}

#[tokio::test]
async fn cursors_cut_the_list_on_both_sides_and_stay_in_the_link() {
    let api = Api::start().await;
    let kept = fill(&api, "user@example.com", 5).await;
    let path = format!("/emails/user?after={}&before={}", kept[0], kept[4]);
    assert_eq!(seqs(&api.get(&path).await.json()), [kept[3], kept[2], kept[1]]);
    let first = api.get(&format!("{path}&limit=2")).await;
    let rest = api.get(next(first.header("link")).unwrap()).await;
    assert_eq!(seqs(&rest.json()), [kept[1]]);
    assert_eq!(rest.header("link"), "");
}

#[tokio::test]
async fn the_mailboxes_are_listed_by_name_with_their_newest_mail() {
    let api = Api::start().await;
    fill(&api, "b@example.com", 1).await;
    fill(&api, "a/1@example.com", 1).await;
    api.clock.advance(Duration::from_secs(60));
    fill(&api, "b@example.com", 1).await;
    fill(&api, "c@example.com", 1).await;
    let first = api.get("/emails?limit=2").await;
    let expected = json!([
        { "name": "a/1", "count": 1, "newest_received_at": 1_767_323_045 },
        { "name": "b", "count": 2, "newest_received_at": 1_767_323_105 },
    ]);
    assert_eq!(first.json(), expected);
    let second = api.get(next(first.header("link")).unwrap()).await;
    assert_eq!(second.json(), json!([{ "name": "c", "count": 1, "newest_received_at": 1_767_323_105 }]));
    assert_eq!(second.header("link"), "");
}

#[tokio::test]
async fn a_mailbox_is_found_under_its_name_and_under_its_address() {
    let api = Api::start().await;
    fill(&api, "User+tag@example.com", 1).await;
    for path in ["/emails/user+tag", "/emails/USER%2Btag", "/emails/user+tag@example.com", "/emails/%22user+tag%22"] {
        assert_eq!(api.get(path).await.json().as_array().unwrap().len(), 1, "{path}");
    }
}

#[tokio::test]
async fn names_that_mean_something_in_a_url_keep_their_meaning() {
    let api = Api::start().await;
    for recipient in ["a/b@x.example", "\"..\"@x.example", "\"a?b#c\"@x.example", "ü%20@x.example", "\"a@b\"@x.example"]
    {
        fill(&api, recipient, 2).await;
        let name = api.inbox.mailbox(recipient).unwrap();
        let mut path = Some("/emails?limit=1".to_owned());
        // The list of mailboxes can be walked over it, and the URLs of its messages lead back to it.
        while let Some(at) = path {
            let answer = api.get(&at).await;
            answer.json();
            path = next(answer.header("link")).map(str::to_owned);
        }
        let first = api.get(&format!("/emails/{}?limit=1", encoded(&format!("\"{}\"", name.as_str())))).await;
        assert_eq!(first.json()[0]["mailbox"], name.as_str());
        let second = api.get(next(first.header("link")).unwrap()).await;
        assert_eq!(second.json()[0]["mailbox"], name.as_str(), "{}", first.header("link"));
    }
    assert_eq!(api.get("/emails").await.json().as_array().unwrap().len(), 5);
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn clearing_a_mailbox_empties_it_and_no_other() {
    let api = Api::start().await;
    fill(&api, "user@example.com", 3).await;
    fill(&api, "other@example.com", 1).await;
    let cleared = json!({ "message": "All messages for user have been cleared" });
    assert_eq!(api.ask("DELETE", "/emails/user").await.json(), cleared);
    assert_eq!(api.get("/emails/user").await.json(), json!([]));
    assert_eq!(seqs(&api.get("/emails/other").await.json()).len(), 1);
    assert_eq!(api.ask("DELETE", "/emails/user").await.json(), cleared);
}
