//! The content of a message: its raw bytes, its bodies, its headers, its code and its link, its attachments.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use percent_encoding::utf8_percent_encode;

use super::html::{self, Parts};
use super::offload;
use super::openapi::examples;
use super::path::{AttachmentPath, MessagePath};
use super::problem::Problem;
use super::query::{HtmlForm, Strict};
use super::router::CROSS_ORIGIN_RESOURCE_POLICY;
use super::view::{RESERVED, mailbox_url, message_url};
use crate::inbox::Inbox;
use crate::mail::{self, Attachment, Content, HeaderField, Message};

/// The longest file name that is passed on: the longest that file systems take.
const FILENAME_MAX_BYTES: usize = 255;

/// Images that every browser shows, and that hold no markup.
const RASTER_IMAGES: [&str; 10] = [
    "image/apng",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/jpg",
    "image/png",
    "image/vnd.microsoft.icon",
    "image/webp",
    "image/x-icon",
];

const OCTET_STREAM: &str = "application/octet-stream";

/// The raw message
///
/// Byte for byte as it was received, as a download.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/raw",
    operation_id = "get_raw",
    tag = "Content",
    params(MessagePath),
    responses((
        status = 200,
        description = "The message",
        content_type = "message/rfc822",
        body = String,
        headers(("Content-Disposition" = String, description = "It is a download, named by its id")),
        example = json!(examples::RAW),
    )),
)]
pub(super) async fn raw(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
) -> Result<Response, Problem> {
    let raw = path.raw(&inbox).await?;
    let disposition = format!("attachment; filename=\"{}.eml\"", path.id);
    let headers = [(CONTENT_TYPE, "message/rfc822"), (CONTENT_DISPOSITION, disposition.as_str())];
    Ok((headers, raw).into_response())
}

/// The text body
///
/// All inline `text/plain` parts, decoded.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/text",
    operation_id = "get_text",
    tag = "Content",
    params(MessagePath),
    responses(
        (status = 200, description = "The text", content_type = "text/plain", body = String, example = json!(examples::text())),
        (status = 404, description = "There is no such message, or it has no text body", body = Problem, example = json!(no_body("text/plain"))),
    ),
)]
pub(super) async fn text(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
) -> Result<Response, Problem> {
    body(&inbox, &path, "text/plain; charset=utf-8", |content| content.text.as_deref()).await
}

/// The HTML body
///
/// As it was sent, or rewritten: with its images at their URLs, or as a page to look at. A policy keeps it in a sandbox.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/html",
    operation_id = "get_html",
    tag = "Content",
    params(MessagePath, Strict<HtmlForm>),
    responses(
        (status = 200, description = "The HTML", content_type = "text/html", body = String, example = json!(examples::html())),
        (status = 404, description = "There is no such message, or it has no HTML body", body = Problem, example = json!(no_body("text/html"))),
        (status = 422, description = "The HTML cannot be rewritten; it is served as it was sent", body = Problem, example = json!(too_large(&html::TooMuch))),
    ),
)]
pub(super) async fn html(
    State(inbox): State<Inbox>,
    Strict(form): Strict<HtmlForm>,
    path: MessagePath,
) -> Result<Response, Problem> {
    let content_type = "text/html; charset=utf-8";
    if form == HtmlForm::Sent {
        return body(&inbox, &path, content_type, |content| content.html.as_deref()).await;
    }
    let message = path.message(&inbox).await?.message;
    let bytes = message.content.html.as_ref().map(String::len);
    let bytes = bytes.ok_or_else(|| no_body("text/html"))?;
    let url = message_url(&mailbox_url(&inbox, &path.mailbox), path.id);
    let rewriting = offload::run(bytes, move || {
        let parts = Parts::new(&message.content.attachments, &url);
        let sent = message.content.html.as_deref().unwrap_or_default();
        match form {
            HtmlForm::View { remote } => html::view(sent, &parts, remote),
            HtmlForm::Inline | HtmlForm::Sent => html::inline(sent, &parts),
        }
    });
    let rewritten = rewriting.await?;
    let rewritten = rewritten.map_err(|error| too_large(&error))?;
    let mut response = ([(CONTENT_TYPE, content_type)], rewritten).into_response();
    if let HtmlForm::View { remote } = form {
        let policy = HeaderValue::from_static(html::policy(remote));
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// The header fields
///
/// All of them in order, as they stand in the message and decoded.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/headers",
    operation_id = "get_headers",
    tag = "Content",
    params(MessagePath),
    responses((status = 200, description = "The fields", body = [HeaderField], example = json!(examples::headers()))),
)]
pub(super) async fn headers(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
) -> Result<Response, Problem> {
    Ok(Json(headers_of(&inbox, &path).await?).into_response())
}

/// The one-time code
///
/// The likeliest one of the message, on one line.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/code",
    operation_id = "get_code",
    tag = "Content",
    params(MessagePath),
    responses(
        (status = 200, description = "The code", content_type = "text/plain", body = String, example = json!(examples::code())),
        (status = 404, description = "There is no such message, or no code in it", body = Problem, example = json!(no_code())),
    ),
)]
pub(super) async fn code(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
) -> Result<Response, Problem> {
    let stored = path.message(&inbox).await?;
    let code = stored.message.content.codes.first();
    code.map(|code| line(&code.value)).ok_or_else(no_code)
}

/// The link to follow
///
/// The likeliest action link of the message, on one line: to confirm, to sign in, to set a password.
#[utoipa::path(
    get,
    path = "/{mailbox}/{id}/link",
    operation_id = "get_link",
    tag = "Content",
    params(MessagePath),
    responses(
        (status = 200, description = "The link", content_type = "text/plain", body = String, example = json!(examples::link())),
        (status = 404, description = "There is no such message, or no link to act on in it", body = Problem, example = json!(no_link(0))),
    ),
)]
pub(super) async fn link(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    path: MessagePath,
) -> Result<Response, Problem> {
    let stored = path.message(&inbox).await?;
    let content = &stored.message.content;
    content.action_link().map(|link| line(&link.href)).ok_or_else(|| no_link(content.links.len()))
}

/// One value as a line of text: a shell takes the line break off, and a terminal wants it.
fn line(value: &str) -> Response {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{value}\n")).into_response()
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
    ),
)]
pub(super) async fn attachment(
    State(inbox): State<Inbox>,
    Strict(()): Strict<()>,
    AttachmentPath { message: path, index }: AttachmentPath,
) -> Result<Response, Problem> {
    let stored = path.message(&inbox).await?;
    let Some(attachment) = stored.message.content.attachments.get(index).cloned() else {
        return Err(no_attachment(index, stored.message.content.attachments.len()));
    };
    let raw = path.raw(&inbox).await?;
    let is_inline_image = is_inline_image(&attachment);
    let headers = [
        (CONTENT_TYPE, harmless_type(&attachment.content_type).to_owned()),
        (CONTENT_DISPOSITION, disposition(attachment.filename.as_deref())),
    ];
    let bytes = read(raw, move |raw| match mail::attachment_bytes(raw, &attachment) {
        Cow::Borrowed(part) => raw.slice_ref(part),
        Cow::Owned(decoded) => decoded.into(),
    });
    let mut response = (headers, bytes.await?).into_response();
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
    let raw = path.raw(inbox).await?;
    let budgets = inbox.mime();
    read(raw, move |raw| mail::header_fields(raw, &budgets)).await
}

/// Reads something out of a raw message without holding up others.
async fn read<T, F>(raw: Bytes, reading: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce(&Bytes) -> T + Send + 'static,
{
    offload::run(raw.len(), move || reading(&raw)).await
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
    path: &MessagePath,
    content_type: &'static str,
    part: fn(&Content) -> Option<&str>,
) -> Result<Response, Problem> {
    let message = path.message(inbox).await?.message;
    if part(&message.content).is_none() {
        let kind = content_type.split(';').next().unwrap_or_default();
        return Err(no_body(kind));
    }
    Ok(([(CONTENT_TYPE, content_type)], Bytes::from_owner(Body { message, part })).into_response())
}

fn no_body(kind: &str) -> Problem {
    Problem::not_found("body not found", format!("the message has no {kind} body"))
}

fn no_code() -> Problem {
    Problem::not_found("code not found", "no one-time code was found in the message")
}

fn no_link(count: usize) -> Problem {
    let detail = format!("none of the {count} links of the message is an action; all are in its key links");
    Problem::not_found("link not found", detail)
}

fn no_attachment(index: usize, count: usize) -> Problem {
    let detail = format!("the message has no attachment {index}; it has {count}, numbered from 0");
    Problem::not_found("attachment not found", detail)
}

fn too_large(error: &html::TooMuch) -> Problem {
    Problem::unprocessable("HTML too large", error.to_string())
}

/// The declared media type, where a browser that opens it runs nothing of it.
fn harmless_type(declared: &str) -> &str {
    let Some((kind, subtype)) = declared.split_once('/') else { return OCTET_STREAM };
    let known = ["application", "audio", "font", "image", "message", "model", "text", "video"].contains(&kind);
    let markup = ["html", "svg", "xhtml", "xml", "xsl"];
    let runs = subtype.contains("script")
        || subtype.split(['.', '+', '-']).any(|word| markup.contains(&word))
        || subtype == "x-shockwave-flash";
    if known && !runs && !subtype.is_empty() && subtype.bytes().all(is_token) { declared } else { OCTET_STREAM }
}

/// Whether the HTML of a message can refer to `attachment` as an image, and nothing but pixels can come of it.
fn is_inline_image(attachment: &Attachment) -> bool {
    attachment.content_id.is_some() && RASTER_IMAGES.contains(&attachment.content_type.as_str())
}

/// RFC 6838 section 4.2 `restricted-name-chars`, lower-cased as the record has them.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$&-^_.+".contains(&byte)
}

/// RFC 6266: always a download, under a name that stays in its directory.
fn disposition(filename: Option<&str>) -> String {
    let name = filename.map(safe_filename).unwrap_or_default();
    if name.is_empty() {
        return "attachment".to_owned();
    }
    // RFC 6266 appendix D: some clients decode percent signs in the plain form.
    let plain = |c: char| if c.is_ascii() && c != '%' { c } else { '_' };
    let fallback: String = name.chars().map(plain).collect();
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, RESERVED))
}

/// The last part of the path that the sender wrote, without what could deceive a file system, a header or a reader.
fn safe_filename(filename: &str) -> String {
    let last = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|&c| !c.is_control() && !is_invisible(c) && c != '"').collect();
    let clean = clean.trim_matches(|c: char| c.is_whitespace() || c == '.');
    mail::cut_name(clean, FILENAME_MAX_BYTES)
}

/// Characters that reorder or hide what stands around them: `invoice\u{202e}fdp.exe` would read as a PDF.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filename_stays_in_its_directory_and_in_its_header() {
        for (hostile, safe) in [
            ("report.pdf", "report.pdf"),
            ("../../x", "x"),
            ("C:\\windows\\x.exe", "x.exe"),
            ("a\"; filename=\"evil.html", "a; filename=evil.html"),
            ("a\r\nSet-Cookie: x=1", "aSet-Cookie: x=1"),
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
            ("a\u{61c}b\u{ad}\u{e0041}.exe", "ab.exe"),
            ("..", ""),
            ("a/", ""),
            (" .hidden. ", "hidden"),
            ("größe.txt", "größe.txt"),
        ] {
            assert_eq!(safe_filename(hostile), safe, "{hostile:?}");
        }
        assert_eq!(safe_filename(&"ä".repeat(200)).len(), 254);
        assert_eq!(safe_filename(&format!("{}.pdf", "x".repeat(300))), format!("{}.pdf", "x".repeat(251)));
    }

    #[test]
    fn a_disposition_has_both_forms_of_the_name() {
        assert_eq!(disposition(None), "attachment");
        assert_eq!(disposition(Some("../")), "attachment");
        assert_eq!(
            disposition(Some("50% größe.txt")),
            "attachment; filename=\"50_ gr__e.txt\"; filename*=UTF-8''50%25%20gr%C3%B6%C3%9Fe.txt"
        );
    }

    #[test]
    fn what_a_browser_would_run_is_only_bytes() {
        for safe in [
            "image/png",
            "application/pdf",
            "text/plain",
            "text/csv",
            "message/rfc822",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ] {
            assert_eq!(harmless_type(safe), safe);
        }
        for hostile in [
            "text/html",
            "application/xhtml+xml",
            "image/svg+xml",
            "image/svg",
            "text/xml",
            "text/xml-external-parsed-entity",
            "application/xml",
            "application/rss+xml",
            "text/javascript",
            "application/x-javascript",
            "text/ecmascript",
            "multipart/x-mixed-replace",
            "text/xsl",
            "text/HTML",
            "text",
            "text/",
            "/html",
            "",
            "text/plain\r\nx: y",
            "text/ plain",
            "text/plain;x",
        ] {
            assert_eq!(harmless_type(hostile), OCTET_STREAM, "{hostile:?}");
        }
    }
}
