//! Which path leads where, and what every request passes on its way.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Response};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use axum::{Extension, Json, Router, middleware};
use ipnet::IpNet;
use serde_json::{Value, json};
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;

use super::events::Streams;
use super::held::Places;
use super::origin::Origin;
use super::problem::Problem;
use super::query::{Strict, is_well_encoded};
use super::records::Made;
use super::room::Room;
use super::{
    Settings, accept, addresses, attempts, claims, client, compress, content, count, emails, events, held, key, limit,
    origin, wanted,
};
use crate::inbox::Inbox;
use crate::metrics::{self, Metrics};
use crate::shutdown::Shutdown;
use crate::tls::{Certificate, Tls};

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

/// The whole API; it counts in `metrics`, and tells of them where the settings say so. It wants to know the address of each
/// client: it must be served with `ConnectInfo<SocketAddr>`.
///
/// Must be called in a Tokio runtime; what it keeps going in the background runs in `tasks`.
pub fn router(settings: &Settings, inbox: Inbox, tls: &Tls, metrics: &Metrics, tasks: &Shutdown) -> Router {
    let state = Readiness { inbox: inbox.clone(), tls: tls.clone(), tasks: tasks.clone() };
    let readiness = Router::new().route("/ready", get(ready)).with_state(state);
    let routes = Router::new()
        .route("/health", get(health))
        .merge(readiness)
        .merge(if settings.metrics { telling(metrics) } else { Router::new() })
        .merge(mailboxes(settings, inbox, &metrics.http, tasks))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed);
    guarded(routes, settings, &metrics.http, tasks)
}

/// Nothing but the metrics, and whether the server is alive.
pub(super) fn of_metrics(settings: &Settings, metrics: &Metrics, tasks: &Shutdown) -> Router {
    let routes = Router::new()
        .route("/health", get(health))
        .merge(telling(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed);
    guarded(routes, settings, &metrics.http, tasks)
}

fn telling(metrics: &Metrics) -> Router {
    Router::new().route("/metrics", get(tell)).with_state(metrics.clone())
}

async fn tell(State(metrics): State<Metrics>, Strict(()): Strict<()>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text())
}

/// The same for connections over TLS.
pub(super) fn over_tls(routes: Router) -> Router {
    routes.layer(map_response(async |mut response: Response<Body>| {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HSTS);
        response
    }))
}

/// What every request passes, the last line first.
pub(super) fn guarded(routes: Router, settings: &Settings, metrics: &Arc<metrics::Http>, tasks: &Shutdown) -> Router {
    let counted = metrics.clone();
    let hosts: Arc<[String]> = settings.hosts.as_slice().into();
    let proxies: Arc<[IpNet]> = settings.trusted_proxies.as_slice().into();
    routes
        .layer(compress::layer())
        .layer(from_fn(check))
        .layer(option_layer(origin::cors(&settings.cors_origins)))
        .layer(from_fn_with_state(hosts, origin::check_host))
        .layer(from_fn_with_state(proxies, client::identify))
        .layer(from_fn_with_state((settings.request_timeout, tasks.clone()), in_time))
        .layer(CatchPanicLayer::custom(move |cause| panicked(cause, &counted)))
        .layer(map_response(secured))
        .layer(from_fn_with_state(metrics.clone(), count::requests))
}

/// Everything that needs a key, whether the path exists or not. Requests are counted before the key is looked at, so
/// that guessing keys is slow.
fn mailboxes(settings: &Settings, inbox: Inbox, metrics: &Arc<metrics::Http>, tasks: &Shutdown) -> Router {
    let origins: Arc<[Origin]> = settings.cors_origins.as_slice().into();
    let gives = |kind| from_fn_with_state(kind, accept::check);
    let gate = key::Gate::new(settings, inbox.clone(), metrics.clone());
    let below = records()
        .route("/{mailbox}/events", get(events::of_mailbox).route_layer(gives("text/event-stream")))
        .route("/{mailbox}/{id}/raw", get(content::raw).route_layer(gives("message/rfc822")))
        .route("/{mailbox}/{id}/text", get(content::text).route_layer(gives("text/plain")))
        .route("/{mailbox}/{id}/html", get(content::html).route_layer(gives("text/html")))
        .route("/{mailbox}/{id}/code", get(content::code).route_layer(gives("text/plain")))
        .route("/{mailbox}/{id}/link", get(content::link).route_layer(gives("text/plain")))
        // Its type is that of the attachment, which is not known before it is read.
        .route("/{mailbox}/{id}/attachments/{index}", get(content::attachment))
        .fallback(not_found);
    Router::new()
        .nest("/emails", below)
        // Nesting leaves this one path to the fallback outside, which asks for no key.
        .route("/emails/", any(not_found))
        .route("/addresses", post(addresses::create).route_layer(gives("application/json")))
        .route("/events", get(events::all).route_layer(gives("text/event-stream")))
        .route("/attempts", get(attempts::all).route_layer(gives("application/json")))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(Extension(Places::new(settings, metrics.held.clone())))
        .layer(Extension(Room::new()))
        .layer(Extension(Made::new()))
        .layer(Extension(Streams::new(settings, tasks)))
        .layer(Extension(gate.clone()))
        .layer(from_fn_with_state(gate, key::require))
        .layer(option_layer(limit::layer(settings.rate_per_minute, tasks)))
        .layer(from_fn_with_state(origins, origin::check_origin))
        .with_state(inbox)
}

/// What is answered in JSON.
fn records() -> Router<Inbox> {
    Router::new()
        .route("/", get(emails::mailboxes))
        .route("/{mailbox}", get(emails::list).delete(emails::clear))
        .route("/{mailbox}/attempts", get(attempts::of_mailbox))
        .route("/{mailbox}/none", get(wanted::none))
        .route("/{mailbox}/claim", post(claims::claim))
        .route("/{mailbox}/{id}", get(emails::message).delete(emails::delete))
        .route("/{mailbox}/{id}/headers", get(content::headers))
        .route("/{mailbox}/{id}/release", post(claims::release))
        .route("/{mailbox}/{id}/done", post(claims::done))
        .route("/{mailbox}/{id}/extend", post(claims::extend))
        .route_layer(from_fn_with_state("application/json", accept::check))
}

/// Says that the program runs.
pub(super) async fn health(Strict(()): Strict<()>) -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// What is asked for `/ready`.
#[derive(Clone)]
struct Readiness {
    inbox: Inbox,
    tls: Tls,
    tasks: Shutdown,
}

async fn ready(State(state): State<Readiness>, Strict(()): Strict<()>) -> Result<Json<Value>, Problem> {
    if state.tasks.is_requested() {
        return Err(Problem::unavailable("the server is stopping"));
    }
    state.inbox.ready().await?;
    let certificate = |certificate: &Certificate| {
        let Certificate { source, names, expires_at, .. } = certificate;
        json!({ "source": source.name(), "names": names, "expires_at": expires_at.as_secs() })
    };
    Ok(Json(json!({
        "status": "ready",
        "certificates": state.tls.certificates().iter().map(certificate).collect::<Vec<_>>(),
        "warnings": state.tls.warnings(),
    })))
}

async fn not_found() -> Problem {
    Problem::not_found("not found", "there is nothing at this path")
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::method_not_allowed()
}

/// Refuses what no route could read.
async fn check(request: Request, next: middleware::Next) -> Result<Response<Body>, Problem> {
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
    if header_bytes(&request) > HEADER_MAX_BYTES {
        return Err(Problem::header_too_large(HEADER_MAX_BYTES));
    }
    if request.body().size_hint().lower() > BODY_MAX_BYTES {
        return Err(Problem::body_too_large(BODY_MAX_BYTES));
    }
    Ok(next.run(request).await)
}

fn header_bytes(request: &Request) -> usize {
    request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// A request that is held ends at once when the server stops; others are in hand, and are finished.
async fn in_time(
    State((limit, tasks)): State<(Duration, Shutdown)>,
    request: Request,
    next: middleware::Next,
) -> Result<Response<Body>, Problem> {
    let held = held::asked_by(request.uri());
    let limit = limit + held.unwrap_or_default();
    tokio::select! {
        () = tasks.requested(), if held.is_some() => Err(Problem::unavailable("the server is stopping")),
        answered = tokio::time::timeout(limit, next.run(request)) => answered.map_err(|_| Problem::timeout(limit)),
    }
}

/// One request that breaks must not take others with it.
fn panicked(cause: Box<dyn Any + Send>, metrics: &metrics::Http) -> Response<Body> {
    metrics.panics.inc();
    let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    tracing::error!(cause = text.unwrap_or_default(), "request panicked");
    Problem::internal().into_response()
}

async fn secured(mut response: Response<Body>) -> Response<Body> {
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use tower::ServiceExt;

    use super::*;
    use crate::clock::Timestamp;

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
