//! Fresh addresses: one for each test, with a token that opens its mailbox alone.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::body::StrictBody;
use super::key::{Gate, KeyIndex};
use super::problem::Problem;
use super::query::Strict;
use super::token::Grant;
use super::view::mailbox_url;
use crate::inbox::{FreshError, Inbox};
use crate::units;

/// How long a token opens its mailbox where nothing is said; never longer than mail is kept.
const TTL_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// The longest label, in bytes.
const LABEL_MAX_BYTES: usize = 200;

/// What is asked for; everything may be left out.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wish {
    prefix: Option<String>,
    domain: Option<String>,
    label: Option<String>,
    ttl: Option<String>,
}

/// A fresh address, and how its mailbox is read.
#[derive(Serialize)]
struct AddressView {
    address: String,
    mailbox: String,
    domain: String,
    label: Option<String>,
    token: String,
    expires_at: u64,
    seq: u64,
    urls: UrlsView,
}

/// The paths that a test asks.
#[derive(Serialize)]
struct UrlsView {
    emails: String,
    wait: String,
    latest: String,
    code: String,
    link: String,
    none: String,
    events: String,
    attempts: String,
}

impl UrlsView {
    /// Below `url`, for mail behind `seq`.
    fn new(url: &str, seq: u64) -> Self {
        Self {
            emails: url.to_owned(),
            wait: format!("{url}?wait=30s&after={seq}"),
            latest: format!("{url}/latest?wait=30s&after={seq}"),
            code: format!("{url}/latest/code?wait=30s&after={seq}"),
            link: format!("{url}/latest/link?wait=30s&after={seq}"),
            none: format!("{url}/none?for=5s&after={seq}"),
            events: format!("{url}/events?after={seq}"),
            attempts: format!("{url}/attempts"),
        }
    }
}

/// `POST /addresses`: an address that nobody has used, with a token for its mailbox. Nothing is kept of it.
pub(super) async fn create(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    Extension(gate): Extension<Gate>,
    Extension(key): Extension<KeyIndex>,
    StrictBody(wish): StrictBody<Wish>,
) -> Result<Response, Problem> {
    let ttl = ttl(wish.ttl.as_deref(), inbox.retention())?;
    if wish.label.as_ref().is_some_and(|label| label.len() > LABEL_MAX_BYTES) {
        return Err(refused(format!("label is longer than {LABEL_MAX_BYTES} bytes")));
    }
    let (address, mailbox) = inbox.fresh_address(wish.prefix.as_deref(), wish.domain.as_deref())?;
    let seq = inbox.newest(&mailbox).await?.unwrap_or_default();
    let grant = Grant { mailbox: mailbox.as_str().to_owned(), expires_at: inbox.now().after(ttl).as_secs() };
    let token = gate.sign(key, &grant).await.ok_or_else(|| {
        tracing::error!("there is no signer for the key of a request");
        Problem::internal()
    })?;
    let url = mailbox_url(&inbox, &mailbox);
    let view = AddressView {
        address: address.to_string(),
        mailbox: grant.mailbox,
        domain: address.domain().to_string(),
        label: wish.label,
        token,
        expires_at: grant.expires_at,
        seq,
        urls: UrlsView::new(&url, seq),
    };
    Ok((StatusCode::CREATED, [(LOCATION, url)], Json(view)).into_response())
}

fn ttl(asked: Option<&str>, retention: Duration) -> Result<Duration, Problem> {
    let Some(text) = asked else { return Ok(TTL_DEFAULT.min(retention)) };
    match units::duration(text) {
        Ok(ttl) if ttl <= retention => Ok(ttl),
        _ => Err(refused(format!(
            "ttl is {text:?}; it must be a whole number with its unit, such as 30m, and at most the {} s for which mail is kept",
            retention.as_secs()
        ))),
    }
}

/// A member of the body has a value that it cannot have.
fn refused(detail: String) -> Problem {
    Problem::unprocessable("bad address request", detail)
}

impl From<FreshError> for Problem {
    fn from(error: FreshError) -> Self {
        if error == FreshError::NoRandom {
            tracing::error!(%error, "no address was made");
            return Self::internal();
        }
        refused(error.to_string())
    }
}
