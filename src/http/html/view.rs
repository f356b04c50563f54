//! `?view=1`: the body as a page that a reader may look at.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lol_html::html_content::{Comment, Doctype, Element, TextChunk, TextType};
use lol_html::{DocumentContentHandlers, HandlerResult};

use super::css::{self, Rules};
use super::url::{self, Parts, Reach};
use super::vocabulary::{Fate, Role, fate, role};
use super::{Output, StyleSheet, TooMuch, escape_into, rewrite};

/// What stands in CSS where something is not loaded: a URL that is empty, so that what is around it keeps its meaning.
const BLOCKED_IN_CSS: &str = "data:,blocked";

const HTML_NAMESPACE: &str = "http://www.w3.org/1999/xhtml";

/// What a browser may do with the page, for the header of the answer.
///
/// The sandbox gives the page an origin of its own and takes scripts, forms and plug-ins from it; links may open windows,
/// which are ordinary ones. Only pages of this server may have it in a frame. The rest, from `default-src` on, is what it may
/// load.
pub(in crate::http) const fn policy(remote: bool) -> &'static str {
    if remote {
        "sandbox allow-popups allow-popups-to-escape-sandbox; frame-ancestors 'self'; default-src 'none'; \
         img-src 'self' data: http: https:; media-src http: https:; style-src 'unsafe-inline' http: https:; \
         font-src data: http: https:; base-uri 'none'; form-action 'none'"
    } else {
        "sandbox allow-popups allow-popups-to-escape-sandbox; frame-ancestors 'self'; default-src 'none'; \
         img-src 'self' data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'"
    }
}

/// The part of the [`policy`] that a page can say of itself: it holds when the page is kept in a file or put into a frame by
/// a script. A host in a link would tell its owner by a DNS query that the mail is read.
fn prologue(doctype: &str, remote: bool) -> String {
    let loads = policy(remote).split_once("'self'; ").map_or("default-src 'none'", |(_, loads)| loads);
    format!(
        "{doctype}<meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" content=\"{loads}\">\
         <meta name=\"referrer\" content=\"no-referrer\"><meta http-equiv=\"x-dns-prefetch-control\" content=\"off\">\n"
    )
}

/// `html` as a page that shows the message: parts by their URLs, nothing from other hosts unless `remote` asks for it,
/// nothing that runs, sends or leads astray.
///
/// What is kept is written anew from the lists of [`super::vocabulary`], text has no `<`, comments go, and of the elements
/// whose content is no markup only style sheets stay. So the page has the same tokens for every parser, in whatever state
/// the original would have brought it.
pub(in crate::http) fn view(html: &str, parts: &Parts, remote: bool) -> Result<Vec<u8>, TooMuch> {
    let prologue = prologue("", remote);
    let output = Rc::new(RefCell::new(Output { prologue, drops_unfinished: true, ..Output::default() }));
    let page = Rc::new(Page {
        reach: Reach { parts, remote },
        output: Rc::clone(&output),
        sheet: RefCell::default(),
        has_begun: Cell::new(false),
        is_drawing: Rc::default(),
    });
    let (of_elements, of_texts, of_doctypes) = (Rc::clone(&page), Rc::clone(&page), page);
    let document = DocumentContentHandlers::default()
        .doctype(move |doctype: &mut Doctype<'_>| {
            of_doctypes.doctype(doctype);
            Ok(())
        })
        .comments(|comment: &mut Comment<'_>| {
            comment.remove();
            Ok(())
        })
        .text(move |chunk: &mut TextChunk<'_>| of_texts.text(chunk));
    rewrite(html, &output, Box::new(move |element| of_elements.element(element)), document)
}

/// What is known of the page while it is written.
struct Page<'p> {
    reach: Reach<'p>,
    output: Rc<RefCell<Output>>,
    sheet: RefCell<StyleSheet>,
    /// Whether there has been an element or text; a document type behind it is none.
    has_begun: Cell<bool>,
    /// Whether what comes is the content of SVG or MathML.
    is_drawing: Rc<Cell<bool>>,
}

impl Page<'_> {
    /// Its document type decides how a browser lays a page out. It is written before what the page says of itself.
    fn doctype(&self, doctype: &mut Doctype<'_>) {
        doctype.remove();
        if self.has_begun.get() || doctype.name().is_none_or(|name| name != "html") {
            return;
        }
        let quoted = |id: Option<String>| id.filter(|id| !id.contains(['"', '>', '<'])).map(|id| format!(" \"{id}\""));
        let written = match quoted(doctype.public_id()) {
            Some(public) => {
                format!("<!DOCTYPE html PUBLIC{public}{}>", quoted(doctype.system_id()).unwrap_or_default())
            }
            None => "<!DOCTYPE html>".to_owned(),
        };
        self.has_begun.set(true);
        self.output.borrow_mut().prologue = prologue(&written, self.reach.remote);
    }

    fn element(&self, element: &mut Element<'_, '_>) -> HandlerResult {
        let room = self.output.borrow().room()?;
        self.has_begun.set(true);
        let is_html = element.namespace_uri() == HTML_NAMESPACE;
        self.set_drawing(!is_html, element)?;
        let fate = match fate(&element.tag_name()) {
            _ if !is_html => Fate::Unwrap,
            Fate::Keep("link") if !is_style_sheet(element) => Fate::Drop,
            fate => fate,
        };
        self.sheet.borrow_mut().is_open = fate == Fate::Keep("style");
        match fate {
            Fate::Keep(name) => {
                let tag = self.start_tag(name, element, room)?;
                element.start_tag().replace(&tag, lol_html::html_content::ContentType::Html);
            }
            Fate::Unwrap => element.remove_and_keep_content(),
            Fate::Drop => element.remove(),
        }
        Ok(())
    }

    /// SVG and MathML go, and so does their text but for the HTML in it and the letters of a formula. One that is never closed ends, as it does in a browser, where HTML goes on.
    fn set_drawing(&self, is_drawing: bool, element: &mut Element<'_, '_>) -> HandlerResult {
        self.is_drawing.set(is_drawing && element.can_have_content());
        if is_drawing && matches!(&*element.tag_name(), "svg" | "math") && element.can_have_content() {
            let is_drawing = Rc::clone(&self.is_drawing);
            element.on_end_tag(Box::new(move |_| {
                is_drawing.set(false);
                Ok(())
            }))?;
        }
        Ok(())
    }

    /// The start tag of `element` with those of its attributes that are kept.
    fn start_tag(&self, name: &'static str, element: &Element<'_, '_>, room: usize) -> Result<String, TooMuch> {
        let mut tag = format!("<{name}");
        let mut seen: Vec<&str> = Vec::new();
        for attribute in element.attributes() {
            let Some((attribute_name, role)) = role(name, &attribute.name()) else { continue };
            // To a parser, the first of several attributes with one name is the only one.
            if seen.contains(&attribute_name) {
                continue;
            }
            seen.push(attribute_name);
            let written = attribute.value();
            self.attribute(&mut tag, attribute_name, role, &htmlize::unescape_attribute(&written), room)?;
        }
        if name == "link" {
            push_attribute(&mut tag, "rel", "stylesheet");
        }
        tag.push('>');
        Ok(tag)
    }

    fn attribute(&self, tag: &mut String, name: &str, role: Role, value: &str, room: usize) -> Result<(), TooMuch> {
        let url = match role {
            Role::Plain => Some(value.to_owned()),
            Role::Style => Some(self.css(value, room)?),
            Role::Link => self.reach.link(value),
            Role::Load => self.reach.load(value),
            Role::LoadOne => Some(url::srcset(value, |url| self.reach.load(url))).filter(|kept| !kept.is_empty()),
        };
        let Some(url) = url else {
            self.mark(tag, name, value);
            return Ok(());
        };
        push_attribute(tag, name, &url);
        if role == Role::Link && !url.starts_with('#') {
            push_attribute(tag, "target", "_blank");
            push_attribute(tag, "rel", "noopener noreferrer nofollow");
        }
        Ok(())
    }

    /// Notes on `tag` what `remote` would load.
    fn mark(&self, tag: &mut String, name: &str, value: &str) {
        let wanted = url::srcset(value, |url| self.reach.can_be_asked_for(url).then(|| url.to_owned()));
        if !wanted.is_empty() {
            push_attribute(tag, &format!("data-blocked-{name}"), &wanted);
        }
    }

    fn text(&self, chunk: &mut TextChunk<'_>) -> HandlerResult {
        let room = self.output.borrow().room()?;
        let style_sheet = |css: &str| Ok(css::without_tags(&self.css(css, room)?));
        if self.sheet.borrow_mut().take(chunk, style_sheet)? {
            return Ok(());
        }
        let text = chunk.as_str();
        if !self.has_begun.get() && text.trim().is_empty() {
            // A document type may still come.
            chunk.remove();
            return Ok(());
        }
        self.has_begun.set(true);
        let is_literal = !chunk.text_type().allows_html_entities();
        if self.is_drawing.get() || chunk.text_type() == TextType::CDataSection {
            chunk.remove();
        } else if text.contains('<') || is_literal {
            let text = if is_literal { text.replace('&', "&amp;") } else { text.to_owned() };
            chunk.set_str(text.replace('<', "&lt;"));
        }
        Ok(())
    }

    fn css(&self, css: &str, room: usize) -> Result<String, TooMuch> {
        let url = |url: &str| Some(self.reach.load(url).unwrap_or_else(|| BLOCKED_IN_CSS.to_owned()));
        css::rewrite(css, &Rules { url: &url, clean: true, max_bytes: room })
    }
}

/// Whether a `link` loads a style sheet, and nothing else.
fn is_style_sheet(link: &Element<'_, '_>) -> bool {
    link.get_attribute("rel").is_some_and(|rel| rel.trim().eq_ignore_ascii_case("stylesheet"))
}

fn push_attribute(tag: &mut String, name: &str, value: &str) {
    tag.push(' ');
    tag.push_str(name);
    tag.push_str("=\"");
    escape_into(tag, value);
    tag.push('"');
}
