//! What the text around a candidate says about it.

use std::ops::Range;

use super::CodeSource;
use super::atom::is_ignorable;
use super::candidate::{self, Candidate};
use super::gap::{
    begins_with_is, ends_sentence, ends_with_colon, ends_with_link, is_apart, is_link, is_named, is_said,
};
use super::words::{self, Meaning, Word, is_listed};
use crate::mail::page::Page;

/// Protects the time: so many bytes before and behind a candidate are looked at, whatever the lines are.
const REACH_BYTES: usize = 400;
/// How many of the words before a candidate are weighed.
const WORDS_MAX: usize = 16;
/// How many lines before a candidate may announce it.
const LINES_MAX: usize = 3;

/// What the whole message says about every number in it.
pub(super) struct Tone {
    /// The strongest word for a code in the subject.
    subject: Option<Meaning>,
    /// Whether a body has a word that surely is for a code.
    is_announced: bool,
    bias: i32,
}

/// A part of a message: its text, what in it could be a code, and the words in it that say something about that.
pub(super) struct Part<'a> {
    pub(super) text: &'a str,
    pub(super) source: CodeSource,
    page: Option<&'a Page>,
    candidates: Vec<Candidate>,
    words: Vec<Word>,
}

impl<'a> Part<'a> {
    /// Finds the candidates.
    pub(super) fn read(text: &'a str, source: CodeSource, page: Option<&'a Page>) -> Self {
        Self { text, source, page, candidates: candidate::find(text), words: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Whether it has a word for a code, or asks to enter something that will not do for long.
    pub(super) fn announces(&self) -> bool {
        let has = |meaning| self.words.iter().any(|word| word.meaning == meaning);
        strongest(&self.words).is_some() || has(Meaning::Enter) && has(Meaning::Security)
    }

    /// Finds the words.
    pub(super) fn understood(self) -> Self {
        Self { words: words::find(self.text), ..self }
    }

    /// The candidates with their scores.
    pub(super) fn scored(&self, tone: &Tone) -> Vec<(&Candidate, i32)> {
        let mut reader = Reader { part: self, tone, announces: self.announces(), alone: None };
        self.candidates.iter().map(|candidate| (candidate, reader.score(candidate))).collect()
    }
}

impl Tone {
    pub(super) fn of(parts: &[Part<'_>]) -> Self {
        let count = |meaning| parts.iter().flat_map(|part| &part.words).filter(|word| word.meaning == meaning).count();
        let (strong, security) = (count(Meaning::Strong), count(Meaning::Security));
        let mut bias = if security > 0 { 4 } else { 0 };
        if count(Meaning::Discount) > 0 && strong == 0 {
            bias -= 40;
        }
        if count(Meaning::Booking) > 1 && security == 0 {
            bias -= 30;
        }
        let subject = parts.iter().find(|part| part.source == CodeSource::Subject);
        Self { subject: subject.and_then(|part| strongest(&part.words)), is_announced: strong > 0, bias }
    }
}

/// The stronger of the words that announce a code.
fn strongest(words: &[Word]) -> Option<Meaning> {
    let has = |meaning| words.iter().any(|word| word.meaning == meaning).then_some(meaning);
    has(Meaning::Strong).or_else(|| has(Meaning::Weak))
}

struct Reader<'a> {
    part: &'a Part<'a>,
    tone: &'a Tone,
    /// Whether the part speaks of a code.
    announces: bool,
    /// The last candidate that stood alone in its line: where that line ended, and what was said about it.
    alone: Option<(usize, i32)>,
}

/// How a candidate stands in its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing else is in the line.
    Line,
    /// Nothing else is in its cell of the line.
    Cell,
    Running,
}

impl Reader<'_> {
    fn score(&mut self, candidate: &Candidate) -> i32 {
        let line = self.line(candidate.start, candidate.end);
        let standing = self.standing(candidate, &line);
        let is_loud = self.part.page.is_some_and(|page| page.is_loud(candidate.start));
        let before = self.before(candidate, &line);
        // What is named as something else stays that, whatever comes behind it.
        let mut said = if before < -20 { before } else { before.max(self.behind(candidate, &line)) };
        if standing == Standing::Line || before.abs() < 10 {
            said = self.lines_before(&line, standing, is_loud).map_or(said, |above| stronger(said, above));
        }
        // A body may say no more than that the code is in the subject.
        if self.part.source == CodeSource::Subject && self.tone.is_announced && said >= 0 {
            said = said.max(22);
        }
        if standing == Standing::Line {
            // A label above is for what is below it, and for nothing behind that.
            let behind = if said < -20 { said } else { self.line_behind(&line) };
            said = said.max(behind);
            if let Some((end, above)) = self.alone
                && self.part.text.get(end..line.start).is_some_and(|gap| gap.trim().is_empty())
            {
                said = said.max(above - 2);
            }
            if said.abs() < 22 {
                said = said.max(match self.tone.subject {
                    Some(Meaning::Strong) => 24,
                    Some(_) => 18,
                    None => said,
                });
            }
            self.alone = Some((line.end, said));
        }
        let mut score = candidate.points + said + self.tone.bias;
        score += match standing {
            Standing::Line => 12,
            Standing::Cell => 6,
            Standing::Running => 0,
        };
        score += if is_loud { 8 } else { 0 };
        // Right behind "your code is" a year or a thousand is a code too.
        score -= if said >= 40 { candidate.doubt / 4 } else { candidate.doubt };
        if candidate.is_letters && !self.admits_letters(candidate, &line, standing, said) {
            score -= 40;
        }
        score - self.measure(candidate)
    }

    /// Whether a word in capitals can be a code: where one is announced, and not everything is in capitals.
    fn admits_letters(&self, candidate: &Candidate, line: &Range<usize>, standing: Standing, said: i32) -> bool {
        match standing {
            Standing::Running => said >= 40 && self.part.text[line.start..candidate.start].contains(char::is_lowercase),
            Standing::Line | Standing::Cell => said >= 36,
        }
    }

    /// The line that a stretch stands in, as far as it is looked at.
    fn line(&self, start: usize, end: usize) -> Range<usize> {
        let text = self.part.text;
        let from = text.floor_char_boundary(start.saturating_sub(REACH_BYTES));
        let to = text.floor_char_boundary(end + REACH_BYTES);
        let line_start = text[from..start].rfind('\n').map_or(from, |at| from + at + 1);
        let line_end = text[end..to].find('\n').map_or(to, |at| end + at);
        line_start..line_end
    }

    fn standing(&self, candidate: &Candidate, line: &Range<usize>) -> Standing {
        let is_bare =
            |text: &str| text.chars().filter(|c| c.is_alphanumeric() && !is_ignorable(*c)).take(3).count() == 0;
        let (before, behind) = (&self.part.text[line.start..candidate.start], &self.part.text[candidate.end..line.end]);
        if (is_bare(before) || is_list_number(before)) && is_bare(behind) {
            return Standing::Line;
        }
        let left = before.rsplit(['\t', '|']).next().unwrap_or_default();
        let right = behind.split(['\t', '|']).next().unwrap_or_default();
        let is_cell = left.len() < before.len() || right.len() < behind.len();
        if is_cell && is_bare(left) && is_bare(right) { Standing::Cell } else { Standing::Running }
    }

    /// The words within `range`.
    fn words_in(&self, range: &Range<usize>) -> &[Word] {
        let first = self.part.words.partition_point(|word| word.start < range.start);
        let end = self.part.words.partition_point(|word| word.end <= range.end);
        &self.part.words[first..end.max(first)]
    }

    /// What the same line says before a candidate.
    fn before(&self, candidate: &Candidate, line: &Range<usize>) -> i32 {
        let text = self.part.text;
        let mut best = 0;
        let mut penalty = 0;
        let words = self.words_in(&(line.start..candidate.start));
        let has_link = ends_with_link(&text[line.start..candidate.start]);
        let called = self.called(candidate, line);
        for word in words.iter().rev().take(WORDS_MAX) {
            let gap = &text[word.end..candidate.start];
            let distance = gap.chars().count();
            let is_direct = is_link(gap);
            let points = match word.meaning {
                Meaning::Strong | Meaning::Weak => {
                    let is_strong = word.meaning == Meaning::Strong;
                    let points = near(is_strong, is_direct, has_link, distance);
                    let points = if is_named(text, word) { points * 2 / 5 } else { points };
                    if ends_sentence(gap) { points / 2 } else { points }
                }
                Meaning::Enter if best == 0 && penalty == 0 && distance < 4 => {
                    if self.announces {
                        30
                    } else {
                        12
                    }
                }
                Meaning::Other | Meaning::Booking
                    if best == 0 && penalty == 0 && !is_apart(text, word, candidate, called) =>
                {
                    penalty = match distance {
                        _ if is_direct => 45,
                        0..=12 => 40,
                        13..=25 => 22,
                        _ => 8,
                    };
                    penalty = if has_link && !is_direct { penalty / 3 } else { penalty };
                    0
                }
                _ => 0,
            };
            best = best.max(points);
        }
        best - penalty
    }

    /// The word for a code that follows a candidate on its line.
    fn word_behind(&self, candidate: &Candidate, line: &Range<usize>) -> Option<&Word> {
        let words = self.words_in(&(candidate.end..line.end));
        let word = words.iter().take(WORDS_MAX).find(|word| matches!(word.meaning, Meaning::Strong | Meaning::Weak));
        word.filter(|word| !is_named(self.part.text, word))
    }

    /// What stands between a candidate and the word that calls it a code right behind it, if one does: `482913 is your code`,
    /// `482913, your one-time code`; but not `482913 is ready, your code follows`.
    fn called(&self, candidate: &Candidate, line: &Range<usize>) -> Option<&str> {
        let word = self.word_behind(candidate, line)?;
        let gap = &self.part.text[candidate.end..word.start];
        let is_near = gap.len() < 48 && !ends_sentence(gap) && gap.split_whitespace().take(3).count() < 3;
        let is_other =
            begins_with_is(gap) && gap.contains([',', ':', '，', '：', '،']) || self.owned(word, line).is_some();
        (is_near && !is_other).then_some(gap)
    }

    /// What stands between a word for a code and the number that it speaks of instead of one before it:
    /// `482913 is ready, pickup code: 7741`.
    fn owned(&self, word: &Word, line: &Range<usize>) -> Option<&str> {
        let next = self.part.candidates.partition_point(|next| next.start < word.end);
        let next = self.part.candidates.get(next).filter(|next| next.end <= line.end)?;
        let gap = &self.part.text[word.end..next.start];
        // Not what is in capitals by chance: `482913 is your code NOW`.
        let is_own = ends_with_colon(gap) || is_link(gap) && !next.is_letters;
        let is_of_word = !ends_sentence(gap) && self.words_in(&(word.end..next.start)).is_empty();
        (is_own && is_of_word).then_some(gap)
    }

    /// What the same line says behind a candidate: `482913 is your code`.
    fn behind(&self, candidate: &Candidate, line: &Range<usize>) -> i32 {
        let Some(word) = self.word_behind(candidate, line) else { return 0 };
        // Without a colon or a cell the word may still speak of both: `482913 (code) 7741 (PIN)`.
        if self.owned(word, line).is_some_and(|gap| ends_with_link(gap) || gap.contains(['\t', '|'])) {
            return 0;
        }
        let gap = &self.part.text[candidate.end..word.start];
        let is_strong = word.meaning == Meaning::Strong;
        if ends_sentence(gap) {
            return if is_strong { 12 } else { 8 };
        }
        match gap.chars().count() {
            0..=40 => {
                if is_strong {
                    38
                } else {
                    30
                }
            }
            41..=80 => {
                if is_strong {
                    20
                } else {
                    10
                }
            }
            _ => 0,
        }
    }

    /// What the lines before say, the nearest first: those that announce a code, or that the next line is something else.
    fn lines_before(&self, line: &Range<usize>, standing: Standing, is_loud: bool) -> Option<i32> {
        let is_alone = standing == Standing::Line || standing == Standing::Cell && is_loud;
        let mut end = line.start;
        let mut seen = 0;
        let floor = self.part.text.floor_char_boundary(line.start.saturating_sub(REACH_BYTES));
        while end > floor && seen < LINES_MAX && self.part.text.as_bytes()[end - 1] == b'\n' {
            let part = &self.part.text[floor..end - 1];
            let start = part.rfind('\n').map_or(floor, |at| floor + at + 1);
            let text = &self.part.text[start..end - 1];
            let words = self.words_in(&(start..end));
            end = start;
            if text.trim().is_empty() {
                continue;
            }
            let points: [i32; 2] =
                if is_alone { [[38, 32], [30, 24], [24, 18]][seen] } else { [[16, 10], [8, 5], [5, 3]][seen] };
            seen += 1;
            match strongest(words) {
                Some(Meaning::Strong) => return Some(points[0]),
                Some(_) => return Some(points[1]),
                None => {}
            }
            // A label of its own: "Order number".
            let is_label = seen == 1 && is_alone && text.trim().chars().count() < 40 && !is_said(text.trim());
            if is_label && words.iter().any(|word| matches!(word.meaning, Meaning::Other | Meaning::Booking)) {
                return Some(-35);
            }
        }
        None
    }

    /// What the next line says about a candidate that stands alone above it.
    fn line_behind(&self, line: &Range<usize>) -> i32 {
        let text = self.part.text;
        let to = text.floor_char_boundary(line.end + REACH_BYTES);
        let rest = &text[line.end..to];
        let start = line.end + rest.len() - rest.trim_start().len();
        let end = text[start..to].find('\n').map_or(to, |at| start + at);
        let words = self.words_in(&(start..end));
        // What stands above `Pickup code: 7741` is something else.
        if words.iter().take(WORDS_MAX).any(|word| self.owned(word, &(start..end)).is_some_and(ends_with_link)) {
            return 0;
        }
        match strongest(words) {
            Some(Meaning::Strong) => 26,
            Some(_) => 18,
            None => 0,
        }
    }

    /// What is to be taken off because the candidate is an amount, or the code of a place.
    fn measure(&self, candidate: &Candidate) -> i32 {
        let text = self.part.text;
        let behind = &text[candidate.end..];
        let next = behind.strip_prefix([' ', '\u{a0}']).unwrap_or(behind);
        let unit =
            next.split(|c: char| c.is_whitespace() || matches!(c, '.' | ',' | ')' | ';')).next().unwrap_or_default();
        if unit.len() < 16 && is_listed("unit", &unit.to_lowercase()) {
            return 45;
        }
        let before = text[..candidate.start].trim_end_matches([' ', '\u{a0}']);
        let tail = &before[before.floor_char_boundary(before.len().saturating_sub(4))..];
        let last =
            tail.rsplit(|c: char| c.is_whitespace() || c.is_ascii_punctuation() && c != '$').next().unwrap_or_default();
        if is_listed("currency", &last.to_lowercase()) {
            return 45;
        }
        // "CA 94104", "10969 Berlin"
        let is_state = last.len() == 2 && last.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_town = next.len() < behind.len()
            && next.starts_with(char::is_uppercase)
            && unit.chars().skip(1).all(char::is_lowercase);
        match candidate.value.len() {
            5 if is_state => 40,
            4 | 5 if is_town && unit.chars().count() > 2 => 15,
            _ => 0,
        }
    }
}

/// Whether a text is the number of an entry of a list: `1.`, `12)`.
fn is_list_number(text: &str) -> bool {
    let text = text.trim();
    text.len() <= 3
        && text.strip_suffix(['.', ')']).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Of two opinions the one that is held more firmly.
const fn stronger(a: i32, b: i32) -> i32 {
    if a.abs() > b.abs() { a } else { b }
}

/// What a word for a code is worth that stands `distance` characters before a candidate.
const fn near(is_strong: bool, is_direct: bool, has_link: bool, distance: usize) -> i32 {
    let (strong, weak) = match distance {
        _ if is_direct => (46, 40),
        0..=150 if has_link => (42, 36),
        0..=40 => (36, 28),
        41..=100 => (22, 14),
        _ => (10, 5),
    };
    if is_strong { strong } else { weak }
}
