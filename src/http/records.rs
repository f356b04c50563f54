//! Messages in JSON on their way out, piece by piece: neither a list nor a long text ever exists as one JSON text, in which
//! a byte may take six.

use std::collections::VecDeque;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::pieces::Pieces;
use super::room::{LARGE_BYTES, Room, Share};
use super::view::{ClaimView, MessageView};
use crate::inbox::{Inbox, StoreError, Stored};
use crate::mail::{HeaderField, MailboxName, MessageId};

/// So many bytes are made at a time, or a few more. What has no more text than this is made at once, and its length told.
const PIECE_BYTES: usize = 64 * 1024;

/// The messages of a list, as an array.
pub(super) struct List {
    inbox: Inbox,
    room: Room,
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
    pub(super) fn new(inbox: Inbox, room: Room, mailbox: MailboxName, url: String, messages: Vec<Stored>) -> Self {
        let mut bytes = 0;
        let item = |stored: Stored| {
            bytes += text_bytes(&stored);
            if bytes <= LARGE_BYTES { Item::Kept(stored) } else { Item::Named(stored.message.id) }
        };
        let queue = messages.into_iter().map(item).collect();
        Self { inbox, room, mailbox, url, queue, current: None, place: Place::Before }
    }

    async fn take(&self, item: Item) -> Result<Option<(Stored, Share)>, StoreError> {
        match item {
            Item::Kept(stored) => Ok(Some((stored, Share::none()))),
            // One that has gone meanwhile is not in the list any more.
            Item::Named(id) => self.room.message(&self.inbox, &self.mailbox, id).await,
        }
    }

    fn begin(&mut self, (stored, share): (Stored, Share), out: &mut Vec<u8>) {
        match self.place {
            Place::First => self.place = Place::Later,
            _ => out.push(b','),
        }
        if text_bytes(&stored) > PIECE_BYTES {
            self.current = Some(Record::new(stored, share, &self.url, None, None));
        } else {
            write(&MessageView::new(&stored, &self.url, None), out);
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
    fn new(
        stored: Stored,
        share: Share,
        mailbox_url: &str,
        headers: Option<&[HeaderField]>,
        claim: Option<&ClaimView>,
    ) -> Self {
        let (before, after) = MessageView::new(&stored, mailbox_url, headers).with_claim(claim).around_bodies();
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
    let bytes: usize = list.queue.iter().map(Item::text_bytes).sum();
    if bytes > PIECE_BYTES {
        return json(list.into_body());
    }
    let views: Vec<_> = list.queue.iter().filter_map(|item| item.view(&list.url)).collect();
    let mut out = Vec::new();
    write(&views, &mut out);
    json(out.into())
}

/// One message, with all its headers or with the lease on it where they are given.
pub(super) fn object(
    (stored, share): (Stored, Share),
    mailbox_url: &str,
    headers: Option<&[HeaderField]>,
    claim: Option<&ClaimView>,
) -> Response {
    if text_bytes(&stored) > PIECE_BYTES {
        return json(Record::new(stored, share, mailbox_url, headers, claim).into_body());
    }
    let mut out = Vec::new();
    write(&MessageView::new(&stored, mailbox_url, headers).with_claim(claim), &mut out);
    json(out.into())
}

impl Item {
    fn text_bytes(&self) -> usize {
        match self {
            Self::Kept(stored) => text_bytes(stored),
            Self::Named(_) => LARGE_BYTES,
        }
    }

    fn view(&self, mailbox_url: &str) -> Option<MessageView<'_>> {
        match self {
            Self::Kept(stored) => Some(MessageView::new(stored, mailbox_url, None)),
            Self::Named(_) => None,
        }
    }
}

fn json(body: Body) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// How much text the JSON of a message has, but for what is small.
fn text_bytes(stored: &Stored) -> usize {
    stored.message.content.text_bytes()
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
