//! The words that tell a one-time code from other numbers: those of `words.txt`, which says how they are written.

use std::collections::HashSet;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

/// The longest ending that a word marked with `~` may take.
const ENDING_MAX_CHARS: usize = 6;

/// What a word says about the numbers near it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A number near it is most likely a one-time code.
    Strong,
    /// A number near it may be one.
    Weak,
    /// A number right behind it is to be typed in.
    Enter,
    /// A number right behind it is something else.
    Other,
    /// The message is about signing in, or warns not to pass something on.
    Security,
    /// The message is about a journey or a stay, where a code names a booking; a number right behind it is something else.
    Booking,
    /// The message is about a price, where a code takes some off.
    Discount,
}

/// The sections of `words.txt` whose words are searched for.
const MEANINGS: [(&str, Meaning); 7] = [
    ("strong", Meaning::Strong),
    ("weak", Meaning::Weak),
    ("enter", Meaning::Enter),
    ("other", Meaning::Other),
    ("security", Meaning::Security),
    ("booking", Meaning::Booking),
    ("discount", Meaning::Discount),
];

/// A word and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) meaning: Meaning,
}

/// How a pattern may stand in a longer word.
struct Pattern {
    meaning: Meaning,
    may_end_a_word: bool,
    may_be_inflected: bool,
}

struct Dictionary {
    automaton: Option<AhoCorasick>,
    patterns: Vec<Pattern>,
    /// The words of the sections that are looked up whole, each with its section.
    listed: HashSet<(&'static str, &'static str)>,
}

static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| {
    let mut texts = Vec::new();
    let mut patterns = Vec::new();
    let mut listed = HashSet::new();
    for (name, marked) in entries(include_str!("words.txt")) {
        let Some((_, meaning)) = MEANINGS.iter().find(|(known, _)| *known == name) else {
            listed.insert((name, marked));
            continue;
        };
        for spelling in spellings(marked.trim_matches('~')) {
            texts.push(spelling);
            patterns.push(Pattern {
                meaning: *meaning,
                may_end_a_word: marked.starts_with('~'),
                may_be_inflected: marked.ends_with('~'),
            });
        }
    }
    let automaton =
        AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::LeftmostLongest).build(texts);
    Dictionary { automaton: automaton.ok(), patterns, listed }
});

/// The entries of a file of words, each with the name of its section.
pub(in crate::mail) fn entries(file: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut section = "";
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(move |line| {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let words = line.split(" | ").filter(|word| !word.is_empty() && !word.starts_with('['));
        words.map(move |word| (section, word))
    })
}

/// A word in small letters, with a capital, and in capitals. The automaton knows the case of ASCII letters alone.
pub(in crate::mail) fn spellings(word: &str) -> Vec<String> {
    let mut spellings = vec![word.to_owned()];
    let mut chars = word.chars();
    let capital = chars.next().map(|first| first.to_uppercase().chain(chars).collect());
    for spelling in capital.into_iter().chain([word.to_uppercase()]) {
        if !spellings.iter().any(|known| known.eq_ignore_ascii_case(&spelling)) {
            spellings.push(spelling);
        }
    }
    spellings
}

/// All words of `text`, in order; where two overlap, the one that begins first, and of those the longest.
pub(super) fn find(text: &str) -> Vec<Word> {
    let Some(automaton) = &DICTIONARY.automaton else { return Vec::new() };
    automaton
        .find_iter(text)
        .filter_map(|found| {
            let pattern = &DICTIONARY.patterns[found.pattern().as_usize()];
            stands_as(text, found.start(), found.end(), pattern).then_some(Word {
                start: found.start(),
                end: found.end(),
                meaning: pattern.meaning,
            })
        })
        .collect()
}

/// Whether a word in small letters is in a section that is looked up whole.
pub(super) fn is_listed(section: &str, word: &str) -> bool {
    DICTIONARY.listed.contains(&(section, word))
}

fn stands_as(text: &str, start: usize, end: usize, pattern: &Pattern) -> bool {
    let (before, behind) = (&text[..start], &text[end..]);
    let begins = pattern.may_end_a_word || !joins(before.chars().next_back(), text[start..].chars().next());
    let last = text[..end].chars().next_back();
    if !begins || !joins(behind.chars().next(), last) {
        return begins;
    }
    let ending = behind.chars().take(ENDING_MAX_CHARS + 1).take_while(|c| is_cased(*c)).count();
    let is_plural = behind.starts_with(['s', 'S']) && ending == 1;
    is_plural || (pattern.may_be_inflected && (1..=ENDING_MAX_CHARS).contains(&ending))
}

/// Whether two characters that stand side by side are of one word. In scripts without case words are not parted.
fn joins(a: Option<char>, b: Option<char>) -> bool {
    a.is_some_and(is_cased) && b.is_some_and(is_cased)
}

pub(super) fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meanings(text: &str) -> Vec<Meaning> {
        find(text).into_iter().map(|word| word.meaning).collect()
    }

    #[test]
    fn every_word_of_the_file_has_a_meaning_and_one_alone() {
        let mut seen = HashSet::new();
        for (section, word) in entries(include_str!("words.txt")) {
            let is_searched = MEANINGS.iter().any(|(known, _)| *known == section);
            let is_looked_up =
                ["link", "is", "number", "abbreviation", "unit", "before code", "currency"].contains(&section);
            assert!(is_searched || is_looked_up, "[{section}]");
            let key = if is_searched { "" } else { section };
            assert!(seen.insert((key, word.trim_matches('~').to_lowercase())), "{word} is there twice");
            assert_eq!(word.trim(), word);
        }
        assert!(seen.len() > 500 && DICTIONARY.automaton.is_some());
    }

    #[test]
    fn words_are_found_in_any_case_and_only_where_they_are_words() {
        for (text, expected) in [
            ("Your Verification Code:", &[Meaning::Strong][..]),
            ("SICHERHEITSCODE", &[Meaning::Strong]),
            ("Haustürcode 12", &[Meaning::Weak]),
            ("postcode, Codec, decoded, encoder", &[Meaning::Other, Meaning::Other]),
            ("KODUNUZ", &[Meaning::Weak]),
            ("ваш КОД ПОДТВЕРЖДЕНИЯ", &[Meaning::Strong]),
            ("您的驗證碼是", &[Meaning::Strong]),
            ("pins and a pinball", &[Meaning::Weak]),
            ("recovery codes", &[Meaning::Strong]),
            ("opinion", &[]),
        ] {
            assert_eq!(meanings(text), expected, "{text}");
        }
    }
}
