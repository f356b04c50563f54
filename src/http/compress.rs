//! Compression of answers, for clients that ask for it (RFC 9110 section 12.5.3).

use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, ETAG};
use axum::http::{Extensions, HeaderMap, StatusCode, Version};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

/// Below this the header of an answer is most of it.
const LEAST_BYTES: u64 = 1024;

/// Whether a client takes answers in any of the codings that there are. The layer below refuses who does not, but only after
/// all has been done, and with the answer of that.
pub(super) fn is_any_accepted(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    let named: Vec<_> = fields.flat_map(|field| field.split(',')).filter_map(weighed).collect();
    let wanted = |ours: &str| named.iter().find(|(coding, _)| coding.eq_ignore_ascii_case(ours)).map(|(_, is)| *is);
    let others = wanted("*");
    wanted("identity").or(others).unwrap_or(true)
        || ["gzip", "zstd"].into_iter().any(|ours| wanted(ours).or(others).unwrap_or(false))
}

/// A coding, and whether it is wanted; `None` where its weight is none (RFC 9110 section 12.4.2).
fn weighed(item: &str) -> Option<(&str, bool)> {
    let (coding, weight) = item.split_once(';').unwrap_or((item, "q=1"));
    let coding = match coding.trim() {
        old if old.eq_ignore_ascii_case("x-gzip") => "gzip",
        coding => coding,
    };
    let weight = weight.trim().strip_prefix(['q', 'Q'])?.strip_prefix('=')?;
    let (whole, digits) = weight.split_once('.').unwrap_or((weight, ""));
    let is_digit = |digit: u8| if whole == "1" { digit == b'0' } else { digit.is_ascii_digit() };
    let is_weight = matches!(whole, "0" | "1") && digits.len() <= 3 && digits.bytes().all(is_digit);
    is_weight.then(|| (coding, weight.contains(|digit| ('1'..='9').contains(&digit))))
}

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
    use std::convert::Infallible;

    use axum::body::Body;
    use axum::http::{Request, Response};
    use proptest::prelude::*;
    use tower::{Layer, ServiceExt, service_fn};

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

    fn accepting(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT_ENCODING, accept.parse().unwrap())])
    }

    #[test]
    fn an_answer_as_it_is_will_do_unless_it_is_excluded_and_nothing_else_is_taken() {
        for (accept, expected) in [
            ("", true),
            ("br", true),
            ("gzip;q=0", true),
            ("identity;q=0, gzip", true),
            ("identity;q=0, X-GZIP; q=0.001", true),
            ("*;q=0, zstd", true),
            ("*;q=0, identity", true),
            ("identity;q=0, *", true),
            ("identity;q=0", false),
            ("Identity;Q=0.000, br", false),
            ("*;q=0", false),
            ("*;q=0, br", false),
            ("identity;q=0, gzip;q=0, *;q=0", false),
            ("identity;q=0, gzip;q=1.5", false),
        ] {
            assert_eq!(is_any_accepted(&accepting(accept)), expected, "{accept}");
        }
        assert!(is_any_accepted(&HeaderMap::new()));
    }

    proptest! {
        /// Else its own refusal would be given out, which is no problem document.
        #[test]
        fn the_layer_refuses_nobody_who_comes_so_far(
            items in prop::collection::vec(
                ("(gzip|x-gzip|GZIP|zstd|br|identity|\\*| \\* |)", "(|;q=0|; q=1|;q=0\\.|;Q=0\\.0|;q=1\\.5|;q=0\\.5|;q|;q=0;x|;q=0\\.0000)"),
                0..5,
            )
        ) {
            let items: Vec<_> = items.into_iter().map(|(coding, weight)| coding + &weight).collect();
            let headers = accepting(&items.join(","));
            let is_accepted = is_any_accepted(&headers);
            let mut request = Request::new(Body::empty());
            *request.headers_mut() = headers;
            let routes = layer().layer(service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty()))));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let answer = runtime.block_on(routes.oneshot(request)).unwrap();
            prop_assert!(answer.status() == StatusCode::OK || !is_accepted);
        }
    }
}
