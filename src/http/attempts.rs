//! Mail that did not get in: of one mailbox, and all of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::path::MailboxPath;
use super::query::{Limit, Strict};
use super::view::AttemptView;
use crate::inbox::{Attempt, Inbox};

/// `GET /emails/{mailbox}/attempts`: the mail for it that did not get in, newest first.
pub(super) async fn of_mailbox(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(Limit(limit)): Strict<Limit>,
) -> Response {
    listed(&inbox.attempts(&mailbox, None, limit))
}

/// `GET /attempts`: all mail that did not get in, newest first.
pub(super) async fn all(State(inbox): State<Inbox>, Strict(Limit(limit)): Strict<Limit>) -> Response {
    listed(&inbox.all_attempts(limit))
}

fn listed(attempts: &[Arc<Attempt>]) -> Response {
    let views: Vec<AttemptView<'_>> = attempts.iter().map(|attempt| AttemptView::from(&**attempt)).collect();
    Json(views).into_response()
}
