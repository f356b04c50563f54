//! What a message is about, as far as a program can tell: its one-time codes and its links.

use std::panic::catch_unwind;

use super::message::Content;
use super::page::Page;
use super::{Code, Link, codes, links};

/// Finds the codes and the links of a message whose bodies have been decoded. Never fails and never panics.
pub(super) fn add(content: &mut Content, list_unsubscribe: &str) {
    let (subject, text, html) = (&content.subject, &content.text, &content.html);
    let subject = subject.as_deref().unwrap_or_default();
    let (text, html) = (text.as_deref().unwrap_or_default(), html.as_deref().unwrap_or_default());
    // Tokens are made by code that is not ours; a panic in it costs these findings and not the message.
    (content.codes, content.links) = catch_unwind(|| find(subject, text, html, list_unsubscribe)).unwrap_or_default();
}

fn find(subject: &str, text: &str, html: &str, list_unsubscribe: &str) -> (Vec<Code>, Vec<Link>) {
    let page = Page::read(html);
    (codes::find(subject, text, &page), links::find(subject, &page, text, list_unsubscribe))
}
