//! A text to look for.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// The memory that a regular expression may take once it is compiled: a pattern of a few bytes can ask for gigabytes.
const COMPILED_MAX_BYTES: usize = 1 << 20;

/// A text, or a regular expression, looked for without regard to case. Both take time in proportion to what they look in.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    shown: String,
}

impl Pattern {
    /// Looks for this text as a part of others.
    ///
    /// # Errors
    /// It is too long.
    pub(super) fn text(text: &str) -> Result<Self, String> {
        Ok(Self { regex: compiled(&regex::escape(text))?, shown: format!("{text:?}") })
    }

    /// Looks for what this regular expression matches.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn regex(expression: &str) -> Result<Self, String> {
        Ok(Self { regex: compiled(expression)?, shown: format!("re:/{expression}/") })
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

fn compiled(expression: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(expression).case_insensitive(true).size_limit(COMPILED_MAX_BYTES).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large; make it shorter".to_owned(),
        // The message draws the pattern over several lines; its last one says what is wrong.
        error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}
