//! How many requests a minute one client may make.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, Request};
use axum::response::{IntoResponse, Response};
use governor::middleware::StateInformationMiddleware;
use tower_governor::GovernorError;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;

use super::client::Client;
use super::key;
use super::problem::Problem;
use crate::shutdown::Shutdown;

/// How often clients are forgotten that have their whole share again, so that many addresses cannot fill the memory.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);

/// In every answer that was counted: how many requests at once a client may make, and how many of them are left.
pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub(super) const RATE_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// The layer that counts requests.
pub(super) type Layer = tower_governor::GovernorLayer<ByClient, StateInformationMiddleware, Body>;

/// Counts requests by client, those that show a key apart from those that do not: a page from elsewhere can make a browser send
/// these, and uses up nothing of what its user has.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByClient;

impl KeyExtractor for ByClient {
    type Key = (IpAddr, bool);

    fn extract<T>(&self, request: &Request<T>) -> Result<Self::Key, GovernorError> {
        let client = request.extensions().get::<Client>().ok_or(GovernorError::UnableToExtractKey)?;
        Ok((client.network(), key::presented(request.headers()).is_some()))
    }
}

/// At most `per_minute` requests a minute of each client, all of them at once if it likes; `None` for 0, without limit.
pub(super) fn layer(per_minute: u32, tasks: &Shutdown) -> Option<Layer> {
    let period = Duration::from_secs(60).checked_div(per_minute)?;
    let mut builder = GovernorConfigBuilder::default().key_extractor(ByClient).use_headers();
    let config = builder.period(period).burst_size(per_minute).finish()?;
    let (limiter, group) = (config.limiter().clone(), tasks.clone());
    tasks.spawn(async move {
        while tokio::time::timeout(CLEANUP_INTERVAL, group.requested()).await.is_err() {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    });
    Some(Layer::new(config).error_handler(move |error| refusal(error, per_minute)))
}

fn refusal(error: GovernorError, per_minute: u32) -> Response {
    match error {
        // The limiter rounds down; a client that comes so early is refused again.
        GovernorError::TooManyRequests { wait_time, .. } => {
            let counted =
                [(RATE_LIMIT, per_minute), (RATE_REMAINING, 0)].map(|(name, count)| (name, count.to_string()));
            return (counted, Problem::rate_limited(wait_time + 1)).into_response();
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            tracing::error!(%error, "request without the address of its client");
            Problem::internal()
        }
    }
    .into_response()
}
