//! How many requests a minute one client may make.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use governor::middleware::NoOpMiddleware;
use tower_governor::GovernorError;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;

use super::problem::Problem;
use crate::mail::client_network;
use crate::shutdown::Shutdown;

/// How often clients are forgotten that have their whole share again, so that many addresses cannot fill the memory.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);

/// The layer that counts requests.
pub(super) type Layer = tower_governor::GovernorLayer<Client, NoOpMiddleware, Body>;

/// Counts requests by the address at the other end of the connection. `X-Forwarded-For` is not believed: anybody can
/// write it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client;

impl KeyExtractor for Client {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        peer.map(|ConnectInfo(peer)| client_network(peer.ip())).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// At most `per_minute` requests a minute of each client, all of them at once if it likes; `None` for 0, without limit.
pub(super) fn layer(per_minute: u32, tasks: &Shutdown) -> Option<Layer> {
    let period = Duration::from_secs(60).checked_div(per_minute)?;
    let config =
        GovernorConfigBuilder::default().key_extractor(Client).period(period).burst_size(per_minute).finish()?;
    let (limiter, group) = (config.limiter().clone(), tasks.clone());
    tasks.spawn(async move {
        while tokio::time::timeout(CLEANUP_INTERVAL, group.requested()).await.is_err() {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    });
    Some(Layer::new(config).error_handler(refusal))
}

fn refusal(error: GovernorError) -> Response {
    match error {
        // The limiter rounds down; a client that comes so early is refused again.
        GovernorError::TooManyRequests { wait_time, .. } => Problem::rate_limited(wait_time + 1),
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            tracing::error!(%error, "request without the address of its client");
            Problem::internal()
        }
    }
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_one_network_share_their_requests() {
        let of = |text: &str| {
            let mut request = Request::new(());
            request.extensions_mut().insert(ConnectInfo(text.parse::<SocketAddr>().unwrap()));
            Client.extract(&request).unwrap()
        };
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::2]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
    }
}
