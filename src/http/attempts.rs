//! Mail that did not get in: of one mailbox, and all of it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::known::{Known, Tag};
use super::openapi::{NotModified, examples};
use super::path::MailboxPath;
use super::query::{Limit, Strict};
use super::records;
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
    responses(
        (status = 200, description = "The attempts", body = [AttemptView<'_>], example = json!(examples::attempts())),
        NotModified,
    ),
)]
pub(super) async fn of_mailbox(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(Limit(limit)): Strict<Limit>,
    known: Known,
) -> Response {
    listed(&inbox.attempts(&mailbox, None, limit), &known)
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
    responses(
        (status = 200, description = "The attempts", body = [AttemptView<'_>], example = json!(examples::attempts())),
        NotModified,
    ),
)]
pub(super) async fn all(State(inbox): State<Inbox>, Strict(Limit(limit)): Strict<Limit>, known: Known) -> Response {
    listed(&inbox.all_attempts(limit), &known)
}

fn listed(attempts: &[Arc<Attempt>], known: &Known) -> Response {
    let views: Vec<AttemptView<'_>> = attempts.iter().map(|attempt| AttemptView::from(&**attempt)).collect();
    let json = serde_json::to_vec(&views).unwrap_or_default();
    // An attempt has no name that lasts, as a message has; but it is small, and so the tag is of all that it says.
    let tag = Tag::list(&json);
    if known.has(&tag) { tag.not_modified() } else { tag.on(records::json(json.into())) }
}
