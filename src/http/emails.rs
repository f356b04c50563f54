//! Lists of mailboxes and of messages, one message, and their deletion.

use std::fmt::Display;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::content::headers_of;
use super::held::Places;
use super::offload;
use super::openapi::{NothingFound, examples};
use super::path::{ExactPath, MailboxPath, MessagePath};
use super::problem::Problem;
use super::query::{self, MailboxPage, Strict};
use super::view::{DoneView, MailboxView, MessageView, encoded, mailbox_url};
use super::wanted::{Chosen, Latest, Wanted};
use crate::inbox::{Inbox, Listing, Stored};

/// The mailboxes
///
/// Those that hold mail, by name.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "list_mailboxes",
    tag = "Mailboxes",
    params(Strict<MailboxPage>),
    responses((
        status = 200,
        description = "The mailboxes",
        body = [MailboxView<'_>],
        headers(("Link" = Option<String>, description = "The path of the next page as `rel=\"next\"`, where there is more")),
        example = json!(examples::mailboxes()),
    )),
)]
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

/// The messages of a mailbox
///
/// Newest first; an empty array where there is no mail. With `wait` the request is held until the mail is there.
#[utoipa::path(
    get,
    path = "/{mailbox}",
    operation_id = "list_messages",
    tag = "Messages",
    params(MailboxPath, Strict<Wanted>),
    responses((
        status = 200,
        description = "The messages",
        body = [MessageView<'_>],
        headers(("Link" = Option<String>, description = "The path of the next page as `rel=\"next\"`, where there is more")),
        example = json!(examples::messages()),
    )),
)]
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

/// One message
///
/// With all its header fields.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}",
    operation_id = "get_message",
    tag = "Messages",
    params(MessagePath),
    responses((status = 200, description = "The message", body = MessageView<'_>, example = json!(examples::message()))),
)]
pub(super) async fn message(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
) -> Result<Response, Problem> {
    let stored = path.message(&inbox).await?;
    with_headers(&inbox, &path, stored).await
}

/// The newest message
///
/// The newest that matches, with all its header fields. With `wait` the request is held until there is one.
#[utoipa::path(
    get,
    path = "/{mailbox}/latest",
    operation_id = "get_latest_message",
    tag = "Messages",
    params(MailboxPath, Strict<Latest>),
    responses(
        (status = 200, description = "The message", body = MessageView<'_>, example = json!(examples::message())),
        (status = 404, description = "There is no message that matches", body = NothingFound<'_>, example = json!(examples::nothing_found())),
    ),
)]
pub(super) async fn latest(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(latest): Strict<Latest>,
    request: Parts,
) -> Result<Response, Problem> {
    let stored = latest.find(&request, &inbox, &mailbox).await?;
    let path = MessagePath { mailbox, id: stored.message.id };
    with_headers(&inbox, &path, stored).await
}

async fn with_headers(inbox: &Inbox, path: &MessagePath, stored: Stored) -> Result<Response, Problem> {
    let headers = headers_of(inbox, path).await?;
    let url = mailbox_url(inbox, &path.mailbox);
    offload::run(text_bytes(&stored), move || Json(MessageView::new(&stored, &url, Some(&headers))).into_response())
        .await
}

/// Deletes the messages of a mailbox
///
/// All of them, and forgets its attempts; with a filter those that match and nothing else. An empty mailbox is no error.
#[utoipa::path(
    delete,
    path = "/{mailbox}",
    operation_id = "clear_mailbox",
    tag = "Messages",
    params(MailboxPath, Strict<Chosen>),
    responses((status = 200, description = "They are deleted", body = DoneView, example = json!(cleared(&"user", None)))),
)]
pub(super) async fn clear(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(Chosen(filter)): Strict<Chosen>,
) -> Result<Json<DoneView>, Problem> {
    if filter.is_empty() {
        inbox.clear(&mailbox).await?;
        return Ok(Json(cleared(&mailbox, None)));
    }
    let deleted = inbox.clear_matching(&mailbox, &filter).await?;
    Ok(Json(cleared(&mailbox, Some(deleted))))
}

/// Deletes one message
///
/// Other mailboxes that the same mail went to keep it.
#[utoipa::path(
    delete,
    path = "/{mailbox}/{id}",
    operation_id = "delete_message",
    tag = "Messages",
    params(ExactPath),
    responses((status = 200, description = "It is deleted", body = DoneView, example = json!(gone(&examples::ID)))),
)]
pub(super) async fn delete(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    ExactPath(path): ExactPath,
) -> Result<Json<DoneView>, Problem> {
    let deleted = inbox.delete(&path.mailbox, path.id).await?;
    path.found(&inbox, deleted.then_some(())).await?;
    Ok(Json(gone(&path.id)))
}

fn cleared(mailbox: &dyn Display, deleted: Option<u64>) -> DoneView {
    let which = if deleted.is_some() { " that match" } else { "" };
    DoneView { message: format!("All messages for {mailbox}{which} have been cleared"), deleted }
}

fn gone(id: &dyn Display) -> DoneView {
    DoneView { message: format!("Message {id} has been deleted"), deleted: None }
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
