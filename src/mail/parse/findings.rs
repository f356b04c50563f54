//! What was found to be wrong while a message was read.

use std::fmt::Display;

use crate::mail::problem::Problem;

/// The most problems that are listed: a message can have one in each of its parts.
const PROBLEMS_MAX: usize = 100;
/// How much of a sender's word is repeated in a problem.
const WORD_MAX_CHARS: usize = 40;

/// The problems of a message in the order in which they were found, each as `id: text`.
#[derive(Default)]
pub(super) struct Findings {
    found: Vec<String>,
    /// How many there were beyond those that are listed.
    left_out: usize,
}

impl Findings {
    /// Adds what is wrong with `place`: the message or one of its parts.
    pub(super) fn add(&mut self, problem: Problem, place: &impl Display) {
        self.push(problem, place, None);
    }

    /// The same, with the word of the sender that is wrong.
    pub(super) fn add_word(&mut self, problem: Problem, place: &impl Display, word: &str) {
        self.push(problem, place, Some(word));
    }

    fn push(&mut self, problem: Problem, place: &impl Display, word: Option<&str>) {
        if self.found.len() == PROBLEMS_MAX {
            self.left_out += 1;
            return;
        }
        let mut text = format!("{}: {place} {}", problem.id(), problem.text());
        if let Some(word) = word {
            text += &format!(" ({:?})", word.chars().take(WORD_MAX_CHARS).collect::<String>());
        }
        // A part may have the same flaw in several places, and the message in several fields.
        if self.found.last() != Some(&text) {
            self.found.push(text);
        }
    }

    pub(super) fn into_texts(mut self) -> Vec<String> {
        if self.left_out > 0 {
            let problem = Problem::ManyProblems;
            self.found.push(format!("{}: the message {}: {} more", problem.id(), problem.text(), self.left_out));
        }
        self.found
    }
}
