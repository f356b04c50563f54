//! Compression of answers, for clients that ask for it (RFC 9110 section 12.5.3).

use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{Extensions, HeaderMap, StatusCode, Version};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

/// Below this the header of an answer is most of it.
const LEAST_BYTES: u64 = 1024;

/// Compresses what is text. It goes by the piece, so a long answer is never in memory as a whole.
pub(super) fn layer() -> CompressionLayer<impl Predicate> {
    let is_text = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| is_text(headers);
    // Between the server and its client there is a fast network, and a slow processor on either side.
    let layer = CompressionLayer::new().quality(CompressionLevel::Fastest);
    layer.compress_when(SizeAbove::new(LEAST_BYTES).and(is_text))
}

/// Whether an answer is text of ours. What has a strong tag is given byte for byte, and events have to arrive one by one.
fn is_text(headers: &HeaderMap) -> bool {
    let value = |name| headers.get(name).map_or(&b""[..], |value: &axum::http::HeaderValue| value.as_bytes());
    let content_type = value(CONTENT_TYPE);
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let is_text = match kind {
        b"text/event-stream" => false,
        b"application/javascript" | b"application/openmetrics-text" => true,
        kind => kind.starts_with(b"text/") || kind.ends_with(b"json") || kind.ends_with(b"+xml"),
    };
    is_text && !value(ETAG).starts_with(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_compressed_and_nothing_else() {
        for (content_type, tag, expected) in [
            ("application/json", "W/\"a\"", true),
            ("application/json", "", true),
            ("application/problem+json", "", true),
            ("text/html; charset=utf-8", "W/\"a\"", true),
            ("text/plain", "\"a\"", false),
            ("message/rfc822", "\"a\"", false),
            ("text/event-stream", "", false),
            ("text/event-stream; charset=utf-8", "", false),
            ("image/png", "\"a\"", false),
            ("", "", false),
        ] {
            let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
            if !tag.is_empty() {
                headers.insert(ETAG, tag.parse().unwrap());
            }
            assert_eq!(is_text(&headers), expected, "{content_type} {tag}");
        }
    }
}
