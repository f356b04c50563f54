//! Messages in JSON on their way out, piece by piece: neither a list nor a long text ever exists as one JSON text, in which
//! a byte may take six.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::pieces::Pieces;
use super::problem::Problem;
use super::room::{LARGE_BYTES, Room, Share, from_layer};
use super::view::{ClaimView, MessageView};
use crate::inbox::{Inbox, StoreError, Stored};
use crate::mail::{HeaderField, MailboxName, MessageId};

/// So many bytes are made at a time, or a few more. A message with no more text than
/// this is made at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Messages whose text together is no more than this are made at once.
const AT_ONCE_BYTES: usize = 256 * 1024;

/// The JSON that was made lately takes so much, roughly, and each beside its text.
const MADE_MAX_BYTES: u64 = 16 * 1024 * 1024;
const MADE_OVERHEAD_BYTES: usize = 256;

/// The JSON of messages as it was made lately: a message never changes, and who looks at a mailbox looks again. Whether it is
/// there is not for this to say: it is asked only for what the store has just found. Clones are the same.
#[derive(Clone)]
pub(super) struct Made(Arc<Cache<Key, Bytes, Size>>);

/// One mailbox sees a message otherwise than another: each its own recipient.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    mailbox: MailboxName,
    id: MessageId,
    has_headers: bool,
}

#[derive(Clone)]
struct Size;

impl Weighter<Key, Bytes> for Size {
    fn weight(&self, _: &Key, json: &Bytes) -> u64 {
        (json.len() + MADE_OVERHEAD_BYTES) as u64
    }
}

impl Made {
    pub(super) fn new() -> Self {
        Self(Arc::new(Cache::with_weighter(4096, MADE_MAX_BYTES, Size)))
    }

    /// The JSON of a message with its headers, where it was made lately.
    pub(super) fn with_headers(&self, stored: &Stored) -> Option<Bytes> {
        self.0.get(&Key::new(stored, true))
    }

    /// The JSON of a message of little text; with its headers where they are given.
    fn of(&self, stored: &Stored, mailbox_url: &str, headers: Option<&[HeaderField]>) -> Bytes {
        let key = Key::new(stored, headers.is_some());
        if let Some(json) = self.0.get(&key) {
            return json;
        }
        let mut json = Vec::new();
        write(&MessageView::new(stored, mailbox_url, headers), &mut json);
        let json = Bytes::from(json);
        self.0.insert(key, json.clone());
        json
    }
}

impl Key {
    fn new(stored: &Stored, has_headers: bool) -> Self {
        Self { mailbox: stored.mailbox.clone(), id: stored.message.id, has_headers }
    }
}

impl<S: Sync> FromRequestParts<S> for Made {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        from_layer(parts)
    }
}

/// The messages of a list, as an array.
pub(super) struct List {
    inbox: Inbox,
    room: Room,
    made: Made,
    mailbox: MailboxName,
    url: String,
    queue: VecDeque<Item>,
    current: Option<Record>,
    place: Place,
}

/// A message whose turn will come.
enum Item {
    Kept(Stored),
    /// To be read again: what waits for a slow reader has to be little.
    Named(MessageId),
}

/// How far the array is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    First,
    Later,
    Behind,
}

/// One message, whose bodies are escaped piece by piece.
pub(super) struct Record {
    stored: Stored,
    _share: Share,
    before: Vec<u8>,
    after: Vec<u8>,
    stage: Stage,
}

/// What of a message comes next; of a body, from where on.
#[derive(Clone, Copy)]
enum Stage {
    Before,
    Text(usize),
    Between,
    Html(usize),
    After,
    Done,
}

impl List {
    /// `messages` of `mailbox`, which is at `url`.
    pub(super) fn new(
        inbox: Inbox,
        (room, made): (Room, Made),
        mailbox: MailboxName,
        url: String,
        messages: Vec<Stored>,
    ) -> Self {
        let mut bytes = 0;
        let item = |stored: Stored| {
            bytes += stored.text_bytes();
            if bytes <= LARGE_BYTES { Item::Kept(stored) } else { Item::Named(stored.message.id) }
        };
        let queue = messages.into_iter().map(item).collect();
        Self { inbox, room: room.patient(), made, mailbox, url, queue, current: None, place: Place::Before }
    }

    async fn take(&self, item: Item) -> Result<Option<(Stored, Share)>, StoreError> {
        match item {
            Item::Kept(stored) => Ok(Some((stored, Share::none()))),
            // One that has gone meanwhile is not in the list any more.
            Item::Named(id) => Ok(self.room.message(&self.inbox, &self.mailbox, id).await?),
        }
    }

    fn begin(&mut self, (stored, share): (Stored, Share), out: &mut Vec<u8>) {
        match self.place {
            Place::First => self.place = Place::Later,
            _ => out.push(b','),
        }
        if stored.text_bytes() > PIECE_BYTES {
            let around = MessageView::new(&stored, &self.url, None).around_bodies();
            self.current = Some(Record::new(stored, share, around));
        } else {
            out.extend_from_slice(&self.made.of(&stored, &self.url, None));
        }
    }
}

impl Pieces for List {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut out = Vec::new();
        if self.place == Place::Before {
            out.push(b'[');
            self.place = Place::First;
        }
        while out.len() < PIECE_BYTES && self.place != Place::Behind {
            if let Some(record) = &mut self.current {
                if record.write(&mut out) {
                    continue;
                }
                self.current = None;
            }
            match self.queue.pop_front() {
                Some(item) => {
                    if let Some(taken) = self.take(item).await? {
                        self.begin(taken, &mut out);
                    }
                }
                None => {
                    out.push(b']');
                    self.place = Place::Behind;
                }
            }
        }
        Ok((!out.is_empty()).then(|| out.into()))
    }
}

impl Record {
    /// `stored`, between what stands around its bodies.
    fn new(stored: Stored, share: Share, (before, after): (Vec<u8>, Vec<u8>)) -> Self {
        Self { stored, _share: share, before, after, stage: Stage::Before }
    }

    /// Appends some of it; says whether there was any left.
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        let content = &self.stored.message.content;
        self.stage = match self.stage {
            Stage::Before => {
                out.append(&mut self.before);
                Stage::Text(0)
            }
            Stage::Text(at) => write_escaped(content.text.as_deref(), at, out).map_or(Stage::Between, Stage::Text),
            Stage::Between => {
                out.extend_from_slice(MessageView::BETWEEN_BODIES);
                Stage::Html(0)
            }
            Stage::Html(at) => write_escaped(content.html.as_deref(), at, out).map_or(Stage::After, Stage::Html),
            Stage::After => {
                out.append(&mut self.after);
                Stage::Done
            }
            Stage::Done => return false,
        };
        true
    }
}

impl Pieces for Record {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut out = Vec::new();
        while out.len() < PIECE_BYTES && self.write(&mut out) {}
        Ok((!out.is_empty()).then(|| out.into()))
    }
}

/// The array of the messages that `list` gives.
pub(super) fn array(list: List) -> Response {
    let bytes: Option<usize> = list.queue.iter().map(Item::text_bytes).sum();
    if bytes.is_none_or(|bytes| bytes > AT_ONCE_BYTES) {
        return json(list.into_body());
    }
    let (List { made, url, .. }, queue) = (&list, &list.queue);
    let made: Vec<_> = queue.iter().filter_map(Item::kept).map(|stored| made.of(stored, url, None)).collect();
    let mut out = Vec::with_capacity(made.iter().map(|json| json.len() + 1).sum::<usize>() + 2);
    out.push(b'[');
    for json in made {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&json);
    }
    out.push(b']');
    json(out.into())
}

/// One message with all its headers.
pub(super) fn object(
    (stored, share): (Stored, Share),
    made: &Made,
    mailbox_url: &str,
    headers: &[HeaderField],
) -> Response {
    if stored.text_bytes() > PIECE_BYTES {
        let around = MessageView::new(&stored, mailbox_url, Some(headers)).around_bodies();
        return json(Record::new(stored, share, around).into_body());
    }
    json(made.of(&stored, mailbox_url, Some(headers)).into())
}

/// One message with the lease on it.
pub(super) fn claimed((stored, share): (Stored, Share), mailbox_url: &str, claim: &ClaimView) -> Response {
    let view = MessageView::new(&stored, mailbox_url, None).with_claim(claim);
    if stored.text_bytes() > PIECE_BYTES {
        let around = view.around_bodies();
        return json(Record::new(stored, share, around).into_body());
    }
    let mut out = Vec::new();
    write(&view, &mut out);
    json(out.into())
}

/// A problem that comes of a message, with that as its member `message`.
pub(super) fn in_problem(
    problem: Problem,
    (stored, share): (Stored, Share),
    made: &Made,
    mailbox_url: &str,
) -> Response {
    let mut before = Vec::new();
    write(&problem, &mut before);
    before.pop();
    before.extend_from_slice(br#","message":"#);
    let body = if stored.text_bytes() > PIECE_BYTES {
        let (start, mut after) = MessageView::new(&stored, mailbox_url, None).around_bodies();
        before.extend_from_slice(&start);
        after.push(b'}');
        Record::new(stored, share, (before, after)).into_body()
    } else {
        before.extend_from_slice(&made.of(&stored, mailbox_url, None));
        before.push(b'}');
        before.into()
    };
    let (head, _) = problem.into_response().into_parts();
    Response::from_parts(head, body)
}

impl Item {
    fn kept(&self) -> Option<&Stored> {
        match self {
            Self::Kept(stored) => Some(stored),
            Self::Named(_) => None,
        }
    }

    /// The text of one that can be made at once.
    fn text_bytes(&self) -> Option<usize> {
        self.kept().map(Stored::text_bytes).filter(|bytes| *bytes <= PIECE_BYTES)
    }
}

pub(super) fn json(body: Body) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// Appends a value. Texts, numbers and lists of them can always be written.
fn write(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    if let Err(error) = serde_json::to_writer(out, value) {
        tracing::error!(%error, "a message could not be written as JSON");
    }
}

/// Appends a piece of `text` from `at` on, as it stands in a JSON string; returns where the next one begins.
fn write_escaped(text: Option<&str>, at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let text = text.unwrap_or_default();
    let end = text.floor_char_boundary(at + PIECE_BYTES);
    let start = out.len();
    write(&&text[at..end], out);
    // Without the quotes around it.
    out.pop();
    out.copy_within(start + 1.., start);
    out.pop();
    (end < text.len()).then_some(end)
}
