//! The tokenizer of the HTML standard, told to keep only what is read here.

use std::convert::Infallible;

use html5gum::{Emitter, Error, State, Tokenizer, naive_next_state};

use super::layout::Layout;

/// The longest element name that means anything here; a longer one is told apart by its beginning.
const NAME_MAX_BYTES: usize = 16;
/// The longest address that is kept: longer than those that senders of tracked links write, which reach 4 KiB.
pub(super) const HREF_MAX_BYTES: usize = 8 * 1024;
/// The longest other attribute that is looked at.
const VALUE_MAX_BYTES: usize = 2 * 1024;

/// The attributes that are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attribute {
    Alt,
    Background,
    BgColor,
    Class,
    Height,
    Hidden,
    Href,
    Poster,
    Role,
    Src,
    Style,
    Width,
}

const COUNT: usize = 12;

impl Attribute {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"alt" => Self::Alt,
            b"background" => Self::Background,
            b"bgcolor" => Self::BgColor,
            b"class" => Self::Class,
            b"height" => Self::Height,
            b"hidden" => Self::Hidden,
            b"href" => Self::Href,
            b"poster" => Self::Poster,
            b"role" => Self::Role,
            b"src" => Self::Src,
            b"style" => Self::Style,
            b"width" => Self::Width,
            _ => return None,
        })
    }

    /// Whether it is an address.
    const fn is_address(self) -> bool {
        matches!(self, Self::Background | Self::Href | Self::Poster | Self::Src)
    }
}

/// Calls `layout` with every tag and every text of `html`.
pub(super) fn read(html: &str, layout: &mut Layout) {
    let emitter = Collector { layout, tag: Tag::default(), last_start: Vec::new() };
    // Nothing is ever yielded, and reading from memory cannot fail.
    _ = Tokenizer::new_with_emitter(html, emitter).finish();
}

/// A start or an end tag.
#[derive(Default)]
pub(super) struct Tag {
    name: Vec<u8>,
    is_end: bool,
    values: [Vec<u8>; COUNT],
    /// Which attributes are there, a bit each.
    present: u16,
    attribute: Vec<u8>,
    /// Where the value that is being read goes.
    target: Option<Attribute>,
}

impl Tag {
    /// The name in lower case.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The value of an attribute, empty if it has none; `None` if it is not there.
    pub(super) fn attribute(&self, attribute: Attribute) -> Option<&str> {
        let place = attribute as usize;
        (self.present & 1 << place != 0).then(|| std::str::from_utf8(&self.values[place]).unwrap_or_default())
    }

    /// Whether it has any attribute that is read.
    pub(super) const fn has_attributes(&self) -> bool {
        self.present != 0
    }

    fn begin(&mut self, is_end: bool) {
        self.name.clear();
        self.is_end = is_end;
        self.present = 0;
        self.attribute.clear();
        self.target = None;
    }

    /// Ends the name of an attribute. Of two with the same name the first counts.
    fn name_attribute(&mut self) {
        if self.attribute.is_empty() {
            return;
        }
        let attribute = Attribute::named(&self.attribute);
        self.attribute.clear();
        self.target = attribute.filter(|attribute| self.present & 1 << *attribute as usize == 0);
        if let Some(attribute) = self.target {
            self.present |= 1 << attribute as usize;
            self.values[attribute as usize].clear();
        }
    }

    fn push_value(&mut self, part: &[u8]) {
        self.name_attribute();
        let Some(attribute) = self.target else { return };
        // One byte more, by which a cut address is told from a whole one.
        let limit = if attribute.is_address() { HREF_MAX_BYTES + 1 } else { VALUE_MAX_BYTES };
        push(&mut self.values[attribute as usize], part, limit);
    }
}

/// Appends what fits, whole characters only.
fn push(value: &mut Vec<u8>, part: &[u8], limit: usize) {
    let room = limit.saturating_sub(value.len());
    if part.len() <= room {
        value.extend_from_slice(part);
    } else if let Ok(part) = std::str::from_utf8(part) {
        value.extend_from_slice(&part.as_bytes()[..part.floor_char_boundary(room)]);
    }
}

struct Collector<'a> {
    layout: &'a mut Layout,
    tag: Tag,
    last_start: Vec<u8>,
}

impl Emitter for Collector<'_> {
    type Token = Infallible;

    fn pop_token(&mut self) -> Option<Infallible> {
        None
    }

    fn should_emit_errors(&mut self) -> bool {
        false
    }

    fn emit_error(&mut self, _error: Error) {}

    fn emit_eof(&mut self) {}

    fn emit_string(&mut self, text: &[u8]) {
        self.layout.text(text);
    }

    fn set_last_start_tag(&mut self, name: Option<&[u8]>) {
        self.last_start = name.unwrap_or_default().to_vec();
    }

    fn init_start_tag(&mut self) {
        self.tag.begin(false);
    }

    fn init_end_tag(&mut self) {
        self.tag.begin(true);
    }

    fn push_tag_name(&mut self, part: &[u8]) {
        push(&mut self.tag.name, part, NAME_MAX_BYTES);
    }

    fn init_attribute(&mut self) {
        self.tag.name_attribute();
    }

    fn push_attribute_name(&mut self, part: &[u8]) {
        push(&mut self.tag.attribute, part, NAME_MAX_BYTES);
    }

    fn push_attribute_value(&mut self, part: &[u8]) {
        self.tag.push_value(part);
    }

    fn emit_current_tag(&mut self) -> Option<State> {
        self.tag.name_attribute();
        if self.tag.is_end {
            self.last_start.clear();
            self.layout.end(&self.tag.name);
            return None;
        }
        self.last_start.clone_from(&self.tag.name);
        self.layout.start(&self.tag);
        naive_next_state(&self.tag.name)
    }

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.tag.is_end && !self.last_start.is_empty() && self.last_start == self.tag.name
    }

    fn set_self_closing(&mut self) {}

    // Comments and document types are not read.
    fn init_comment(&mut self) {}
    fn push_comment(&mut self, _part: &[u8]) {}
    fn emit_current_comment(&mut self) {}
    fn init_doctype(&mut self) {}
    fn push_doctype_name(&mut self, _part: &[u8]) {}
    fn set_doctype_public_identifier(&mut self, _value: &[u8]) {}
    fn set_doctype_system_identifier(&mut self, _value: &[u8]) {}
    fn push_doctype_public_identifier(&mut self, _part: &[u8]) {}
    fn push_doctype_system_identifier(&mut self, _part: &[u8]) {}
    fn set_force_quirks(&mut self) {}
    fn emit_current_doctype(&mut self) {}
}
