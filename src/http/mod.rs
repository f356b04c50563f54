//! The HTTP API through which mail is called for.

mod accept;
mod addresses;
mod attempts;
mod body;
mod check;
mod claims;
mod client;
mod compress;
mod content;
mod count;
mod download;
mod emails;
mod events;
mod front;
mod guesses;
mod harmless;
mod held;
mod html;
mod key;
mod known;
mod lent;
mod limit;
mod offload;
mod openapi;
mod origin;
mod path;
mod pieces;
mod probes;
mod problem;
mod query;
mod range;
mod records;
mod redirect;
mod room;
mod router;
mod server;
mod stream;
mod token;
mod view;
mod wanted;

use std::time::Duration;

use ipnet::IpNet;

pub use self::key::{ApiKey, ApiKeyError};
pub use self::origin::{Origin, OriginError};
pub use self::router::router;
pub use self::server::Server;

/// Who may read, and how much one client may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Any of these keys opens the API; without one it stays shut for all.
    pub keys: Vec<ApiKey>,
    /// Whether `/metrics` is served beside the API; not where it has an address of its own.
    pub metrics: bool,
    /// How many requests a minute one client may make; 0 is without limit. It slows down who guesses keys, and a script
    /// that polls without a pause.
    pub rate_per_minute: u32,
    /// How many wrong keys a minute one client may try; 0 is without limit. It makes guessing hopeless.
    pub failed_keys_per_minute: u32,
    /// The names by which the API is asked on a loopback address, beside `localhost` and addresses.
    pub hosts: Vec<String>,
    /// The pages from elsewhere that may ask, by a browser.
    pub cors_origins: Vec<Origin>,
    /// The proxies that say truly for whom they ask.
    pub trusted_proxies: Vec<IpNet>,
    /// How many connections are open at a time; further ones wait until one is closed. At least 1. It bounds
    /// memory and file descriptors.
    pub max_connections: usize,
    /// How many of them one client may have; of an IPv6 client, its /64. It keeps one client from taking all places; the
    /// proxies are not counted in this way.
    pub max_connections_per_ip: usize,
    /// How long a client may take for the TLS handshake and the header of a request, and how long a kept connection waits
    /// for the next request. It frees connections on which nobody speaks.
    pub header_timeout: Duration,
    /// How many requests are held at a time, waiting for mail. Each takes some memory and a connection.
    pub max_waiters: usize,
    /// How many of them may have the same key. It keeps one user from taking all places.
    pub max_waiters_per_key: usize,
    /// How long the server may take for the answer to a request, on top of the time for which it was asked to hold it.
    pub request_timeout: Duration,
    /// How long a connection stays open on which no byte moves, on top of `request_timeout`. It frees connections whose
    /// client has gone or takes no answer.
    pub idle_timeout: Duration,
}

#[cfg(test)]
impl Settings {
    /// Without limits that a test meets by chance.
    fn for_tests() -> Self {
        const LONG: Duration = Duration::from_secs(60);
        Self {
            keys: Vec::new(),
            metrics: true,
            rate_per_minute: 0,
            failed_keys_per_minute: 0,
            hosts: Vec::new(),
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            max_waiters: 100,
            max_waiters_per_key: 100,
            max_connections: 100,
            max_connections_per_ip: 100,
            header_timeout: LONG,
            request_timeout: LONG,
            idle_timeout: LONG,
        }
    }
}
