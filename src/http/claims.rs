//! Mail as a queue: a message is leased to one worker, which gives it back, keeps it for longer, or is done with it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::Extensions;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::held::Places;
use super::path::{ExactPath, MailboxPath, MessagePath};
use super::problem::Problem;
use super::query::{self, Parameters, Query, Strict};
use super::records;
use super::room::Room;
use super::view::{ClaimView, mailbox_url, message_url};
use super::wanted::Latest;
use crate::inbox::{Claim, Inbox, LeaseOutcome, LeaseStep, LeaseToken, Taken};
use crate::mail::MailboxName;

/// How long a message is leased to a worker that does not say so.
const LEASE_DEFAULT: Duration = Duration::from_secs(60);
/// Longer than that no message is kept from others by a worker that has gone.
const LEASE_MAX: Duration = Duration::from_secs(60 * 60);

/// Which message is wanted, and for how long.
pub(super) struct Wish {
    which: Latest,
    lease: Duration,
}

/// The token of a lease.
pub(super) struct Token(LeaseToken);

/// The token of a lease that is to be longer.
pub(super) struct Longer {
    token: LeaseToken,
    lease: Duration,
}

impl Parameters for Wish {
    const NAMES: &'static [&'static str] = &["after", "from", "to", "subject", "q", "wait", "lease"];

    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self { which: Latest::read(query)?, lease: lease(query)? })
    }
}

impl Parameters for Token {
    const NAMES: &'static [&'static str] = &["token"];

    fn read(query: &Query) -> Result<Self, Problem> {
        let Some(value) = query.value("token") else {
            return Err(query::bad("the query parameter token is missing; it is in the claim of the message".into()));
        };
        let token = value.parse().map_err(|_| {
            query::bad(format!("the query parameter token is {value:?}; it must be that of the claim of the message"))
        });
        token.map(Self)
    }
}

impl Parameters for Longer {
    const NAMES: &'static [&'static str] = &["token", "lease"];

    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self { token: Token::read(query)?.0, lease: lease(query)? })
    }
}

fn lease(query: &Query) -> Result<Duration, Problem> {
    Ok(query.period("lease", LEASE_MAX)?.unwrap_or(LEASE_DEFAULT))
}

/// `POST /emails/{mailbox}/claim`: leases the oldest message that matches and that nobody has.
pub(super) async fn claim(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(wish): Strict<Wish>,
    room: Room,
    extensions: Extensions,
) -> Result<Response, Problem> {
    let Latest { filter, after, wait } = &wish.which;
    let place = wait.map(|_| Places::take(&extensions)).transpose()?;
    let until = wait.map(|wait| Instant::now() + wait);
    let claim = inbox.claim(&mailbox, filter, *after, wish.lease, until).await?;
    drop(place);
    let Some(Claim { stored, lease }) = claim else {
        return Err(nothing_to_claim(&inbox, &mailbox, &wish.which).await?);
    };
    let path = MessagePath { mailbox, id: stored.message.id };
    let held = path.found(&inbox, room.hold(&inbox, stored).await?).await?;
    let url = mailbox_url(&inbox, &path.mailbox);
    let claim = ClaimView::new(&message_url(&url, path.id), lease);
    Ok(records::claimed(held, &url, &claim))
}

/// Tells who gets nothing what others have, too.
async fn nothing_to_claim(inbox: &Inbox, mailbox: &MailboxName, which: &Latest) -> Result<Problem, Problem> {
    let Taken { leased, next_free_at, done } = inbox.taken(mailbox, &which.filter, which.after).await?;
    let problem = which.nothing_found(inbox, mailbox, " to be claimed").await?;
    let leased = json!({ "count": leased, "next_free_at": next_free_at.map(|at| at.as_secs()) });
    Ok(problem.with("leased", leased).with("done", done.into()))
}

/// `POST …/release`: gives the message back.
pub(super) async fn release(
    State(inbox): State<Inbox>,
    Strict(Token(token)): Strict<Token>,
    ExactPath(path): ExactPath,
) -> Result<Json<Value>, Problem> {
    let outcome = inbox.step(&path.mailbox, path.id, token, LeaseStep::Release).await?;
    stepped(&inbox, &path, outcome).await?;
    Ok(Json(json!({ "message": format!("Message {} has been released", path.id) })))
}

/// `POST …/done`: nobody claims the message any more.
pub(super) async fn done(
    State(inbox): State<Inbox>,
    Strict(Token(token)): Strict<Token>,
    ExactPath(path): ExactPath,
) -> Result<Json<Value>, Problem> {
    let outcome = inbox.step(&path.mailbox, path.id, token, LeaseStep::Finish).await?;
    stepped(&inbox, &path, outcome).await?;
    Ok(Json(json!({ "message": format!("Message {} is done", path.id) })))
}

/// `POST …/extend`: the lease ends so long from now.
pub(super) async fn extend(
    State(inbox): State<Inbox>,
    Strict(Longer { token, lease }): Strict<Longer>,
    ExactPath(path): ExactPath,
) -> Result<Response, Problem> {
    let (outcome, lease) = inbox.extend(&path.mailbox, path.id, token, lease).await?;
    stepped(&inbox, &path, outcome).await?;
    let url = message_url(&mailbox_url(&inbox, &path.mailbox), path.id);
    let message = format!("Message {} is leased for longer", path.id);
    Ok(Json(json!({ "message": message, "claim": ClaimView::new(&url, lease) })).into_response())
}

async fn stepped(inbox: &Inbox, path: &MessagePath, outcome: LeaseOutcome) -> Result<(), Problem> {
    match outcome {
        LeaseOutcome::Stepped => Ok(()),
        LeaseOutcome::Missing => path.found(inbox, None).await,
        LeaseOutcome::Refused => {
            let detail = format!(
                "the token is not that of a lease on message {}; it has ended, was released, or is done, and another worker may have the message",
                path.id
            );
            Err(Problem::conflict("lease not held", detail))
        }
    }
}
