//! Lists of mailboxes and of messages, one message, and their deletion.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::content::headers_of;
use super::held::Places;
use super::offload;
use super::path::{ExactPath, MailboxPath, MessagePath};
use super::problem::Problem;
use super::query::{self, MailboxPage, Strict};
use super::view::{MailboxView, MessageView, encoded, mailbox_url};
use super::wanted::{Chosen, Wanted};
use crate::inbox::{Inbox, Listing, Stored};

/// `GET /emails`: the mailboxes that hold mail, by name.
pub(super) async fn mailboxes(
    State(inbox): State<Inbox>,
    Strict(page): Strict<MailboxPage>,
) -> Result<Response, Problem> {
    let after = page.after.map(|name| inbox.mailbox(&name)).transpose();
    let after = after.map_err(|error| query::bad(format!("the query parameter after: {error}")))?;
    let mut summaries = inbox.mailboxes(after.as_ref(), page.limit + 1).await?;
    let more = summaries.len() > page.limit;
    summaries.truncate(page.limit);
    let next = summaries
        .last()
        .filter(|_| more)
        .map(|last| format!("/emails?limit={}&after={}", page.limit, encoded(&inbox, &last.mailbox)));
    let views: Vec<MailboxView<'_>> = summaries.iter().map(MailboxView::from).collect();
    Ok(linked(Json(views), next))
}

/// `GET /emails/{mailbox}`: its messages, newest first.
pub(super) async fn list(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(wanted): Strict<Wanted>,
    request: Parts,
) -> Result<Response, Problem> {
    let place = wanted.wait.map(|_| Places::take(&request.extensions)).transpose()?;
    let Listing { messages, more } = wanted.list(&inbox, &mailbox, place).await?;
    let url = mailbox_url(&inbox, &mailbox);
    let next = messages.last().filter(|_| more).map(|last| {
        let kept = query::kept(request.uri.query(), &["after", "from", "to", "subject", "q"]);
        format!("{url}?limit={}&before={}{kept}", wanted.page.limit, last.seq)
    });
    let bytes = messages.iter().map(text_bytes).sum();
    let page = offload::run(bytes, move || {
        let views: Vec<MessageView<'_>> = messages.iter().map(|stored| MessageView::new(stored, &url, None)).collect();
        Json(views).into_response()
    });
    Ok(linked(page.await?, next))
}

/// `GET /emails/{mailbox}/{id}`: one message with all its headers.
pub(super) async fn message(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
) -> Result<Response, Problem> {
    let stored = path.message(&inbox).await?;
    let headers = headers_of(&inbox, &path).await?;
    let url = mailbox_url(&inbox, &path.mailbox);
    offload::run(text_bytes(&stored), move || Json(MessageView::new(&stored, &url, Some(&headers))).into_response())
        .await
}

/// `DELETE /emails/{mailbox}`.
pub(super) async fn clear(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(Chosen(filter)): Strict<Chosen>,
) -> Result<Response, Problem> {
    if filter.is_empty() {
        inbox.clear(&mailbox).await?;
        return Ok(Json(json!({ "message": format!("All messages for {mailbox} have been cleared") })).into_response());
    }
    let deleted = inbox.clear_matching(&mailbox, &filter).await?;
    let message = format!("All messages for {mailbox} that match have been cleared");
    Ok(Json(json!({ "message": message, "deleted": deleted })).into_response())
}

/// `DELETE /emails/{mailbox}/{id}`.
pub(super) async fn delete(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    ExactPath(path): ExactPath,
) -> Result<Response, Problem> {
    let deleted = inbox.delete(&path.mailbox, path.id).await?;
    path.found(&inbox, deleted.then_some(())).await?;
    Ok(Json(json!({ "message": format!("Message {} has been deleted", path.id) })).into_response())
}

/// How much text the JSON of a message has, but for what is small.
fn text_bytes(stored: &Stored) -> usize {
    stored.message.content.text_bytes()
}

/// A page of a list, with the way to the next one (RFC 8288).
fn linked(page: impl IntoResponse, next: Option<String>) -> Response {
    let mut response = page.into_response();
    // What is encoded for a URL is fit for a header too; `ok` never drops anything.
    if let Some(link) = next.and_then(|url| HeaderValue::try_from(format!("<{url}>; rel=\"next\"")).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    response
}
