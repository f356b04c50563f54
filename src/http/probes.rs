//! Whether the program runs, whether mail can be read, and what has been counted.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::examples;
use super::problem::Problem;
use super::query::Strict;
use crate::inbox::Inbox;
use crate::metrics::{self, Metrics};
use crate::shutdown::Shutdown;
use crate::tls::{Certificate, Tls};

/// What is asked for `/ready`.
#[derive(Clone)]
pub(super) struct Readiness {
    pub(super) inbox: Inbox,
    pub(super) tls: Tls,
    pub(super) tasks: Shutdown,
}

/// The program runs.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// Mail can be read.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// Always `ready`.
    pub(super) status: &'static str,
    /// The certificates in use.
    pub(super) certificates: Vec<CertificateView>,
    /// Sentences for people, from 14 days before a certificate expires.
    pub(super) warnings: Vec<String>,
}

/// A certificate in use.
#[derive(Serialize, ToSchema)]
#[schema(as = Certificate)]
pub(super) struct CertificateView {
    /// Where it comes from: `files`, `acme` or `self-signed`.
    pub(super) source: &'static str,
    /// The names that it is for.
    pub(super) names: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub(super) expires_at: u64,
}

impl Health {
    /// What is answered while anything is.
    pub(super) const OK: Self = Self { status: "ok" };
}

impl From<&Certificate> for CertificateView {
    fn from(certificate: &Certificate) -> Self {
        let Certificate { source, names, expires_at, .. } = certificate;
        Self { source: source.name(), names: names.clone(), expires_at: expires_at.as_secs() }
    }
}

/// Whether the program runs
///
/// 200 while it does. It does not count against the rate.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health",
    tag = "Health",
    responses((status = 200, description = "It runs", body = Health, example = json!(Health::OK))),
)]
pub(super) async fn health(Strict(()): Strict<()>) -> Json<Health> {
    Json(Health::OK)
}

/// Whether mail can be read
///
/// 200 while it can, also when the store is full; 503 while the store cannot be reached or the server is stopping. It shows
/// the certificates in use too. It does not count against the rate.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "ready",
    tag = "Health",
    responses((status = 200, description = "It can", body = Ready, example = json!(examples::ready()))),
)]
pub(super) async fn ready(State(state): State<Readiness>, Strict(()): Strict<()>) -> Result<Json<Ready>, Problem> {
    if state.tasks.is_requested() {
        return Err(Problem::unavailable("the server is stopping"));
    }
    state.inbox.ready().await?;
    Ok(Json(Ready {
        status: "ready",
        certificates: state.tls.certificates().iter().map(CertificateView::from).collect(),
        warnings: state.tls.warnings(),
    }))
}

/// What has been counted
///
/// In the text format of Prometheus. It does not count against the rate.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "Health",
    responses((status = 200, description = "The metrics", content_type = "text/plain", body = String, example = json!(examples::metrics()))),
)]
pub(super) async fn metrics(State(metrics): State<Metrics>, Strict(()): Strict<()>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text())
}
