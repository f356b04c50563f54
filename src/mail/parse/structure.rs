//! The tree of parts (RFC 2046 section 5.1), flattened: the parts that hold no others, in order.

use std::fmt;
use std::ops::Range;

use memchr::memmem;

use super::budgets::Budgets;
use super::field::Field;
use super::findings::Findings;
use super::header::{Header, line_end, without_line_break};
use super::parameter::Parameters;
use super::transfer;
use crate::mail::message::TransferEncoding;
use crate::mail::problem::Problem;

/// A message taken apart.
pub(super) struct Structure<'a> {
    pub(super) leaves: Vec<Leaf<'a>>,
    pub(super) findings: Findings,
}

/// A part that is not taken apart further.
pub(super) struct Leaf<'a> {
    pub(super) name: PartName,
    pub(super) header: Header<'a>,
    pub(super) content_type: Parameters,
    /// Where its encoded bytes are in the raw message.
    pub(super) body: Range<usize>,
    /// The kind of the multipart that it stands in.
    pub(super) parent: Container,
    /// Whether it is the body of a multipart that could not be taken apart.
    is_remains: bool,
}

/// The kind of a multipart, as far as it says something about its parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// `multipart/alternative` (RFC 2046 section 5.1.4).
    Alternative,
    /// `multipart/related` (RFC 2387).
    Related,
    /// The same, where it says itself that this part is its root.
    RelatedRoot,
    /// `multipart/digest` (RFC 2046 section 5.1.5).
    Digest,
    /// All others, and no multipart at all.
    Mixed,
}

/// Names a part by its place in each multipart around it, from 1, as IMAP does; the message itself has no number.
#[derive(Clone, Default)]
pub(super) struct PartName(Vec<usize>);

/// A multipart whose closing delimiter has not been seen.
struct Open<'a> {
    name: PartName,
    kind: Container,
    boundary: Vec<u8>,
    /// Whether there was a delimiter.
    is_begun: bool,
    part_count: usize,
    /// What it is when no part is found in it.
    header: Header<'a>,
    content_type: Parameters,
}

/// A delimiter line of an open multipart.
struct Delimiter {
    /// Which of the open multiparts.
    depth: usize,
    is_closing: bool,
    line: Range<usize>,
}

struct Walk<'a, 'b> {
    raw: &'a [u8],
    budgets: &'b Budgets,
    open: Vec<Open<'a>>,
    /// The part whose end has not been seen; its `body` ends where it begins.
    current: Option<Leaf<'a>>,
    found: Structure<'a>,
    part_count: usize,
    /// The last answer of [`Walk::first_delimiter`]: from where was looked, and what was found.
    looked_from: Option<(usize, Option<usize>)>,
}

impl<'a> Structure<'a> {
    /// Takes a message with this header apart. A nested message is a part like an image: it is not opened.
    pub(super) fn read(raw: &'a [u8], header: Header<'a>, budgets: &Budgets, findings: Findings) -> Self {
        let found = Self { leaves: Vec::new(), findings };
        let mut walk = Walk { raw, budgets, open: Vec::new(), current: None, found, part_count: 0, looked_from: None };
        let mut at = walk.enter(PartName::default(), header, Container::Mixed);
        while let Some(delimiter) = walk.next_delimiter(at) {
            at = delimiter.line.end;
            walk.finish_part(delimiter.line.start);
            while walk.open.len() > delimiter.depth + 1 {
                walk.close(false, delimiter.line.start);
            }
            if delimiter.is_closing {
                walk.close(true, delimiter.line.start);
            } else if walk.part_count == budgets.max_parts {
                walk.found.findings.add(Problem::ManyParts, &PartName::default());
                return walk.found;
            } else {
                at = walk.enter_next_part(at);
            }
        }
        walk.finish_part(raw.len());
        while !walk.open.is_empty() {
            walk.close(false, raw.len());
        }
        walk.found
    }
}

impl<'a> Walk<'a, '_> {
    /// Begins the part behind a delimiter line of the innermost multipart; returns where its body begins.
    fn enter_next_part(&mut self, at: usize) -> usize {
        // Two delimiters in a row have no part in between.
        let is_nothing = at == self.raw.len() || self.delimiter_at(at).is_some();
        let Some(open) = self.open.last_mut() else { return at };
        open.is_begun = true;
        if is_nothing {
            return at;
        }
        open.part_count += 1;
        self.part_count += 1;
        let (name, header) = (open.name.child(open.part_count), Header::of_part(self.raw, at, self.budgets));
        let kind = match open.kind {
            Container::Related if open.is_root(&header) => Container::RelatedRoot,
            kind => kind,
        };
        self.enter(name, header, kind)
    }

    /// Begins a part whose header has been read; returns where its body begins.
    fn enter(&mut self, name: PartName, header: Header<'a>, parent: Container) -> usize {
        let start = header.end;
        self.check_header(&name, &header);
        let content_type = header.parameters("Content-Type").unwrap_or_default();
        let mut is_remains = false;
        if content_type.value.starts_with("multipart/") {
            match self.boundary(&name, &content_type, start) {
                Some(boundary) if self.open.len() < self.budgets.max_depth => {
                    self.check_encoding(&name, &header);
                    let kind = Container::of(&content_type.value);
                    self.open.push(Open { name, kind, boundary, is_begun: false, part_count: 0, header, content_type });
                    return start;
                }
                Some(_) => self.found.findings.add(Problem::DeepParts, &name),
                None => is_remains = true,
            }
        }
        self.current = Some(Leaf { name, header, content_type, body: start..start, parent, is_remains });
        start
    }

    /// The boundary of a multipart whose body begins at `start`. Where it is not named the first line that looks like a
    /// delimiter in front of a part is believed.
    fn boundary(&mut self, name: &PartName, content_type: &Parameters, start: usize) -> Option<Vec<u8>> {
        // A boundary never ends in white space, but it may have gained some (RFC 2046 section 5.1.1).
        let named = content_type.bytes("boundary").map(|boundary| boundary.trim_ascii_end().to_vec());
        if let Some(boundary) = named.filter(|boundary| !boundary.is_empty()) {
            return Some(boundary);
        }
        self.found.findings.add(Problem::MissingBoundary, name);
        let line = self.first_delimiter(start.saturating_sub(1))?;
        let boundary = self.raw[line + 2..line_end(self.raw, line)].trim_ascii_end();
        (!boundary.is_empty()).then(|| boundary.to_vec())
    }

    /// The first line behind `from` that looks like a delimiter in front of a part. Looking again is free as long as the
    /// answer stays: a message may be made of multiparts that name no boundary.
    fn first_delimiter(&mut self, from: usize) -> Option<usize> {
        match self.looked_from {
            Some((before, found)) if before <= from && found.is_none_or(|line| line > from) => return found,
            _ => {}
        }
        let found = memmem::find_iter(&self.raw[from..], b"\n--").map(|at| from + at + 1).find(|&line| {
            let end = line_end(self.raw, line);
            self.raw.get(end..end + 8).is_some_and(|begin| begin.eq_ignore_ascii_case(b"content-"))
        });
        self.looked_from = Some((from, found));
        found
    }

    fn check_header(&mut self, name: &PartName, header: &Header<'_>) {
        let findings = [
            (header.is_cut && !header.fields().is_empty() || header.is_text, Problem::UnendedHeader),
            (header.has_bad_lines, Problem::BadHeaderLine),
            (header.is_too_long, Problem::LargeHeader),
            (header.has_too_many, Problem::ManyHeaders),
        ];
        for (_, problem) in findings.into_iter().filter(|(is_so, _)| *is_so) {
            self.found.findings.add(problem, name);
        }
    }

    /// RFC 2045 section 6.4: the parts of a multipart are encoded, and never the multipart itself.
    fn check_encoding(&mut self, name: &PartName, header: &Header<'_>) {
        let value = header.parameters("Content-Transfer-Encoding").unwrap_or_default().value;
        if transfer::read_encoding(&value) != Some(TransferEncoding::Identity) {
            self.found.findings.add_word(Problem::EncodedMultipart, name, &value);
        }
    }

    /// Ends the current part at the line break before `end`, where a delimiter line begins, or at the end of the message.
    fn finish_part(&mut self, end: usize) {
        if let Some(mut leaf) = self.current.take() {
            leaf.body = leaf.body.start..self.body_end(leaf.body.start, end);
            self.push(leaf);
        }
    }

    /// What cannot be taken apart is at least a text, if anything is there.
    fn push(&mut self, mut leaf: Leaf<'a>) {
        if leaf.is_remains {
            leaf.content_type.value.clear();
            if self.raw[leaf.body.clone()].trim_ascii().is_empty() {
                return;
            }
        }
        self.found.leaves.push(leaf);
    }

    /// The line break before a delimiter line belongs to it (RFC 2046 section 5.1.1).
    fn body_end(&self, start: usize, end: usize) -> usize {
        if end == self.raw.len() {
            return end;
        }
        start + self.raw.get(start..end).map_or(0, |body| without_line_break(body).len())
    }

    /// Ends the innermost multipart at `end`.
    fn close(&mut self, is_closed: bool, end: usize) {
        let Some(open) = self.open.pop() else { return };
        let Open { name, is_begun, header, content_type, .. } = open;
        if !is_begun {
            self.found.findings.add(Problem::NoParts, &name);
            let start = header.end;
            let parent = self.open.last().map_or(Container::Mixed, |parent| parent.kind);
            let body = start..self.body_end(start, end);
            self.push(Leaf { name, header, content_type, body, parent, is_remains: true });
        } else if !is_closed {
            self.found.findings.add(Problem::UnclosedMultipart, &name);
        }
    }

    /// Finds the next delimiter line at or behind `from`, where a line begins.
    fn next_delimiter(&self, from: usize) -> Option<Delimiter> {
        if self.open.is_empty() {
            return None;
        }
        // The line break before the line is searched for too; the first line of a message is no delimiter.
        let search_start = from.saturating_sub(1);
        let found = memmem::find_iter(&self.raw[search_start..], b"\n--");
        found.map(|at| search_start + at + 1).find_map(|start| self.delimiter_at(start))
    }

    /// Reads the line at `start` as a delimiter of the innermost multipart that it can be one of. An outer one ends all
    /// within it (RFC 2046 section 5.1.2).
    fn delimiter_at(&self, start: usize) -> Option<Delimiter> {
        let end = line_end(self.raw, start);
        let text = self.raw[start..end].trim_ascii_end().strip_prefix(b"--")?;
        self.open.iter().enumerate().rev().find_map(|(depth, open)| {
            let is_closing = match text.strip_prefix(&*open.boundary)? {
                b"" => false,
                b"--" => true,
                _ => return None,
            };
            Some(Delimiter { depth, is_closing, line: start..end })
        })
    }
}

impl Open<'_> {
    /// Whether the part with this header is the root that the multipart names (RFC 2387 section 3.2).
    fn is_root(&self, header: &Header<'_>) -> bool {
        let start = self.content_type.word("start");
        let id = header.first("Content-ID").and_then(Field::id);
        id.is_some() && id.as_deref() == start.as_deref().map(|start| start.trim_matches(['<', '>']))
    }
}

impl Container {
    fn of(content_type: &str) -> Self {
        match content_type {
            "multipart/alternative" => Self::Alternative,
            "multipart/related" => Self::Related,
            "multipart/digest" => Self::Digest,
            _ => Self::Mixed,
        }
    }
}

impl PartName {
    fn child(&self, number: usize) -> Self {
        let mut numbers = self.0.clone();
        numbers.push(number);
        Self(numbers)
    }

    /// Whether it is the message itself, or the first part of its multipart.
    pub(super) fn is_first(&self) -> bool {
        self.0.last().is_none_or(|number| *number == 1)
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else { return f.write_str("the message") };
        write!(f, "part {first}")?;
        rest.iter().try_for_each(|number| write!(f, ".{number}"))
    }
}
