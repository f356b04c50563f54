//! What a client has already: entity tags, and requests that ask only for what is new (RFC 9110 sections 8.8.3 and 13).
//!
//! A tag is made from what the store knows of a message before its content is read. Mail never changes, so the name of a
//! message is enough; what this program makes of it may, so its version goes into the tags of all that is not byte for byte
//! what was sent.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, ETAG, IF_NONE_MATCH, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::inbox::Listing;
use crate::mail::{Attachment, MessageId};

/// A cache of the client's own may keep the answer, and asks each time whether it still holds: what was deleted or has
/// expired is not shown again. One that others share keeps nothing.
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The tag of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag(String);

/// The tags of what the client has: the fields `If-None-Match`.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Vec<HeaderValue>);

impl Tag {
    /// Of a raw message.
    pub(super) fn raw(id: MessageId) -> Self {
        Self(format!("\"{id}\""))
    }

    /// Of an attachment of it: what a decoder makes of the same bytes may change, its digest tells.
    pub(super) fn attachment(id: MessageId, attachment: &Attachment) -> Self {
        Self(format!("\"{id}.{}\"", attachment.sha256))
    }

    /// Of what this program says of a message.
    pub(super) fn message(id: MessageId) -> Self {
        Self(format!("W/\"{id}.{}\"", env!("CARGO_PKG_VERSION")))
    }

    /// Of a page of a list.
    pub(super) fn messages(Listing { messages, more, .. }: &Listing) -> Self {
        let mut facts = vec![u8::from(*more)];
        for stored in messages {
            facts.extend_from_slice(stored.message.id.as_bytes());
            facts.extend_from_slice(&stored.seq.to_le_bytes());
        }
        Self::list(&facts)
    }

    /// Of a list that is made of these facts and no others.
    pub(super) fn list(facts: &[u8]) -> Self {
        let digest = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION")).chain_update(facts).finalize();
        let short: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("W/\"{short}\""))
    }

    /// What is compared (RFC 9110 section 8.8.3.2, the weak comparison).
    fn opaque(&self) -> &str {
        self.0.strip_prefix("W/").unwrap_or(&self.0)
    }

    /// Whether a field that wants the very same bytes names it.
    pub(super) fn is(&self, field: &HeaderValue) -> bool {
        field.as_bytes() == self.0.as_bytes() && !self.0.starts_with("W/")
    }

    /// Puts the tag on an answer.
    pub(super) fn on(&self, mut response: Response) -> Response {
        self.write(response.headers_mut());
        response
    }

    /// The answer to a client that has it.
    pub(super) fn not_modified(&self) -> Response {
        let mut response = (StatusCode::NOT_MODIFIED, Body::empty()).into_response();
        self.write(response.headers_mut());
        if self.0.starts_with("W/") {
            // As the whole answer has it, where it is worth compressing.
            response.headers_mut().insert(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
        }
        response
    }

    fn write(&self, headers: &mut HeaderMap) {
        // Letters, digits and quotes: `ok` never drops anything.
        if let Ok(tag) = HeaderValue::try_from(&self.0) {
            headers.insert(ETAG, tag);
            headers.insert(CACHE_CONTROL, ASK_EACH_TIME);
        }
    }
}

impl Known {
    /// What a client says that it has.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(headers.get_all(IF_NONE_MATCH).iter().cloned().collect())
    }

    /// Whether the client has what `tag` stands for.
    pub(super) fn has(&self, tag: &Tag) -> bool {
        self.any(|known| known == tag.opaque())
    }

    /// Whether the client has something of this message: all tags of that begin with its id.
    pub(super) fn has_message(&self, id: MessageId) -> bool {
        let id = id.to_string();
        self.any(|known| known.strip_prefix('"').is_some_and(|known| known.starts_with(&id)))
    }

    fn any(&self, is_it: impl Fn(&str) -> bool) -> bool {
        let tags = self.0.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
        // Tags of others may have commas in them; ours do not, so no piece of another is one.
        tags.map(str::trim).any(|known| known == "*" || is_it(known.strip_prefix("W/").unwrap_or(known)))
    }
}

impl<S: Sync> FromRequestParts<S> for Known {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn known(lines: &[&str]) -> Known {
        Known(lines.iter().map(|line| line.parse().unwrap()).collect())
    }

    #[test]
    fn a_client_has_what_it_names_among_others() {
        let (strong, weak) = (Tag(r#""abc""#.to_owned()), Tag(r#"W/"abc""#.to_owned()));
        for lines in [
            &[r#""abc""#][..],
            &[r#"W/"abc""#],
            &[r#""x", "abc""#],
            &[r#""x,y" ,W/"abc","z""#],
            &[r#""x""#, r#""abc""#],
            &["*"],
        ] {
            assert!(known(lines).has(&strong) && known(lines).has(&weak), "{lines:?}");
        }
        for lines in [&[][..], &[""], &["abc"], &[r#""abcd""#], &[r#""ab,c""#], &[r#"w/"abc""#], &[r#""ABC""#]] {
            assert!(!known(lines).has(&strong), "{lines:?}");
        }
    }

    #[test]
    fn each_tag_of_a_message_is_one_of_it_and_of_no_other() {
        let [id, other] = [1, 2].map(|millis| MessageId::new(Timestamp::from_millis(millis)));
        for tag in [Tag::raw(id), Tag::message(id)] {
            let known = known(&[&tag.0]);
            assert!(known.has_message(id) && !known.has_message(other), "{tag:?}");
        }
        assert!(known(&["*"]).has_message(id) && !known(&[]).has_message(id));
    }

    #[test]
    fn only_a_strong_tag_stands_for_the_same_bytes() {
        let id = MessageId::new(Timestamp::from_millis(1));
        let field = |tag: &Tag| HeaderValue::try_from(&tag.0).unwrap();
        assert!(Tag::raw(id).is(&field(&Tag::raw(id))));
        assert!(!Tag::message(id).is(&field(&Tag::message(id))));
    }
}
