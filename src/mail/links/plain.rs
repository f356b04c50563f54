//! Web addresses in a plain text (RFC 3986 appendix C).

use std::ops::Range;

use memchr::memmem;

use super::extent::{self, Extent};

/// The longest address that is read.
const ADDRESS_MAX_BYTES: usize = super::HREF_MAX_BYTES;
/// How much of the text before an address is looked at.
const LEAD_MAX_BYTES: usize = 240;

/// And how much behind it.
const TAIL_MAX_BYTES: usize = 80;

/// An address and the text before it.
pub(super) struct Address<'a> {
    pub(super) href: &'a str,
    pub(super) lead: &'a str,
}

/// Addresses in angle brackets that go over several lines, in one piece each, with where they stand.
pub(super) fn unwrapped(text: &str) -> Vec<(Range<usize>, String)> {
    let mut found = Vec::new();
    for start in starts(text) {
        if found.last().is_some_and(|(range, _): &(Range<usize>, String)| start < range.end) {
            continue;
        }
        if let Some(address) = bracketed(text, start).filter(|address| address.contains(['\n', ' ', '\t'])) {
            let whole: String = address.chars().filter(|c| !c.is_whitespace()).collect();
            // Of two addresses one was never closed.
            if !whole[4..].contains("http") {
                found.push((start..start + address.len(), whole));
            }
        }
    }
    found
}

/// All addresses of `text`, in order.
pub(super) fn addresses<'a>(text: &'a str, unwrapped: &'a [(Range<usize>, String)]) -> Vec<Address<'a>> {
    let mut wrapped = unwrapped.iter().peekable();
    let mut found = Vec::new();
    let mut end = 0;
    for start in starts(text) {
        if start < end {
            continue;
        }
        while wrapped.peek().is_some_and(|(range, _)| range.start < start) {
            wrapped.next();
        }
        let href = match wrapped.peek() {
            Some((range, whole)) if range.start == start => {
                end = range.end;
                whole
            }
            _ => {
                let href;
                (href, end) = address(text, start);
                let Some(href) = href else { continue };
                href
            }
        };
        if href.len() <= ADDRESS_MAX_BYTES && href.split_once("://").is_some_and(|(_, rest)| !rest.is_empty()) {
            found.push(Address { href, lead: lead(text, start) });
        }
    }
    found
}

/// Where addresses begin.
fn starts(text: &str) -> impl Iterator<Item = usize> {
    let separators = memmem::find_iter(text.as_bytes(), b"://");
    separators.filter_map(|at| {
        let before = &text.as_bytes()[..at];
        let scheme = [&b"https"[..], b"http"].into_iter().find(|scheme| {
            before.len().checked_sub(scheme.len()).is_some_and(|start| before[start..].eq_ignore_ascii_case(scheme))
        })?;
        Some(at - scheme.len())
    })
}

/// The address that stands at `start`, without the punctuation of the sentence around it, and where it ends. What may be
/// half an address is none.
fn address(text: &str, start: usize) -> (Option<&str>, usize) {
    let reach = &text[start..text.floor_char_boundary(start + ADDRESS_MAX_BYTES + 4)];
    if let Some(whole) = enclosed(text, start, reach) {
        return (Some(whole), start + whole.len());
    }
    let extent = Extent::of(reach, text[..start].ends_with('<'));
    let address = without_punctuation(&reach[..extent.end]);
    (extent.is_whole.then_some(address), start + address.len())
}

fn without_punctuation(mut address: &str) -> &str {
    let mut unopened = address.matches(')').count().saturating_sub(address.matches('(').count());
    while let Some(last) = address.as_bytes().last() {
        match last {
            b'.' | b',' | b';' | b':' | b'!' | b'?' | b'\'' | b'*' | b']' => {}
            b')' if unopened > 0 => unopened -= 1,
            _ => break,
        }
        address = &address[..address.len() - 1];
    }
    address
}

/// All that stands in angle brackets, if it is an address alone; some programs put its text behind it, `<address|text>`.
fn enclosed<'a>(text: &str, start: usize, reach: &'a str) -> Option<&'a str> {
    let end = text[..start].ends_with('<').then(|| reach.find(['>', '<', '"']))??;
    let inner = reach[..end].split('|').next().unwrap_or_default();
    (reach[end..].starts_with('>') && !reach[..end].contains(char::is_whitespace)).then_some(inner)
}

/// The text between the angle brackets that stand around the address at `start`.
fn bracketed(text: &str, start: usize) -> Option<&str> {
    if !text[..start].ends_with('<') {
        return None;
    }
    let rest = &text[start..text.floor_char_boundary(start + ADDRESS_MAX_BYTES)];
    let is_inside = |c: char| match c {
        c if c.is_ascii() => c.is_ascii_graphic() && !matches!(c, '<' | '>') || c.is_ascii_whitespace(),
        c => extent::is_letter(c),
    };
    let end = rest.find(|c| !is_inside(c))?;
    rest[end..].starts_with('>').then(|| &rest[..end])
}

/// What stands before an address: the rest of its line and, if that says nothing, the line before.
pub(super) fn lead(text: &str, start: usize) -> &str {
    let floor = text.floor_char_boundary(start.saturating_sub(LEAD_MAX_BYTES));
    let before = text[floor..start].trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '<' | '(' | '[' | '*'));
    let line = before.rfind('\n').map_or(before, |at| &before[at + 1..]);
    // Addresses of their own lines: what another one is for does not count.
    if memmem::find(line.as_bytes(), b"://").is_some() { "" } else { paragraph(before) }
}

/// What stands behind an address on its line.
pub(super) fn tail(text: &str, end: usize) -> &str {
    let ceiling = text.floor_char_boundary(end + TAIL_MAX_BYTES);
    text[end..ceiling].split('\n').next().unwrap_or_default()
}

/// The last lines of `text` up to an empty one, or to another address.
fn paragraph(text: &str) -> &str {
    let behind = |gap: &str| memmem::rfind(text.as_bytes(), gap.as_bytes()).map(|at| at + gap.len());
    let last = &text[behind("\n\n").max(behind("\n\r\n")).unwrap_or(0)..];
    match memmem::rfind(last.as_bytes(), b"://") {
        Some(at) => last[at..].split_once('\n').map_or("", |(_, rest)| rest),
        None => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let unwrapped = unwrapped(text);
        addresses(text, &unwrapped).into_iter().map(|address| address.href.to_owned()).collect()
    }

    #[test]
    fn addresses_are_found_without_the_sentence_around_them() {
        for (text, expected) in [
            ("see https://a.example/b.", &["https://a.example/b"][..]),
            ("(http://a.example/b(c)) HTTP://A.example!", &["http://a.example/b(c)", "HTTP://A.example"]),
            ("<https://a.example/\r\n  b?c=d>", &["https://a.example/b?c=d"]),
            ("<https://a.example/ and https://b.example/>", &["https://a.example/", "https://b.example/"]),
            ("请访问https://a.example/b。", &["https://a.example/b"]),
            ("ftp://a.example :// https:// x://y", &[]),
            ("[a](https://a.example/?q=1&r=2)", &["https://a.example/?q=1&r=2"]),
            ("<https://a.example/c?t=1|Confirm>", &["https://a.example/c?t=1"]),
            ("<https://a.example/確認>", &["https://a.example/確認"]),
            ("<https://exämple.com/\r\n  b?c=d>", &["https://exämple.com/b?c=d"]),
            (
                "{https://a.example/b} https://a.example/b|https://b.example",
                &["https://a.example/b", "https://a.example/b", "https://b.example"],
            ),
            ("Über https://a.example/konto/bestätigen?t=1, bitte", &["https://a.example/konto/bestätigen?t=1"]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
