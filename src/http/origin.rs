//! What a browser may do for a page from elsewhere: nothing, unless the operator has named that page.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, HeaderName, IF_NONE_MATCH, IF_RANGE,
    LINK, LOCATION, ORIGIN, RANGE, RETRY_AFTER,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Version};
use tower_http::cors::CorsLayer;

use super::events::LAST_EVENT_ID;
use super::key;
use super::limit::{RATE_LIMIT, RATE_REMAINING};
use super::problem::Problem;

/// How long a browser need not ask again what it may do.
const CORS_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// Where a page comes from, as browsers write it (RFC 6454 section 6.2): `https://app.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// What is not the origin of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write origins as browsers do, such as https://app.example.com or http://localhost:3000: scheme, host, and a port where it is not the usual one; no path, no *"
)]
pub struct OriginError;

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = text.split_once("://").ok_or(OriginError)?;
        let authority: Authority = rest.parse().map_err(|_| OriginError)?;
        let usual = match scheme {
            "https" => Some(443),
            "http" => Some(80),
            // Of an extension of a browser, say.
            other if !other.is_empty() && other.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') => None,
            _ => return Err(OriginError),
        };
        let port = rest.strip_prefix(authority.host()).ok_or(OriginError)?;
        let port_is_right = match port.strip_prefix(':') {
            Some(port) => port.parse::<u16>().is_ok_and(|port| Some(port) != usual),
            None => port.is_empty(),
        };
        let plain = !rest.contains(|c: char| c.is_ascii_uppercase() || c == '*' || c == '@');
        let right = plain && port_is_right && !authority.host().is_empty();
        if right { HeaderValue::try_from(text).map(Self).map_err(|_| OriginError) } else { Err(OriginError) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

/// Tells browsers that pages of `origins` may ask; `None` without one, and browsers let no page from elsewhere read an answer.
pub(super) fn cors(origins: &[Origin]) -> Option<CorsLayer> {
    let layer = CorsLayer::new()
        .allow_origin(origins.iter().map(|origin| origin.0.clone()).collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_NONE_MATCH,
            IF_RANGE,
            RANGE,
            HeaderName::from_static("x-api-key"),
            LAST_EVENT_ID,
        ])
        .expose_headers([
            CONTENT_DISPOSITION,
            CONTENT_RANGE,
            ETAG,
            LINK,
            LOCATION,
            RETRY_AFTER,
            RATE_LIMIT,
            RATE_REMAINING,
        ])
        .max_age(CORS_MAX_AGE);
    (!origins.is_empty()).then_some(layer)
}

/// Refuses what a page from elsewhere asks for. Without a key it would get nothing either; this goes before the key, so that
/// no page can make a browser guess one.
pub(super) fn check_origin(request: &Request, origins: &[Origin]) -> Result<(), Problem> {
    if let Some(origin) = request.headers().get(ORIGIN) {
        let own = authority(request);
        let is_own = own.is_some_and(|own| origin.to_str().is_ok_and(|origin| is_same_host(origin, own)));
        if !is_own && !origins.iter().any(|allowed| allowed.0 == origin) {
            return Err(Problem::foreign_origin());
        }
    } else if is_embedded_elsewhere(request.headers()) {
        return Err(Problem::foreign_origin());
    }
    Ok(())
}

/// Whether a page from elsewhere asks for something to embed, such as an image: then a browser does not say which page it is.
/// Whom a link leads here is no page, and where a key comes along, something on the way has brought it, and has let the page
/// ask: so the images of a message are had in the sandbox of `view=1`, which is elsewhere too.
fn is_embedded_elsewhere(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|said| said == value);
    is("sec-fetch-site", "cross-site") && !is("sec-fetch-mode", "navigate") && key::presented(headers).is_none()
}

/// The scheme is left aside: a proxy may have taken TLS off.
fn is_same_host(origin: &str, own: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, host)| host.eq_ignore_ascii_case(own))
}

/// By which names a listener may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Any: strangers may ask, and nobody knows what they call it.
    Any,
    /// Those of this machine and of the configuration alone.
    Ours,
}

/// Refuses requests for hosts that are not ours, where only this machine can ask and nothing is proved by a certificate.
///
/// A page from elsewhere may have a name that leads to loopback when it is looked up the second time (DNS rebinding): to the
/// browser it then asks its own host. That name is what gives it away.
pub(super) fn check_host(request: &Request, hosts: &[String]) -> Result<(), Problem> {
    let lines = request.headers().get_all(HOST).iter().count();
    if lines > 1 || (lines == 0 && request.version() == Version::HTTP_11) {
        return Err(Problem::bad_request("bad host", "a request has one Host header (RFC 9112 section 3.2)"));
    }
    let asked = authority(request);
    if request.extensions().get() == Some(&Names::Ours) && !asked.is_none_or(|asked| is_ours(asked, hosts)) {
        return Err(Problem::misdirected());
    }
    Ok(())
}

/// The host, perhaps with a port, that a request is for: of its target, or else of its header (RFC 9112 section 3.3).
fn authority(request: &Request) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        // What is not ASCII is none of our names.
        None => request.headers().get(HOST).map(|host| host.to_str().unwrap_or("?")),
    }
}

/// An address needs no looking up, so it is what the client has connected to, or as good as that.
fn is_ours(asked: &str, hosts: &[String]) -> bool {
    let Ok(authority) = asked.parse::<Authority>() else { return false };
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    // RFC 6761 section 6.3: nothing else is ever found under localhost.
    bare.parse::<IpAddr>().is_ok() || host == "localhost" || host.ends_with(".localhost") || hosts.contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_do() {
        for good in
            ["https://app.example.com", "http://localhost:3000", "https://[::1]:8443", "chrome-extension://abcdef"]
        {
            assert_eq!(good.parse::<Origin>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://*.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://App.example.com",
            "https://app.example.com:443",
            "http://localhost:80",
            "http://localhost:port",
            "https://me@app.example.com",
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(OriginError), "{bad}");
        }
    }

    #[test]
    fn a_name_on_loopback_is_ours_or_none() {
        let hosts = ["mx.example.com".to_owned()];
        for (asked, ours) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("restante.localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("192.0.2.1", true),
            ("MX.example.com.", true),
            ("mx.example.com:8080", true),
            ("example.com", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
            ("?", false),
        ] {
            assert_eq!(is_ours(asked, &hosts), ours, "{asked}");
        }
    }

    #[test]
    fn a_page_of_our_own_host_is_not_from_elsewhere() {
        assert!(is_same_host("https://API.example.com:8443", "api.example.com:8443"));
        assert!(is_same_host("http://localhost", "localhost"));
        for other in ["null", "https://api.example.com", "https://evil.example:8443", "api.example.com:8443"] {
            assert!(!is_same_host(other, "api.example.com:8443"), "{other}");
        }
    }
}
