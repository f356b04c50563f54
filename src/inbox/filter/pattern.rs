//! A text to look for.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// The memory that a text may take once it is compiled, in upper and lower case.
const TEXT_MAX_BYTES: usize = 1 << 20;
/// The same of a regular expression. A few bytes of one can ask for gigabytes, and the work of a search is its size times
/// the length of what it looks in.
const EXPRESSION_MAX_BYTES: usize = 64 << 10;

/// A text, or a regular expression, looked for without regard to case, in time that grows no faster than what is looked in.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
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
        let regex = compiled(expression, EXPRESSION_MAX_BYTES)?;
        Ok(Self { regex, is_expression: true, shown: format!("re:/{expression}/") })
    }

    pub(super) const fn is_expression(&self) -> bool {
        self.is_expression
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn compiled(expression: &str, max_bytes: usize) -> Result<Regex, String> {
    let built = RegexBuilder::new(expression).case_insensitive(true).size_limit(max_bytes).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large; make it shorter".to_owned(),
        // The message draws the pattern over several lines; its last one says what is wrong.
        error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}
