//! The HTTP API on real sockets: one test for each rule of its contract.

#![expect(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

mod addresses;
mod attempts;
mod browsers;
mod claims;
mod compression;
mod content;
mod errors;
mod events;
#[path = "../support/exposition.rs"]
mod exposition;
mod hostile;
mod html;
mod keys;
mod known;
mod limits;
mod lists;
mod message;
mod metrics;
mod openapi;
mod proxies;
mod ranges;
mod routes;
mod support;
mod wait;

use self::support::Answer;

/// Every route with the methods that it takes, at a message that is not there.
const ROUTES: [(&str, &[&str]); 28] = [
    ("/health", &["GET", "HEAD"]),
    ("/metrics", &["GET", "HEAD"]),
    ("/ready", &["GET", "HEAD"]),
    ("/openapi.json", &["GET", "HEAD"]),
    ("/docs", &["GET", "HEAD"]),
    ("/docs/page.js", &["GET", "HEAD"]),
    ("/emails", &["GET", "HEAD"]),
    ("/emails/user", &["GET", "HEAD", "DELETE"]),
    ("/emails/user/attempts", &["GET", "HEAD"]),
    ("/emails/user/events", &["GET", "HEAD"]),
    ("/emails/user/none", &["GET", "HEAD"]),
    ("/emails/user/claim", &["POST"]),
    ("/emails/user/latest", &["GET", "HEAD"]),
    ("/emails/user/latest/text", &["GET", "HEAD"]),
    ("/addresses", &["POST"]),
    ("/attempts", &["GET", "HEAD"]),
    ("/events", &["GET", "HEAD"]),
    ("/emails/user/0199f0c8-1234-7000-8000-000000000000", &["GET", "HEAD", "DELETE"]),
    ("/emails/user/0199f0c8-1234-7000-8000-000000000000/raw", &["GET", "HEAD"]),
    ("/emails/user/0199f0c8-1234-7000-8000-000000000000/text", &["GET", "HEAD"]),
    ("/emails/user/0199f0c8-1234-7000-8000-000000000000/html", &["GET", "HEAD"]),
    ("/emails/user/0199f0c8-1234-7000-8000-000000000000/headers", &["GET", "HEAD"]),
    ("/emails/user/0199f0c8-1234-7000-8000-000000000000/release", &["POST"]),
    ("/emails/user/0199f0c8-1234-7000-8000-000000000000/done", &["POST"]),
    ("/emails/user/0199f0c8-1234-7000-8000-000000000000/extend", &["POST"]),
    ("/emails/user/0199f0c8-1234-7000-8000-000000000000/code", &["GET", "HEAD"]),
    ("/emails/user/0199f0c8-1234-7000-8000-000000000000/link", &["GET", "HEAD"]),
    ("/emails/user/0199f0c8-1234-7000-8000-000000000000/attachments/0", &["GET", "HEAD"]),
];

/// Those of [`ROUTES`] that anybody may ask.
const OPEN: [&str; 6] = ["/health", "/metrics", "/ready", "/openapi.json", "/docs", "/docs/page.js"];

/// Those that are the description of the others, and not described themselves. They are the same for everybody.
const DESCRIPTION: [&str; 3] = ["/openapi.json", "/docs", "/docs/page.js"];

/// What every answer says to browsers, but for those that a browser is to show. What has a tag may be kept by the cache of
/// its reader, and is asked for again each time.
fn security_headers(answer: &Answer) -> [(&'static str, &'static str); 5] {
    let cache = if answer.header("etag").is_empty() { "no-store" } else { "private, no-cache" };
    [
        ("x-content-type-options", "nosniff"),
        ("cache-control", cache),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("cross-origin-resource-policy", "same-origin"),
    ]
}
