use restante::http::Settings;

use super::support::{Answer, Api, KEY, read_until, settings};

/// The status of a request that a proxy passes on for `client`.
async fn forwarded(api: &Api, client: &str, key: &str) -> u16 {
    let request = api.request("GET", "/emails").header("X-API-KEY", key).header("X-Forwarded-For", client);
    Answer::of(request).await.status
}

fn behind_loopback() -> Settings {
    Settings { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..settings() }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_share() {
    let api = Api::with(Settings { rate_per_minute: 1, ..behind_loopback() }).await;
    assert_eq!(forwarded(&api, "192.0.2.1", KEY).await, 200);
    assert_eq!(forwarded(&api, "192.0.2.2", KEY).await, 200);
    assert_eq!(forwarded(&api, "192.0.2.1", KEY).await, 429);
    // What the client itself has written stands before what the proxy adds.
    assert_eq!(forwarded(&api, "192.0.2.3, 192.0.2.1", KEY).await, 429);
}

#[tokio::test]
async fn who_is_no_trusted_proxy_is_counted_itself() {
    let trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    let api = Api::with(Settings { rate_per_minute: 1, trusted_proxies, ..settings() }).await;
    assert_eq!(forwarded(&api, "192.0.2.1", KEY).await, 200);
    assert_eq!(forwarded(&api, "192.0.2.2", KEY).await, 429);
}

#[tokio::test]
async fn who_guesses_keys_behind_a_proxy_does_not_shut_out_the_others() {
    let api = Api::with(Settings { failed_keys_per_minute: 1, ..behind_loopback() }).await;
    assert_eq!(forwarded(&api, "192.0.2.1", "wrong").await, 401);
    assert_eq!(forwarded(&api, "192.0.2.1", KEY).await, 429);
    assert_eq!(forwarded(&api, "192.0.2.2", KEY).await, 200);
}

#[tokio::test]
async fn the_connections_of_a_proxy_are_not_those_of_one_client() {
    let api = Api::with(Settings { max_connections_per_ip: 1, ..behind_loopback() }).await;
    let health = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (mut first, mut second) = (api.connect(health).await, api.connect(health).await);
    for stream in [&mut first, &mut second] {
        read_until(stream, b"{\"status\":\"ok\"}").await;
    }
}
