//! One-time codes in a message: which number, of all that stand there, is the one to type in. `docs/CODES.md` says how it
//! is decided; the points that are given are in `candidate` (how a number looks) and in `context` (what stands around it).

mod atom;
mod candidate;
mod context;
mod gap;
pub(super) mod words;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::context::{Part, Tone};
use super::page::Page;

/// What reaches this score is given out.
const SCORE_MIN: i32 = 50;
/// The most codes of one message.
const CODES_MAX: usize = 5;
/// Protects the time of a delivery; no code is announced behind this much of a text.
const TEXT_MAX_BYTES: usize = 256 * 1024;
/// How much of the text around a code is repeated, on each side.
const CONTEXT_MAX_CHARS: usize = 40;

/// A one-time code that was found in a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Code {
    /// What to type in: digits in ASCII, those of an all-digit code without spaces and dashes; others as written.
    pub value: String,
    /// How likely it is a code, from 50 to 100.
    #[schema(minimum = 50, maximum = 100)]
    pub score: u8,
    /// Where it stands.
    pub source: CodeSource,
    /// The text around it, white space evened out.
    pub context: String,
}

/// The part of a message in which a code stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CodeSource {
    /// The `Subject`.
    Subject,
    /// The plain text body.
    Text,
    /// What is shown of the HTML body.
    Html,
}

/// The codes of a message, the likeliest first.
pub(super) fn find(subject: &str, text: &str, page: &Page) -> Vec<Code> {
    let part = |text, source, page| Part::read(beginning(text), source, page);
    let parts = [
        part(subject, CodeSource::Subject, None),
        part(&page.text, CodeSource::Html, Some(page)),
        part(text, CodeSource::Text, None),
    ];
    // Most mails have no number that looks like a code, and are done here.
    if parts.iter().all(Part::is_empty) {
        return Vec::new();
    }
    let parts = parts.map(Part::understood);
    // A number is a code because somebody calls it one.
    if !parts.iter().any(Part::announces) {
        return Vec::new();
    }
    let tone = Tone::of(&parts);
    let mut found = Found::default();
    for part in &parts {
        found.add(part, &tone);
    }
    found.best()
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX_BYTES)]
}

/// The values that have been found, in the order in which they were first seen.
#[derive(Default)]
struct Found(Vec<(i32, Code)>);

impl Found {
    /// Adds what is found in one part of the message.
    fn add(&mut self, part: &Part<'_>, tone: &Tone) {
        for (candidate, score) in part.scored(tone) {
            match self.0.iter_mut().find(|(_, code)| code.value == candidate.value) {
                // What the subject and the body both say is surely it.
                Some((known, code)) if code.source == CodeSource::Subject && part.source != CodeSource::Subject => {
                    *known = score.max(*known) + 10;
                    code.source = part.source;
                    code.context = snippet(part.text, candidate.start, candidate.end);
                }
                Some((known, code)) if score > *known => {
                    *known = score;
                    code.source = part.source;
                    code.context = snippet(part.text, candidate.start, candidate.end);
                }
                Some(_) => {}
                None if score >= SCORE_MIN - 10 => {
                    let context = snippet(part.text, candidate.start, candidate.end);
                    self.0
                        .push((score, Code { value: candidate.value.clone(), score: 0, source: part.source, context }));
                }
                None => {}
            }
        }
    }

    fn best(mut self) -> Vec<Code> {
        self.0.retain(|(score, _)| *score >= SCORE_MIN);
        self.0.sort_by_key(|(score, _)| -score);
        self.0.truncate(CODES_MAX);
        let scored = |(score, code): (i32, Code)| Code { score: score.clamp(0, 100) as u8, ..code };
        self.0.into_iter().map(scored).collect()
    }
}

/// The text around `start..end`, on one line.
fn snippet(text: &str, start: usize, end: usize) -> String {
    let from = text[..start].char_indices().rev().nth(CONTEXT_MAX_CHARS - 1).map_or(0, |(at, _)| at);
    let to = text[end..].char_indices().nth(CONTEXT_MAX_CHARS).map_or(text.len(), |(at, _)| end + at);
    let shown = |c: &char| !atom::is_ignorable(*c) && (!c.is_control() || c.is_whitespace());
    let around: String = text[from..to].chars().filter(shown).collect();
    around.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
