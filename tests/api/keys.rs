use restante::http::Settings;

use super::support::{Answer, Api, KEY, settings};
use super::{OPEN, ROUTES};

#[tokio::test]
async fn every_route_but_the_probes_needs_a_key() {
    let api = Api::start().await;
    for (path, methods) in ROUTES {
        for &method in methods {
            let answer = Answer::of(api.request(method, path)).await;
            if OPEN.contains(&path) {
                assert_eq!(answer.status, 200, "{method} {path}");
            } else {
                assert_eq!(answer.status, 401, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn what_lies_below_emails_is_not_told_without_a_key() {
    let api = Api::start().await;
    for path in ["/emails/", "/emails//", "/emails/user/", "/emails/user/nothing/here", "/emails/a/b/c/d/e/f"] {
        assert_eq!(Answer::of(api.request("GET", path)).await.status, 401, "{path}");
    }
    assert_eq!(Answer::of(api.request("GET", "/nothing")).await.status, 404);
    assert_eq!(Answer::of(api.request("PATCH", "/emails/user")).await.status, 401);
}

#[tokio::test]
async fn a_missing_and_a_wrong_key_read_the_same() {
    let api = Api::start().await;
    let missing = Answer::of(api.request("GET", "/emails")).await;
    assert_eq!(missing.problem(401).0, "invalid API key");
    const NO_REASON: &str = "Bearer realm=\"restante\"";
    assert_eq!(missing.header("www-authenticate"), NO_REASON);
    const WRONG: &str = "Bearer realm=\"restante\", error=\"invalid_token\"";
    for (name, value, challenge) in [
        ("X-API-KEY", "wrong", WRONG),
        ("X-API-KEY", "", NO_REASON),
        ("X-API-KEY", "the-ke", WRONG),
        ("X-API-KEY", "the-key2", WRONG),
        ("Authorization", "Bearer wrong", WRONG),
        ("Authorization", "Bearer ", NO_REASON),
        ("Authorization", "Basic the-key", NO_REASON),
        ("Authorization", "the-key", NO_REASON),
    ] {
        let wrong = Answer::of(api.request("GET", "/emails").header(name, value)).await;
        assert_eq!(wrong.body, missing.body, "{name}: {value}");
        assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, challenge), "{name}: {value}");
    }
}

#[tokio::test]
async fn each_key_opens_in_both_headers() {
    let api = Api::start().await;
    for key in [KEY, "another-key"] {
        assert_eq!(Answer::of(api.request("GET", "/emails").header("X-API-KEY", key)).await.status, 200);
        assert_eq!(Answer::of(api.request("GET", "/emails").bearer_auth(key)).await.status, 200);
    }
}

#[tokio::test]
async fn who_guesses_keys_is_not_listened_to_for_a_while() {
    let api = Api::with(Settings { failed_keys_per_minute: 3, ..settings() }).await;
    let ask = async |key: &str| Answer::of(api.request("GET", "/emails").header("X-API-KEY", key)).await;
    for wrong in ["first", "second", "third"] {
        assert_eq!(ask(KEY).await.status, 200, "a good key costs nothing, and no wrong one has shut it out");
        for _ in 0..10 {
            // The same again is no guess: it is a script that nobody has told of the new key.
            ask(wrong).await.problem(401);
        }
        // No key is no guess.
        assert_eq!(Answer::of(api.request("GET", "/emails")).await.status, 401);
        ask("").await.problem(401);
    }
    ask("first").await.problem(401);
    // Nor by a key that others at the same address have.
    for key in ["fourth", "another", "another-key", KEY] {
        let answer = ask(key).await;
        assert_eq!(answer.problem(429).0, "too many invalid API keys");
        let wait = answer.header("retry-after").parse::<u64>().unwrap();
        assert!((1..=20).contains(&wait), "{wait}");
    }
    assert_eq!(api.get("/health").await.status, 200);
}
