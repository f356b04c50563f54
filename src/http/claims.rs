//! Mail as a queue: a message is leased to one worker, which gives it back, keeps it for longer, or is done with it.

use std::fmt::Display;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::held::Waiter;
use super::lent::Lent;
use super::openapi::{NothingFound, examples};
use super::path::{ExactPath, MailboxPath, MessagePath};
use super::problem::Problem;
use super::query::{self, Parameters, Query, Strict};
use super::records;
use super::room::Room;
use super::view::{ClaimView, DoneView, MessageView, mailbox_url, message_url};
use super::wanted::{Latest, until};
use crate::inbox::{self, Claim, Inbox, LeaseOutcome, LeaseStep, LeaseToken, Taken};
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

/// Claims a message
///
/// Leases the oldest message that matches and that nobody has, so that several workers can share a mailbox: each gets another
/// one. With `wait` the request is held until there is one.
#[utoipa::path(
    post,
    path = "/{mailbox}/claim",
    operation_id = "claim_message",
    tag = "Claims",
    params(MailboxPath, Strict<Wish>),
    responses(
        (status = 200, description = "The message, with its `claim`", body = MessageView<'_>, example = json!(examples::claimed())),
        (status = 404, description = "There is nothing to claim", body = NothingFound<'_>, example = json!(with_taken(examples::nothing_found(), Taken { leased: 1, next_free_at: None, done: 0 }))),
    ),
)]
pub(super) async fn claim(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(wish): Strict<Wish>,
    room: Room,
    waiter: Waiter,
) -> Result<Response, Problem> {
    let Latest { filter, after, wait, .. } = &wish.which;
    let until = until(*wait);
    let mut lent = Lent::new(inbox.clone(), mailbox.clone(), waiter.tasks().clone());
    loop {
        let place = wait.map(|_| waiter.take()).transpose()?;
        let one = inbox::Wish { mailbox: &mailbox, filter, after: *after, lease: wish.lease };
        let claim = inbox.claim(one, until, &mut lent.in_hand).await?;
        drop(place);
        let Some(Claim { stored, lease }) = claim else {
            return Err(Box::pin(nothing_to_claim(&inbox, &mailbox, &wish.which)).await?);
        };
        let id = stored.message.id;
        // One that is gone before there is room for it was none.
        let Some(held) = Box::pin(room.hold(&inbox, stored)).await? else { continue };
        let url = mailbox_url(&inbox, &mailbox);
        let claim = ClaimView::new(&message_url(&url, id), lease);
        return Ok(lent.told_by(records::claimed(held, &url, &claim)));
    }
}

/// Tells who gets nothing what others have, too.
async fn nothing_to_claim(inbox: &Inbox, mailbox: &MailboxName, which: &Latest) -> Result<Problem, Problem> {
    let taken = inbox.taken(mailbox, &which.filter, which.after).await?;
    let problem = which.nothing_found(inbox, mailbox, " to be claimed").await?;
    Ok(with_taken(problem, taken))
}

fn with_taken(problem: Problem, Taken { leased, next_free_at, done }: Taken) -> Problem {
    let leased = json!({ "count": leased, "next_free_at": next_free_at.map(|at| at.as_secs()) });
    problem.with("leased", leased).with("done", done.into())
}

/// Gives a claimed message back
///
/// Another worker can claim it at once.
#[utoipa::path(
    post,
    path = "/{mailbox}/{id}/release",
    operation_id = "release_message",
    tag = "Claims",
    params(ExactPath, Strict<Token>),
    responses(
        (status = 200, description = "It can be claimed again", body = DoneView, example = json!(released(&examples::ID))),
        (status = 409, description = "The token is not that of a lease on the message", body = Problem, example = json!(not_held(&examples::ID))),
    ),
)]
pub(super) async fn release(
    State(inbox): State<Inbox>,
    Strict(Token(token)): Strict<Token>,
    ExactPath(path): ExactPath,
) -> Result<Json<DoneView>, Problem> {
    let outcome = inbox.step(&path.mailbox, path.id, token, LeaseStep::Release).await?;
    stepped(&inbox, &path, outcome).await?;
    Ok(Json(released(&path.id)))
}

/// Is done with a claimed message
///
/// Nobody claims it any more; it stays to be read until it expires.
#[utoipa::path(
    post,
    path = "/{mailbox}/{id}/done",
    operation_id = "finish_message",
    tag = "Claims",
    params(ExactPath, Strict<Token>),
    responses(
        (status = 200, description = "It is done", body = DoneView, example = json!(finished(&examples::ID))),
        (status = 409, description = "The token is not that of a lease on the message", body = Problem, example = json!(not_held(&examples::ID))),
    ),
)]
pub(super) async fn done(
    State(inbox): State<Inbox>,
    Strict(Token(token)): Strict<Token>,
    ExactPath(path): ExactPath,
) -> Result<Json<DoneView>, Problem> {
    let outcome = inbox.step(&path.mailbox, path.id, token, LeaseStep::Finish).await?;
    stepped(&inbox, &path, outcome).await?;
    Ok(Json(finished(&path.id)))
}

/// Keeps a claimed message for longer
///
/// The lease ends so long from now.
#[utoipa::path(
    post,
    path = "/{mailbox}/{id}/extend",
    operation_id = "extend_claim",
    tag = "Claims",
    params(ExactPath, Strict<Longer>),
    responses(
        (status = 200, description = "It is leased for longer", body = DoneView, example = json!(extended(&examples::ID, examples::claim()))),
        (status = 409, description = "The token is not that of a lease on the message", body = Problem, example = json!(not_held(&examples::ID))),
    ),
)]
pub(super) async fn extend(
    State(inbox): State<Inbox>,
    Strict(Longer { token, lease }): Strict<Longer>,
    ExactPath(path): ExactPath,
) -> Result<Json<DoneView>, Problem> {
    let (outcome, lease) = inbox.extend(&path.mailbox, path.id, token, lease).await?;
    stepped(&inbox, &path, outcome).await?;
    let url = message_url(&mailbox_url(&inbox, &path.mailbox), path.id);
    Ok(Json(extended(&path.id, Some(ClaimView::new(&url, lease)))))
}

fn released(id: &dyn Display) -> DoneView {
    DoneView::new(format!("Message {id} has been released"))
}

fn finished(id: &dyn Display) -> DoneView {
    DoneView::new(format!("Message {id} is done"))
}

fn extended(id: &dyn Display, claim: Option<ClaimView>) -> DoneView {
    DoneView { claim, ..DoneView::new(format!("Message {id} is leased for longer")) }
}

fn not_held(id: &dyn Display) -> Problem {
    let detail = format!(
        "the token is not that of a lease on message {id}; it has ended, was released, or is done, and another worker may have the message"
    );
    Problem::conflict("lease not held", detail)
}

async fn stepped(inbox: &Inbox, path: &MessagePath, outcome: LeaseOutcome) -> Result<(), Problem> {
    match outcome {
        LeaseOutcome::Stepped => Ok(()),
        LeaseOutcome::Missing => path.found(inbox, None).await,
        LeaseOutcome::Refused => Err(not_held(&path.id)),
    }
}
