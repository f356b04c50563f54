//! The content of a message: its raw bytes, its bodies, its headers, its code and its link, its attachments.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::download::Download;
use super::front::CROSS_ORIGIN_RESOURCE_POLICY;
use super::harmless::{disposition, harmless_type, is_inline_image};
use super::html;
use super::known::{Known, Tag};
use super::offload;
use super::openapi::{NotModified, Part, examples};
use super::path::{AnyPath, AttachmentPath, MessagePath};
use super::problem::{CODE_NOT_FOUND, LINK_NOT_FOUND, Problem};
use super::query::{HtmlForm, Strict};
use super::range::Asked;
use super::room::{Room, Share};
use super::view::{mailbox_url, message_url};
use super::wanted::Having;
use crate::inbox::Inbox;
use crate::mail::{Content, HeaderField, Message, MessageId};

const HTML: &str = "text/html; charset=utf-8";

/// What a reader has already, and where what it takes its time for has room.
pub(super) struct Reader {
    known: Known,
    room: Room,
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self { known: Known::of(&parts.headers), room: Room::from_request_parts(parts, state).await? })
    }
}

/// The raw message
///
/// Byte for byte as it was received, as a download.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/raw",
    operation_id = "get_raw",
    tag = "Content",
    params(AnyPath),
    responses(
        (
            status = 200,
            description = "The message",
            content_type = "message/rfc822",
            body = String,
            headers(("Content-Disposition" = String, description = "It is a download, named by its id")),
            example = json!(examples::RAW),
        ),
        NotModified,
        Part,
    ),
)]
pub(super) async fn raw(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: AnyPath,
    known: Known,
    asked: Asked,
) -> Result<Response, Problem> {
    let (inbox, known, asked) = (&inbox, &known, &asked);
    path.read(inbox, |path| async move {
        let raw = path.raw(inbox).await?;
        let tag = Tag::raw(path.id);
        if known.has(&tag) {
            return Ok(tag.not_modified());
        }
        let disposition = format!("attachment; filename=\"{}.eml\"", path.id);
        let content = [(CONTENT_TYPE, "message/rfc822".to_owned()), (CONTENT_DISPOSITION, disposition)];
        Download::raw(raw).answer(asked, &tag, content).await
    })
    .await
}

/// The text body
///
/// All inline `text/plain` parts, decoded.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/text",
    operation_id = "get_text",
    tag = "Content",
    params(AnyPath),
    responses(
        (status = 200, description = "The text", content_type = "text/plain", body = String, example = json!(examples::text())),
        (status = 404, description = "There is no such message, or it has no text body", body = Problem, example = json!(no_body("text/plain"))),
        NotModified,
    ),
)]
pub(super) async fn text(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: AnyPath,
    reader: Reader,
) -> Result<Response, Problem> {
    let part: fn(&Content) -> Option<&str> = |content| content.text.as_deref();
    path.read(&inbox, |path| body(&inbox, path, &reader, "text/plain; charset=utf-8", part)).await
}

/// The HTML body
///
/// As it was sent, or rewritten: with its images at their URLs, or as a page to look at. A policy keeps it in a sandbox.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/html",
    operation_id = "get_html",
    tag = "Content",
    params(AnyPath, Strict<HtmlForm>),
    responses(
        (status = 200, description = "The HTML", content_type = "text/html", body = String, example = json!(examples::html())),
        (status = 404, description = "There is no such message, or it has no HTML body", body = Problem, example = json!(no_body("text/html"))),
        (status = 422, description = "The HTML cannot be rewritten; it is served as it was sent", body = Problem, example = json!(too_large(&html::TooMuch))),
        NotModified,
    ),
)]
pub(super) async fn html(
    State(inbox): State<Inbox>,
    Strict(form): Strict<HtmlForm>,
    path: AnyPath,
    reader: Reader,
) -> Result<Response, Problem> {
    let (inbox, reader) = (&inbox, &reader);
    path.read(inbox, |path| async move {
        if form == HtmlForm::Sent {
            return body(inbox, path, reader, HTML, |content| content.html.as_deref()).await;
        }
        in_form(inbox, path, reader, form).await
    })
    .await
}

/// The HTML body of a message otherwise than it was sent.
async fn in_form(inbox: &Inbox, path: MessagePath, reader: &Reader, form: HtmlForm) -> Result<Response, Problem> {
    let tag = Tag::message(path.id);
    let (stored, share) = path.held(inbox, &reader.room).await?;
    let message = stored.message;
    let bytes = message.content.html.as_ref().map(String::len);
    let bytes = bytes.ok_or_else(|| no_body("text/html"))?;
    let mut response = if reader.known.has(&tag) {
        tag.not_modified()
    } else {
        let url = message_url(&mailbox_url(inbox, &path.mailbox), path.id);
        tag.on(rewritten(form, message, share, bytes, url).await?)
    };
    if let HtmlForm::View { remote } = form {
        let policy = HeaderValue::from_static(html::policy(remote));
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// The HTML of a message in another form. `share` is that of the message; what comes of it takes about as much.
async fn rewritten(
    form: HtmlForm,
    message: Arc<Message>,
    share: Share,
    bytes: usize,
    url: String,
) -> Result<Response, Problem> {
    let rewriting = offload::run(bytes, move || {
        let parts = html::Parts::new(&message.content.attachments, &url);
        let sent = message.content.html.as_deref().unwrap_or_default();
        match form {
            HtmlForm::View { remote } => html::view(sent, &parts, remote),
            HtmlForm::Inline | HtmlForm::Sent => html::inline(sent, &parts),
        }
    });
    let html = rewriting.await?.map_err(|error| too_large(&error))?;
    Ok(([(CONTENT_TYPE, HTML)], share.of(html)).into_response())
}

/// The header fields
///
/// All of them in order, as they stand in the message and decoded.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/headers",
    operation_id = "get_headers",
    tag = "Content",
    params(AnyPath),
    responses(
        (status = 200, description = "The fields", body = [HeaderField], example = json!(examples::headers())),
        NotModified,
    ),
)]
pub(super) async fn headers(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: AnyPath,
    known: Known,
) -> Result<Response, Problem> {
    let (inbox, known) = (&inbox, &known);
    path.read(inbox, |path| async move {
        let headers = headers_of(inbox, &path).await?;
        let tag = Tag::message(path.id);
        Ok(if known.has(&tag) { tag.not_modified() } else { tag.on(Json(headers).into_response()) })
    })
    .await
}

/// The one-time code
///
/// The likeliest one of the message, on one line.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/code",
    operation_id = "get_code",
    tag = "Content",
    params(AnyPath),
    responses(
        (status = 200, description = "The code", content_type = "text/plain", body = String, example = json!(examples::code())),
        (status = 404, description = "There is no such message, or no code in it", body = Problem, example = json!(no_code())),
        NotModified,
    ),
)]
pub(super) async fn code(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: AnyPath,
    known: Known,
) -> Result<Response, Problem> {
    let (inbox, known) = (&inbox, &known);
    path.having(Having::Code)
        .read(inbox, |path| async move {
            let stored = path.message(inbox).await?;
            let code = stored.message.content.codes.first();
            code.map(|code| line(&code.value, path.id, known)).ok_or_else(no_code)
        })
        .await
}

/// The link to follow
///
/// The likeliest action link of the message, on one line: to confirm, to sign in, to set a password.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/link",
    operation_id = "get_link",
    tag = "Content",
    params(AnyPath),
    responses(
        (status = 200, description = "The link", content_type = "text/plain", body = String, example = json!(examples::link())),
        (status = 404, description = "There is no such message, or no link to act on in it", body = Problem, example = json!(no_link(0))),
        NotModified,
    ),
)]
pub(super) async fn link(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: AnyPath,
    known: Known,
) -> Result<Response, Problem> {
    let (inbox, known) = (&inbox, &known);
    path.having(Having::Link)
        .read(inbox, |path| async move {
            let stored = path.message(inbox).await?;
            let content = &stored.message.content;
            let link = content.action_link().map(|link| line(&link.href, path.id, known));
            link.ok_or_else(|| no_link(content.links.len()))
        })
        .await
}

/// One value as a line of text: a shell takes the line break off, and a terminal wants it.
fn line(value: &str, id: MessageId, known: &Known) -> Response {
    let tag = Tag::message(id);
    if known.has(&tag) {
        return tag.not_modified();
    }
    tag.on(([(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{value}\n")).into_response())
}

/// An attachment
///
/// Its decoded bytes, as a download. The type is that of the attachment, or `application/octet-stream` for what a browser
/// would run.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/attachments/{index}",
    operation_id = "get_attachment",
    tag = "Content",
    params(AttachmentPath),
    responses(
        (
            status = 200,
            description = "The bytes",
            content_type = "*/*",
            headers(("Content-Disposition" = String, description = "It is a download, with its file name")),
        ),
        (status = 404, description = "There is no such message, or no such attachment", body = Problem, example = json!(no_attachment(1, 1))),
        NotModified,
        Part,
    ),
)]
pub(super) async fn attachment(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    AttachmentPath { message: path, index }: AttachmentPath,
    reader: Reader,
    asked: Asked,
) -> Result<Response, Problem> {
    path.read(&inbox, |path| attached(&inbox, path, index, &reader, &asked)).await
}

async fn attached(
    inbox: &Inbox,
    path: MessagePath,
    index: usize,
    reader: &Reader,
    asked: &Asked,
) -> Result<Response, Problem> {
    let stored = path.message(inbox).await?;
    let Some(attachment) = stored.message.content.attachments.get(index).cloned() else {
        return Err(no_attachment(index, stored.message.content.attachments.len()));
    };
    drop(stored);
    let tag = Tag::attachment(path.id, &attachment);
    let is_inline_image = is_inline_image(&attachment);
    let content = [
        (CONTENT_TYPE, harmless_type(&attachment.content_type).to_owned()),
        (CONTENT_DISPOSITION, disposition(attachment.filename.as_deref())),
    ];
    let mut response = if reader.known.has(&tag) {
        tag.not_modified()
    } else {
        let raw = path.raw(inbox).await?;
        Download::attachment(raw, attachment, &reader.room).await?.answer(asked, &tag, content).await?
    };
    if is_inline_image {
        // A page in a sandbox has an origin of its own, so no image of a message is of the same origin as the page that
        // shows it. Who may have the image is settled by the key, which no browser sends by itself.
        let anywhere = HeaderValue::from_static("cross-origin");
        response.headers_mut().insert(CROSS_ORIGIN_RESOURCE_POLICY, anywhere);
    }
    Ok(response)
}

/// All header fields of a message.
pub(super) async fn headers_of(inbox: &Inbox, path: &MessagePath) -> Result<Vec<HeaderField>, Problem> {
    path.found(inbox, inbox.header_fields(&path.mailbox, path.id).await?).await
}

/// One body of a message, served from where the store has it.
struct Body {
    message: Arc<Message>,
    part: fn(&Content) -> Option<&str>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        (self.part)(&self.message.content).unwrap_or_default().as_bytes()
    }
}

async fn body(
    inbox: &Inbox,
    path: MessagePath,
    reader: &Reader,
    content_type: &'static str,
    part: fn(&Content) -> Option<&str>,
) -> Result<Response, Problem> {
    let (stored, share) = path.held(inbox, &reader.room).await?;
    let message = stored.message;
    if part(&message.content).is_none() {
        let kind = content_type.split(';').next().unwrap_or_default();
        return Err(no_body(kind));
    }
    let tag = Tag::message(path.id);
    if reader.known.has(&tag) {
        return Ok(tag.not_modified());
    }
    let body = share.of(Body { message, part });
    Ok(tag.on(([(CONTENT_TYPE, content_type)], body).into_response()))
}

fn no_body(kind: &str) -> Problem {
    Problem::not_found("body not found", format!("the message has no {kind} body"))
}

fn no_code() -> Problem {
    Problem::not_found(CODE_NOT_FOUND, "no one-time code was found in the message")
}

fn no_link(count: usize) -> Problem {
    let detail = format!("none of the {count} links of the message is an action; all are in its key links");
    Problem::not_found(LINK_NOT_FOUND, detail)
}

fn no_attachment(index: usize, count: usize) -> Problem {
    let detail = format!("the message has no attachment {index}; it has {count}, numbered from 0");
    Problem::not_found("attachment not found", detail)
}

fn too_large(error: &html::TooMuch) -> Problem {
    Problem::unprocessable("HTML too large", error.to_string())
}
