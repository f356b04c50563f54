//! What every request passes on its way to its route, and its answer on the way back.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Response};
use axum::middleware::map_response;
use axum::response::IntoResponse;
use futures_util::FutureExt;
use ipnet::IpNet;
use tower::layer::layer_fn;
use tower::util::option_layer;
use tower::{Service, ServiceBuilder};

use super::count::Counted;
use super::problem::Problem;
use super::query::is_well_encoded;
use super::{Settings, check, client, compress, origin};
use crate::metrics;
use crate::shutdown::Shutdown;

/// No route reads so much; of those that read no body, this is what is let pass.
const BODY_MAX_BYTES: u64 = 64 * 1024;

/// Room for the tokens of any proxy. Below what the library reads: so who is over it is told why.
const HEADER_MAX_BYTES: usize = 16 * 1024;

/// Much more than the longest path that this server gives out.
const URI_MAX_BYTES: usize = 8 * 1024;

pub(super) const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What every answer says about itself unless its route says otherwise: it is what its type says, it is nobody else's, and
/// a browser that shows it runs nothing of it and loads nothing for it.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
];

/// A year in which a browser asks over TLS alone (RFC 6797). Subdomains are not ours to speak for.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What every request passes, the first line first.
///
/// It is one layer of the router: each is a box that is cloned for every request, with all that lies below it.
pub(super) fn guarded(routes: Router, settings: &Settings, metrics: &Arc<metrics::Http>, tasks: &Shutdown) -> Router {
    let front = Arc::new(Front {
        request_timeout: settings.request_timeout,
        hosts: settings.hosts.clone(),
        proxies: settings.trusted_proxies.clone(),
        metrics: metrics.clone(),
        tasks: tasks.clone(),
    });
    routes.layer(
        ServiceBuilder::new()
            .layer(layer_fn(move |routes| Passed { front: front.clone(), routes }))
            .layer(option_layer(origin::cors(&settings.cors_origins)))
            .layer(check::layer(check))
            .map_response(IntoResponse::into_response)
            .layer(compress::layer()),
    )
}

/// What is needed to receive a request, and to see it off.
struct Front {
    request_timeout: Duration,
    hosts: Vec<String>,
    proxies: Vec<IpNet>,
    metrics: Arc<metrics::Http>,
    tasks: Shutdown,
}

/// Routes that count every request, whatever becomes of it, and whose answers harm no browser.
#[derive(Clone)]
struct Passed<S> {
    front: Arc<Front>,
    routes: S,
}

impl<S> Service<Request> for Passed<S>
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.routes.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let front = self.front.clone();
        let counted = Counted::new(&front.metrics, &request);
        // Here, so that what is kept of a request that is held has no room for the request; in a box, as it is moved.
        let begun = catch_unwind(AssertUnwindSafe(|| {
            front.admit(&mut request)?;
            Ok(Box::pin(self.routes.call(request)))
        }));
        Box::pin(async move {
            let response = match begun.unwrap_or_else(|cause| Err(panicked(&*cause, &front.metrics))) {
                Ok(answering) => {
                    let answered = AssertUnwindSafe(front.answer(answering, counted.held)).catch_unwind().await;
                    answered.unwrap_or_else(|cause| Err(panicked(&*cause, &front.metrics))).into_response()
                }
                Err(problem) => problem.into_response(),
            };
            let response = secured(response);
            counted.answered(&response);
            Ok(response)
        })
    }
}

impl Front {
    /// Finds out who asks, and whether they may ask here.
    fn admit(&self, request: &mut Request) -> Result<(), Problem> {
        client::identify(request, &self.proxies);
        origin::check_host(request, &self.hosts)
    }

    /// A request that is held ends at once when the server stops; others are in hand, and are finished.
    async fn answer<R>(
        &self,
        answering: impl Future<Output = Result<R, Infallible>>,
        held: Option<Duration>,
    ) -> Result<R, Problem> {
        let limit = self.request_timeout + held.unwrap_or_default();
        tokio::select! {
            () = self.tasks.requested(), if held.is_some() => Err(Problem::unavailable("the server is stopping")),
            answered = tokio::time::timeout(limit, answering) => match answered {
                Ok(Ok(response)) => Ok(response),
                Err(_) => Err(Problem::timeout(limit)),
            },
        }
    }
}

/// Refuses what no route could read.
fn check(request: &Request) -> Result<(), Problem> {
    let uri = request.uri();
    if uri.path_and_query().is_some_and(|path| path.as_str().len() > URI_MAX_BYTES) {
        return Err(Problem::uri_too_long(URI_MAX_BYTES));
    }
    if !is_well_encoded(uri.path()) {
        return Err(Problem::bad_request(
            "bad path",
            "the path has a % that does not begin a percent-encoded byte; write %25 for a percent sign",
        ));
    }
    if header_bytes(request) > HEADER_MAX_BYTES {
        return Err(Problem::header_too_large(HEADER_MAX_BYTES));
    }
    if request.body().size_hint().lower() > BODY_MAX_BYTES {
        return Err(Problem::body_too_large(BODY_MAX_BYTES));
    }
    if !compress::is_any_accepted(request.headers()) {
        return Err(Problem::no_coding_accepted());
    }
    Ok(())
}

fn header_bytes(request: &Request) -> usize {
    request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// One request that breaks must not take others with it.
fn panicked(cause: &(dyn Any + Send), metrics: &metrics::Http) -> Problem {
    metrics.panics.inc();
    let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    tracing::error!(cause = text.unwrap_or_default(), "request panicked");
    Problem::internal()
}

fn secured(mut response: Response<Body>) -> Response<Body> {
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// The same for connections over TLS.
pub(super) fn over_tls(routes: Router) -> Router {
    routes.layer(map_response(async |mut response: Response<Body>| {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HSTS);
        response
    }))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::http::header::CONTENT_TYPE;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::clock::Timestamp;
    use crate::metrics::Metrics;

    async fn answer(path: &str) -> (Response<Body>, Metrics) {
        let metrics = Metrics::new(Timestamp::from_millis(0));
        let routes = Router::new()
            .route("/breaks", get(async || -> () { panic!("private cause") }))
            .route("/hangs", get(std::future::pending::<()>));
        let settings = Settings { request_timeout: Duration::from_millis(250), ..Settings::for_tests() };
        let request = Request::get(path).header("Host", "localhost").body(Body::empty()).unwrap();
        let routes = guarded(routes, &settings, &metrics.http, &Shutdown::new());
        (routes.oneshot(request).await.unwrap(), metrics)
    }

    async fn problem(response: Response<Body>) -> String {
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_request_that_breaks_is_a_problem_without_its_cause() {
        let (response, metrics) = answer("/breaks").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let text = problem(response).await;
        assert!(text.contains("internal error") && !text.contains("private cause"), "{text}");
        let told = metrics.text();
        for line in [
            "restante_http_panics_total 1",
            "restante_http_problems_total{error=\"internal error\"} 1",
            "restante_http_requests_total{route=\"/breaks\",method=\"GET\",status=\"5xx\"} 1",
        ] {
            assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
        }
    }

    #[tokio::test]
    async fn a_request_that_hangs_is_given_up() {
        let (response, _) = answer("/hangs").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(problem(response).await.contains("longer than 250ms"));
    }
}
