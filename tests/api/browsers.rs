use restante::http::Settings;
use tokio::net::TcpStream;

use super::support::{Answer, Api, KEY, read_until, settings};
use super::{OPEN, ROUTES};

const FRIEND: &str = "https://app.example.com";

async fn api() -> Api {
    Api::with(Settings { cors_origins: vec![FRIEND.parse().unwrap()], ..settings() }).await
}

#[tokio::test]
async fn a_page_from_elsewhere_gets_nothing_on_any_route_that_has_something() {
    for api in [Api::start().await, api().await] {
        for (path, methods) in ROUTES.iter().filter(|(path, _)| !OPEN.contains(path)) {
            for &method in methods.iter().filter(|method| **method != "HEAD") {
                for origin in
                    ["https://evil.example", "null", "http://app.example.com", "https://app.example.com.evil.example"]
                {
                    let request = api.request(method, path).header("X-API-KEY", KEY).header("Origin", origin);
                    let answer = Answer::of(request).await;
                    assert_eq!(answer.problem(403).0, "origin not allowed", "{method} {path} {origin}");
                    assert_eq!(answer.header("access-control-allow-origin"), "");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_page_from_elsewhere_embeds_gets_nothing_without_a_key() {
    let api = Api::with(Settings { rate_per_minute: 1, ..settings() }).await;
    let ask = |site: &str, mode: &str| {
        api.request("GET", "/emails/user").header("Sec-Fetch-Site", site).header("Sec-Fetch-Mode", mode)
    };
    for _ in 0..3 {
        // An image, of which a browser does not say on which page it is.
        let answer = Answer::of(ask("cross-site", "no-cors")).await;
        assert_eq!(answer.problem(403).0, "origin not allowed", "and that is not counted");
    }
    assert_eq!(Answer::of(ask("cross-site", "navigate")).await.status, 401, "somebody has followed a link");
    // On a page that is in a sandbox, behind a proxy that brings the key.
    assert_eq!(Answer::of(ask("cross-site", "no-cors").header("X-API-KEY", KEY)).await.status, 200);
    for site in ["same-origin", "none"] {
        assert_eq!(Answer::of(ask(site, "cors")).await.status, 429);
    }
}

#[tokio::test]
async fn a_page_that_the_operator_has_named_may_ask() {
    let api = api().await;
    let request = api.request("OPTIONS", "/emails/user").header("Origin", FRIEND);
    let request = request.header("Access-Control-Request-Method", "DELETE");
    let answer = Answer::of(request.header("Access-Control-Request-Headers", "x-api-key")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, FRIEND));
    for method in ["GET", "POST", "DELETE"] {
        assert!(answer.header("access-control-allow-methods").contains(method), "{method}");
    }
    for header in ["x-api-key", "content-type", "last-event-id"] {
        assert!(answer.header("access-control-allow-headers").contains(header), "{header}");
    }
    for (key, status) in [(KEY, 200), ("wrong", 401)] {
        let request = api.request("GET", "/emails/user").header("Origin", FRIEND).header("X-API-KEY", key);
        let answer = Answer::of(request).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, FRIEND));
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
}

#[tokio::test]
async fn without_origins_no_answer_speaks_of_them() {
    let api = Api::start().await;
    let own = format!("http://{}", api.addr);
    let answer = Answer::of(api.request("GET", "/emails").header("X-API-KEY", KEY).header("Origin", own)).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""));
    let answer = Answer::of(api.request("OPTIONS", "/emails").header("X-API-KEY", KEY)).await;
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (405, ""));
}

/// The status line of the answer to a request whose lines are `head`.
async fn asked(api: &Api, head: &str) -> String {
    let mut stream = api.connect(format!("{head}\r\n\r\n").as_bytes()).await;
    String::from_utf8(read_until(&mut stream, b"\r\n").await).unwrap()
}

#[tokio::test]
async fn a_name_that_was_bent_to_loopback_is_refused_on_every_route() {
    let api = Api::with(Settings { hosts: vec!["mx.example.com".to_owned()], ..settings() }).await;
    for (path, _) in ROUTES.iter().chain(&[("/nothing", &[][..])]) {
        let request = api.request("GET", path).header("X-API-KEY", KEY).header("Host", "evil.example");
        let answer = Answer::of(request).await;
        assert_eq!(answer.problem(421).0, "host not allowed", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    for (head, status) in [
        ("GET /health HTTP/1.1\r\nHost: localhost:8080", "200 OK"),
        ("GET /health HTTP/1.1\r\nHost: mx.example.com", "200 OK"),
        // As probes of containers ask.
        ("GET /health HTTP/1.0", "200 OK"),
        ("GET /health HTTP/1.1", "400 Bad Request"),
        ("GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost", "400 Bad Request"),
        // The target goes before the header.
        ("GET http://evil.example/health HTTP/1.1\r\nHost: localhost", "421 Misdirected Request"),
        ("GET http://localhost/health HTTP/1.1\r\nHost: evil.example", "200 OK"),
    ] {
        let line = asked(&api, head).await;
        assert!(line.trim_end().ends_with(status), "{head}: {line}");
    }
}

#[tokio::test]
async fn clear_text_beside_tls_is_no_way_around() {
    let api = Api::start().await;
    let addr = api.listen_redirect().await;
    for (host, status) in [("localhost", "308 Permanent Redirect"), ("evil.example", "421 Misdirected Request")] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("DELETE /emails/user HTTP/1.1\r\nHost: {host}\r\nX-API-KEY: {KEY}\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let head = String::from_utf8(read_until(&mut stream, b"\r\n\r\n").await).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        assert!(head.contains("x-content-type-options: nosniff\r\n"), "{head}");
    }
}
