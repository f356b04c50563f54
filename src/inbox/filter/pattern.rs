//! A text to look for.

use std::fmt;

use regex_automata::util::syntax;
use regex_automata::{Input, meta};

use crate::inbox::turns::Stop;

/// The memory that a text may take once it is compiled, in upper and lower case: some 1,500 letters. What is looked for in a
/// text that is nothing but its beginning, again and again, costs little up to here, and many times its length soon after.
const TEXT_MAX_BYTES: usize = 128 << 10;
/// The same of a regular expression. A few bytes of one can ask for gigabytes, and the work of a search is its size times
/// the length of what it looks in. `\w{3}` has room in it: all letters of all scripts, three times.
const EXPRESSION_MAX_BYTES: usize = 192 << 10;
/// Where compiling one gives up: before it is simplified it takes more.
const COMPILING_MAX_BYTES: usize = 2 * EXPRESSION_MAX_BYTES;
/// What to do about it. Most of a large one is letters and digits of scripts that were not meant.
const TOO_LARGE: &str = "the pattern is too large; make it shorter, and write [a-z0-9_] for \\w and [0-9] for \\d, which stand for those of all scripts";
/// Who looks in a long text looks up after so much of it, to see whether it is still wanted.
const WINDOW_BYTES: usize = 96 << 10;
/// So much of a window is looked at again with the next one: no match up to this length is missed, and no text is so long.
const OVERLAP_BYTES: usize = 32 << 10;

/// A text, or a regular expression, looked for without regard to case, in time that grows no faster than what is looked in.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: meta::Regex,
    is_expression: bool,
    shown: String,
}

impl Pattern {
    /// Looks for this text as a part of others.
    ///
    /// # Errors
    /// It is too long.
    pub(super) fn text(text: &str) -> Result<Self, String> {
        let regex = compiled(&regex::escape(text), TEXT_MAX_BYTES)?;
        Ok(Self { regex, is_expression: false, shown: format!("{text:?}") })
    }

    /// Looks for what this regular expression matches.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn regex(expression: &str) -> Result<Self, String> {
        let regex = compiled(expression, COMPILING_MAX_BYTES)?;
        if regex.memory_usage() > EXPRESSION_MAX_BYTES {
            return Err(TOO_LARGE.to_owned());
        }
        Ok(Self { regex, is_expression: true, shown: format!("re:/{expression}/") })
    }

    /// What it takes, compiled, where it is a regular expression.
    pub(super) fn expression_bytes(&self) -> usize {
        if self.is_expression { self.regex.memory_usage() } else { 0 }
    }

    /// Whether it is in `text`; in none once it is said to `stop`.
    pub(super) fn is_in(&self, text: &str, stop: &Stop) -> bool {
        let mut start = 0;
        while !stop.is_said() {
            let end = text.floor_char_boundary(start + WINDOW_BYTES);
            // What stands around the window is still seen, by `^`, `$` and `\b`.
            if self.regex.is_match(Input::new(text).range(start..end)) {
                return true;
            }
            if end == text.len() {
                return false;
            }
            start = text.floor_char_boundary(end - OVERLAP_BYTES);
        }
        false
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn compiled(expression: &str, max_bytes: usize) -> Result<meta::Regex, String> {
    // What is for groups alone would be larger than all the rest.
    let limits = meta::Config::new().nfa_size_limit(Some(max_bytes)).onepass(false);
    let any_case = syntax::Config::new().case_insensitive(true);
    let built = meta::Regex::builder().configure(limits).syntax(any_case).build(expression);
    built.map_err(|error| match error.syntax_error() {
        None => TOO_LARGE.to_owned(),
        // The message draws the pattern over several lines; its last one says what is wrong.
        Some(error) => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in(pattern: &Pattern, text: &str) -> bool {
        pattern.is_in(text, &Stop::default())
    }

    #[test]
    fn a_long_text_is_looked_through_window_by_window_as_if_it_was_none() {
        let expression = |text| Pattern::regex(text).unwrap();
        // At the end of each window, across it, and at its beginning; in letters of two bytes, so that some ends are in one.
        for at in [0, 1, WINDOW_BYTES - 5, WINDOW_BYTES - 1, WINDOW_BYTES, 2 * WINDOW_BYTES - OVERLAP_BYTES - 3] {
            let filler = "ö".repeat(at / 2) + &" ".repeat(at % 2);
            let text = format!("{filler} code 482913 {}", "ö".repeat(WINDOW_BYTES));
            assert!(is_in(&Pattern::text("CODE 482913").unwrap(), &text), "{at}");
            assert!(is_in(&expression(r"\bcode \d{6}\b"), &text), "{at}");
            assert!(!is_in(&expression(r"code \d{5}\b"), &text), "{at}");
            assert!(!is_in(&expression(r"^code"), &text) && !is_in(&expression("482913 ?$"), &text), "{at}");
            assert!(is_in(&expression("^[ö ]"), &text) && is_in(&expression("ö$"), &text), "{at}");
        }
        let long = "x".repeat(OVERLAP_BYTES - 2);
        let text = format!("{}a{long}b{}", "y".repeat(WINDOW_BYTES - OVERLAP_BYTES + 1), "y".repeat(WINDOW_BYTES));
        assert!(is_in(&expression("ax+b"), &text), "as long as a match may be");
    }

    #[test]
    fn who_is_told_to_stop_looks_no_further() {
        let (pattern, stop) = (Pattern::text("code").unwrap(), Stop::default());
        assert!(pattern.is_in("code", &stop));
        stop.say();
        assert!(!pattern.is_in("code", &stop));
    }

    #[test]
    fn what_costs_too_much_is_refused() {
        assert!(Pattern::text(&"a".repeat(1500)).is_ok());
        for refused in [Pattern::text(&"a".repeat(4000)), Pattern::regex("(a|b){2000}"), Pattern::regex(r"\w{100}")] {
            assert_eq!(refused.unwrap_err(), TOO_LARGE);
        }
    }

    #[test]
    fn what_is_written_for_codes_and_addresses_has_room() {
        for expression in [
            r"\w{3}",
            r"[\w.]+@[\w.]+",
            r"\d{8}|\d{3}-\d{3}",
            r"\w+ \d{6}",
            r"\bcode: \w+",
            r"^(re|aw): \w+, \w+ ",
            r"https?://[\w.-]+/\S+",
            r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}",
        ] {
            let pattern = Pattern::regex(expression);
            assert!(pattern.is_ok_and(|pattern| pattern.expression_bytes() <= EXPRESSION_MAX_BYTES), "{expression}");
        }
    }
}
