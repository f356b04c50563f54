//! Where lines begin and end, what is shown and what stands out: the little of a layout that text needs.

use std::ops::Range;

use percent_encoding::{CONTROLS, utf8_percent_encode};

use super::style::Style;
use super::tokens::{Attribute, HREF_MAX_BYTES, Tag};
use super::{LINKS_MAX, Page, PageLink, PageLinkKind};

/// Protects the memory; elements nested deeper belong to the innermost that is counted.
const OPEN_MAX: usize = 256;
/// Protects the time: an end tag is looked for among so many open elements.
const CLOSE_MAX: usize = 32;

/// The longest address that is read from a style sheet.
const CSS_URL_MAX_BYTES: usize = 2 * 1024;

/// An element that is open, with what it hands down to its content.
#[derive(Clone, Copy, Default)]
struct Open {
    name: Name,
    is_hidden: bool,
    /// Letters of no size: hidden, unless an element within sets a size again.
    is_tiny: bool,
    is_loud: bool,
    is_pre: bool,
    /// A cell or block with a background of its own, as buttons have around their link.
    is_filled: bool,
}

/// The beginning of an element's name, enough to tell those apart that matter.
type Name = [u8; 10];

/// The page as far as it has been read.
#[derive(Default)]
pub(super) struct Layout {
    text: Vec<u8>,
    links: Vec<PageLink>,
    loud: Vec<(usize, bool)>,
    open: Vec<Open>,
    /// White space that will be written if text follows on the line.
    space: Option<u8>,
    /// The anchor whose text is being read.
    anchor: Option<usize>,
    /// The style sheet that is being read: whether it is one.
    is_in_style: bool,
}

impl Layout {
    pub(super) fn into_page(mut self) -> Page {
        self.close_anchor();
        let text = String::from_utf8(self.text).unwrap_or_default();
        Page { text, links: self.links, loud: self.loud }
    }

    /// Text between tags, references decoded, in as many parts as the tokenizer likes.
    pub(super) fn text(&mut self, text: &[u8]) {
        let current = self.current();
        if self.is_in_style {
            self.style_sheet(text);
        }
        if current.is_hidden || current.is_tiny {
            return;
        }
        if current.is_loud != self.loud.last().is_some_and(|(_, is_loud)| *is_loud) {
            self.loud.push((self.text.len(), current.is_loud));
        }
        if current.is_pre {
            self.write_space();
            self.text.extend_from_slice(text);
            return;
        }
        for (place, word) in text.split(u8::is_ascii_whitespace).enumerate() {
            if place > 0 {
                self.space = self.space.or(Some(b' '));
            }
            if !word.is_empty() {
                self.write_space();
                self.text.extend_from_slice(word);
            }
        }
    }

    /// A start tag.
    pub(super) fn start(&mut self, tag: &Tag) {
        let name = tag.name();
        self.is_in_style = name == b"style";
        if is_closed_by_itself(name) && self.open.last().is_some_and(|open| open.name == short(name)) {
            self.open.pop();
        }
        if is_block(name) {
            if self.open.last().is_some_and(|open| open.name == short(b"p")) {
                self.open.pop();
            }
            self.break_line();
        } else if matches!(name, b"td" | b"th") && self.space != Some(b'\n') {
            self.space = Some(b'\t');
        }
        let parent = self.current();
        let style = tag.attribute(Attribute::Style).map(Style::read).unwrap_or_default();
        let element = element(tag, &style, parent);
        if tag.has_attributes() {
            self.references(tag, &style, element, parent);
        }
        if name == b"br" {
            self.break_line();
        } else if !is_void(name) && self.open.len() < OPEN_MAX {
            self.open.push(element);
        }
    }

    /// An end tag. It closes what is open within its element; one without a beginning does nothing.
    pub(super) fn end(&mut self, name: &[u8]) {
        self.is_in_style = false;
        let key = short(name);
        if let Some(depth) = self.open.iter().rev().take(CLOSE_MAX).position(|open| open.name == key) {
            self.open.truncate(self.open.len() - depth - 1);
        }
        if name == b"a" {
            self.close_anchor();
        } else if is_block(name) {
            self.break_line();
        }
    }

    fn current(&self) -> Open {
        self.open.last().copied().unwrap_or_default()
    }

    /// Keeps what a tag refers to.
    fn references(&mut self, tag: &Tag, style: &Style, element: Open, parent: Open) {
        let is_dot = |side| tag.attribute(side).is_some_and(|size| matches!(size.trim(), "0" | "1" | "0px" | "1px"));
        let is_beacon = style.is_dot || is_dot(Attribute::Width) || is_dot(Attribute::Height) || element.is_hidden;
        let picture = if is_beacon { PageLinkKind::Beacon } else { PageLinkKind::Asset };
        let is_button = style.is_filled
            || parent.is_filled
            || tag.attribute(Attribute::Role).is_some_and(|role| role.eq_ignore_ascii_case("button"))
            || tag.attribute(Attribute::Class).is_some_and(is_button_class);
        let anchor = PageLinkKind::Anchor { is_button };
        match tag.name() {
            b"a" => {
                self.close_anchor();
                if !element.is_hidden && self.refer(tag, Attribute::Href, anchor) {
                    self.anchor = self.links.len().checked_sub(1);
                }
            }
            b"area" => _ = self.refer(tag, Attribute::Href, anchor),
            b"img" | b"input" | b"source" | b"embed" | b"iframe" | b"audio" => {
                self.lend_alt(tag);
                self.refer(tag, Attribute::Src, picture);
            }
            b"video" => {
                self.refer(tag, Attribute::Src, picture);
                self.refer(tag, Attribute::Poster, picture);
            }
            b"link" => _ = self.refer(tag, Attribute::Href, PageLinkKind::Asset),
            _ => {}
        }
        self.refer(tag, Attribute::Background, PageLinkKind::Asset);
        if let Some(declarations) = tag.attribute(Attribute::Style).filter(|text| text.contains('(')) {
            self.style_sheet(declarations.as_bytes());
        }
    }

    /// Keeps the address in an attribute; returns whether there was one.
    fn refer(&mut self, tag: &Tag, attribute: Attribute, kind: PageLinkKind) -> bool {
        // As browsers do: blanks around it and line breaks within are not part of it, other controls are encoded.
        let mut href = tag.attribute(attribute).unwrap_or_default().trim().to_owned();
        href.retain(|c| !matches!(c, '\t' | '\r' | '\n'));
        if href.contains(|c: char| c.is_ascii_control()) {
            href = utf8_percent_encode(&href, CONTROLS).to_string();
        }
        if href.is_empty() || href.len() > HREF_MAX_BYTES || self.links.len() >= LINKS_MAX {
            return false;
        }
        let at = self.text.len();
        let alt = tag.attribute(Attribute::Alt).unwrap_or_default().trim().to_owned();
        self.links.push(PageLink { href, kind, text: at..at, alt });
        true
    }

    /// A picture within an anchor is its text, if it has no other.
    fn lend_alt(&mut self, tag: &Tag) {
        let Some(link) = self.anchor.and_then(|place| self.links.get_mut(place)) else { return };
        if link.alt.is_empty() {
            link.alt = tag.attribute(Attribute::Alt).unwrap_or_default().trim().to_owned();
        }
    }

    fn close_anchor(&mut self) {
        let end = self.text.len();
        if let Some(link) = self.anchor.take().and_then(|place| self.links.get_mut(place)) {
            link.text = trimmed(&self.text, link.text.start..end);
        }
    }

    /// Keeps what `url()` names in a style sheet or in a `style` attribute.
    fn style_sheet(&mut self, text: &[u8]) {
        for at in memchr::memmem::find_iter(text, b"url(") {
            let rest = &text[at + 4..];
            let rest = &rest[..rest.len().min(CSS_URL_MAX_BYTES)];
            // Where one never ends none behind it is looked at: each would be searched through again.
            let Some(end) = memchr::memchr(b')', rest) else { return };
            let address = rest[..end].trim_ascii();
            let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'');
            let address = if address.first().is_some_and(is_quote) { &address[1..] } else { address };
            let address = if address.last().is_some_and(is_quote) { &address[..address.len() - 1] } else { address };
            let Ok(href) = std::str::from_utf8(address) else { continue };
            if href.is_empty() || self.links.len() >= LINKS_MAX {
                continue;
            }
            let at = self.text.len();
            let (href, alt) = (href.to_owned(), String::new());
            self.links.push(PageLink { href, kind: PageLinkKind::Asset, text: at..at, alt });
        }
    }

    fn break_line(&mut self) {
        self.space = Some(b'\n');
    }

    /// Writes the white space that is due, if the page and, but for a line break, the line have begun.
    fn write_space(&mut self) {
        if let (Some(space), Some(last)) = (self.space.take(), self.text.last())
            && *last != b'\n'
        {
            self.text.push(space);
        }
    }
}

/// What the content of a tag inherits from it.
fn element(tag: &Tag, style: &Style, parent: Open) -> Open {
    let name = tag.name();
    let is_bold = matches!(
        name,
        b"b" | b"strong" | b"big" | b"code" | b"pre" | b"kbd" | b"samp" | b"tt" | b"mark" | b"h1" | b"h2" | b"h3"
    );
    Open {
        name: short(name),
        is_hidden: parent.is_hidden
            || style.is_hidden
            || is_never_shown(name)
            || tag.attribute(Attribute::Hidden).is_some(),
        is_tiny: style.size_px.map_or(parent.is_tiny, |size| size <= 1.0),
        is_loud: parent.is_loud || style.is_strong || style.is_large() || is_bold,
        is_pre: parent.is_pre || name == b"pre",
        is_filled: matches!(name, b"td" | b"th" | b"div" | b"span")
            && (style.is_filled || tag.attribute(Attribute::BgColor).is_some()),
    }
}

fn is_never_shown(name: &[u8]) -> bool {
    matches!(
        name,
        b"style" | b"script" | b"title" | b"noscript" | b"template" | b"textarea" | b"select" | b"iframe" | b"object"
    )
}

fn is_void(name: &[u8]) -> bool {
    matches!(
        name,
        b"area"
            | b"base"
            | b"br"
            | b"col"
            | b"embed"
            | b"hr"
            | b"img"
            | b"input"
            | b"link"
            | b"meta"
            | b"param"
            | b"source"
            | b"track"
            | b"wbr"
    )
}

/// Elements whose end tag may be left out, so that the next one ends them.
fn is_closed_by_itself(name: &[u8]) -> bool {
    matches!(name, b"p" | b"li" | b"td" | b"th" | b"tr" | b"dt" | b"dd" | b"option")
}

fn is_block(name: &[u8]) -> bool {
    matches!(
        name,
        b"address"
            | b"article"
            | b"aside"
            | b"blockquote"
            | b"body"
            | b"center"
            | b"dd"
            | b"div"
            | b"dl"
            | b"dt"
            | b"fieldset"
            | b"figure"
            | b"footer"
            | b"form"
            | b"h1"
            | b"h2"
            | b"h3"
            | b"h4"
            | b"h5"
            | b"h6"
            | b"header"
            | b"hr"
            | b"html"
            | b"li"
            | b"main"
            | b"nav"
            | b"ol"
            | b"p"
            | b"pre"
            | b"section"
            | b"table"
            | b"tr"
            | b"ul"
    )
}

fn is_button_class(class: &str) -> bool {
    class.split_ascii_whitespace().any(|word| {
        let word = word.to_ascii_lowercase();
        word.contains("button") || word.starts_with("btn") || word.ends_with("btn") || word.starts_with("cta")
    })
}

fn short(name: &[u8]) -> Name {
    let mut short = Name::default();
    let length = name.len().min(short.len());
    short[..length].copy_from_slice(&name[..length]);
    short
}

/// `range` without the white space at its ends.
fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.end - part.trim_ascii_start().len();
    start..start + part.trim_ascii().len()
}
