//! Streams of mail as it arrives: Server-Sent Events, in the format of the HTML standard, section 9.2.

use std::convert::Infallible;
use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use utoipa::ToSchema;

use super::Settings;
use super::held::{Place, Waiter};
use super::openapi::streams;
use super::path::MailboxPath;
use super::problem::Problem;
use super::query::{Parameters, Query, SEQS, Strict};
use super::token::Grant;
use super::view::{ArrivalView, mailbox_url};
use super::wanted::Chosen;
use crate::inbox::{Feed, Filter, Inbox, News, StoreError};
use crate::shutdown::Shutdown;

/// How long nothing is sent at most: less than the time after which proxies give up an idle connection, and often enough to
/// notice clients that are gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream lasts. Its client comes back where it was, and its right to read is looked at anew.
const STREAM_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a client is asked to wait before it comes back.
const RETRY: Duration = Duration::from_secs(1);
/// How long the store is left alone that could not be read.
const STORE_PAUSE: Duration = Duration::from_secs(2);
/// So many events are on their way to the client beside those in the buffers of its connection.
const EVENTS_UNDER_WAY: usize = 1;

/// What a client heard last, when it comes back (HTML standard, section 9.2.4).
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// An event of all mailboxes, as an example.
const CURSOR: &str = "0123456789abcdef-42";
/// Asks nginx, and others that took it over, to pass on what comes when it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What streams need of the server.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: Shutdown,
    /// How long a client may take nothing of what there is for it.
    patience: Duration,
}

impl Streams {
    pub(super) fn new(settings: &Settings, tasks: &Shutdown) -> Self {
        Self { tasks: tasks.clone(), patience: settings.idle_timeout }
    }
}

/// Which messages are followed, and from where on.
pub(super) struct Followed {
    filter: Arc<Filter>,
    after: Option<String>,
}

impl Parameters for Followed {
    const NAMES: &'static [&'static str] = &["after", "from", "to", "subject", "q"];

    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self { filter: Chosen::read(query)?.0, after: query.value("after").map(str::to_owned) })
    }
}

/// The types of events.
pub(super) const MESSAGE: &str = "message";
pub(super) const GAP: &str = "gap";

/// Messages may have arrived that were not told of.
#[derive(Serialize, ToSchema)]
#[schema(as = Gap)]
pub(super) struct GapView {
    /// The same in words.
    detail: &'static str,
    /// The path of the list that has them.
    look_at: String,
}

impl GapView {
    pub(super) fn new(look_at: String) -> Self {
        Self { detail: "messages may have arrived that were not told of; look at the lists again", look_at }
    }
}

/// The place of a message in its mailbox, as a client may name it.
struct Seq(u64);

impl FromStr for Seq {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().ok().filter(|seq| SEQS.contains(seq)).map(Self).ok_or(())
    }
}

impl Followed {
    /// Where the stream begins: behind what the client heard last, or where it asks for. The URL of a stream stays the same
    /// when its client comes back, so the header goes first.
    fn cursor<T: FromStr>(&self, headers: &HeaderMap, allowed: &str) -> Result<Option<T>, Problem> {
        let read = |name: &str, text: &str| {
            // Numbers would be read with a plus sign too.
            let parsed = text.parse().ok().filter(|_| !text.starts_with('+'));
            let wrong = || Problem::bad_request("bad cursor", format!("{name} is {text:?}; it must be {allowed}"));
            parsed.ok_or_else(wrong)
        };
        let after = self.after.as_deref().map(|after| read("the query parameter after", after)).transpose()?;
        let heard = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty());
        let heard = heard.map(|id| read("the header Last-Event-ID", id.to_str().unwrap_or("?"))).transpose()?;
        Ok(heard.or(after))
    }
}

/// The mail of a mailbox as it arrives
///
/// As Server-Sent Events: `message` with one message, and `gap` where some may have arrived that were not told of. The `id` of
/// an event is the `seq`. A stream ends after an hour, and a client comes back by itself.
#[utoipa::path(
    get,
    path = "/{mailbox}/events",
    operation_id = "stream_mailbox",
    tag = "Messages",
    params(
        MailboxPath,
        Strict<Followed>,
        ("Last-Event-ID" = Option<String>, Header, description = "What a client heard last, when it comes back; it goes before `after`", example = json!("7")),
    ),
    responses((
        status = 200,
        description = "The stream",
        content_type = "text/event-stream",
        body = streams::Event,
        examples(("message" = (value = json!(streams::message("7")))), ("gap" = (value = json!(streams::gap("7", "/emails/user"))))),
    )),
)]
pub(super) async fn of_mailbox(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(followed): Strict<Followed>,
    waiter: Waiter,
    request: Parts,
) -> Result<Response, Problem> {
    let after = followed.cursor(&request.headers, "a seq of the mailbox, a whole number")?;
    let place = waiter.take()?;
    let feed = inbox.follow(mailbox, followed.filter, after.map(|Seq(seq)| seq)).await?;
    stream(inbox, feed, place, &request)
}

/// The mail of all mailboxes as it arrives
///
/// As that of one mailbox. The `id` of an event is its place in one run of one server, which has the last 4096 of them.
#[utoipa::path(
    get,
    path = "/events",
    operation_id = "stream_all",
    tag = "Messages",
    params(
        ("after" = Option<String>, Query, description = "Only what comes behind the event with this `id`", example = json!(CURSOR)),
        Strict<Chosen>,
        ("Last-Event-ID" = Option<String>, Header, description = "What a client heard last, when it comes back; it goes before `after`", example = json!(CURSOR)),
    ),
    responses((
        status = 200,
        description = "The stream",
        content_type = "text/event-stream",
        body = streams::Event,
        examples(("message" = (value = json!(streams::message(CURSOR)))), ("gap" = (value = json!(streams::gap(CURSOR, "/emails"))))),
    )),
)]
pub(super) async fn all(
    State(inbox): State<Inbox>,
    Strict(followed): Strict<Followed>,
    waiter: Waiter,
    request: Parts,
) -> Result<Response, Problem> {
    let after = followed.cursor(&request.headers, "the id of an event, such as 0123456789abcdef-42")?;
    let place = waiter.take()?;
    let feed = inbox.follow_all(followed.filter, after);
    stream(inbox, feed, place, &request)
}

/// Begins to stream. What arrives from here on is not missed.
fn stream(inbox: Inbox, feed: Feed, place: Place, request: &Parts) -> Result<Response, Problem> {
    let Some(Streams { tasks, patience }) = request.extensions.get().cloned() else {
        tracing::error!("a stream was asked for past the layer of streams");
        return Err(Problem::internal());
    };
    // Behind the end of its token a client may not read either.
    let left = request.extensions.get().map(|grant: &Grant| grant.left(inbox.now().as_secs()));
    let until = Instant::now() + left.unwrap_or(STREAM_MAX).min(STREAM_MAX);
    let (events, mut sent) = mpsc::channel(EVENTS_UNDER_WAY);
    let writer = Writer::new(inbox, feed, events, patience);
    let group = tasks.clone();
    // A task of its own, as the connection asks for nothing while its client takes nothing: then nobody would look at the
    // time, and a client that has gone to sleep would keep its place.
    tasks.spawn(async move {
        let _place = place;
        tokio::select! {
            () = group.requested() => {}
            () = writer.run(until) => {}
        }
    });
    let mut response = Sse::new(poll_fn(move |cx| sent.poll_recv(cx)).map(Ok::<_, Infallible>)).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// Writes a stream.
struct Writer {
    inbox: Inbox,
    feed: Feed,
    events: mpsc::Sender<Event>,
    patience: Duration,
    /// When the client is to hear something, be it nothing new. Mail that does not match does not put it off.
    due: Instant,
}

/// The client is gone, or takes nothing any more.
struct Gone;

impl Writer {
    fn new(inbox: Inbox, feed: Feed, events: mpsc::Sender<Event>, patience: Duration) -> Self {
        Self { inbox, feed, events, patience, due: Instant::now() }
    }

    /// Until the client is gone, or at most until `until`.
    async fn run(mut self, until: Instant) {
        let events = self.events.clone();
        tokio::select! {
            () = events.closed() => {}
            () = sleep_until(until) => {}
            _ = self.write() => {}
        }
    }

    async fn write(&mut self) -> Result<(), Gone> {
        // An id without data is no event, but where the client goes on if it loses the connection before the first one.
        self.send(Event::default().id(self.feed.cursor().to_string()).retry(RETRY)).await?;
        loop {
            match self.next().await? {
                Ok(News::Message(stored)) => {
                    let url = mailbox_url(&self.inbox, &stored.mailbox);
                    self.tell(MESSAGE, &ArrivalView::new(&stored, &url)).await?;
                }
                Ok(News::Missed) => {
                    let lists = self.feed.mailbox().map(|mailbox| mailbox_url(&self.inbox, mailbox));
                    self.tell(GAP, &GapView::new(lists.unwrap_or_else(|| "/emails".to_owned()))).await?;
                }
                Ok(News::Nothing) => {}
                Err(StoreError::Unavailable(cause)) => {
                    tracing::debug!(cause, "the store cannot be read for a stream; it will be tried again");
                    sleep(STORE_PAUSE).await;
                }
                Err(error) => {
                    tracing::error!(%error, "a stream ends, as the store cannot be read");
                    return Ok(());
                }
            }
        }
    }

    /// What the feed tells next; as long as it has nothing to tell, the client is kept awake.
    async fn next(&mut self) -> Result<Result<News, StoreError>, Gone> {
        let Self { feed, events, patience, due, .. } = self;
        let cursor = feed.cursor().to_string();
        let mut next = pin!(feed.next());
        loop {
            tokio::select! {
                biased;
                // With the place, which moves on over what does not match.
                () = sleep_until(*due) => {
                    send(events, *patience, Event::default().comment("").id(&cursor)).await?;
                    *due = Instant::now() + HEARTBEAT;
                }
                news = &mut next => return Ok(news),
            }
        }
    }

    async fn tell(&mut self, name: &str, data: &impl Serialize) -> Result<(), Gone> {
        let data = serde_json::to_string(data).unwrap_or_default();
        self.send(Event::default().event(name).id(self.feed.cursor().to_string()).data(data)).await
    }

    async fn send(&mut self, event: Event) -> Result<(), Gone> {
        send(&self.events, self.patience, event).await?;
        self.due = Instant::now() + HEARTBEAT;
        Ok(())
    }
}

async fn send(events: &mpsc::Sender<Event>, patience: Duration, event: Event) -> Result<(), Gone> {
    match timeout(patience, events.send(event)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::tests::{envelope, inbox, settings};
    use crate::smtp::Backend;

    /// What is written in this time of a stream on which nothing arrives.
    async fn written(within: Duration) -> (usize, bool) {
        let inbox = inbox(settings(), u64::MAX).await;
        let feed = inbox.follow_all(Arc::default(), None);
        let (events, mut sent) = mpsc::channel(EVENTS_UNDER_WAY);
        let writer = Writer::new(inbox, feed, events, HEARTBEAT);
        let mut written = 0;
        let counting = async {
            while sent.recv().await.is_some() {
                written += 1
            }
        };
        let writing = writer.run(Instant::now() + STREAM_MAX);
        let ended = timeout(within, async { tokio::join!(counting, writing) }).await.is_ok();
        (written, ended)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_on_which_nothing_arrives_is_kept_awake() {
        assert_eq!(written(3 * HEARTBEAT + Duration::from_secs(1)).await, (1 + 3, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_kept_awake_while_mail_arrives_that_does_not_match() {
        let inbox = inbox(settings(), u64::MAX).await;
        let filter = Arc::new("subject:verify".parse().unwrap());
        let feed = inbox.follow_all(filter, None);
        let (events, mut sent) = mpsc::channel(EVENTS_UNDER_WAY);
        let writer = Writer::new(inbox.clone(), feed, events, HEARTBEAT);
        let mut written = 0;
        let counting = async {
            while sent.recv().await.is_some() {
                written += 1
            }
        };
        let arriving = async {
            loop {
                sleep(HEARTBEAT / 3).await;
                let raw = bytes::Bytes::from_static(b"Subject: News\r\n\r\n");
                Backend::deliver(&inbox, &envelope(&["user@example.com"]), raw).await.unwrap();
            }
        };
        let all = async { tokio::join!(counting, writer.run(Instant::now() + STREAM_MAX), arriving) };
        assert!(timeout(3 * HEARTBEAT + Duration::from_secs(1), all).await.is_err());
        assert_eq!(written, 1 + 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_after_an_hour() {
        let (written, ended) = written(STREAM_MAX + Duration::from_secs(1)).await;
        assert!(ended && written >= 3600 / 15, "{written}");
    }
}
