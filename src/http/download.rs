//! Bytes on their way out, in pieces: raw messages and attachments. Their length is known before the first of them, so a
//! client sees where they break off.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use bytes::Bytes;

use super::known::Tag;
use super::offload;
use super::pieces::Pieces;
use super::problem::Problem;
use super::range::{Asked, Extent};
use super::room::{LARGE_BYTES, Room};
use crate::inbox::{Lost, Raw, StoreError};
use crate::mail::{self, Attachment, Base64Pieces, TransferEncoding};

/// What is given out, from its beginning to its end.
pub(super) struct Download {
    len: u64,
    source: Source,
}

enum Source {
    /// As they are in the store.
    Raw(Raw),
    /// Decoded on the way. Without a decoder it has come to its end.
    Base64(Raw, Option<Base64Pieces>),
    /// Decoded before.
    Held(Bytes),
}

impl Download {
    /// A raw message.
    pub(super) fn raw(raw: Raw) -> Self {
        Self { len: raw.len(), source: Source::Raw(raw) }
    }

    /// An attachment of the message `raw`: decoded on the way where that can be, so that it is never in memory as a whole.
    pub(super) async fn attachment(raw: Raw, attachment: Attachment, room: &Room) -> Result<Self, Problem> {
        let mut part = raw.part(attachment.start as u64..attachment.end as u64);
        if attachment.encoding == TransferEncoding::Identity {
            return Ok(Self::raw(part));
        }
        let encoded_len = usize::try_from(part.len()).unwrap_or(usize::MAX);
        if encoded_len > LARGE_BYTES && attachment.encoding == TransferEncoding::Base64 {
            if let Some(len) = decoded_len(&mut part).await? {
                part.rewind();
                return Ok(Self { len, source: Source::Base64(part, Some(Base64Pieces::default())) });
            }
            part.rewind();
        }
        // Encoded and decoded, both are there for a moment.
        let share = room.share(encoded_len.saturating_mul(2)).await?;
        let encoded = part.into_bytes().await?.ok_or(Lost::Deleted)?;
        let bytes = offload::run(encoded.len(), move || {
            let whole = Attachment { start: 0, end: encoded.len(), ..attachment };
            match mail::attachment_bytes(&encoded, &whole) {
                Cow::Borrowed(part) => encoded.slice_ref(part),
                Cow::Owned(decoded) => decoded.into(),
            }
        });
        let bytes = share.of(bytes.await?);
        Ok(Self { len: bytes.len() as u64, source: Source::Held(bytes) })
    }

    /// The answer with what is asked of it. What goes wrong before its first byte is a problem of its own; later the
    /// connection ends before the body does.
    pub(super) async fn answer(
        self,
        asked: &Asked,
        tag: &Tag,
        content: [(HeaderName, String); 2],
    ) -> Result<Response, Problem> {
        let (status, range) = match asked.of(self.len, tag) {
            Extent::Whole => (StatusCode::OK, 0..self.len),
            Extent::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Extent::Outside => return Ok(outside(self.len)),
        };
        let len = self.len;
        let body = if asked.is_head {
            Body::empty()
        } else {
            let mut cut = Cut { source: self.source, first: None, skip: range.start, left: range.end - range.start };
            cut.first = cut.read().await?;
            cut.into_body()
        };
        let mut response = (status, AppendHeaders(content), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if status == StatusCode::PARTIAL_CONTENT {
            content_range(&mut response, &format!("bytes {}-{}/{len}", range.start, range.end - 1));
        }
        Ok(tag.on(response))
    }
}

/// What is asked for of a download.
struct Cut {
    source: Source,
    /// The first piece, once it has been read.
    first: Option<Bytes>,
    skip: u64,
    left: u64,
}

impl Pieces for Cut {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => Ok(self.read().await?),
        }
    }
}

impl Cut {
    async fn read(&mut self) -> Result<Option<Bytes>, Lost> {
        while self.left > 0 {
            let Some(mut piece) = self.source.next().await? else {
                return Err(StoreError::Damaged("there are fewer bytes than there were".to_owned()).into());
            };
            // Both are at most as long as the piece.
            let short = |len: u64, piece: &Bytes| usize::try_from(len).map_or(piece.len(), |len| len.min(piece.len()));
            let skipped = piece.split_to(short(self.skip, &piece));
            self.skip -= skipped.len() as u64;
            piece.truncate(short(self.left, &piece));
            self.left -= piece.len() as u64;
            if self.left == 0 {
                // Whether all of them were right is known at their end.
                while self.source.next().await?.is_some() {}
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }
}

impl Source {
    async fn next(&mut self) -> Result<Option<Bytes>, Lost> {
        match self {
            Self::Raw(raw) => raw.chunk().await,
            Self::Held(bytes) => Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            Self::Base64(raw, decoder) => {
                let Some(pieces) = decoder else { return Ok(None) };
                let decoded = match raw.chunk().await? {
                    Some(chunk) => pieces.decode(&chunk),
                    None => decoder.take().and_then(|mut pieces| pieces.finish()),
                };
                let decoded = decoded.ok_or_else(|| StoreError::Damaged("what was base64 is none".to_owned()))?;
                Ok(Some(decoded.into()))
            }
        }
    }
}

/// How many bytes base64 stands for; `None` where it can only be decoded as a whole.
async fn decoded_len(encoded: &mut Raw) -> Result<Option<u64>, Problem> {
    let mut pieces = Base64Pieces::default();
    let mut len = 0;
    while let Some(chunk) = encoded.chunk().await? {
        let (decoded, same) = offload::run(chunk.len(), move || (pieces.decode(&chunk), pieces)).await?;
        let Some(decoded) = decoded else { return Ok(None) };
        len += decoded.len() as u64;
        pieces = same;
    }
    Ok(pieces.finish().map(|last| len + last.len() as u64))
}

/// The answer to who wants bytes that are not there (RFC 9110 section 15.5.17).
fn outside(len: u64) -> Response {
    let mut response = Problem::range_not_satisfiable(len).into_response();
    content_range(&mut response, &format!("bytes */{len}"));
    response
}

fn content_range(response: &mut Response, range: &str) {
    // Digits and signs: `ok` never drops anything.
    if let Ok(range) = HeaderValue::try_from(range) {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
}
