//! What answers in clear text where the API is served over TLS: the way to it, and whether the server is alive.

use std::sync::Arc;

use axum::Router;
use axum::extract::OriginalUri;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Settings;
use super::front::guarded;
use super::probes::health;
use super::problem::Problem;
use super::router::method_not_allowed;
use crate::metrics;
use crate::shutdown::Shutdown;

/// Sends every request to the same path at `authority`, by a redirect that keeps its method (RFC 9110 section 15.4.9).
///
/// The host of the request is not asked: anybody can make one up, and lead others with it to wherever it likes.
pub(super) fn router(settings: &Settings, authority: String, metrics: &Arc<metrics::Http>, tasks: &Shutdown) -> Router {
    let routes = Router::new()
        .route("/health", get(health))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(move |OriginalUri(uri)| std::future::ready(redirect(&authority, &uri)));
    guarded(routes, settings, metrics, tasks)
}

fn redirect(authority: &str, uri: &axum::http::Uri) -> Response {
    // `OPTIONS *` has no path (RFC 9112 section 3.2.4).
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    match HeaderValue::try_from(format!("https://{authority}{path}")) {
        Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)]).into_response(),
        Err(_) => {
            Problem::bad_request("bad path", "the path has characters that are not allowed in one").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_to_the_configured_host_whatever_it_asks_for() {
        for (uri, location) in [
            ("/", "https://api.example.com:8443/"),
            ("/emails/user?limit=1", "https://api.example.com:8443/emails/user?limit=1"),
            ("//evil.example/x", "https://api.example.com:8443//evil.example/x"),
            ("http://evil.example/x", "https://api.example.com:8443/x"),
            ("*", "https://api.example.com:8443/"),
        ] {
            let response = redirect("api.example.com:8443", &uri.parse().unwrap());
            assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
            assert_eq!(response.headers()[LOCATION], location, "{uri}");
        }
    }
}
