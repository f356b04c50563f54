//! What is counted of every request.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Response;
use axum::middleware::Next;
use tokio::time::Instant;

use super::held;
use super::problem::Kind;
use crate::metrics::{self, Answered, Present};

/// Counts a request and its answer. Nothing of what the client wrote is kept: of the path only the template of its route,
/// and of the method only whether it is a known one.
pub(super) async fn requests(
    State(metrics): State<Arc<metrics::Http>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let _present = Present::new(&metrics.in_progress);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let may_be_held = held::asked_by(request.uri()).is_some();
    let start = Instant::now();
    let response = next.run(request).await;
    metrics.answered(Answered {
        route: route.as_ref().map(MatchedPath::as_str),
        method: method.as_str(),
        status: response.status().as_u16(),
        problem: response.extensions().get::<Kind>().map(|kind| kind.0),
        took: (!may_be_held).then(|| start.elapsed()),
    });
    response
}
