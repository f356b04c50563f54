//! Lists of mailboxes and of messages, one message, and their deletion.

use std::fmt::Display;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};

use super::content::headers_of;
use super::held::Waiter;
use super::known::{Known, Tag};
use super::openapi::{NotModified, NothingFound, examples};
use super::path::{AnyPath, ExactPath, MailboxPath, MessagePath};
use super::problem::Problem;
use super::query::{self, MailboxPage, Strict};
use super::records::{self, List, Made};
use super::room::Room;
use super::view::{DoneView, MailboxView, MessageView, encoded, mailbox_url};
use super::wanted::{Chosen, Latest, Newest, Wanted, until};
use crate::inbox::{Inbox, Listing, MailboxSummary};

/// The mailboxes
///
/// Those that hold mail, by name.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "list_mailboxes",
    tag = "Mailboxes",
    params(Strict<MailboxPage>),
    responses(
        (
            status = 200,
            description = "The mailboxes",
            body = [MailboxView<'_>],
            headers(("Link" = Option<String>, description = "The path of the next page as `rel=\"next\"`, where there is more")),
            example = json!(examples::mailboxes()),
        ),
        NotModified,
    ),
)]
pub(super) async fn mailboxes(
    State(inbox): State<Inbox>,
    Strict(page): Strict<MailboxPage>,
    known: Known,
) -> Result<Response, Problem> {
    let after = page.after.map(|name| inbox.mailbox(&name)).transpose();
    let after = after.map_err(|error| query::bad(format!("the query parameter after: {error}")))?;
    let mut summaries = inbox.mailboxes(after.as_ref(), page.limit + 1).await?;
    let more = summaries.len() > page.limit;
    summaries.truncate(page.limit);
    let tag = Tag::list(&facts(&summaries, more));
    if known.has(&tag) {
        return Ok(tag.not_modified());
    }
    let next = summaries
        .last()
        .filter(|_| more)
        .map(|last| format!("/emails?limit={}&after={}", page.limit, encoded(&inbox, &last.mailbox)));
    let views: Vec<MailboxView<'_>> = summaries.iter().map(MailboxView::from).collect();
    Ok(tag.on(linked(Json(views), next)))
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
    responses(
        (
            status = 200,
            description = "The messages",
            body = [MessageView<'_>],
            headers(("Link" = Option<String>, description = "The path of the next page as `rel=\"next\"`, where there is more")),
            example = json!(examples::messages()),
        ),
        NotModified,
    ),
)]
pub(super) async fn list(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(wanted): Strict<Wanted>,
    known: Known,
    memory: (Room, Made),
    waiter: Waiter,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let place = wanted.wait.map(|_| waiter.take()).transpose()?;
    let is_news = |found: &Listing| !known.has(&Tag::messages(found));
    let found = wanted.list(&inbox, &mailbox, until(wanted.wait), place, is_news).await?;
    let tag = Tag::messages(&found);
    if known.has(&tag) {
        return Ok(tag.not_modified());
    }
    let Listing { messages, more, .. } = found;
    let url = mailbox_url(&inbox, &mailbox);
    let next = messages.last().filter(|_| more).map(|last| {
        let kept = query::kept(query.as_deref(), &["after", "from", "to", "subject", "q"]);
        format!("{url}?limit={}&before={}{kept}", wanted.page.limit, last.seq)
    });
    let page = records::array(List::new(inbox, memory, mailbox, url, messages));
    Ok(tag.on(linked(page, next)))
}

/// One message
///
/// With all its header fields.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}",
    operation_id = "get_message",
    tag = "Messages",
    params(AnyPath),
    responses(
        (status = 200, description = "The message", body = MessageView<'_>, example = json!(examples::message())),
        NotModified,
    ),
)]
pub(super) async fn message(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: AnyPath,
    known: Known,
    with: (Room, Made),
) -> Result<Response, Problem> {
    path.read(&inbox, |path| whole(&inbox, path, &known, &with)).await
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
        NotModified,
    ),
)]
pub(super) async fn latest(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(latest): Strict<Latest>,
    known: Known,
    with: (Room, Made),
    waiter: Waiter,
) -> Result<Response, Problem> {
    let newest = Newest { latest, known, waiter };
    newest.read(&inbox, mailbox, |path| whole(&inbox, path, &newest.known, &with)).await
}

/// A message with all its header fields.
async fn whole(
    inbox: &Inbox,
    path: MessagePath,
    known: &Known,
    (room, made): &(Room, Made),
) -> Result<Response, Problem> {
    let held = path.held(inbox, room).await?;
    let tag = Tag::message(path.id);
    if known.has(&tag) {
        return Ok(tag.not_modified());
    }
    if let Some(json) = made.with_headers(&held.0) {
        return Ok(tag.on(records::json(json.into())));
    }
    let headers = headers_of(inbox, &path).await?;
    Ok(tag.on(records::object(held, made, &mailbox_url(inbox, &path.mailbox), &headers)))
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
    DoneView { deleted, ..DoneView::new(format!("All messages for {mailbox}{which} have been cleared")) }
}

fn gone(id: &dyn Display) -> DoneView {
    DoneView::new(format!("Message {id} has been deleted"))
}

/// All that a list of mailboxes says.
fn facts(summaries: &[MailboxSummary], more: bool) -> Vec<u8> {
    let mut facts = vec![u8::from(more)];
    for MailboxSummary { mailbox, count, newest_received_at } in summaries {
        // No name has a byte that is zero.
        facts.extend_from_slice(mailbox.as_str().as_bytes());
        facts.push(0);
        facts.extend_from_slice(&count.to_le_bytes());
        facts.extend_from_slice(&newest_received_at.as_secs().to_le_bytes());
    }
    facts
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
