//! The words that tell what a link is for: those of `words.txt`.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::mail::codes::words::{entries, spellings};

/// What a word says about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It finishes what was begun: confirm, sign in, set a password, accept.
    Act,
    /// It leads on: view the order, track the parcel.
    View,
    /// It leads to something beside the matter of the message.
    Aside,
    /// It ends the sending of such mail.
    Unsubscribe,
}

/// The sections of `words.txt`; of those for an address, what stands behind `address`.
const PURPOSES: [(&str, Purpose); 4] =
    [("act", Purpose::Act), ("view", Purpose::View), ("aside", Purpose::Aside), ("unsubscribe", Purpose::Unsubscribe)];

/// The words of one vocabulary.
struct Vocabulary {
    automaton: Option<AhoCorasick>,
    purposes: Vec<Purpose>,
}

impl Vocabulary {
    /// Those whose sections have names with `prefix`.
    fn new(prefix: &str) -> Self {
        let mut texts = Vec::new();
        let mut purposes = Vec::new();
        for (name, word) in entries(include_str!("words.txt")) {
            let Some(purpose) = PURPOSES.iter().find(|(known, _)| name.strip_prefix(prefix) == Some(known)) else {
                continue;
            };
            for spelling in spellings(word) {
                texts.push(spelling);
                purposes.push(purpose.1);
            }
        }
        let mut builder = AhoCorasick::builder();
        let automaton = builder.ascii_case_insensitive(true).match_kind(MatchKind::LeftmostLongest).build(texts);
        Self { automaton: automaton.ok(), purposes }
    }

    fn purposes(&self, text: &str) -> Purposes {
        let mut found = Purposes::default();
        for place in self.automaton.iter().flat_map(|automaton| automaton.find_iter(text)) {
            match self.purposes[place.pattern().as_usize()] {
                Purpose::Act => found.act = Some(place.end()),
                Purpose::View => found.view = true,
                Purpose::Aside => found.aside = Some(place.end()),
                Purpose::Unsubscribe => found.unsubscribe = true,
            }
        }
        found
    }
}

/// What the words of a text say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Purposes {
    /// Where the last such word ends.
    pub(super) act: Option<usize>,
    pub(super) view: bool,
    pub(super) aside: Option<usize>,
    pub(super) unsubscribe: bool,
}

static OF_TEXT: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::new(""));
static OF_ADDRESS: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::new("address "));

/// What a text says about the link that it is on, or before.
pub(super) fn of_text(text: &str) -> Purposes {
    OF_TEXT.purposes(text)
}

/// What an address says about itself.
pub(super) fn of_address(address: &str) -> Purposes {
    OF_ADDRESS.purposes(address)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_word_of_the_file_has_a_purpose_and_one_alone() {
        let mut seen = HashSet::new();
        for (section, word) in entries(include_str!("words.txt")) {
            let (kind, name) = section.split_once(' ').unwrap_or(("text", section));
            assert!(PURPOSES.iter().any(|(known, _)| *known == name), "[{section}]");
            assert!(seen.insert((kind, word.to_lowercase())), "{word} is there twice");
        }
        assert!(seen.len() > 200 && OF_TEXT.automaton.is_some() && OF_ADDRESS.automaton.is_some());
    }

    #[test]
    fn words_are_found_in_any_case_and_within_others() {
        assert!(of_text("E-MAIL BESTÄTIGEN").act.is_some());
        assert!(of_text("Подтвердите адрес").act.is_some());
        assert!(of_text("Unsubscribe").unsubscribe && of_text("View order").view);
        assert_eq!(of_text("a plain text"), Purposes::default());
        assert!(of_address("https://a.example/Verify-Email").act.is_some());
        assert!(of_address("https://a.example/privacy").aside.is_some());
    }
}
