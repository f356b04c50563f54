//! The links of a message, what each is for, and which of them the message was sent for. `docs/CODES.md` says how it is
//! decided; the points are given in `score`.

mod extent;
mod plain;
mod score;
mod words;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageLink, PageLinkKind};

/// The most links that are kept but for assets, and the most assets.
const LINKS_MAX: usize = 200;
const ASSETS_MAX: usize = 100;
/// Protects the record of a message: the most bytes of all addresses and texts.
const TOTAL_MAX_BYTES: usize = 128 * 1024;
/// The longest address that is kept. A longer one is left out, as half an address is a wrong one.
const HREF_MAX_BYTES: usize = 8 * 1024;
/// How much is kept of the text of a link.
const TEXT_MAX_CHARS: usize = 200;
/// Protects the time of a delivery; no link that matters stands behind this much of a text.
const TEXT_MAX_BYTES: usize = 256 * 1024;

/// A link that was found in a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// The address as the message has it, HTML character references decoded.
    pub href: String,
    /// The text that it is put on, or the `alt` of its picture; empty for a bare address.
    pub text: String,
    /// What it is for.
    pub kind: LinkKind,
    /// How likely it is the one that the message was sent for, from 0 to 100; from 50 on it is an action.
    #[schema(minimum = 0, maximum = 100)]
    pub score: u8,
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// To do what the message asks for: confirm, sign in, set a password, accept, pay, see the order.
    Action,
    /// To get no more such mail.
    Unsubscribe,
    /// A picture that nobody can see, loaded to tell the sender that the message was opened.
    Tracking,
    /// What is loaded to show the message: pictures, style sheets, fonts.
    Asset,
    /// Any other link.
    Other,
}

/// A link with what it is weighed by.
struct Found<'a> {
    href: &'a str,
    text: String,
    /// What stands before it.
    lead: &'a str,
    /// What stands behind it on its line.
    tail: &'a str,
    kind: LinkKind,
    is_button: bool,
}

/// The links of a message: actions first, the likeliest before the others, then all others in the order of the message:
/// those of the HTML body, of the text body, and of the `List-Unsubscribe` field (RFC 2369 section 3.2).
pub(super) fn find(subject: &str, page: &Page, text: &str, list_unsubscribe: &[String]) -> Vec<Link> {
    let text = &text[..text.floor_char_boundary(TEXT_MAX_BYTES)];
    let unwrapped = plain::unwrapped(text);
    let mut links = Links::default();
    for link in &page.links {
        links.add(Found::of_page(page, link));
    }
    for address in plain::addresses(text, &unwrapped) {
        links.add(Found::bare(address.href, address.lead, LinkKind::Other));
    }
    for href in list_unsubscribe {
        links.add(Found::bare(href, "", LinkKind::Unsubscribe));
    }
    links.weighed(subject)
}

impl<'a> Found<'a> {
    fn bare(href: &'a str, lead: &'a str, kind: LinkKind) -> Self {
        Self { href, text: String::new(), lead, tail: "", kind, is_button: false }
    }

    fn of_page(page: &'a Page, link: &'a PageLink) -> Self {
        let written = page.text.get(link.text.clone()).unwrap_or_default();
        let text = shortened(if written.is_empty() { &link.alt } else { written });
        let (kind, is_button) = match link.kind {
            PageLinkKind::Anchor { is_button } => (LinkKind::Other, is_button),
            PageLinkKind::Asset => (LinkKind::Asset, false),
            PageLinkKind::Beacon => (LinkKind::Tracking, false),
        };
        let lead = if kind == LinkKind::Other { plain::lead(&page.text, link.text.start) } else { "" };
        let tail = if kind == LinkKind::Other { plain::tail(&page.text, link.text.end) } else { "" };
        Self { href: &link.href, text, lead, tail, kind, is_button }
    }
}

/// What the message says about all of its links.
struct Tone {
    /// It can be unsubscribed from.
    is_bulk: bool,
    /// Its subject speaks of what an action does.
    is_about_action: bool,
    /// There is one link alone to follow.
    is_single: bool,
}

/// The links as they are found, each address once.
#[derive(Default)]
struct Links<'a> {
    found: Vec<Found<'a>>,
    places: HashMap<&'a str, usize>,
    assets: usize,
    bytes: usize,
}

impl<'a> Links<'a> {
    fn add(&mut self, mut link: Found<'a>) {
        let is_asset = matches!(link.kind, LinkKind::Asset | LinkKind::Tracking);
        let leads_nowhere = ["#", "cid:", "data:", "javascript:", "about:"]
            .iter()
            .any(|scheme| link.href.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        if link.href.is_empty() || link.href.len() > HREF_MAX_BYTES || leads_nowhere {
            return;
        }
        if is_asset && score::is_beacon(link.href) {
            link.kind = LinkKind::Tracking;
        }
        if let Some(known) = self.places.get(link.href).and_then(|place| self.found.get_mut(*place)) {
            if known.text.is_empty() {
                known.text = link.text;
            }
            if known.lead.is_empty() {
                known.lead = link.lead;
            }
            known.is_button |= link.is_button;
            if matches!(known.kind, LinkKind::Asset | LinkKind::Tracking) || link.kind == LinkKind::Unsubscribe {
                known.kind = link.kind;
            }
            return;
        }
        let others = self.found.len() - self.assets;
        let bytes = link.href.len() + link.text.len();
        let is_full = if is_asset { self.assets >= ASSETS_MAX } else { others >= LINKS_MAX };
        if is_full || self.bytes + bytes > TOTAL_MAX_BYTES {
            return;
        }
        self.bytes += bytes;
        self.assets += usize::from(is_asset);
        self.places.insert(link.href, self.found.len());
        self.found.push(link);
    }

    fn weighed(mut self, subject: &str) -> Vec<Link> {
        for link in &mut self.found {
            if link.kind == LinkKind::Other && score::is_unsubscribe(link.href, &link.text, link.lead) {
                link.kind = LinkKind::Unsubscribe;
            }
        }
        let is_bulk = self.found.iter().any(|link| link.kind == LinkKind::Unsubscribe);
        let is_single = self.found.iter().filter(|link| link.kind == LinkKind::Other).count() == 1;
        let tone = Tone { is_bulk, is_about_action: score::is_about_action(subject), is_single };
        let mut links: Vec<Link> = self.found.into_iter().map(|link| link.weighed(&tone)).collect();
        links.sort_by_key(|link| if link.kind == LinkKind::Action { 0 } else { 1 });
        let actions = links.iter().take_while(|link| link.kind == LinkKind::Action).count();
        links[..actions].sort_by_key(|link| 100 - link.score);
        links
    }
}

impl Found<'_> {
    fn weighed(self, tone: &Tone) -> Link {
        let (mut kind, mut score) = (self.kind, 0);
        if kind == LinkKind::Other {
            score = score::score(&self, tone);
            if score >= score::ACTION_MIN {
                kind = LinkKind::Action;
            }
        }
        Link { href: self.href.to_owned(), text: self.text, kind, score }
    }
}

/// A text on one line, cut where it is long.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    for (count, c) in text.chars().filter(|c| !c.is_control() || c.is_whitespace()).take(2 * TEXT_MAX_CHARS).enumerate()
    {
        if count >= TEXT_MAX_CHARS {
            break;
        }
        if !c.is_whitespace() {
            short.push(c);
        } else if !short.is_empty() && !short.ends_with(' ') {
            short.push(' ');
        }
    }
    short.truncate(short.trim_end().len());
    short
}

#[cfg(test)]
mod tests;
