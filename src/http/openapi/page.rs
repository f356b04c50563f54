//! The description, and a page to read it and to try it out on: Swagger UI, out of the program itself.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::super::known::{Known, Tag};
use super::super::problem::Problem;
use super::super::query::Strict;

/// The page loads what is below `/docs` and the description, asks this server, and does nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

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
    tag: Tag,
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
        let bytes = match bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        let file = File::new(HeaderValue::try_from(content_type).ok()?, bytes);
        Some((name, File { is_gzip: gzpipped, ..file }))
    };
    let script = File::new(SCRIPT, include_bytes!("page.js").as_slice());
    SWAGGER_UI.into_iter().filter_map(of_library).chain([("page.js", script)]).collect()
}

async fn openapi(State(files): State<Files>, Strict(()): Strict<()>, known: Known) -> Response {
    files.description.answer(&known)
}

async fn docs(State(files): State<Files>, Strict(()): Strict<()>, known: Known) -> Response {
    let mut page = files.page.answer(&known);
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    page
}

async fn part(
    State(files): State<Files>,
    Strict(()): Strict<()>,
    Path(wanted): Path<String>,
    known: Known,
) -> Result<Response, Problem> {
    let part = files.parts.iter().find(|(name, _)| *name == wanted);
    let (_, file) = part.ok_or_else(|| Problem::not_found("not found", "there is nothing at this path"))?;
    Ok(file.answer(&known))
}

impl File {
    fn new(content_type: HeaderValue, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { content_type, is_gzip: false, tag: Tag::list(&bytes), bytes }
    }

    /// The file, unless the client has it already.
    fn answer(&self, known: &Known) -> Response {
        if known.has(&self.tag) {
            return self.tag.not_modified();
        }
        let mut answer = ([(CONTENT_TYPE, self.content_type.clone())], self.bytes.clone()).into_response();
        if self.is_gzip {
            // Every browser takes it, and the page is for browsers alone.
            answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        self.tag.on(answer)
    }
}
