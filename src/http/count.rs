//! What is counted of every request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, Response};
use tokio::time::Instant;

use super::held;
use super::problem::Kind;
use crate::metrics::{self, Answered, Present};

/// A request that is counted. Nothing of what the client wrote is kept: of the path only the template of its route, and of the
/// method only whether it is a known one.
pub(super) struct Counted {
    metrics: Arc<metrics::Http>,
    route: Option<MatchedPath>,
    method: Method,
    /// How long it may be held, where it asks for that.
    pub(super) held: Option<Duration>,
    start: Instant,
    _present: Present,
}

impl Counted {
    /// `request` comes in.
    pub(super) fn new(metrics: &Arc<metrics::Http>, request: &Request) -> Self {
        Self {
            metrics: metrics.clone(),
            route: request.extensions().get().cloned(),
            method: request.method().clone(),
            held: held::asked_by(request.uri()),
            start: Instant::now(),
            _present: Present::new(&metrics.in_progress),
        }
    }

    /// It has its answer.
    pub(super) fn answered(self, response: &Response<Body>) {
        self.metrics.answered(Answered {
            route: self.route.as_ref().map(MatchedPath::as_str),
            method: self.method.as_str(),
            status: response.status().as_u16(),
            problem: response.extensions().get::<Kind>().map(|kind| kind.0),
            took: self.held.is_none().then(|| self.start.elapsed()),
        });
    }
}
