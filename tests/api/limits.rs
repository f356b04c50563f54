use std::time::Duration;

use restante::http::Settings;
use restante::mail::Content;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Answer, Api, DEADLINE, KEY, message, read_until, rest, settings};

/// Short enough for a test, long enough for a busy machine.
const SHORT: Duration = Duration::from_millis(300);

/// Far more than the buffers of a connection hold.
const LARGE: usize = 64 << 20;

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection on which a large answer has begun, and how many of its bytes are still to come.
async fn large_answer(api: &Api) -> (TcpStream, usize) {
    let kept = message(&api.clock, Content::default());
    let path = format!("/emails/user/{}/raw", kept.id);
    api.keep(&["user@example.com"], kept, vec![b'x'; LARGE]).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\n\r\n");
    let mut stream = api.connect(request.as_bytes()).await;
    let head = read_until(&mut stream, b"\r\n\r\n").await;
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
    (stream, LARGE)
}

#[tokio::test]
async fn a_client_has_its_requests_of_a_minute_and_then_waits() {
    let api = Api::with(Settings { rate_per_minute: 3, ..settings() }).await;
    let first = api.get("/emails").await;
    assert_eq!(
        (first.status, first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining")),
        (200, "3", "2")
    );
    // Wrong keys and unknown paths count too.
    assert_eq!(Answer::of(api.request("GET", "/emails").header("X-API-KEY", "wrong")).await.status, 401);
    assert_eq!(api.get("/emails/a/b/c/d").await.status, 404);
    for forwarded in ["192.0.2.1", "192.0.2.2"] {
        let more = api.request("GET", "/emails").header("X-API-KEY", KEY).header("X-Forwarded-For", forwarded);
        let answer = Answer::of(more).await;
        let (error, detail) = answer.problem(429);
        assert!(error == "rate limit exceeded" && detail.contains("API_RATE_PER_MINUTE"), "{error}: {detail}");
        let wait = answer.header("retry-after").parse::<u64>().unwrap();
        assert!((1..=20).contains(&wait), "{wait}");
        assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), ("3", "0"));
    }
    // Probes are not counted.
    for _ in 0..10 {
        assert_eq!(api.get("/health").await.status, 200);
        assert_eq!(api.get("/ready").await.status, 200);
    }
}

#[tokio::test]
async fn requests_without_a_key_use_up_nothing_of_those_with_one() {
    let api = Api::with(Settings { rate_per_minute: 3, ..settings() }).await;
    for status in [401, 401, 401, 429, 429] {
        assert_eq!(Answer::of(api.request("GET", "/emails")).await.status, status);
    }
    for status in [200, 200, 200, 429] {
        assert_eq!(api.get("/emails").await.status, status);
    }
}

#[tokio::test]
async fn without_a_rate_nobody_waits() {
    let api = Api::start().await;
    for _ in 0..150 {
        assert_eq!(api.get("/emails").await.status, 200);
    }
}

#[tokio::test]
async fn who_does_not_finish_a_request_is_cut_off() {
    let api = Api::with(Settings { header_timeout: SHORT, ..settings() }).await;
    for half in [
        &b""[..],
        b"G",
        b"GET /health HTTP/1.1\r\nHost: localhost",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = api.connect(half).await;
        let said = String::from_utf8_lossy(&rest(&mut stream).await).into_owned();
        assert!(!said.contains("200 OK"), "{said}");
    }
}

#[tokio::test]
async fn who_does_not_finish_a_handshake_is_cut_off() {
    let api = Api::with(Settings { header_timeout: SHORT, ..settings() }).await;
    let addr = api.listen_tls().await;
    // Nothing, and the beginning of a ClientHello.
    for half in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(half).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"");
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_handshake() {
    let api = Api::start().await;
    let addr = api.listen_tls().await;
    let mut silent = TcpStream::connect(addr).await.unwrap();
    silent.write_all(b"\x16\x03\x01").await.unwrap();
    // Once the next connection has been refused, as it speaks no TLS, this one has been accepted.
    let mut other = TcpStream::connect(addr).await.unwrap();
    other.write_all(HEALTH).await.unwrap();
    rest(&mut other).await;
    // The time of the handshake itself is longer.
    assert_eq!(api.tasks.stop(DEADLINE / 2).await, 0);
    assert_eq!(rest(&mut silent).await, b"");
}

#[tokio::test]
async fn one_client_does_not_take_all_places_over_tls_either() {
    let api = Api::with(Settings { max_connections_per_ip: 1, ..settings() }).await;
    let mut first = api.connect(HEALTH).await;
    read_until(&mut first, b"{\"status\":\"ok\"}").await;
    let mut second = TcpStream::connect(api.listen_tls().await).await.unwrap();
    // In clear text nothing could be said to it.
    assert_eq!(rest(&mut second).await, b"");
}

#[tokio::test]
async fn a_kept_connection_is_closed_when_nothing_is_asked() {
    let api = Api::with(Settings { header_timeout: SHORT, ..settings() }).await;
    let mut stream = api.connect(HEALTH).await;
    read_until(&mut stream, b"{\"status\":\"ok\"}").await;
    stream.write_all(HEALTH).await.unwrap();
    read_until(&mut stream, b"{\"status\":\"ok\"}").await;
    assert_eq!(rest(&mut stream).await, b"");
}

#[tokio::test]
async fn who_takes_no_answer_gives_its_place_to_the_next() {
    let times = Settings { header_timeout: SHORT, request_timeout: SHORT, idle_timeout: SHORT, ..settings() };
    let api = Api::with(Settings { max_connections: 1, ..times }).await;
    let (_stalled, _) = large_answer(&api).await;
    assert_eq!(api.get("/health").await.status, 200);
}

#[tokio::test]
async fn one_connection_too_many_waits_for_its_turn() {
    let api = Api::with(Settings { max_connections: 1, ..settings() }).await;
    let mut first = api.connect(HEALTH).await;
    read_until(&mut first, b"{\"status\":\"ok\"}").await;
    let mut second = api.connect(HEALTH).await;
    let early = tokio::time::timeout(SHORT, second.read_u8()).await;
    assert!(early.is_err(), "answered beside the first: {early:?}");
    drop(first);
    read_until(&mut second, b"{\"status\":\"ok\"}").await;
}

#[tokio::test]
async fn one_client_does_not_take_all_places() {
    let api = Api::with(Settings { max_connections_per_ip: 1, ..settings() }).await;
    let mut first = api.connect(HEALTH).await;
    read_until(&mut first, b"{\"status\":\"ok\"}").await;
    let mut second = TcpStream::connect(api.addr).await.unwrap();
    let refusal = String::from_utf8(rest(&mut second).await).unwrap();
    assert!(refusal.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{refusal}");
    assert!(refusal.ends_with("\"error\":\"too many connections\"}"), "{refusal}");
    drop(first);
    // Its place is free once the server has seen it go.
    for _ in 0..1000 {
        let mut next = api.connect(HEALTH).await;
        if read_until(&mut next, b"\r\n").await == b"HTTP/1.1 200 OK\r\n" {
            return;
        }
    }
    panic!("the place was not given back");
}

#[tokio::test]
async fn several_addresses_share_their_limits() {
    let api = Api::with(Settings { max_connections: 1, rate_per_minute: 1, ..settings() }).await;
    let other = api.listen().await;
    let request = format!("GET /emails HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\n\r\n");
    let mut first = api.connect(request.as_bytes()).await;
    read_until(&mut first, b"\r\n\r\n[]").await;
    let mut second = TcpStream::connect(other).await.unwrap();
    second.write_all(request.as_bytes()).await.unwrap();
    let early = tokio::time::timeout(SHORT, second.read_u8()).await;
    assert!(early.is_err(), "answered beside the first: {early:?}");
    drop(first);
    let head = read_until(&mut second, b"\r\n").await;
    assert_eq!(head, b"HTTP/1.1 429 Too Many Requests\r\n");
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_hand_and_closes_what_is_idle() {
    let api = Api::start().await;
    let mut idle = api.connect(HEALTH).await;
    read_until(&mut idle, b"{\"status\":\"ok\"}").await;
    let mut silent = api.connect(b"").await;
    let (mut busy, length) = large_answer(&api).await;

    api.tasks.request();
    assert_eq!(rest(&mut idle).await, b"");
    assert_eq!(rest(&mut silent).await, b"");
    assert!(!api.served.is_finished());
    assert_eq!(rest(&mut busy).await.len(), length);
    tokio::time::timeout(DEADLINE, api.served).await.expect("the server does not end").unwrap();
    assert!(TcpStream::connect(api.addr).await.is_err());
}

#[tokio::test]
async fn a_hard_stop_waits_for_nobody() {
    let api = Api::start().await;
    let (mut busy, length) = large_answer(&api).await;
    api.tasks.stop(Duration::ZERO).await;
    assert!(rest(&mut busy).await.len() < length);
}
