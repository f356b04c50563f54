//! The body of a request, read strictly: a JSON object and nothing else, of bounded size, and a member that is not known is an
//! error, so that a typo never becomes a default. Where none is read there is none: a filter that was sent as one would be
//! no filter.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::Either;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tower::layer::layer_fn;
use tower::{Layer, Service};

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
        // What can be read from an object can be read from an array too, member by member.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(bad("the body of this request must be a JSON object"));
        }
        // It says what is wrong where, and which members there are.
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Self).map_err(|error| bad(error.to_string()))
    }
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    match Limited::new(body, BODY_MAX_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::body_too_large(BODY_MAX_BYTES as u64)),
        Err(_) => Err(bad(CUT_SHORT)),
    }
}

const CUT_SHORT: &str = "the body of the request ends before its end";

fn bad(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::bad_request("bad request body", detail)
}

/// Routes that read no body.
#[derive(Clone)]
pub(super) struct Bodiless<S>(S);

/// Refuses requests with a body. An empty one is none.
pub(super) fn refused<S>() -> impl Layer<S, Service = Bodiless<S>> + Clone {
    layer_fn(Bodiless)
}

type Answer = Result<Response, Infallible>;

impl<S> Service<Request> for Bodiless<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    /// In a box where only its end tells whether a body is empty: hardly any client sends one that does not say its length.
    type Future = Either<Ready<Answer>, Either<S::Future, Pin<Box<dyn Future<Output = Answer> + Send>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let size = request.body().size_hint();
        if request.body().is_end_stream() || size.exact() == Some(0) {
            return Either::Right(Either::Left(self.0.call(request)));
        }
        if size.lower() > 0 {
            return Either::Left(ready(Ok(Problem::body_not_allowed().into_response())));
        }
        let mut routes = self.0.clone();
        std::mem::swap(&mut routes, &mut self.0);
        Either::Right(Either::Right(Box::pin(async move {
            let (parts, body) = request.into_parts();
            match is_empty(body).await {
                Ok(()) => routes.call(Request::from_parts(parts, Body::empty())).await,
                Err(problem) => Ok(problem.into_response()),
            }
        })))
    }
}

/// Waits for the first byte of a body, or for its end.
async fn is_empty(mut body: Body) -> Result<(), Problem> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| bad(CUT_SHORT))?;
        if frame.data_ref().is_some_and(|data| !data.is_empty()) {
            return Err(Problem::body_not_allowed());
        }
    }
    Ok(())
}

/// Parameters, such as a charset, change nothing: JSON is UTF-8 (RFC 8259 section 8.1).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
