//! Query parameters, read strictly: what is not known is an error, so that a typo never becomes "no filter".

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::openapi::{self, Meaning};
use super::path;
use super::problem::Problem;
use super::view::RESERVED;
use super::wanted::Latest;
use crate::inbox::Page;
use crate::units;

pub(super) const LIMIT_DEFAULT: u64 = 50;
/// A page of a list ends before its messages have more than this, so that no answer takes the memory that a mailbox takes
/// on the disk.
pub(super) const PAGE_MAX_BYTES: u64 = 16 * 1024 * 1024;
pub(super) const LIMITS: RangeInclusive<u64> = 1..=200;
/// What a `seq` may be: JSON carries no larger number exactly (RFC 8259 section 6).
pub(super) const SEQS: RangeInclusive<u64> = 0..=(1 << 53) - 1;

/// The query parameters of a route as its handler wants them. `Strict<()>` is a route that takes none.
pub(super) struct Strict<T>(pub(super) T);

/// What can be read out of a query.
pub(super) trait Parameters: Sized {
    /// The parameters that there are.
    const NAMES: &'static [&'static str];

    /// Reads them; those that were not sent take their default.
    fn read(query: &Query) -> Result<Self, Problem>;

    /// What one of them means, for the description of the API.
    fn meaning(name: &str) -> Option<Meaning> {
        openapi::meaning(name)
    }
}

/// Which part of the list of mailboxes is wanted.
pub(super) struct MailboxPage {
    pub(super) limit: usize,
    pub(super) after: Option<String>,
}

/// In which form the HTML body is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HtmlForm {
    /// As it was sent.
    Sent,
    /// As it was sent, but with its parts at their URLs.
    Inline,
    /// As a page to look at, and whether that may load from other hosts.
    View { remote: bool },
}

/// How much of a list is wanted that has no pages.
pub(super) struct Limit(pub(super) usize);

impl Parameters for () {
    const NAMES: &'static [&'static str] = &[];

    fn read(_: &Query) -> Result<Self, Problem> {
        Ok(())
    }
}

impl Parameters for Page {
    const NAMES: &'static [&'static str] = &["limit", "before", "after"];

    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self {
            before: query.number("before", SEQS)?,
            after: query.number("after", SEQS)?,
            limit: query.limit()?,
            max_bytes: PAGE_MAX_BYTES,
        })
    }
}

impl Parameters for MailboxPage {
    const NAMES: &'static [&'static str] = &["limit", "after"];

    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self { limit: query.limit()?, after: query.value("after").map(str::to_owned) })
    }

    fn meaning(name: &str) -> Option<Meaning> {
        if name == "after" { Some(openapi::after_mailbox()) } else { openapi::meaning(name) }
    }
}

impl Parameters for HtmlForm {
    const NAMES: &'static [&'static str] = &["inline", "view", "remote"];

    fn read(query: &Query) -> Result<Self, Problem> {
        let inline = match query.value("inline") {
            None => false,
            Some("cid") => true,
            Some(other) => return Err(bad(format!("the query parameter inline is {other:?}; it must be cid"))),
        };
        match (query.switch("view")?, query.switch("remote")?) {
            (true, remote) => Ok(Self::View { remote }),
            (false, true) => Err(bad("the query parameter remote=1 needs view=1".to_owned())),
            (false, false) if inline => Ok(Self::Inline),
            (false, false) => Ok(Self::Sent),
        }
    }
}

impl Parameters for Limit {
    const NAMES: &'static [&'static str] = &["limit"];

    fn read(query: &Query) -> Result<Self, Problem> {
        query.limit().map(Self)
    }
}

impl<S: Sync, T: Parameters> FromRequestParts<S> for Strict<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // The newest message is chosen by parameters, whatever is wanted of it.
        let choosing = if path::is_latest(parts).await { Latest::NAMES } else { &[] };
        let query = Query::parse(parts.uri.query().unwrap_or_default(), [T::NAMES, choosing].concat().as_slice())?;
        T::read(&query).map(Strict)
    }
}

/// The parameters as they were sent, each at most once and all of them known.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// The parameters of a request, whatever their names: it is for [`Strict`] to know them.
    pub(super) fn of(parts: &Parts) -> Result<Self, Problem> {
        Self::parse(parts.uri.query().unwrap_or_default(), None)
    }

    /// Reads a query. Where it is said which names are `known`, any other is an error.
    pub(super) fn parse<'a>(text: &str, known: impl Into<Option<&'a [&'a str]>>) -> Result<Self, Problem> {
        let known = known.into();
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if let Some(known) = known.filter(|known| !known.contains(&name.as_str())) {
                return Err(unknown(&name, known));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(bad(format!("the query parameter {name} is given twice; give it once")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str, allowed: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(value) = self.value(name) else { return Ok(None) };
        // `parse` alone would take a plus sign.
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse() {
            Ok(number) if digits && allowed.contains(&number) => Ok(Some(number)),
            _ => {
                let (least, most) = allowed.into_inner();
                Err(bad(format!(
                    "the query parameter {name} is {value:?}; it must be a whole number from {least} to {most}"
                )))
            }
        }
    }

    /// A time of at most `most`.
    pub(super) fn period(&self, name: &str, most: Duration) -> Result<Option<Duration>, Problem> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match units::duration(value) {
            Ok(time) if time <= most => Ok(Some(time)),
            _ => Err(bad(format!(
                "the query parameter {name} is {value:?}; it must be a whole number with its unit, from 1s to {}s",
                most.as_secs()
            ))),
        }
    }

    /// What is on or off; off if it is not given.
    fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.value(name) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(other) => Err(bad(format!("the query parameter {name} is {other:?}; it must be 0 or 1"))),
        }
    }

    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.number("limit", LIMITS)?.unwrap_or(LIMIT_DEFAULT);
        Ok(usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

/// Those parameters of `query` that have one of these `names`, each behind an `&`. They are encoded anew: not all that a client
/// may send is fit for the URL of a header.
pub(super) fn kept(query: Option<&str>, names: &[&str]) -> String {
    let query = Query::parse(query.unwrap_or_default(), None).map_or_else(|_| Vec::new(), |Query(pairs)| pairs);
    let kept = query.iter().filter(|(name, _)| names.contains(&name.as_str()));
    kept.map(|(name, value)| format!("&{name}={}", utf8_percent_encode(value, RESERVED))).collect()
}

/// Whether every `%` begins a percent-encoded byte (RFC 3986 section 2.1).
pub(super) fn is_well_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let bytes = rest.as_bytes();
        bytes.len() >= 2 && bytes[0].is_ascii_hexdigit() && bytes[1].is_ascii_hexdigit()
    })
}

/// The names and values of a query are form-encoded: a plus is a space.
fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(decoded) if is_well_encoded(&spaced) => Ok(decoded.into_owned()),
        _ => Err(bad(format!("{text:?} in the query is not percent-encoded UTF-8"))),
    }
}

pub(super) fn unknown(name: &str, known: &[&str]) -> Problem {
    let allowed = match known {
        [] => "none is allowed here".to_owned(),
        [one] => format!("{one} is allowed"),
        several => several.join(", ") + " are allowed",
    };
    Problem::bad_request("unknown query parameter", format!("the query parameter {name:?} is not known; {allowed}"))
}

/// A known parameter with a value that it cannot have.
pub(super) fn bad(detail: String) -> Problem {
    Problem::bad_request("bad query parameter", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Result<Page, Problem> {
        Page::read(&Query::parse(text, Page::NAMES)?)
    }

    #[test]
    fn a_page_has_defaults_and_limits() {
        let whole = Page { before: None, after: None, limit: 0, max_bytes: PAGE_MAX_BYTES };
        assert_eq!(page(""), Ok(Page { limit: 50, ..whole }));
        let all = page("before=9&after=3&limit=200");
        assert_eq!(all, Ok(Page { before: Some(9), after: Some(3), limit: 200, ..whole }));
        assert_eq!(page("&limit=1&"), Ok(Page { limit: 1, ..whole }));
        assert_eq!(page("%6Cimit=%31"), page("limit=1"));
    }

    #[test]
    fn what_is_kept_is_fit_for_a_url_whatever_was_sent() {
        let sent = "limit=1&subject=\u{e9}{|^}%26+a%2Bb&q=%22x%22&wait=1s";
        assert_eq!(kept(Some(sent), &["subject", "q"]), "&subject=%C3%A9%7B%7C%5E%7D%26%20a%2Bb&q=%22x%22");
        assert_eq!(kept(None, &["q"]), "");
    }

    #[test]
    fn html_has_three_forms() {
        let form = |text: &str| HtmlForm::read(&Query::parse(text, HtmlForm::NAMES)?);
        assert_eq!(form(""), Ok(HtmlForm::Sent));
        assert_eq!(form("view=0&remote=0"), Ok(HtmlForm::Sent));
        assert_eq!(form("inline=cid"), Ok(HtmlForm::Inline));
        assert_eq!(form("inline=cid&view=1"), Ok(HtmlForm::View { remote: false }));
        assert_eq!(form("remote=1&view=1"), Ok(HtmlForm::View { remote: true }));
        for query in
            ["inline=", "inline=all", "view=", "view=yes", "remote=2&view=1", "remote=1", "remote=1&inline=cid"]
        {
            assert!(form(query).is_err(), "{query}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (query, parts) in [
            ("limit=0", ["limit", "\"0\"", "from 1 to 200"]),
            ("limit=201", ["limit", "\"201\"", "from 1 to 200"]),
            ("limit=", ["limit", "\"\"", "from 1 to 200"]),
            ("limit", ["limit", "\"\"", "from 1 to 200"]),
            ("limit=%2B5", ["limit", "\"+5\"", "from 1 to 200"]),
            ("before=-1", ["before", "\"-1\"", "whole number"]),
            ("after=99999999999999999999", ["after", "\"99999999999999999999\"", "whole number"]),
            ("limit=1&limit=1", ["limit", "twice", "once"]),
            ("limti=5", ["\"limti\"", "not known", "limit, before, after are allowed"]),
            ("limit=%zz", ["\"%zz\"", "query", "percent-encoded"]),
            ("limit=%ff", ["\"%ff\"", "query", "percent-encoded"]),
            ("limit=1%", ["\"1%\"", "query", "percent-encoded"]),
        ] {
            let problem = format!("{:?}", page(query).unwrap_err()).replace('\\', "");
            for part in parts {
                assert!(problem.contains(part), "{query}: {part} in {problem}");
            }
        }
    }
}
