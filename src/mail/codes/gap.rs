//! What stands between a word and a candidate: whether the one still speaks of the other.

use super::candidate::Candidate;
use super::words::{Word, is_cased, is_listed};

/// Whether a word that stands before a candidate speaks of something else than the candidate: in a sentence that has ended
/// or, where the candidate is called a code, in another clause. Where it is said that it is one, no word before counts.
pub(super) fn is_apart(text: &str, word: &Word, candidate: &Candidate, called: Option<&str>) -> bool {
    let gap = &text[word.end..candidate.start];
    let is_clause = || gap.contains([',', '，', '،']) || !is_link(gap) && !is_number_word(gap);
    ends_sentence_of_words(&text[word.start..candidate.start])
        || called.is_some_and(|called| begins_with_is(called) || is_clause())
}

/// Whether a text begins with a word that says that what stands before it is something.
pub(super) fn begins_with_is(text: &str) -> bool {
    text.split_whitespace().next().is_some_and(|first| is_listed("is", &first.to_lowercase()))
}

/// Whether a gap says no more than that a number follows: ` ID `, ` Nr. `.
fn is_number_word(gap: &str) -> bool {
    gap.len() < 24 && is_listed("number", &bare(gap).to_lowercase())
}

/// Whether a sentence ends in a text; a full stop behind an abbreviation, `Order no. 1`, does not end one.
fn ends_sentence_of_words(text: &str) -> bool {
    text.match_indices(['.', '!', '?', '。', '！', '？', '।']).any(|(at, mark)| {
        let is_end = !mark.is_ascii() || text[at + mark.len()..].starts_with(char::is_whitespace);
        is_end && (mark != "." || !is_abbreviation(&text[..at]))
    })
}

/// Whether a text ends in a word that is written with a full stop, `No`, `Acct`, `Bestellnr`, or in an initial.
fn is_abbreviation(text: &str) -> bool {
    let last = text.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase();
    let is_initial = last.chars().count() == 1 && last.chars().all(is_cased);
    is_initial || last.ends_with("nr") || is_listed("abbreviation", &last)
}

/// Whether a line is a sentence or an address of somebody, and no label: `Dear customer,`.
pub(super) fn is_said(line: &str) -> bool {
    line.ends_with([',', '!', '?', '，', '！', '？', '。'])
        || line.strip_suffix('.').is_some_and(|line| !is_abbreviation(line))
}

/// Whether the word `code` names the code of something: `vendor code`, `Project code`; but not `your Lumora code`.
pub(super) fn is_named(text: &str, word: &Word) -> bool {
    if !text[word.start..word.end].eq_ignore_ascii_case("code") {
        return false;
    }
    let before = &text[text.floor_char_boundary(word.start.saturating_sub(40))..word.start];
    let Some(before) = before.strip_suffix([' ', '-', '\u{a0}']) else { return false };
    let name = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let begins = before[..before.len() - name.len()].trim_end_matches([' ', '\u{a0}']);
    let is_first =
        begins.is_empty() || begins.ends_with(|c: char| !c.is_alphanumeric() && !matches!(c, ',' | '\'' | '-'));
    let is_brand = name.starts_with(char::is_uppercase) && !is_first;
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    name.len() > 1 && !is_brand && !is_number && !is_listed("before code", &name.to_lowercase())
}

/// What stands between a word and a candidate without quotes, colons and the like.
fn bare(gap: &str) -> &str {
    gap.trim_matches(|c: char| !c.is_alphanumeric())
}

/// Whether a gap says no more than that this is it.
pub(super) fn is_link(gap: &str) -> bool {
    let gap = bare(gap);
    gap.len() < 24 && (gap.is_empty() || is_link_word(&gap.to_lowercase()))
        || (gap.chars().count() <= 2 && !gap.chars().any(is_cased))
}

fn is_link_word(word: &str) -> bool {
    is_listed("link", word) || is_listed("is", word)
}

/// Whether a text ends in a colon.
pub(super) fn ends_with_colon(text: &str) -> bool {
    without_opening(text).ends_with([':', '：', '='])
}

/// Whether a text ends in a colon or a word that says that what follows is it.
pub(super) fn ends_with_link(text: &str) -> bool {
    let text = without_opening(text);
    let tail = &text[text.floor_char_boundary(text.len().saturating_sub(24))..];
    let last = tail.rsplit(char::is_whitespace).next().unwrap_or_default();
    ends_with_colon(text) || !last.is_empty() && last.len() < tail.len() && is_link_word(&last.to_lowercase())
}

/// A text without the quotes and the like that open behind it.
fn without_opening(text: &str) -> &str {
    text.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '*' | '“' | '„' | '«' | '['))
}

/// Whether a sentence ends in what stands between a word and a candidate.
pub(super) fn ends_sentence(gap: &str) -> bool {
    let is_end = |pair: &[u8]| matches!(pair, [b'.' | b'!' | b'?', b' ']);
    gap.as_bytes().windows(2).any(is_end) || !gap.is_ascii() && gap.contains(['。', '！', '？', '।'])
}
