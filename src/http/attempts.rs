//! Mail that did not get in: of one mailbox, and all of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::openapi::examples;
use super::path::MailboxPath;
use super::query::{Limit, Strict};
use super::view::AttemptView;
use crate::inbox::{Attempt, Inbox};

/// The mail for a mailbox that did not get in
///
/// Newest first; an empty array where there is none. The mailbox is the one that the recipient names, whether its domain is
/// taken here or not.
#[utoipa::path(
    get,
    path = "/{mailbox}/attempts",
    operation_id = "list_attempts",
    tag = "Attempts",
    params(MailboxPath, Strict<Limit>),
    responses((status = 200, description = "The attempts", body = [AttemptView<'_>], example = json!(examples::attempts()))),
)]
pub(super) async fn of_mailbox(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(Limit(limit)): Strict<Limit>,
) -> Response {
    listed(&inbox.attempts(&mailbox, None, limit))
}

/// All mail that did not get in
///
/// That for all mailboxes, and that to no recipient because its sender was refused; newest first.
#[utoipa::path(
    get,
    path = "/attempts",
    operation_id = "list_all_attempts",
    tag = "Attempts",
    params(Strict<Limit>),
    responses((status = 200, description = "The attempts", body = [AttemptView<'_>], example = json!(examples::attempts()))),
)]
pub(super) async fn all(State(inbox): State<Inbox>, Strict(Limit(limit)): Strict<Limit>) -> Response {
    listed(&inbox.all_attempts(limit))
}

fn listed(attempts: &[Arc<Attempt>]) -> Response {
    let views: Vec<AttemptView<'_>> = attempts.iter().map(|attempt| AttemptView::from(&**attempt)).collect();
    Json(views).into_response()
}
