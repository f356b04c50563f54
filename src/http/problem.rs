//! The errors of the API: problem documents (RFC 9457).

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::inbox::{Lost, StoreError};

/// The `error` of a message that is not there, and of one that was.
pub(super) const MESSAGE_NOT_FOUND: &str = "message not found";
pub(super) const MESSAGE_GONE: &str = "message gone";
/// The `error` where there is a message, and not that in it.
pub(super) const CODE_NOT_FOUND: &str = "code not found";
pub(super) const LINK_NOT_FOUND: &str = "link not found";

/// When a client may ask again after the store could not be reached.
const UNAVAILABLE_RETRY_SECS: u64 = 5;
/// When a client may ask again to be held.
const WAITERS_RETRY_SECS: u64 = 1;

/// Why a request was not answered. What it says is for everybody to read; private causes go to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    error: &'static str,
    detail: Cow<'static, str>,
    retry_after_secs: Option<u64>,
    challenge: Option<Challenge>,
    more: Map<String, Value>,
}

/// What a client is told that has to show something else (RFC 6750 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Challenge {
    /// It has shown nothing: no reason is given (section 3.1).
    Nothing,
    InvalidToken,
    InsufficientScope,
}

/// Which problem an answer is, for those who count them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind(pub(super) &'static str);

/// The members of the document: those of the RFC, `error`, which scripts read, and what belongs to this problem alone.
#[derive(Serialize, ToSchema)]
struct Document<'a> {
    /// Always `about:blank`: `error` says more.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What was wrong, and what is allowed, for people.
    detail: &'a str,
    /// What was wrong in short, for scripts.
    error: &'static str,
    #[serde(flatten)]
    #[schema(ignore)]
    more: &'a Map<String, Value>,
}

impl Problem {
    fn new(status: StatusCode, error: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, error, detail: detail.into(), retry_after_secs: None, challenge: None, more: Map::new() }
    }

    /// The request itself is wrong, in the way that `detail` says.
    pub(super) fn bad_request(error: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, detail)
    }

    /// What was asked for is not there.
    pub(super) fn not_found(error: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error, detail)
    }

    /// What was asked for was there, and is not any more.
    pub(super) fn gone(error: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::GONE, error, detail)
    }

    /// What is there cannot be had in the form that was asked for.
    pub(super) fn unprocessable(error: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error, detail)
    }

    /// No key.
    pub(super) fn no_key() -> Self {
        let detail = "send a valid key as X-API-KEY: <key> or Authorization: Bearer <key>";
        Self::new(StatusCode::UNAUTHORIZED, "invalid API key", detail).challenge(Challenge::Nothing)
    }

    /// A wrong key, or a wrong token. Its document is that of no key.
    pub(super) fn invalid_key() -> Self {
        Self::no_key().challenge(Challenge::InvalidToken)
    }

    /// A token that was good; only who has it reads this.
    pub(super) fn expired_token() -> Self {
        let detail = "this token has expired; ask for a fresh address";
        Self::new(StatusCode::UNAUTHORIZED, "token expired", detail).challenge(Challenge::InvalidToken)
    }

    /// A token that is good, for something else.
    pub(super) fn out_of_scope(mailbox: &str) -> Self {
        let detail = format!("this token opens mailbox {mailbox} and nothing else");
        Self::new(StatusCode::FORBIDDEN, "token out of scope", detail).challenge(Challenge::InsufficientScope)
    }

    /// There is a body where none is read.
    pub(super) fn body_not_allowed() -> Self {
        let detail = "this path reads no body, and nothing has been done; what it takes are query parameters, such as ?subject=Verify";
        Self::bad_request("request body not allowed", detail)
    }

    /// The body is of a type that no route reads.
    pub(super) fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported media type",
            "the body of this request must be JSON, with Content-Type: application/json",
        )
    }

    /// The client has used up its requests for now.
    pub(super) fn rate_limited(retry_after_secs: u64) -> Self {
        let detail =
            format!("more than API_RATE_PER_MINUTE requests from this address; try again in {retry_after_secs} s");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded", detail).retry_after(retry_after_secs)
    }

    /// The client has been wrong about the key too often.
    pub(super) fn too_many_wrong_keys(wait: Duration) -> Self {
        let secs = wait.as_secs() + 1;
        let detail = format!(
            "more than API_FAILED_KEYS_PER_MINUTE wrong keys or tokens from this address; none is looked at for {secs} s"
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many invalid API keys", detail).retry_after(secs)
    }

    /// A page asks that is neither ours nor named by the operator.
    pub(super) fn foreign_origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "origin not allowed",
            "a page asks that is not of this host; the operator can name its origin in CORS_ORIGINS",
        )
    }

    /// The request is for a host that is not ours (RFC 9110 section 15.5.20).
    pub(super) fn misdirected() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host not allowed",
            "this address is asked for localhost or by its number; the operator can name other hosts in HTTP_HOSTS",
        )
    }

    /// The client takes no answer of the type that there is.
    pub(super) fn not_acceptable(produced: &str) -> Self {
        let detail = format!("the Accept header excludes {produced}, which is what this path gives");
        Self::new(StatusCode::NOT_ACCEPTABLE, "not acceptable", detail)
    }

    /// The client takes no answer as it is, and none of the codings that there are.
    pub(super) fn no_coding_accepted() -> Self {
        let detail = "the Accept-Encoding header excludes identity, and both gzip and zstd, which is all that there is";
        Self::new(StatusCode::NOT_ACCEPTABLE, "not acceptable", detail)
    }

    /// The path exists, but not for this method.
    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method not allowed",
            "this path does not take that method; the Allow header names those that it takes",
        )
    }

    /// The answer took too long.
    pub(super) fn timeout(limit: Duration) -> Self {
        let detail = format!("the answer took longer than {limit:?}; the request was given up");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "request timed out", detail).retry_after(UNAVAILABLE_RETRY_SECS)
    }

    /// The request has a body larger than any route reads.
    pub(super) fn body_too_large(max_bytes: u64) -> Self {
        let detail = format!("the body of a request has at most {max_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request body too large", detail)
    }

    /// The client wants bytes behind the last.
    pub(super) fn range_not_satisfiable(len: u64) -> Self {
        let detail = format!("the Range header begins behind the end; there are {len} bytes");
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "range not satisfiable", detail)
    }

    /// The path with its query is longer than any that this server gives out.
    pub(super) fn uri_too_long(max_bytes: usize) -> Self {
        let detail = format!("the path with its query has at most {max_bytes} bytes");
        Self::new(StatusCode::URI_TOO_LONG, "URI too long", detail)
    }

    /// The header of the request is larger than any route needs.
    pub(super) fn header_too_large(max_bytes: usize) -> Self {
        let detail = format!("the header fields of a request have at most {max_bytes} bytes together");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "request header too large", detail)
    }

    /// Something broke here; the log has the cause.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error", "the server failed; its log has the cause")
    }

    /// Not now, but soon.
    pub(super) fn unavailable(detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service unavailable", detail).retry_after(UNAVAILABLE_RETRY_SECS)
    }

    /// What was not to be there is there.
    pub(super) fn conflict(error: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, error, detail)
    }

    /// No more requests are held at the moment.
    pub(super) fn too_many_waiters(detail: &'static str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many waiting requests", detail).retry_after(WAITERS_RETRY_SECS)
    }

    /// Whether it says that a message is not there, or not there any more.
    pub(super) fn is_of_missing_message(&self) -> bool {
        matches!(self.error, MESSAGE_NOT_FOUND | MESSAGE_GONE)
    }

    /// What was wrong in short.
    pub(super) const fn error(&self) -> &'static str {
        self.error
    }

    /// One more member of the document.
    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    fn retry_after(self, secs: u64) -> Self {
        Self { retry_after_secs: Some(secs), ..self }
    }

    fn challenge(self, challenge: Challenge) -> Self {
        Self { challenge: Some(challenge), ..self }
    }
}

impl Challenge {
    /// A scheme has a parameter behind it.
    const fn field(self) -> &'static str {
        match self {
            Self::Nothing => "Bearer realm=\"restante\"",
            Self::InvalidToken => "Bearer realm=\"restante\", error=\"invalid_token\"",
            Self::InsufficientScope => "Bearer realm=\"restante\", error=\"insufficient_scope\"",
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "request failed in the store");
        match error {
            StoreError::Unavailable(_) => Self::unavailable("the mail cannot be read at the moment; try again"),
            StoreError::Full(_) => Self::unavailable("the store is full; try again when mail has expired"),
            StoreError::Damaged(_) => Self::internal(),
        }
    }
}

/// What goes while it is read was none, and no failure.
impl From<Lost> for Problem {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Deleted => Self::not_found(MESSAGE_NOT_FOUND, lost.to_string()),
            Lost::Failed(error) => error.into(),
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = Document {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            error: self.error,
            more: &self.more,
        };
        document.serialize(serializer)
    }
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Document::schema()
    }
}

impl ToSchema for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(&self)).into_response();
        response.extensions_mut().insert(Kind(self.error));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(secs) = self.retry_after_secs {
            headers.insert(RETRY_AFTER, secs.into());
        }
        // RFC 9110 section 15.5.2: a 401 names a way to authenticate.
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge.field()));
        }
        response
    }
}
