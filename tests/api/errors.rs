use restante::clock::Clock;
use restante::http;
use restante::metrics::Metrics;
use restante::shutdown::Shutdown;
use tower::ServiceExt;

use super::support::{Answer, Api, KEY, NOW, inbox, read_until, settings, tls};
use super::{OPEN, ROUTES};

#[tokio::test]
async fn an_unknown_query_parameter_is_an_error_on_every_route() {
    let api = Api::start().await;
    for (path, methods) in ROUTES {
        for &method in methods.iter().filter(|method| **method != "HEAD") {
            let answer = api.ask(method, &format!("{path}?subjct=x")).await;
            let (error, detail) = answer.problem(400);
            assert_eq!(error, "unknown query parameter", "{method} {path}");
            assert!(detail.contains("\"subjct\""), "{method} {path}: {detail}");
        }
    }
    // Deleting takes no page: with one it would delete more than was meant.
    api.ask("DELETE", "/emails/user?limit=1").await.problem(400);
}

#[tokio::test]
async fn a_bad_value_is_named_with_what_is_allowed() {
    let api = Api::start().await;
    for path in ["/emails?limit=0", "/emails?limit=201", "/emails/user?limit=x"] {
        let (_, detail) = api.get(path).await.problem(400);
        assert!(detail.contains("limit") && detail.contains("from 1 to 200"), "{path}: {detail}");
    }
    let (_, detail) = api.get("/emails/user?before=-1").await.problem(400);
    assert!(detail.contains("before") && detail.contains("\"-1\""), "{detail}");
    let (_, detail) = api.get("/emails?after=a@b@c").await.problem(400);
    assert!(detail.contains("after") && detail.contains("not a valid address"), "{detail}");
}

#[tokio::test]
async fn a_bad_mailbox_name_says_what_is_wrong() {
    let api = Api::start().await;
    let long = format!("/emails/{}", "x".repeat(129));
    for (path, reason) in [
        (long.as_str(), "longer than 128 bytes"),
        ("/emails/a%00b", "control character"),
        ("/emails/a@b@c", "not a valid address"),
        ("/emails/%zz", "percent"),
        ("/emails/a%", "percent"),
        ("/emails/%ff", "UTF-8"),
    ] {
        for method in ["GET", "DELETE"] {
            let (_, detail) = api.ask(method, path).await.problem(400);
            assert!(detail.contains(reason), "{path}: {detail}");
        }
    }
}

#[tokio::test]
async fn what_is_no_message_id_is_not_found_and_says_so() {
    let api = Api::start().await;
    for id in ["newest", "1", "0199f0c8123470008000000000000000"] {
        let (_, detail) = api.get(&format!("/emails/user/{id}")).await.problem(404);
        assert!(detail.contains(&format!("{id:?} is not a message id")), "{detail}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let api = Api::start().await;
    for path in
        ["/", "/nothing", "/health/", "/email", "/emails/", "/emails/user/", "/emails/a/b/c", "/emails/a/b/c/d/e"]
    {
        assert_eq!(api.get(path).await.problem(404).0, "not found", "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let api = Api::start().await;
    for (path, methods) in ROUTES {
        for method in ["POST", "PUT", "PATCH", "OPTIONS", "DELETE"] {
            if methods.contains(&method) {
                continue;
            }
            let answer = api.ask(method, path).await;
            answer.problem(405);
            let mut allowed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
            let mut expected = methods.to_vec();
            allowed.sort_unstable();
            expected.sort_unstable();
            assert_eq!(allowed, expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn too_much_is_refused_before_it_is_read() {
    let api = Api::start().await;
    let large = api.request("DELETE", "/emails/user").header("X-API-KEY", KEY).body(vec![b'x'; 65 * 1024]);
    assert_eq!(Answer::of(large).await.problem(413).0, "request body too large");
    let (error, _) = api.get(&format!("/emails/user?after={}", "1".repeat(9000))).await.problem(414);
    assert_eq!(error, "URI too long");
    let header = |len: usize| api.request("GET", "/health").header("X-Large", "x".repeat(len));
    assert_eq!(Answer::of(header(15_000)).await.status, 200);
    assert_eq!(Answer::of(header(20_000)).await.problem(431).0, "request header too large");
    // So much is not even read.
    assert_eq!(Answer::of(header(100_000)).await.status, 431);
}

#[tokio::test]
async fn a_body_where_none_is_read_is_refused_and_nothing_is_done() {
    let api = Api::start().await;
    api.deliver(&["user@example.com"], "Subject: stays\r\n\r\ntext\r\n").await;
    for (path, methods) in ROUTES.iter().filter(|(path, _)| !OPEN.contains(path) && *path != "/addresses") {
        for &method in *methods {
            let body = r#"{"subject": "other"}"#;
            let request = api.request(method, path).header("X-API-KEY", KEY).header("Content-Type", "application/json");
            let answer = Answer::of(request.body(body)).await;
            assert_eq!(answer.status, 400, "{method} {path}");
            if method != "HEAD" {
                let (error, detail) = answer.problem(400);
                assert!(
                    error == "request body not allowed" && detail.contains("query parameters"),
                    "{error}: {detail}"
                );
            }
            let stranger = Answer::of(api.request(method, path).body(body)).await;
            assert_eq!(stranger.status, 401, "{method} {path}");
        }
    }
    let stays = api.get("/emails/user").await.json();
    assert_eq!(stays.as_array().unwrap().len(), 1);
    for (length, body, status) in [
        ("Content-Length: 2", "{}", "400 Bad Request"),
        ("Transfer-Encoding: chunked", "2\r\n{}\r\n", "400 Bad Request"),
        ("Transfer-Encoding: chunked", "0\r\n\r\n", "200 OK"),
        ("Content-Length: 0", "", "200 OK"),
    ] {
        let head = format!("DELETE /emails/user HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\n{length}\r\n\r\n");
        let mut stream = api.connect(format!("{head}{body}").as_bytes()).await;
        let line = String::from_utf8(read_until(&mut stream, b"\r\n").await).unwrap();
        assert_eq!(line.trim_end(), format!("HTTP/1.1 {status}"), "{length}");
    }
    assert_eq!(api.get("/emails/user").await.text(), "[]", "an empty body is none");
}

#[tokio::test]
async fn a_store_that_is_away_is_a_pause_and_not_an_empty_mailbox() {
    let api = Api::start().await;
    api.store.close().await;
    for path in ["/emails", "/emails/user", "/ready"] {
        let answer = api.get(path).await;
        answer.problem(503);
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1, "{path}");
    }
    assert_eq!(api.get("/health").await.text(), "{\"status\":\"ok\"}");
}

#[tokio::test]
async fn a_server_that_stops_is_alive_but_not_ready() {
    let tasks = Shutdown::new();
    let clock = Clock::manual(NOW);
    let metrics = Metrics::new(NOW);
    let (inbox, _store) = inbox(&clock, &metrics, &tasks).await;
    let router = http::router(&settings(), inbox, &tls(&clock, &metrics), &metrics, &tasks);
    let status = async |path: &str| {
        let request =
            axum::http::Request::get(path).header("Host", "localhost").body(axum::body::Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    assert_eq!(status("/ready").await, 200);
    tasks.request();
    assert_eq!(status("/ready").await, 503);
    assert_eq!(status("/health").await, 200);
}

#[tokio::test]
async fn who_takes_no_json_is_told_before_anything_is_done() {
    let api = Api::start().await;
    api.deliver(&["user@example.com"], "Subject: Kept\r\n\r\nHello\r\n").await;
    let asked = async |method: &str, path: &str, accept: &str| {
        Answer::of(api.request(method, path).header("X-API-KEY", KEY).header("Accept", accept)).await
    };
    for (method, path) in [("GET", "/emails"), ("GET", "/emails/user"), ("DELETE", "/emails/user")] {
        let (error, detail) = asked(method, path, "text/html").await.problem(406);
        assert_eq!(error, "not acceptable");
        assert!(detail.contains("application/json"), "{detail}");
    }
    let listed = asked("GET", "/emails/user", "text/html, */*;q=0.1").await;
    let path = format!("/emails/user/{}", listed.json()[0]["id"].as_str().unwrap());
    for (below, produced) in [("raw", "message/rfc822"), ("text", "text/plain")] {
        let path = format!("{path}/{below}");
        assert_eq!(asked("GET", &path, produced).await.status, 200);
        assert!(asked("GET", &path, "application/json").await.problem(406).1.contains(produced));
    }
    // What is wrong with the method goes before what is wrong with the type.
    asked("POST", "/emails/user", "text/html").await.problem(405);
}
