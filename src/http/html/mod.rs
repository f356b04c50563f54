//! The HTML body of a message, rewritten for who looks at it: in one pass over its tokens, without a tree.
//!
//! The rewrite is comfort. What keeps a hostile message harmless in a browser is the policy under which it is served; see
//! [`policy`].

mod css;
mod inline;
mod url;
mod view;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;

use lol_html::html_content::{ContentType, TextChunk, TextType};
use lol_html::{DocumentContentHandlers, ElementHandler, HtmlRewriter, MemorySettings, Settings, element};

pub(super) use self::inline::inline;
pub(super) use self::url::Parts;
pub(super) use self::view::{policy, view};

/// How much memory the parser may take for the elements that are open, some 110,000, and for the attributes of one tag, some
/// 250,000. It bounds what a message costs that never closes a tag.
const PARSER_MAX_BYTES: usize = 16 * 1024 * 1024;

/// How long a body may be, before and after: as the largest mail that mail services take, with images in its text. It bounds
/// the memory of a request, which is several times as much; a reference to a part is short and the URL of that part is long.
const BODY_MAX_BYTES: usize = 32 * 1024 * 1024;

/// The rewrite would take more memory than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the HTML of the message is too large or too deep to be rewritten: {} MiB of it and {} MiB for its open elements \
     are the limits; without view and inline it is served as it was sent",
    BODY_MAX_BYTES >> 20,
    PARSER_MAX_BYTES >> 20
)]
pub(super) struct TooMuch;

/// What has been written so far.
#[derive(Default)]
struct Output {
    /// What goes before everything else.
    prologue: String,
    /// Whether a tag that the message does not finish is left out, as browsers do. Whatever somebody puts behind the page
    /// would else become a part of it.
    drops_unfinished: bool,
    /// Whether the parser has come to the end of the message.
    is_ending: bool,
    written: Vec<u8>,
}

impl Output {
    fn write(&mut self, chunk: &[u8]) {
        // All that is finished has been written by then, but for the end of a text, which has no tag in it.
        let is_left_out = self.drops_unfinished && self.is_ending && chunk.starts_with(b"<");
        if chunk.is_empty() || is_left_out {
            return;
        }
        self.begin();
        self.written.extend_from_slice(chunk);
    }

    fn begin(&mut self) {
        let prologue = std::mem::take(&mut self.prologue);
        self.written.extend_from_slice(prologue.as_bytes());
    }

    /// How much room is left.
    fn room(&self) -> Result<usize, TooMuch> {
        BODY_MAX_BYTES.checked_sub(self.written.len()).ok_or(TooMuch)
    }
}

/// Runs `html` through the handlers.
///
/// The parser gets all of it at once: it copies what is cut in two by the end of its input, and here nothing is.
fn rewrite<'h>(
    html: &str,
    output: &Rc<RefCell<Output>>,
    mut every_element: ElementHandler<'h>,
    document: DocumentContentHandlers<'h>,
) -> Result<Vec<u8>, TooMuch> {
    if html.len() > BODY_MAX_BYTES {
        return Err(TooMuch);
    }
    let settings = Settings::new()
        .append_element_content_handler(element!("*", move |element| every_element(element)))
        .append_document_content_handler(document)
        .with_memory_settings(MemorySettings::new().with_max_allowed_memory_usage(PARSER_MAX_BYTES))
        // What a browser would see otherwise than this parser does is dealt with in the handlers.
        .with_strict(false);
    let sink = Rc::clone(output);
    let mut rewriter = HtmlRewriter::new(settings, move |chunk: &[u8]| sink.borrow_mut().write(chunk));
    // Handlers fail for want of room, and the parser for want of memory.
    rewriter.write(html.as_bytes()).map_err(|_| TooMuch)?;
    output.borrow_mut().is_ending = true;
    rewriter.end().map_err(|_| TooMuch)?;
    let mut output = output.borrow_mut();
    output.begin();
    output.room()?;
    Ok(std::mem::take(&mut output.written))
}

/// The text of a style sheet comes in pieces, and is rewritten as a whole.
#[derive(Default)]
struct StyleSheet {
    /// Whether the element that was opened last is a style sheet.
    is_open: bool,
    css: String,
}

impl StyleSheet {
    /// Takes `chunk` out of the page if it belongs to a style sheet; with the last one, the whole is handed to `rewrite`
    /// and written in its place.
    fn take(
        &mut self,
        chunk: &mut TextChunk<'_>,
        rewrite: impl FnOnce(&str) -> Result<String, TooMuch>,
    ) -> Result<bool, TooMuch> {
        if !self.is_open || chunk.text_type() != TextType::RawText {
            return Ok(false);
        }
        self.css.push_str(chunk.as_str());
        match chunk.last_in_text_node() {
            true => chunk.replace(&rewrite(&std::mem::take(&mut self.css))?, ContentType::Html),
            false => chunk.remove(),
        }
        Ok(true)
    }
}

/// Writes `value` for an attribute in double quotes.
fn escape_into(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
}
