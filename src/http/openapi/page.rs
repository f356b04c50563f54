//! The description, and a page to read it and to try it out on: Swagger UI, out of the program itself.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerFile};
use xxhash_rust::xxh3::xxh3_64;

use super::super::problem::Problem;
use super::super::query::Strict;

/// The page loads what is below `/docs` and the description, asks this server, and does nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// It is asked for again whenever it is wanted, and is sent when it has changed.
const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");

/// Those of the files of Swagger UI that the page loads.
const SWAGGER_UI: [&str; 3] = ["favicon-32x32.png", "swagger-ui-bundle.js", "swagger-ui.css"];

/// What is served to everybody, made once.
#[derive(Clone)]
struct Files {
    description: Arc<File>,
    page: Arc<File>,
    /// Those that the page loads, by name.
    parts: Arc<[(&'static str, File)]>,
}

struct File {
    content_type: HeaderValue,
    is_gzip: bool,
    etag: HeaderValue,
    bytes: Bytes,
}

/// `/openapi.json` and `/docs`, for everybody: what the API can do is no secret.
pub(in crate::http) fn routes(api: &OpenApi) -> Router {
    let description = serde_json::to_vec(api).unwrap_or_default();
    let files = Files {
        description: File::new(JSON, description).into(),
        page: File::new(HTML, include_bytes!("page.html").as_slice()).into(),
        parts: parts().into(),
    };
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/docs", get(docs))
        .route("/docs/{file}", get(part))
        .with_state(files)
}

/// What the page loads: its own script and what is of Swagger UI.
fn parts() -> Vec<(&'static str, File)> {
    let config = Arc::new(Config::default());
    let of_library = |name: &'static str| {
        let SwaggerFile { bytes, content_type, gzpipped, .. } =
            utoipa_swagger_ui::serve(name, config.clone()).ok()??;
        let file = File::new(HeaderValue::try_from(content_type).ok()?, bytes.into_owned());
        Some((name, File { is_gzip: gzpipped, ..file }))
    };
    let script = File::new(SCRIPT, include_bytes!("page.js").as_slice());
    SWAGGER_UI.into_iter().filter_map(of_library).chain([("page.js", script)]).collect()
}

async fn openapi(State(files): State<Files>, Strict(()): Strict<()>, headers: HeaderMap) -> Response {
    files.description.answer(&headers)
}

async fn docs(State(files): State<Files>, Strict(()): Strict<()>, headers: HeaderMap) -> Response {
    let mut page = files.page.answer(&headers);
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    page
}

async fn part(
    State(files): State<Files>,
    Strict(()): Strict<()>,
    Path(wanted): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let part = files.parts.iter().find(|(name, _)| *name == wanted);
    let (_, file) = part.ok_or_else(|| Problem::not_found("not found", "there is nothing at this path"))?;
    Ok(file.answer(&headers))
}

impl File {
    fn new(content_type: HeaderValue, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let etag = format!("\"{:016x}\"", xxh3_64(&bytes));
        Self {
            content_type,
            is_gzip: false,
            etag: HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\"")),
            bytes,
        }
    }

    /// The file, unless the client has it already (RFC 9110 section 13.1.2).
    fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        let is_known = known.flat_map(|tags| tags.split(',')).any(|tag| {
            let tag = tag.trim();
            tag == "*" || self.etag == tag.strip_prefix("W/").unwrap_or(tag)
        });
        let mut answer = if is_known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, self.content_type.clone())], self.bytes.clone()).into_response()
        };
        let headers = answer.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, REVALIDATED);
        if self.is_gzip && !is_known {
            // Every browser takes it, and the page is for browsers alone.
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}
