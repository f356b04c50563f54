//! The body of a request, read strictly: JSON and nothing else, of bounded size, and a member that is not known is an error,
//! so that a typo never becomes a default.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Far more than any route has to be told.
const BODY_MAX_BYTES: usize = 4096;

/// The JSON of a request as its handler wants it; no body at all is the default. Its type denies unknown members.
pub(super) struct StrictBody<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for StrictBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(body).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        if !is_json(&parts.headers) {
            return Err(Problem::unsupported_media_type());
        }
        // It says what is wrong where, and which members there are.
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Self).map_err(|error| Problem::bad_request("bad request body", error.to_string()))
    }
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    match Limited::new(body, BODY_MAX_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::body_too_large(BODY_MAX_BYTES as u64)),
        Err(_) => Err(Problem::bad_request("bad request body", "the body of the request ends before its end")),
    }
}

/// Parameters, such as a charset, change nothing: JSON is UTF-8 (RFC 8259 section 8.1).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
