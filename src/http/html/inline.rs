//! `?inline=cid`: the body as it was sent, but for its references to parts of the message.

use std::cell::RefCell;
use std::rc::Rc;

use lol_html::html_content::{Element, TextChunk};
use lol_html::{DocumentContentHandlers, HandlerResult};

use super::css::{self, Rules};
use super::url::{self, Parts};
use super::{Output, StyleSheet, TooMuch, escape_into, rewrite};

/// An element refers to a part or two. To write an attribute takes time in proportion to how many there are, so that a tag
/// with thousands of references would take its square.
const REFERENCES_MAX: usize = 32;

/// `html` with each `cid:` that names a part replaced by the URL of that part: where it is the value of an attribute, in a
/// `srcset`, and in CSS.
pub(in crate::http) fn inline(html: &str, parts: &Parts) -> Result<Vec<u8>, TooMuch> {
    let output = Rc::new(RefCell::new(Output::default()));
    let sheet = Rc::new(RefCell::new(StyleSheet::default()));
    let (of_elements, of_texts) = ((Rc::clone(&output), Rc::clone(&sheet)), (Rc::clone(&output), sheet));
    let document = DocumentContentHandlers::default().text(move |chunk: &mut TextChunk<'_>| {
        let (output, sheet) = &of_texts;
        let room = output.borrow().room()?;
        sheet.borrow_mut().take(chunk, |css| in_css(css, parts, room))?;
        Ok(())
    });
    let every_element = Box::new(move |element: &mut Element<'_, '_>| {
        let (output, sheet) = &of_elements;
        sheet.borrow_mut().is_open = element.tag_name() == "style";
        resolve(element, parts, output.borrow().room()?)
    });
    rewrite(html, &output, every_element, document)
}

fn resolve(element: &mut Element<'_, '_>, parts: &Parts, room: usize) -> HandlerResult {
    let mut changes = Vec::new();
    for attribute in element.attributes() {
        let written = attribute.value();
        let value = htmlize::unescape_attribute(&written);
        let name = attribute.name();
        let resolved = match &*name {
            "style" => in_css(&value, parts, room)?,
            "srcset" => url::srcset(&value, |url| Some(parts.resolve(url).unwrap_or(url).to_owned())),
            _ => parts.resolve(&value).unwrap_or(&value).to_owned(),
        };
        if resolved != value {
            changes.push((name, resolved));
        }
    }
    for (name, value) in changes.into_iter().take(REFERENCES_MAX) {
        let mut escaped = String::with_capacity(value.len());
        escape_into(&mut escaped, &value);
        element.set_attribute(&name, &escaped)?;
    }
    Ok(())
}

fn in_css(css: &str, parts: &Parts, room: usize) -> Result<String, TooMuch> {
    let url = |url: &str| parts.resolve(url).map(str::to_owned);
    css::rewrite(css, &Rules { url: &url, clean: false, max_bytes: room })
}
