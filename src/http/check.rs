//! Requests that are answered before anything is done for them, because something is wrong with them.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::Either;
use tower::layer::layer_fn;
use tower::{Layer, Service};

use super::problem::Problem;

/// Routes behind a look at each request.
#[derive(Clone)]
pub(super) struct Checked<L, S> {
    look: L,
    routes: S,
}

/// Lets requests pass in which `look` finds no problem.
///
/// A look waits for nothing, so this is no asynchronous function: each of those would keep a box, with room for the request,
/// as long as the request is held.
pub(super) fn layer<L, S>(look: L) -> impl Layer<S, Service = Checked<L, S>> + Clone
where
    L: Fn(&Request) -> Result<(), Problem> + Clone,
{
    layer_fn(move |routes| Checked { look: look.clone(), routes })
}

impl<L, S> Service<Request> for Checked<L, S>
where
    L: Fn(&Request) -> Result<(), Problem>,
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.routes.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match (self.look)(&request) {
            Ok(()) => Either::Right(self.routes.call(request)),
            Err(problem) => Either::Left(ready(Ok(problem.into_response()))),
        }
    }
}
