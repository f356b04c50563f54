//! How likely a link is the one that its message was sent for.

use super::words::{Purposes, of_address, of_text};
use super::{Found, Tone};

/// From this score on a link is an action.
pub(super) const ACTION_MIN: u8 = 50;

/// A text on a link that is longer is a sentence, not a name of what it does.
const LABEL_MAX_CHARS: usize = 60;
/// How much of an address is read for words: its host, its path and the first names of its query.
const READ_MAX_BYTES: usize = 512;
/// A run of letters and digits in an address that is this long was made for one reader; with dashes it is twice as long, as
/// the headings of articles have dashes too.
const TOKEN_MIN_CHARS: usize = 8;

/// The score of a link.
pub(super) fn score(link: &Found<'_>, tone: &Tone) -> u8 {
    let Found { href, text, lead, tail, is_button, .. } = link;
    let Some(path) = destination(href) else { return 0 };
    let address = of_address(head(href));
    let label = if text.chars().count() <= LABEL_MAX_CHARS && destination(text).is_none() {
        of_text(text)
    } else {
        Purposes::default()
    };
    let mut before = of_text(lead);
    // "Click here to confirm": the sentence goes on behind the link.
    if before.act.is_none() && before.aside.is_none() {
        before = of_text(tail);
    }
    let mut points = 0;
    points += match label {
        Purposes { aside: Some(_), act: None, .. } => -60,
        Purposes { aside: Some(_), .. } => -20,
        Purposes { act: Some(_), .. } => 50,
        Purposes { view: true, .. } => 30,
        _ => 0,
    };
    // What is said last is nearest to the address.
    if label == Purposes::default() {
        points += match (before.act, before.aside) {
            (act, Some(aside)) if act.is_none_or(|act| act < aside) => -40,
            (Some(_), _) if lead.ends_with([':', '：']) => 45,
            (Some(_), _) => 35,
            (None, _) if before.view => 15,
            _ => 0,
        };
    }
    points += if address.act.is_some() { 20 } else { 0 };
    points += if address.act.is_some() && tone.is_about_action { 10 } else { 0 };
    points -= match (address.aside, address.act) {
        (Some(_), None) => 35,
        (Some(_), Some(_)) => 15,
        _ => 0,
    };
    let speaks = address.act.is_some() || before.act.is_some();
    points += if has_token(path) || address.act.is_some() && path.contains('=') { 15 } else { 0 };
    points += if speaks && tone.is_single { 15 } else { 0 };
    points += if *is_button { 20 } else { 0 };
    if path.trim_matches('/').is_empty() {
        points -= 40;
    }
    // Who may unsubscribe gets many mails, and most of them ask for nothing.
    if tone.is_bulk && label.act.is_none() && before.act.is_none() {
        points -= 25;
    }
    points.clamp(0, 100) as u8
}

/// Whether a subject speaks of confirming, signing in, resetting.
pub(super) fn is_about_action(subject: &str) -> bool {
    of_text(subject).act.is_some()
}

/// Whether a link ends the sending of such mail.
pub(super) fn is_unsubscribe(href: &str, text: &str, lead: &str) -> bool {
    let label = of_text(text);
    if label.act.is_some() && !label.unsubscribe {
        return false;
    }
    // Only what stands right before an address, on its line, names it.
    let line = lead.rsplit('\n').next().unwrap_or_default();
    label.unsubscribe || of_address(head(href)).unsubscribe || text.is_empty() && of_text(line).unsubscribe
}

/// Whether a picture is there to be counted: its address says so.
pub(super) fn is_beacon(href: &str) -> bool {
    let head = head(href).to_ascii_lowercase();
    [
        "/wf/open",
        "/track/open",
        "/open.gif",
        "/open.php",
        "/pixel",
        "/beacon",
        "email_open",
        "/trk/open",
        "/o.gif",
        "open.aspx",
    ]
    .iter()
    .any(|part| head.contains(part))
}

/// What says where an address leads at its host: the path and the query or, where the scheme is that of an app, all behind
/// it. `None` for what is no address to follow.
fn destination(href: &str) -> Option<&str> {
    // Those run what is in them, or lead into the reader's own machine.
    const NOWHERE: [&str; 6] = ["javascript", "vbscript", "data", "blob", "file", "about"];
    let href = href.trim();
    let (scheme, rest) = match href.strip_prefix("//") {
        Some(rest) => ("https", rest),
        None => href.split_once("://")?,
    };
    let is_one_of = |schemes: &[&str]| schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if is_one_of(&["https", "http"]) {
        return Some(rest.find(['/', '?']).map_or("", |at| &rest[at..]));
    }
    // RFC 3986 section 3.1.
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    (is_scheme && !is_one_of(&NOWHERE)).then_some(rest)
}

fn head(href: &str) -> &str {
    &href[..href.floor_char_boundary(READ_MAX_BYTES)]
}

/// Whether a path or a query has a part that nobody would choose: long, with digits and letters.
fn has_token(path: &str) -> bool {
    let mut parts = path.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
    parts.any(|part| {
        let is_long = part.len() >= if part.contains('-') { 2 * TOKEN_MIN_CHARS } else { TOKEN_MIN_CHARS };
        is_long
            && part.bytes().filter(u8::is_ascii_digit).count() >= 2
            && part.bytes().any(|byte| byte.is_ascii_alphabetic())
    })
}
