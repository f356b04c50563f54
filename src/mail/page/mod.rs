//! An HTML body as the text that a person sees, with the links in it and the places that stand out.
//!
//! The tokens are those of the HTML standard (`html5gum`); no tree is built, so nesting costs nothing. What is not shown
//! is not read: comments, `style`, `script`, `title`, and whatever an inline style or a `hidden` attribute takes away.

mod layout;
mod style;
mod tokens;

use std::ops::Range;

use self::layout::Layout;

/// Protects the time of a delivery: this much is ten times what large mail programs show of a message.
const HTML_MAX_BYTES: usize = 1024 * 1024;
/// Protects the memory: what a page of text and pictures links to, many times over.
const LINKS_MAX: usize = 1000;

/// What was read out of an HTML body.
#[derive(Default)]
pub(super) struct Page {
    /// The text: blocks and rows end with a line feed, cells of a row are parted by tabs, other white space is one space.
    pub(super) text: String,
    /// What it refers to, in order.
    pub(super) links: Vec<PageLink>,
    /// Where text begins (`true`) and ends (`false`) to stand out: large, bold, spaced or set as code.
    loud: Vec<(usize, bool)>,
}

/// A reference in an HTML body.
pub(super) struct PageLink {
    /// The address as it is written, character references decoded.
    pub(super) href: String,
    pub(super) kind: PageLinkKind,
    /// Its text in the text of the page; empty for what has none.
    pub(super) text: Range<usize>,
    /// The `alt` of its picture, of the area or of the image.
    pub(super) alt: String,
}

/// What refers to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageLinkKind {
    /// An `a` or `area`, to be followed by the reader.
    Anchor {
        /// Whether it is drawn as a button.
        is_button: bool,
    },
    /// What is loaded to show the page: a picture, a style sheet, a font.
    Asset,
    /// A picture that nobody can see.
    Beacon,
}

impl Page {
    /// Reads an HTML body, up to its first MiB.
    pub(super) fn read(html: &str) -> Self {
        let mut layout = Layout::default();
        tokens::read(&html[..html.floor_char_boundary(HTML_MAX_BYTES)], &mut layout);
        layout.into_page()
    }

    /// Whether the text at `at` stands out.
    pub(super) fn is_loud(&self, at: usize) -> bool {
        let behind = self.loud.partition_point(|(start, _)| *start <= at);
        behind.checked_sub(1).is_some_and(|place| self.loud[place].1)
    }
}

#[cfg(test)]
mod tests;
