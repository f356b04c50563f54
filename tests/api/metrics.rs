use restante::mail::Content;
use restante::store::Page;
use tokio::io::AsyncWriteExt;

use super::ROUTES;
use super::exposition::Exposition;
use super::support::{Answer, Api, KEY, message, rest, settings};

impl Api {
    async fn metrics(&self) -> Exposition {
        let answer = Answer::of(self.request("GET", "/metrics")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
        Exposition::parse(answer.text())
    }
}

#[tokio::test]
async fn requests_are_counted_by_the_template_of_their_route() {
    let api = Api::start().await;
    for path in ["/emails/user", "/emails/another", "/emails/user/latest", "/emails/user?subjct=x"] {
        api.get(path).await;
    }
    let told = api.metrics().await;
    let requests = |route: &str, status: &str| {
        told.value(&format!("restante_http_requests_total{{route=\"{route}\",method=\"GET\",status=\"{status}\"}}"))
    };
    assert_eq!(requests("/emails/{mailbox}", "2xx"), 2.0);
    assert_eq!(requests("/emails/{mailbox}", "4xx"), 1.0);
    assert_eq!(requests("/emails/{mailbox}/latest", "4xx"), 1.0);
    assert_eq!(told.value("restante_http_problems_total{error=\"unknown query parameter\"}"), 1.0);
    assert_eq!(told.value("restante_http_request_duration_seconds_count{route=\"/emails/{mailbox}\"}"), 3.0);
    assert_eq!(told.value("restante_http_requests_in_progress"), 1.0, "this one");
    assert!(told.value("restante_http_open_connections") >= 1.0);
}

#[tokio::test]
async fn whatever_a_stranger_asks_for_makes_no_new_series() {
    let api = Api::start().await;
    // To ask for the metrics is a series too, from the second time on.
    api.metrics().await;
    let mut series = 0;
    for round in 0..3 {
        for n in 0..20 {
            let secret = format!("sekret{round}x{n}");
            for path in
                [format!("/{secret}"), format!("/emails/{secret}"), format!("/emails/{secret}/{secret}/{secret}/x")]
            {
                for method in ["GET", "POST", "DELETE", &format!("M{secret}")] {
                    for key in [KEY, &secret] {
                        Answer::of(api.request(method, &path).header("X-API-KEY", key)).await;
                    }
                }
            }
            let mut stream = api.connect(format!("{secret} / {secret}\r\nHost: {secret}\r\n\r\n").as_bytes()).await;
            stream.shutdown().await.unwrap();
            rest(&mut stream).await;
        }
        let told = api.metrics().await;
        assert!(!told.samples.keys().any(|series| series.contains("sekret")), "{:?}", told.samples.keys());
        assert!(series == 0 || told.samples.len() == series, "{} series, then {}", series, told.samples.len());
        series = told.samples.len();
    }
    assert!(series < 400, "{series}");
}

#[tokio::test]
async fn a_wrong_key_is_counted_and_a_missing_one_is_not() {
    let api = Api::with(restante::http::Settings { failed_keys_per_minute: 2, rate_per_minute: 7, ..settings() }).await;
    Answer::of(api.request("GET", "/emails")).await.problem(401);
    for (key, status) in [("wrong", 401), ("other", 401), ("third", 429)] {
        Answer::of(api.request("GET", "/emails").header("X-API-KEY", key)).await.problem(status);
    }
    for _ in 0..7 {
        Answer::of(api.request("GET", "/emails")).await;
    }
    let told = api.metrics().await;
    assert_eq!(told.value("restante_http_failed_keys_total"), 2.0);
    assert_eq!(told.value("restante_http_problems_total{error=\"too many invalid API keys\"}"), 1.0);
    assert_eq!(told.value("restante_http_problems_total{error=\"rate limit exceeded\"}"), 1.0);
}

#[tokio::test]
async fn a_held_request_is_seen_and_its_time_is_not_taken_for_slowness() {
    let api = Api::start().await;
    let held = async { api.get("/emails/user/latest?wait=30s").await };
    let deliver = async {
        while api.metrics().await.value("restante_http_held_requests") < 1.0 {
            tokio::task::yield_now().await;
        }
        api.deliver(&["user@example.com"], "Subject: x\r\n\r\n").await;
    };
    let (answer, ()) = tokio::join!(held, deliver);
    assert_eq!(answer.status, 200);
    let told = api.metrics().await;
    assert_eq!(told.value("restante_http_held_requests"), 0.0);
    assert!(!told.samples.keys().any(|series| series.contains("_count{route=\"/emails/{mailbox}/{id}\"")), "{told:?}");
}

#[tokio::test]
async fn the_store_counts_what_came_and_why_it_went() {
    let api = Api::start().await;
    for _ in 0..1002 {
        api.keep(&["full@example.com"], message(&api.clock, Content::default()), "x").await;
    }
    api.deliver(&["a@example.com", "b@example.com"], "Subject: x\r\n\r\n").await;
    assert_eq!(api.ask("DELETE", "/emails/a").await.status, 200);
    let latest = api.get("/emails/b/latest").await.json();
    assert_eq!(api.ask("DELETE", &format!("/emails/b/{}", latest["id"].as_str().unwrap())).await.status, 200);
    let told = api.metrics().await;
    let removed = |told: &Exposition, reason: &str| {
        told.value(&format!("restante_store_messages_removed_total{{reason=\"{reason}\"}}"))
    };
    assert_eq!(told.value("restante_store_messages_kept_total"), 1004.0);
    assert_eq!(told.value("restante_store_append_duration_seconds_count"), 1003.0);
    assert_eq!(["expired", "evicted", "deleted"].map(|reason| removed(&told, reason)), [0.0, 2.0, 2.0]);
    assert!(told.value("restante_store_held_bytes") > 1000.0);
    assert_eq!(told.value("restante_store_max_bytes"), f64::from(1 << 30));
    api.clock.advance(std::time::Duration::from_secs(86_401));
    api.store.sweep().await.unwrap();
    let told = api.metrics().await;
    assert_eq!((removed(&told, "expired"), told.value("restante_store_held_bytes")), (1000.0, 0.0));
    api.store.close().await;
    let page = Page { before: None, after: None, limit: 1, max_bytes: 1 };
    assert!(api.inbox.list(&api.inbox.mailbox("a").unwrap(), page).await.is_err());
    assert_eq!(api.metrics().await.value("restante_store_errors_total{kind=\"unavailable\"}"), 1.0);
}

#[tokio::test]
async fn where_metrics_have_an_address_of_their_own_nothing_else_has_them() {
    let api = Api::with(restante::http::Settings { metrics: false, ..settings() }).await;
    Answer::of(api.request("GET", "/metrics")).await.problem(404);
    let addr = api.listen_metrics().await;
    let told = Answer::of(api.request_at(addr, "GET", "/metrics")).await;
    assert_eq!(told.status, 200);
    assert!(!Exposition::parse(told.text()).samples.is_empty());
    assert_eq!(Answer::of(api.request_at(addr, "GET", "/health")).await.status, 200);
    for (path, _) in ROUTES.iter().filter(|(path, _)| !["/health", "/metrics"].contains(path)) {
        Answer::of(api.request_at(addr, "GET", path).header("X-API-KEY", KEY)).await.problem(404);
    }
    let bent = api.request_at(addr, "GET", "/metrics").header("Host", "evil.example");
    Answer::of(bent).await.problem(421);
}
