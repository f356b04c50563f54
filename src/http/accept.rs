//! Whether a client takes what a route has to give (RFC 9110 section 12.5.1).

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use super::problem::Problem;

/// Refuses who says that it takes no answer of the type `produced`, before anything is done for it.
pub(super) fn check(request: &Request, produced: &'static str) -> Result<(), Problem> {
    if accepts(request.headers(), produced) { Ok(()) } else { Err(Problem::not_acceptable(produced)) }
}

/// Without the header anything will do, and so it does where it cannot be read.
fn accepts(headers: &HeaderMap, produced: &str) -> bool {
    let lines: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
    let ranges = lines.iter().flat_map(|line| line.split(',')).filter(|range| !range.trim().is_empty());
    let mut best = None;
    let mut any = false;
    for range in ranges {
        any = true;
        let mut parts = range.split(';').map(str::trim);
        let Some(closeness) = closeness(parts.next().unwrap_or_default(), produced) else { continue };
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let wanted = quality.is_none_or(|quality| quality.parse::<f32>().is_ok_and(|quality| quality > 0.0));
        best = best.max(Some((closeness, wanted)));
    }
    !any || best.is_some_and(|(_, wanted)| wanted)
}

/// How closely a range names the type; `None` where it does not.
fn closeness(range: &str, produced: &str) -> Option<u8> {
    let (kind, _) = produced.split_once('/')?;
    match range {
        "*/*" => Some(0),
        range if range.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(kind)) => Some(1),
        range if range.eq_ignore_ascii_case(produced) => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_range_decides() {
        for (accept, json) in [
            ("", true),
            ("*/*", true),
            ("application/json", true),
            ("APPLICATION/JSON; charset=utf-8", true),
            ("application/*", true),
            ("text/html, application/xhtml+xml, */*;q=0.8", true),
            ("text/html", false),
            ("text/*", false),
            ("application/problem+json", false),
            ("application/json;q=0", false),
            ("*/*, application/json;q=0", false),
            ("*/*;q=0, application/json", true),
            ("application/json; q=0.1, text/html", true),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(accepts(&headers, "application/json"), json, "{accept}");
        }
        assert!(accepts(&HeaderMap::new(), "application/json"));
    }
}
