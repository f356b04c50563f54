//! Fresh addresses: one for each test, with a token that opens its mailbox alone.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = AddressRequest, example = json!({ "prefix": "signup", "label": "sign-up, run 7", "ttl": "30m" }))]
pub(super) struct Wish {
    /// How the address begins: letters and digits of ASCII, with single hyphens, dots or underscores between.
    #[schema(pattern = "^[A-Za-z0-9]+([-._][A-Za-z0-9]+)*$", max_length = 40)]
    prefix: Option<String>,
    /// The domain; one whose mail is taken.
    domain: Option<String>,
    /// What the test calls it, at most 200 bytes; it comes back in the answer and is not kept.
    #[schema(max_length = 200)]
    label: Option<String>,
    /// How long the token opens the mailbox: from `1s` to as long as mail is kept; an hour if it is not given.
    #[schema(pattern = "^[0-9]+ *[smhd]$")]
    ttl: Option<String>,
}

/// A fresh address, and how its mailbox is read.
#[derive(Serialize, ToSchema)]
#[schema(as = Address)]
pub(super) struct AddressView {
    /// Where mail is to be sent, in ASCII.
    address: String,
    /// The name of its mailbox.
    mailbox: String,
    /// Its domain, in ASCII.
    domain: String,
    /// What the test calls it.
    #[schema(required)]
    label: Option<String>,
    /// What is sent in the place of the key.
    token: String,
    /// From when on the token opens nothing any more, in seconds since 1970.
    expires_at: u64,
    /// The newest `seq` of the mailbox, for `after`.
    seq: u64,
    urls: UrlsView,
}

/// The paths that a test asks. Those that wait do so for 30 seconds.
#[derive(Serialize, ToSchema)]
#[schema(as = AddressUrls)]
struct UrlsView {
    /// Its messages; `DELETE` deletes them.
    emails: String,
    /// Its messages, once there is one.
    wait: String,
    /// The newest message, once there is one.
    latest: String,
    /// Its text.
    text: String,
    /// Its HTML.
    html: String,
    /// Its raw bytes.
    raw: String,
    /// The code of the newest message that has one, once there is one.
    code: String,
    /// The link of the newest message that has one to act on, once there is one.
    link: String,
    /// Expects that nothing comes for five seconds.
    none: String,
    /// Leases the oldest message that is free, once there is one; by `POST`.
    claim: String,
    /// The stream of what arrives.
    events: String,
    /// What was refused.
    attempts: String,
}

impl UrlsView {
    /// Below `url`, for mail behind `seq`.
    fn new(url: &str, seq: u64) -> Self {
        let waited = |below: &str| format!("{url}{below}?wait=30s&after={seq}");
        Self {
            emails: url.to_owned(),
            wait: waited(""),
            latest: waited("/latest"),
            text: waited("/latest/text"),
            html: waited("/latest/html"),
            raw: waited("/latest/raw"),
            code: waited("/latest/code"),
            link: waited("/latest/link"),
            none: format!("{url}/none?for=5s&after={seq}"),
            claim: waited("/claim"),
            events: format!("{url}/events?after={seq}"),
            attempts: format!("{url}/attempts"),
        }
    }
}

/// A fresh address
///
/// One that nobody has used before, with a token that opens its mailbox and nothing else. Nothing is kept of it.
#[utoipa::path(
    post,
    path = "/addresses",
    operation_id = "create_address",
    tag = "Addresses",
    request_body(content = Option<Wish>, description = "At most 4 KiB; it may be left out"),
    responses(
        (
            status = 201,
            description = "The address",
            body = AddressView,
            headers(("Location" = String, description = "The path of its mailbox")),
            example = json!(example()),
        ),
        (status = 415, description = "The body is not JSON", body = Problem, example = json!(Problem::unsupported_media_type())),
        (
            status = 422,
            description = "There is no such fresh address; `detail` says what is allowed",
            body = Problem,
            example = json!(Problem::from(FreshError::NoDomain("example..com".to_owned()))),
        ),
    ),
)]
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

/// An answer, for the description of the API.
fn example() -> AddressView {
    let mailbox = "signup-vj3q8xw2t7knahcd".to_owned();
    AddressView {
        address: format!("{mailbox}@example.com"),
        domain: "example.com".to_owned(),
        label: Some("sign-up, run 7".to_owned()),
        token: "restante_AQAAAABrIc...".to_owned(),
        expires_at: 1_795_184_152,
        seq: 0,
        urls: UrlsView::new(&format!("/emails/{mailbox}"), 0),
        mailbox,
    }
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
