//! A part of an answer (RFC 9110 section 14): one range of bytes, for those who go on with a download that broke off.

use std::convert::Infallible;
use std::ops::Range;

use axum::extract::FromRequestParts;
use axum::http::header::{IF_RANGE, RANGE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};

use super::known::Tag;

/// What the client asks for of the bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The client does not want the bytes at all.
    pub(super) is_head: bool,
    range: Option<HeaderValue>,
    of: Option<HeaderValue>,
}

/// Which bytes the client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All.
    Whole,
    /// These.
    Part(Range<u64>),
    /// It wants some that are not there.
    Outside,
}

impl Asked {
    /// Which bytes of `len` the client gets, where `tag` stands for them.
    pub(super) fn of(&self, len: u64, tag: &Tag) -> Extent {
        // RFC 9110 section 13.1.5: what the client has the beginning of has changed, so it starts anew.
        let is_current = self.of.as_ref().is_none_or(|of| tag.is(of));
        match self.range.as_ref().filter(|_| is_current && !self.is_head).and_then(|range| parse(range, len)) {
            None => Extent::Whole,
            Some(range) if range.start < range.end => Extent::Part(range),
            Some(_) => Extent::Outside,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let field = |name| parts.headers.get(name).cloned();
        Ok(Self { is_head: parts.method == Method::HEAD, range: field(RANGE), of: field(IF_RANGE) })
    }
}

/// The bytes that a field `Range` names; empty where they are not there. `None` where it is not one range of bytes: such
/// a field may be ignored (RFC 9110 section 14.2).
fn parse(field: &HeaderValue, len: u64) -> Option<Range<u64>> {
    let (unit, range) = field.to_str().ok()?.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (first, last) {
        ("", last) => Some(len.saturating_sub(number(last)?)..len),
        (first, "") => Some(number(first)?.min(len)..len),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| first.min(len)..last.saturating_add(1).min(len))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::mail::MessageId;

    #[test]
    fn one_range_of_bytes_is_read_and_others_are_left_aside() {
        for (field, expected) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=2-5", Some(2..6)),
            ("Bytes=2-", Some(2..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-30", Some(0..10)),
            ("bytes=5-99999999999", Some(5..10)),
            ("bytes=5-18446744073709551615", Some(5..10)),
            ("bytes=10-", Some(10..10)),
            ("bytes=11-12", Some(10..10)),
            ("bytes=-0", Some(10..10)),
            ("bytes=5-4", None),
            ("bytes=0-1,3-4", None),
            ("bytes=+1-2", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("lines=0-1", None),
            ("bytes", None),
        ] {
            assert_eq!(parse(&field.parse().unwrap(), 10), expected, "{field}");
        }
    }

    #[test]
    fn a_range_of_something_else_is_no_range() {
        let id = MessageId::new(Timestamp::from_millis(1));
        let (tag, field) = (Tag::raw(id), format!("\"{id}\""));
        let asked = |of: Option<&str>| Asked {
            range: Some("bytes=1-2".parse().unwrap()),
            of: of.map(|of| of.parse().unwrap()),
            is_head: false,
        };
        assert_eq!(asked(None).of(10, &tag), Extent::Part(1..3));
        assert_eq!(asked(Some(&field)).of(10, &tag), Extent::Part(1..3));
        assert_eq!(asked(Some("\"old\"")).of(10, &tag), Extent::Whole);
        assert_eq!(asked(Some("Sat, 28 Nov 2026 17:00:00 GMT")).of(10, &tag), Extent::Whole);
        assert_eq!(Asked { is_head: true, ..asked(None) }.of(10, &tag), Extent::Whole);
        assert_eq!(asked(None).of(0, &tag), Extent::Outside);
    }
}
