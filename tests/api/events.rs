//! Streams of mail as it arrives.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use restante::http::Settings;
use restante::mail::Content;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::support::{Answer, Api, DEADLINE, KEY, message, read_until, rest, settings};

/// A client that reads a stream as the HTML standard has it.
pub(super) struct Stream {
    response: Response,
    bytes: Vec<u8>,
}

/// One event, or what stands in the place of one.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Event {
    pub(super) name: String,
    id: String,
    data: String,
    retry: String,
}

impl Event {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl Stream {
    pub(super) async fn open(api: &Api, path: &str) -> Self {
        Self::of(api.request("GET", path).header("X-API-KEY", KEY)).await
    }

    async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, bytes: Vec::new() }
    }

    /// The next block of lines; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") {
                let block = String::from_utf8(self.bytes.drain(..end + 2).collect()).unwrap();
                return Some(event(&block));
            }
            self.bytes.extend_from_slice(&self.response.chunk().await.unwrap()?);
        }
    }

    /// The next event with data.
    pub(super) async fn event(&mut self) -> Event {
        loop {
            let event = self.next().await.expect("the stream has ended");
            if !event.data.is_empty() {
                return event;
            }
        }
    }

    /// The subjects of the next messages.
    async fn subjects(&mut self, count: usize) -> Vec<String> {
        let mut subjects = Vec::new();
        while subjects.len() < count {
            let event = self.event().await;
            assert_eq!(event.name, "message", "{event:?}");
            subjects.push(event.json()["subject"].as_str().unwrap().to_owned());
        }
        subjects
    }
}

fn event(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.trim_end().lines() {
        let (name, value) = line.split_once(':').unwrap();
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match name {
            "event" => event.name = value,
            "id" => event.id = value,
            "data" => event.data += &value,
            "retry" => event.retry = value,
            "" => {}
            other => panic!("{other} is no field: {block}"),
        }
    }
    event
}

async fn deliver(api: &Api, to: &str, subject: &str) {
    let raw = format!("From: Shop <shop@example.org>\r\nSubject: {subject}\r\n\r\nYour code is 482 913.\r\n");
    api.deliver(&[to], raw).await;
}

/// Waits until a place is free, where there is one.
async fn a_place_is_free(api: &Api) {
    let asking = async { while api.get("/emails/nobody?wait=1s").await.status != 200 {} };
    tokio::time::timeout(DEADLINE, asking).await.expect("the place was not given back");
}

#[tokio::test]
async fn mail_is_told_of_as_it_arrives() {
    let api = Api::start().await;
    deliver(&api, "user@example.com", "before anybody listened").await;
    let request = api.request("GET", "/emails/user/events").header("X-API-KEY", KEY);
    let mut stream = Stream::of(request.header("Accept", "text/event-stream").header("Accept-Encoding", "gzip")).await;
    let header = |name: &str| stream.response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("content-type").as_deref(), Some("text/event-stream"));
    assert_eq!(header("cache-control").as_deref(), Some("no-store"));
    assert_eq!(header("x-accel-buffering").as_deref(), Some("no"));
    assert_eq!(header("content-encoding"), None);
    // Where to go on without having heard of anything.
    let first = stream.next().await.unwrap();
    assert_eq!((first.id.as_str(), first.retry.as_str(), first.data.as_str()), ("1", "1000", ""));

    deliver(&api, "other@example.com", "for somebody else").await;
    deliver(&api, "user@example.com", "Your order").await;
    let event = stream.event().await;
    assert_eq!((event.name.as_str(), event.id.as_str()), ("message", "3"));
    let kept = &api.get("/emails/user").await.json()[0];
    let told = event.json();
    for key in ["id", "seq", "mailbox", "from", "to", "subject", "received_at", "expires_at", "size", "header_from"] {
        assert_eq!(told[key], kept[key], "{key}");
    }
    assert_eq!((&told["code"], &told["link"], &told["attachments"]), (&json!("482913"), &Value::Null, &json!([])));
    let whole = api.get(told["url"].as_str().unwrap()).await.json();
    assert_eq!(whole["id"], kept["id"]);
}

#[tokio::test]
async fn a_stream_begins_where_it_is_told_to_and_goes_on_where_it_was() {
    let api = Api::start().await;
    for subject in ["one", "two", "three"] {
        deliver(&api, "user@example.com", subject).await;
    }
    let mut stream = Stream::open(&api, "/emails/user/events?after=0&q=-two").await;
    assert_eq!(stream.subjects(2).await, ["one", "three"]);
    drop(stream);
    deliver(&api, "user@example.com", "four").await;
    // The URL is still the same; what was heard last goes first.
    let request = api.request("GET", "/emails/user/events?after=0").header("X-API-KEY", KEY);
    let mut stream = Stream::of(request.header("Last-Event-ID", "2")).await;
    assert_eq!(stream.subjects(2).await, ["three", "four"]);
    deliver(&api, "user@example.com", "five").await;
    assert_eq!(stream.subjects(1).await, ["five"]);
}

#[tokio::test]
async fn the_mail_of_all_mailboxes_is_told_of() {
    let api = Api::start().await;
    let mut stream = Stream::open(&api, "/events?from=shop").await;
    for (to, subject) in [("a@example.com", "one"), ("b@example.com", "two"), ("a@example.com", "three")] {
        deliver(&api, to, subject).await;
    }
    let [first, second, third] = [stream.event().await, stream.event().await, stream.event().await];
    assert_eq!((&first.json()["mailbox"], &second.json()["mailbox"]), (&json!("a"), &json!("b")));
    assert_eq!(third.json()["subject"], "three");
    let request = |id: &str| api.request("GET", "/events").header("X-API-KEY", KEY).header("Last-Event-ID", id);
    assert_eq!(Stream::of(request(&first.id)).await.subjects(2).await, ["two", "three"]);
    let after = format!("/events?after={}", second.id);
    assert_eq!(Stream::open(&api, &after).await.subjects(1).await, ["three"]);

    // An id of another run of the server says nothing about what came meanwhile.
    let mut stream = Stream::of(request("0123456789abcdef-1")).await;
    let gap = stream.event().await;
    assert_eq!((gap.name.as_str(), &gap.json()["look_at"]), ("gap", &json!("/emails")));
    deliver(&api, "c@example.com", "four").await;
    assert_eq!(stream.subjects(1).await, ["four"]);
}

#[tokio::test]
async fn a_reader_that_falls_behind_is_told_of_the_gap_and_hears_what_is_new() {
    let api = Api::start().await;
    let mut stream = Stream::open(&api, "/events").await;
    // Nobody else has a turn meanwhile.
    for _ in 0..5000 {
        api.keep(&["user@example.com"], message(&api.clock, Content::default()), "").await;
    }
    let gap = stream.event().await;
    assert_eq!(gap.name, "gap", "{gap:?}");
    deliver(&api, "user@example.com", "new").await;
    assert_eq!(stream.subjects(1).await, ["new"]);
    // A mailbox is told from the store, however late.
    let mut stream = Stream::open(&api, "/emails/user/events?after=0").await;
    let oldest = api.get("/emails/user?limit=200&before=4105").await.json();
    assert_eq!(stream.event().await.json()["seq"], oldest.as_array().unwrap().last().unwrap()["seq"]);
}

#[tokio::test]
async fn a_mailbox_whose_store_has_started_over_is_not_silent() {
    let api = Api::start().await;
    deliver(&api, "user@example.com", "one").await;
    let mut stream = Stream::open(&api, "/emails/user/events?after=57").await;
    let gap = stream.event().await;
    assert_eq!((gap.name.as_str(), &gap.json()["look_at"]), ("gap", &json!("/emails/user")));
    deliver(&api, "user@example.com", "two").await;
    assert_eq!(stream.subjects(1).await, ["two"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_for_a_stream_is_told() {
    let api = Api::start().await;
    for (path, part) in [
        ("/emails/user/events?after=x", "after is \"x\"; it must be a seq of the mailbox"),
        ("/emails/user/events?after=%2B1", "after is \"+1\""),
        ("/events?after=1", "after is \"1\"; it must be the id of an event"),
        ("/events?after=", "after is \"\""),
        ("/events?wait=5s", "\"wait\" is not known; after, from, to, subject, q"),
        ("/emails/user/events?q=", "q is empty"),
    ] {
        let (_, detail) = api.get(path).await.problem(400);
        assert!(detail.contains(part), "{path}: {detail}");
    }
    let request = api.request("GET", "/events").header("X-API-KEY", KEY).header("Last-Event-ID", "7");
    let (error, detail) = Answer::of(request).await.problem(400);
    assert!(error == "bad cursor" && detail.contains("Last-Event-ID is \"7\""), "{detail}");
    for path in ["/events", "/emails/user/events"] {
        let request = api.request("GET", path).header("X-API-KEY", KEY).header("Accept", "application/json");
        Answer::of(request).await.problem(406);
    }
}

#[tokio::test]
async fn a_stream_takes_a_place_and_gives_it_back() {
    let api = Api::with(Settings { max_waiters: 1, ..settings() }).await;
    for path in ["/events", "/emails/user/events"] {
        let stream = Stream::open(&api, path).await;
        assert_eq!(api.get("/emails/nobody?wait=1s").await.problem(429).0, "too many waiting requests");
        assert_eq!(api.get("/events").await.problem(429).0, "too many waiting requests");
        drop(stream);
        a_place_is_free(&api).await;
        assert_eq!(api.ask("HEAD", path).await.status, 200);
        a_place_is_free(&api).await;
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_its_place() {
    let short = Duration::from_millis(300);
    let times = Settings { header_timeout: short, idle_timeout: short, request_timeout: short, ..settings() };
    let api = Api::with(Settings { max_waiters: 1, ..times }).await;
    let subject = Some("x".repeat(20_000));
    for _ in 0..900 {
        let content = Content { subject: subject.clone(), ..Content::default() };
        api.keep(&["user@example.com"], message(&api.clock, content), "").await;
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stalled = socket.connect(api.addr).await.unwrap();
    let request = format!("GET /emails/user/events?after=0 HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stalled, request.as_bytes()).await.unwrap();
    read_until(&mut stalled, b"\r\n\r\n").await;
    a_place_is_free(&api).await;
    // Its connection is idle like any other now.
    assert!(rest(&mut stalled).await.len() < 900 * 20_000);
}

#[tokio::test]
async fn no_time_limit_of_requests_cuts_a_stream() {
    let short = Duration::from_millis(100);
    let api = Api::with(Settings { idle_timeout: short, request_timeout: short, ..settings() }).await;
    let mut stream = Stream::open(&api, "/emails/user/events").await;
    // Many times as long as a request may take; on a busy machine this one may take too long itself.
    let waited = api.get("/emails/nobody?wait=1s").await;
    assert!([200, 503].contains(&waited.status), "{}", waited.text());
    deliver(&api, "user@example.com", "late").await;
    assert_eq!(stream.subjects(1).await, ["late"]);
}

#[tokio::test]
async fn a_stop_ends_streams_at_once_and_in_order() {
    let api = Api::start().await;
    let mut streams = [Stream::open(&api, "/events").await, Stream::open(&api, "/emails/user/events").await];
    assert_eq!(api.tasks.stop(DEADLINE / 2).await, 0);
    for stream in &mut streams {
        while stream.next().await.is_some() {}
    }
}

#[tokio::test]
async fn an_open_stream_counts_once_against_the_rate() {
    let api = Api::with(Settings { rate_per_minute: 2, ..settings() }).await;
    let mut stream = Stream::open(&api, "/emails/user/events").await;
    for subject in ["one", "two", "three"] {
        deliver(&api, "user@example.com", subject).await;
    }
    assert_eq!(stream.subjects(3).await, ["one", "two", "three"]);
    assert_eq!(api.get("/emails").await.header("x-ratelimit-remaining"), "0");
}
