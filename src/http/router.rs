//! Which path leads where.

use std::sync::Arc;

use axum::extract::Request;
use axum::routing::any;
use axum::{Extension, Router};
use tower::ServiceBuilder;
use tower::util::option_layer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::events::Streams;
use super::front::guarded;
use super::held::Places;
use super::origin::Origin;
use super::probes::Readiness;
use super::problem::Problem;
use super::records::Made;
use super::room::Hall;
use super::{
    Settings, accept, addresses, attempts, body, check, claims, content, emails, events, key, limit, openapi, origin,
    probes, wanted,
};
use crate::inbox::Inbox;
use crate::metrics::{self, Metrics};
use crate::shutdown::Shutdown;
use crate::tls::Tls;

/// The whole API; it counts in `metrics`, and tells of them where the settings say so. It wants to know the address of each
/// client: it must be served with `ConnectInfo<SocketAddr>`.
///
/// Must be called in a Tokio runtime; what it keeps going in the background runs in `tasks`.
pub fn router(settings: &Settings, inbox: Inbox, tls: &Tls, metrics: &Metrics, tasks: &Shutdown) -> Router {
    let state = Readiness { inbox: inbox.clone(), tls: tls.clone(), tasks: tasks.clone() };
    let rate = limit::layer(settings.rate_per_minute, tasks);
    let open = OpenApiRouter::new()
        .routes(routes!(probes::health))
        .merge(OpenApiRouter::new().routes(routes!(probes::ready)).with_state(state))
        .merge(if settings.metrics { telling(metrics) } else { OpenApiRouter::new() });
    let (open, mut api) = open.split_for_parts();
    let (mailboxes, behind_key) = mailboxes(settings, inbox, rate.clone(), &metrics.http, tasks);
    api.merge(behind_key);
    let description = openapi::routes(&openapi::finish(api)).layer(option_layer(rate));
    let routes =
        open.merge(mailboxes).merge(description).fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    guarded(routes, settings, &metrics.http, tasks)
}

/// Nothing but the metrics, and whether the server is alive.
pub(super) fn of_metrics(settings: &Settings, metrics: &Metrics, tasks: &Shutdown) -> Router {
    let (routes, _) = OpenApiRouter::new().routes(routes!(probes::health)).merge(telling(metrics)).split_for_parts();
    let routes = routes.fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    guarded(routes, settings, &metrics.http, tasks)
}

fn telling(metrics: &Metrics) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(probes::metrics)).with_state(metrics.clone())
}

/// Everything that needs a key, whether the path exists or not. Requests are counted before the key is looked at, so
/// that guessing keys is slow.
fn mailboxes(
    settings: &Settings,
    inbox: Inbox,
    rate: Option<limit::Layer>,
    metrics: &Arc<metrics::Http>,
    tasks: &Shutdown,
) -> (Router, OpenApi) {
    let origins: Arc<[Origin]> = settings.cors_origins.as_slice().into();
    let gate = key::Gate::new(settings, inbox.clone(), metrics.clone());
    let below = OpenApiRouter::new()
        .merge(gives("application/json", records()))
        .merge(gives("message/rfc822", OpenApiRouter::new().routes(routes!(content::raw))))
        .merge(gives("text/html", OpenApiRouter::new().routes(routes!(content::html))))
        .merge(gives("text/plain", texts()))
        .merge(gives("text/event-stream", OpenApiRouter::new().routes(routes!(events::of_mailbox))))
        // Its type is that of the attachment, which is not known before it is read.
        .routes(routes!(content::attachment))
        .fallback(not_found);
    let (routes, mut api) = OpenApiRouter::new()
        .nest("/emails", below)
        .merge(gives("application/json", OpenApiRouter::new().routes(routes!(attempts::all))))
        .merge(gives("text/event-stream", OpenApiRouter::new().routes(routes!(events::all))))
        .route_layer(body::refused())
        .merge(gives("application/json", OpenApiRouter::new().routes(routes!(addresses::create))))
        .split_for_parts();
    openapi::behind_key(&mut api);
    let routes = routes
        // Nesting leaves this one path to the fallback outside, which asks for no key.
        .route("/emails/", any(not_found))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(
            ServiceBuilder::new()
                .layer(check::layer(move |request: &Request| origin::check_origin(request, &origins)))
                .layer(option_layer(rate))
                .layer(key::layer(gate.clone()))
                .layer(Extension(gate))
                .layer(Extension(Streams::new(settings, tasks)))
                .layer(Extension(Made::new()))
                .layer(Extension(Arc::new(Hall::new(settings))))
                .layer(Extension(Places::new(settings, metrics.held.clone(), tasks))),
        )
        .with_state(inbox);
    (routes, api)
}

/// Routes whose answers are of one type, which a client has to take.
fn gives(kind: &'static str, routes: OpenApiRouter<Inbox>) -> OpenApiRouter<Inbox> {
    routes.route_layer(check::layer(move |request: &Request| accept::check(request, kind)))
}

/// What is answered in JSON.
fn records() -> OpenApiRouter<Inbox> {
    OpenApiRouter::new()
        .routes(routes!(emails::mailboxes))
        .routes(routes!(emails::list, emails::clear))
        .routes(routes!(attempts::of_mailbox))
        .routes(routes!(wanted::none))
        .routes(routes!(claims::claim))
        .routes(routes!(emails::latest))
        .routes(routes!(emails::message, emails::delete))
        .routes(routes!(content::headers))
        .routes(routes!(claims::release))
        .routes(routes!(claims::done))
        .routes(routes!(claims::extend))
}

/// What is answered as a text.
fn texts() -> OpenApiRouter<Inbox> {
    OpenApiRouter::new().routes(routes!(content::text)).routes(routes!(content::code)).routes(routes!(content::link))
}

async fn not_found() -> Problem {
    Problem::not_found("not found", "there is nothing at this path")
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::method_not_allowed()
}
