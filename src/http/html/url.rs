//! The URLs of a message: where each leads, and whether a page that shows the message may follow it.

use std::borrow::Cow;
use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use crate::http::view::attachment_url;
use crate::mail::Attachment;

/// An image has a handful of sizes; more of them would let a short attribute grow into a long one.
const SRCSET_MAX_CANDIDATES: usize = 32;

/// Schemes that a link may have beside those of the web: they start a program that asks before it does anything.
const LINK_SCHEMES: [&str; 4] = ["mailto", "tel", "sms", "ftp"];

/// What a `data:` URL may hold: what a browser draws, and nothing that it would open as a page.
const DATA_TYPES: [&str; 4] = ["image/", "font/", "application/font-", "application/x-font-"];

/// The parts of a message that its HTML may refer to by `cid:` (RFC 2392), each with its URL.
pub(in crate::http) struct Parts(HashMap<String, String>);

/// Where a URL of a message leads.
enum Place<'u> {
    /// To the part with this content id.
    Part(&'u str),
    /// Nowhere: it has the bytes in itself.
    Data,
    /// To another host.
    Remote,
    /// To another place of the same page.
    Fragment,
    /// To a program that writes mail or makes calls.
    Program,
    /// To where a message has no business: scripts, files, and paths of this server.
    Elsewhere,
}

impl Parts {
    /// The attachments of a message, each at its index below `message_url`.
    pub(in crate::http) fn new(attachments: &[Attachment], message_url: &str) -> Self {
        let mut urls = HashMap::new();
        for attachment in attachments {
            let Some(id) = &attachment.content_id else { continue };
            // Of two parts with one id, which is an error of the sender, the first is meant.
            urls.entry(folded(id)).or_insert_with(|| attachment_url(message_url, attachment.index));
        }
        Self(urls)
    }

    /// The URL of the part that `url` refers to; `None` if that is no `cid:`, or no part has that id.
    pub(super) fn resolve(&self, url: &str) -> Option<&str> {
        match Place::of(&normal(url)) {
            Place::Part(id) => self.find(id),
            _ => None,
        }
    }

    fn find(&self, id: &str) -> Option<&str> {
        let decoded = percent_decode_str(id).decode_utf8().ok()?;
        self.0.get(&folded(&decoded)).map(String::as_str)
    }
}

/// Content ids are told apart by their case in the RFC and by nothing in the mail of some senders.
fn folded(id: &str) -> String {
    id.to_ascii_lowercase()
}

/// What a page may load and link to.
#[derive(Clone, Copy)]
pub(super) struct Reach<'p> {
    pub(super) parts: &'p Parts,
    /// Whether it may load from other hosts.
    pub(super) remote: bool,
}

impl Reach<'_> {
    /// What to write in place of a URL that a browser would load at once; `None` if it must not.
    pub(super) fn load(self, url: &str) -> Option<String> {
        let url = normal(url);
        match Place::of(&url) {
            Place::Part(id) => self.parts.find(id).map(str::to_owned),
            Place::Data => Some(url.into_owned()),
            Place::Remote if self.remote => Some(url.into_owned()),
            _ => None,
        }
    }

    /// Whether a URL that is not loaded is so because nobody has asked for it.
    pub(super) fn can_be_asked_for(self, url: &str) -> bool {
        matches!(Place::of(&normal(url)), Place::Remote) && !self.remote
    }

    /// What to write in place of a URL that a reader may click on; `None` if that must lead nowhere.
    pub(super) fn link(self, url: &str) -> Option<String> {
        let url = normal(url);
        match Place::of(&url) {
            Place::Part(id) => self.parts.find(id).map(str::to_owned),
            Place::Remote | Place::Fragment | Place::Program => Some(url.into_owned()),
            Place::Data | Place::Elsewhere => None,
        }
    }
}

impl<'u> Place<'u> {
    /// Reads a URL in its [`normal`] form.
    fn of(url: &'u str) -> Self {
        let Some((scheme, rest)) = split_scheme(url) else {
            let mut chars = url.chars();
            return match (chars.next(), chars.next()) {
                // A backslash is a slash to the URL parser of browsers.
                (Some('/' | '\\'), Some('/' | '\\')) => Self::Remote,
                (Some('#'), _) => Self::Fragment,
                _ => Self::Elsewhere,
            };
        };
        match &*scheme.to_ascii_lowercase() {
            "cid" => Self::Part(rest),
            "http" | "https" => Self::Remote,
            "data" if has_data_type(rest) => Self::Data,
            scheme if LINK_SCHEMES.contains(&scheme) => Self::Program,
            _ => Self::Elsewhere,
        }
    }
}

fn has_data_type(rest: &str) -> bool {
    DATA_TYPES.iter().any(|kind| rest.get(..kind.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(kind)))
}

/// The scheme of an absolute URL (RFC 3986 section 3.1), and what is behind its colon.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let mut bytes = scheme.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    (begins && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))).then_some((scheme, rest))
}

/// What a URL parser of a browser looks at (WHATWG URL section 4.4): without the control characters and spaces around
/// it, and without any line break or tab inside, so that `java&Tab;script:` is read as what it will be.
fn normal(url: &str) -> Cow<'_, str> {
    let url = url.trim_matches(|c: char| c <= ' ');
    match url.contains(['\t', '\n', '\r']) {
        true => url.replace(['\t', '\n', '\r'], "").into(),
        false => url.into(),
    }
}

/// Rewrites the candidates of a `srcset` (HTML section 4.8.4.2.2). One for which `rule` has nothing is left out, and what
/// is no descriptor is too.
pub(super) fn srcset(value: &str, rule: impl Fn(&str) -> Option<String>) -> String {
    let mut kept = Vec::new();
    let mut rest = value;
    while kept.len() < SRCSET_MAX_CANDIDATES {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if rest.is_empty() {
            break;
        }
        let (url, behind) = rest.split_at(rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len()));
        let bare = url.trim_end_matches(',');
        // A comma right behind the URL ends the candidate; one inside belongs to the URL.
        let (descriptor, next) = match bare.len() == url.len() {
            true => behind.split_once(',').unwrap_or((behind, "")),
            false => ("", behind),
        };
        rest = next;
        let descriptor = descriptor.trim();
        let is_descriptor = descriptor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b". ".contains(&byte));
        if let Some(url) = rule(bare).filter(|_| is_descriptor) {
            kept.push(format!("{url} {descriptor}").trim_end().to_owned());
        }
    }
    kept.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        Parts(HashMap::from([("logo@x".to_owned(), "/a/0".to_owned())]))
    }

    #[test]
    fn a_part_is_found_by_its_content_id_as_senders_write_it() {
        let parts = parts();
        for url in ["cid:logo@x", "CID:Logo@X", " cid:logo%40x\n", "c\nid:lo\tgo@x"] {
            assert_eq!(parts.resolve(url), Some("/a/0"), "{url:?}");
        }
        for url in ["cid:other", "cid:", "logo@x", "http://x/cid:logo@x", "cid:%ff"] {
            assert_eq!(parts.resolve(url), None, "{url:?}");
        }
    }

    #[test]
    fn only_parts_and_pictures_are_loaded_unless_more_is_asked_for() {
        let parts = parts();
        let near = Reach { parts: &parts, remote: false };
        let far = Reach { parts: &parts, remote: true };
        assert_eq!(near.load("cid:logo@x").as_deref(), Some("/a/0"));
        assert_eq!(near.load("data:image/png;base64,AA").as_deref(), Some("data:image/png;base64,AA"));
        for url in ["http://x/", "HTTPS:x", "//x/", "\\\\x/", "/\\x/", " ht\ntp://x/ "] {
            assert_eq!(near.load(url), None, "{url:?}");
            assert!(far.load(url).is_some(), "{url:?}");
            assert!(near.link(url).is_some(), "{url:?}");
        }
        for url in [
            "javascript:alert(1)",
            "\u{1}java\tscript:alert(1)",
            "vbscript:x",
            "data:text/html,<script>",
            "data:,x",
            "file:///etc/passwd",
            "blob:x",
            "view-source:http://x",
            "/emails/other",
            "x.png",
            "",
        ] {
            assert_eq!((far.load(url), far.link(url)), (None, None), "{url:?}");
        }
        assert_eq!((far.load("#x"), far.link("#x")), (None, Some("#x".to_owned())));
        assert_eq!(far.link("MailTo:x@y").as_deref(), Some("MailTo:x@y"));
    }

    #[test]
    fn a_srcset_keeps_the_candidates_that_it_may_have() {
        let rule = |url: &str| (!url.contains("evil")).then(|| format!("<{url}>"));
        for (value, kept) in [
            ("a 1x, b 2x", "<a> 1x, <b> 2x"),
            ("a, b", "<a>, <b>"),
            (" , a 100w,evil 2x, c", "<a> 100w, <c>"),
            ("data:image/png;base64,AA 2x", "<data:image/png;base64,AA> 2x"),
            ("a 1x\" onload=x, b", "<b>"),
            ("evil", ""),
            ("", ""),
            (",,,", ""),
        ] {
            assert_eq!(srcset(value, rule), kept, "{value:?}");
        }
        assert_eq!(srcset(&"a,\n".repeat(100), rule).matches('<').count(), SRCSET_MAX_CANDIDATES);
    }
}
