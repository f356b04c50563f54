//! The API key, and the tokens that are made with it: who may read.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response};
use futures_util::future::Either;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio::time::Instant;
use tower::layer::layer_fn;
use tower::{Layer, Service};

use super::Settings;
use super::client::Client;
use super::guesses::Guesses;
use super::path::MailboxPath;
use super::problem::Problem;
use super::token::{Grant, Signer, Unproven};
use crate::connections::{Line, Lines};
use crate::inbox::Inbox;
use crate::metrics;

/// The longest key, in bytes.
const API_KEY_MAX_BYTES: usize = 256;

/// A key that opens the API. Only its SHA-256 is held, so that it can be neither printed nor logged.
#[derive(Clone)]
pub struct ApiKey([u8; 32]);

/// Why a text cannot be a key. The key itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// Nothing.
    #[error("an API key is empty; it has 1 to {API_KEY_MAX_BYTES} characters")]
    Empty,
    /// More than 256 bytes.
    #[error("an API key is longer than {API_KEY_MAX_BYTES} characters")]
    TooLong,
    /// A character that an HTTP header does not carry.
    #[error("an API key has a character other than visible ASCII (no spaces)")]
    NotVisibleAscii,
}

impl FromStr for ApiKey {
    type Err = ApiKeyError;

    fn from_str(text: &str) -> Result<Self, ApiKeyError> {
        match text.len() {
            0 => Err(ApiKeyError::Empty),
            1..=API_KEY_MAX_BYTES if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self::of(text.as_bytes())),
            1..=API_KEY_MAX_BYTES => Err(ApiKeyError::NotVisibleAscii),
            _ => Err(ApiKeyError::TooLong),
        }
    }
}

impl ApiKey {
    /// Digests have one length: comparing them tells nothing about the length of a key.
    fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    pub(super) const fn digest(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

/// Which of the keys a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyIndex(pub(super) usize);

/// Who may pass.
#[derive(Clone)]
pub(super) struct Gate {
    inbox: Inbox,
    keys: Arc<[ApiKey]>,
    /// One for each key, made when the first token is seen or asked for: it takes a while.
    signers: Arc<OnceLock<Box<[Signer]>>>,
    guesses: Arc<Guesses>,
    /// The same for tokens: those of a key that was taken away shut out no key.
    forgeries: Arc<Guesses>,
    /// What may be logged of requests without a key.
    lines: Arc<Lines>,
    metrics: Arc<metrics::Http>,
}

impl Gate {
    pub(super) fn new(settings: &Settings, inbox: Inbox, metrics: Arc<metrics::Http>) -> Self {
        let [guesses, forgeries] = [(); 2].map(|()| Arc::new(Guesses::new(settings.failed_keys_per_minute)));
        let keys = settings.keys.as_slice().into();
        Self { inbox, keys, signers: Arc::default(), guesses, forgeries, lines: Arc::default(), metrics }
    }

    /// A token for `grant` that is good as long as this key is.
    pub(super) async fn sign(&self, KeyIndex(key): KeyIndex, grant: &Grant) -> Option<String> {
        self.signers().await.get(key).map(|signer| signer.sign(grant))
    }

    /// What a token grants, and by which key.
    async fn granted(&self, token: &Unproven) -> Option<(KeyIndex, Grant)> {
        let signers = self.signers().await;
        signers.iter().zip(0..).find_map(|(signer, key)| Some((KeyIndex(key), signer.read(token)?)))
    }

    async fn signers(&self) -> &[Signer] {
        if self.signers.get().is_none() {
            let (signers, keys) = (self.signers.clone(), self.keys.clone());
            let making = move || drop(signers.set(keys.iter().map(Signer::new).collect()));
            // Where that breaks there is none, and no token is taken.
            _ = tokio::task::spawn_blocking(making).await;
        }
        self.signers.get().map_or(&[], |signers| signers)
    }
}

/// What a request carries to show that it may pass.
enum Shown {
    Key(KeyIndex),
    /// What looks like a token: it takes a while to tell whether it is one.
    Token(Token),
}

/// What looks like a token, and its SHA-256 as it was shown.
struct Token {
    unproven: Unproven,
    digest: [u8; 32],
}

/// The answer to a request whose token has to be looked at first.
type Admitted = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

/// Routes that need a valid key, or a token for what is asked for.
#[derive(Clone)]
pub(super) struct Locked<S> {
    gate: Gate,
    routes: S,
}

/// Lets requests pass that carry a valid key, or a token for what they ask for.
pub(super) fn layer<S>(gate: Gate) -> impl Layer<S, Service = Locked<S>> + Clone {
    layer_fn(move |routes| Locked { gate: gate.clone(), routes })
}

impl<S> Service<Request> for Locked<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    /// What has a token goes its own way: few have one, and a key has nothing to wait for.
    type Future = Either<Ready<Result<Response, Infallible>>, Either<S::Future, Admitted>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.routes.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.gate.shown(&request) {
            Ok(Shown::Key(index)) => {
                request.extensions_mut().insert(index);
                Either::Right(Either::Left(self.routes.call(request)))
            }
            Ok(Shown::Token(token)) => {
                // The one that is ready is used, the other is left for the next request.
                let mut routes = self.routes.clone();
                std::mem::swap(&mut routes, &mut self.routes);
                let gate = self.gate.clone();
                Either::Right(Either::Right(Box::pin(async move {
                    match gate.admit(request, &token).await {
                        Ok(request) => routes.call(request).await,
                        Err(problem) => Ok(problem.into_response()),
                    }
                })))
            }
            Err(problem) => Either::Left(ready(Ok(problem.into_response()))),
        }
    }
}

impl Gate {
    /// What a request shows.
    ///
    /// # Errors
    /// Where it shows nothing, or nothing that is right, or its client has shown too much that was wrong.
    fn shown(&self, request: &Request) -> Result<Shown, Problem> {
        let Some(presented) = presented(request.headers()) else {
            self.log(request);
            return Err(Problem::no_key());
        };
        let key = ApiKey::of(presented);
        if let Some(index) = opens(&self.keys, &key) {
            return right(&self.guesses, request).map(|()| Shown::Key(index));
        }
        match Unproven::of(presented) {
            Some(unproven) => Ok(Shown::Token(Token { unproven, digest: *key.digest() })),
            None => Err(self.wrong(&self.guesses, request, *key.digest())),
        }
    }

    /// Counts what is wrong.
    fn wrong(&self, guesses: &Guesses, request: &Request, digest: [u8; 32]) -> Problem {
        let allowed = network(request).map_or(Ok(()), |client| guesses.wrong(client, digest, Instant::now()));
        if let Err(wait) = allowed {
            return Problem::too_many_wrong_keys(wait);
        }
        self.metrics.failed_keys.inc();
        self.log(request);
        Problem::invalid_key()
    }

    /// The request, where its token is one, and is for what it asks for. A token is a guess at the key that has signed it:
    /// anybody can sign one with a key that may be the right one.
    async fn admit(&self, request: Request, token: &Token) -> Result<Request, Problem> {
        let Some((index, grant)) = self.granted(&token.unproven).await else {
            return Err(self.wrong(&self.forgeries, &request, token.digest));
        };
        right(&self.forgeries, &request)?;
        let mut request = within(&self.inbox, &grant, request).await?;
        request.extensions_mut().insert(index);
        request.extensions_mut().insert(grant);
        Ok(request)
    }

    fn log(&self, request: &Request) {
        let client = network(request);
        let line = self.lines.admit(client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), Instant::now());
        if let Some(Line { left_out }) = line {
            tracing::info!(client = client.map(display), left_out, "request without a valid API key");
        }
    }
}

/// Whether what is right opens.
///
/// # Errors
/// Where its client has shown too much that was wrong.
fn right(guesses: &Guesses, request: &Request) -> Result<(), Problem> {
    let allowed = network(request).map_or(Ok(()), |client| guesses.right(client, Instant::now()));
    allowed.map_err(Problem::too_many_wrong_keys)
}

/// The client of a request, as far as it counts as one.
fn network(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Client>().map(|client| client.network())
}

/// The request, where it is for the mailbox of the grant. What is below no mailbox is for nobody who has a token, whether it
/// is there or not; a new route is so until it names a mailbox in its path.
async fn within(inbox: &Inbox, grant: &Grant, request: Request) -> Result<Request, Problem> {
    if grant.left(inbox.now().as_secs()).is_zero() {
        return Err(Problem::expired_token());
    }
    let (mut parts, body) = request.into_parts();
    match MailboxPath::from_request_parts(&mut parts, inbox).await {
        Ok(MailboxPath(mailbox)) if mailbox.as_str() == grant.mailbox => Ok(Request::from_parts(parts, body)),
        _ => Err(Problem::out_of_scope(&grant.mailbox)),
    }
}

/// The key of a request: `X-API-KEY`, or else the token of `Authorization: Bearer` (RFC 6750 section 2.1). An empty one is none:
/// it is a variable of a script that is not set.
pub(super) fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("x-api-key").filter(|key| !key.is_empty()) {
        return Some(key.as_bytes());
    }
    let credentials = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = credentials.split_at_checked("bearer ".len())?;
    Some(token.trim_ascii_start()).filter(|token| scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty())
}

/// Compares with every key, also after one has matched, so that the time tells nothing.
fn opens(keys: &[ApiKey], presented: &ApiKey) -> Option<KeyIndex> {
    let nothing = (Choice::from(0), 0u64);
    let (found, index) = keys.iter().zip(0..).fold(nothing, |(found, index), (key, this)| {
        let is_it = key.0.ct_eq(&presented.0);
        (found | is_it, u64::conditional_select(&index, &this, is_it))
    });
    bool::from(found).then(|| KeyIndex(usize::try_from(index).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length() {
        assert!("k".parse::<ApiKey>().is_ok());
        assert!("x".repeat(256).parse::<ApiKey>().is_ok());
        assert_eq!("".parse::<ApiKey>().unwrap_err(), ApiKeyError::Empty);
        assert_eq!("x".repeat(257).parse::<ApiKey>().unwrap_err(), ApiKeyError::TooLong);
        for bad in ["a b", "a\n", "ä", " k"] {
            assert_eq!(bad.parse::<ApiKey>().unwrap_err(), ApiKeyError::NotVisibleAscii, "{bad:?}");
        }
    }

    #[test]
    fn a_key_does_not_show_itself() {
        let key: ApiKey = "secret-key".parse().unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(hidden)");
    }

    #[test]
    fn any_of_the_keys_opens_and_nothing_else_does() {
        let keys: Vec<ApiKey> = ["first", "second"].iter().map(|key| key.parse().unwrap()).collect();
        let opens = |keys: &[ApiKey], key: &str| opens(keys, &ApiKey::of(key.as_bytes()));
        assert_eq!(opens(&keys, "first"), Some(KeyIndex(0)));
        assert_eq!(opens(&keys, "second"), Some(KeyIndex(1)));
        for wrong in ["", "firs", "firstt", "FIRST", "first,second"] {
            assert_eq!(opens(&keys, wrong), None, "{wrong}");
        }
        assert_eq!(opens(&[], ""), None);
    }

    #[test]
    fn the_key_is_read_from_both_headers() {
        assert_eq!(presented(&headers("x-api-key", "k")), Some(&b"k"[..]));
        assert_eq!(presented(&headers("authorization", "Bearer k")), Some(&b"k"[..]));
        assert_eq!(presented(&headers("authorization", "bearer  k")), Some(&b"k"[..]));
        assert_eq!(presented(&headers("authorization", "Basic k")), None);
        assert_eq!(presented(&headers("authorization", "Bear")), None);
        assert_eq!(presented(&HeaderMap::new()), None);
        assert_eq!(presented(&headers("x-api-key", "")), None);
        assert_eq!(presented(&headers("authorization", "Bearer  ")), None);
        let mut both = headers("x-api-key", "");
        both.extend(headers("authorization", "Bearer k"));
        assert_eq!(presented(&both), Some(&b"k"[..]));
    }
}
