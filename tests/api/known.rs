//! What a client has already: entity tags, 304, and waiting for what it does not have.

use std::time::Duration;

use restante::mail::Content;

use super::support::{Answer, Api, DEADLINE, KEY, attachment, message};

/// The same request again, from a client that has `tag`.
async fn again(api: &Api, path: &str, tag: &str) -> Answer {
    Answer::of(api.request("GET", path).header("X-API-KEY", KEY).header("If-None-Match", tag)).await
}

/// A message with all that one can have; its path.
async fn keep_full(api: &Api) -> String {
    let content = Content {
        text: Some("text".to_owned()),
        html: Some("<p>html".to_owned()),
        attachments: vec![attachment(0, Some("a.bin"), "image/png", 0, 3)],
        ..Content::default()
    };
    let kept = message(&api.clock, content);
    let path = format!("/emails/user/{}", kept.id);
    api.keep(&["user@example.com"], kept, "Subject: a\r\n\r\nbody").await;
    path
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let api = Api::start().await;
    let message = keep_full(&api).await;
    let below = ["", "/raw", "/text", "/html", "/html?inline=cid", "/html?view=1", "/headers", "/attachments/0"];
    let paths = below.map(|rest| format!("{message}{rest}"));
    let lists = ["/emails", "/emails/user", "/emails/user?limit=5", "/emails/user/latest", "/emails/nobody"];
    let lists = lists.into_iter().chain(["/attempts", "/emails/user/attempts", "/emails/nobody/attempts"]);
    api.refuse(&["user@foreign.example"], None);
    for path in paths.iter().map(String::as_str).chain(lists) {
        let first = api.get(path).await;
        let tag = first.header("etag");
        assert_eq!((first.status, first.header("cache-control")), (200, "private, no-cache"), "{path}");
        assert_eq!(tag.starts_with("W/"), !["/raw", "/attachments/0"].iter().any(|end| path.ends_with(end)), "{path}");
        assert_eq!(api.ask("HEAD", path).await.header("etag"), tag, "{path}");
        for known in [tag.to_owned(), "*".to_owned(), format!("\"x\", {}", tag.trim_start_matches("W/"))] {
            let second = again(&api, path, &known).await;
            assert_eq!((second.status, second.header("etag"), second.body.len()), (304, tag, 0), "{path} {known}");
            // A cache puts the header of a 304 on what it has kept.
            for name in ["content-security-policy", "cross-origin-resource-policy", "cache-control", "link"] {
                assert!(first.header(name) == second.header(name) || name == "link", "{path} {name}");
            }
        }
        assert_eq!(again(&api, path, "\"other\"").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_list_that_changes_has_another_tag() {
    let api = Api::start().await;
    let tags = async || {
        let [mailbox, page] = [api.get("/emails/user").await, api.get("/emails/user?limit=1").await];
        [mailbox, page].map(|answer| answer.header("etag").to_owned())
    };
    let boxes = async || api.get("/emails").await.header("etag").to_owned();
    let (empty, no_boxes) = (tags().await, boxes().await);
    let first = keep_full(&api).await;
    let (one, one_box) = (tags().await, boxes().await);
    keep_full(&api).await;
    let (two, two_in_it) = (tags().await, boxes().await);
    api.ask("DELETE", &first).await;
    let other = tags().await;
    for (place, of_mailbox) in [&empty, &one, &two, &other].into_iter().enumerate() {
        for later in [&empty, &one, &two, &other].into_iter().skip(place + 1) {
            // The first page of one is the same after the older message has gone, but for the way to the next.
            assert!(of_mailbox.iter().zip(later).all(|(tag, later)| tag != later), "{of_mailbox:?} {later:?}");
        }
    }
    assert!(no_boxes != one_box && one_box != two_in_it);
    assert_eq!(boxes().await, one_box, "it says the same again");
    api.ask("DELETE", "/emails/user").await;
    assert_eq!(tags().await, empty);
}

#[tokio::test]
async fn a_list_of_attempts_has_another_tag_with_each_of_them() {
    let api = Api::start().await;
    let tags = async || {
        let [mailbox, all] = [api.get("/emails/user/attempts").await, api.get("/attempts").await];
        [mailbox, all].map(|answer| answer.header("etag").to_owned())
    };
    let mut seen = vec![tags().await];
    for _ in 0..2 {
        api.refuse(&["user@foreign.example"], None);
        seen.push(tags().await);
        assert_eq!(&tags().await, seen.last().unwrap());
    }
    api.refuse(&["other@foreign.example"], None);
    let [mailbox, all] = tags().await;
    assert_eq!(mailbox, seen[2][0], "it says the same as before");
    seen.push(["".to_owned(), all]);
    for (place, before) in seen.iter().enumerate() {
        for later in &seen[place + 1..] {
            assert!(before.iter().zip(later).all(|(tag, later)| tag != later), "{before:?} {later:?}");
        }
    }
    api.ask("DELETE", "/emails/user").await;
    assert_eq!(tags().await[0], seen[0][0]);
}

#[tokio::test]
async fn who_has_the_list_waits_for_another() {
    let api = Api::start().await;
    keep_full(&api).await;
    let path = "/emails/user?wait=60s";
    let tag = api.get(path).await.header("etag").to_owned();
    let (held, _) = tokio::join!(again(&api, path, &tag), keep_full(&api));
    assert_eq!((held.status, held.json().as_array().unwrap().len()), (200, 2));
}

#[tokio::test]
async fn who_has_the_newest_message_waits_for_the_next() {
    let api = Api::start().await;
    keep_full(&api).await;
    for below in ["", "/raw", "/text", "/headers", "/attachments/0"] {
        let path = format!("/emails/user/latest{below}?wait=60s");
        let tag = api.get(&path).await.header("etag").to_owned();
        let (held, next) = tokio::join!(again(&api, &path, &tag), keep_full(&api));
        assert_eq!(held.status, 200, "{path}");
        let id = next.rsplit('/').next().unwrap();
        assert_eq!(api.get(&path).await.header("etag"), held.header("etag"), "{path}");
        assert!(held.header("etag").contains(id), "{path}");
    }
}

#[tokio::test]
async fn who_has_what_there_is_hears_so_when_the_time_is_over() {
    let api = Api::start().await;
    keep_full(&api).await;
    for path in ["/emails/user?wait=1s", "/emails/user/latest?wait=1s"] {
        let tag = api.get(path).await.header("etag").to_owned();
        let start = tokio::time::Instant::now();
        let answer = tokio::time::timeout(DEADLINE, again(&api, path, &tag)).await.unwrap();
        assert_eq!(answer.status, 304, "{path}");
        assert!(start.elapsed() >= Duration::from_secs(1), "{path} was held");
    }
}

#[tokio::test]
async fn what_is_gone_is_not_confirmed() {
    let api = Api::start().await;
    let path = keep_full(&api).await;
    let tag = api.get(&path).await.header("etag").to_owned();
    api.ask("DELETE", &path).await;
    for below in ["", "/raw", "/text", "/headers", "/attachments/0"] {
        let status = again(&api, &format!("{path}{below}"), &format!("{tag}, *")).await.status;
        assert!(status == 404 || status == 410, "{below} {status}");
    }
}
