//! Reads variables and collects what is wrong with them.

use std::collections::HashMap;

use super::value::Parsed;
use super::variables::{VARIABLES, Variable};

/// Beginnings of names that are most probably meant for us; a name that begins so and is not ours is a slip of the pen.
const OUR_PREFIXES: [&str; 22] = [
    "ACME_",
    "API_",
    "ATTEMPTS_",
    "BARE_",
    "CORS_",
    "DATA_",
    "HTTPS_",
    "HTTP_",
    "LOG_",
    "MAILBOX_",
    "METRICS_",
    "MIME_",
    "PLUS_",
    "PROXY_",
    "REDIS_",
    "RESTANTE_",
    "SHUTDOWN_",
    "SMTPS_",
    "SMTP_",
    "STORE_",
    "TLS_",
    "TRUSTED_",
];

/// How many letters may be wrong in a name for us to guess which one was meant.
const GUESS_MAX_EDITS: usize = 2;

/// The variables, what has been read of them, and what was wrong.
pub(super) struct Reader<'a> {
    variables: &'a HashMap<String, String>,
    mistakes: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(variables: &'a HashMap<String, String>) -> Self {
        Self { variables, mistakes: Vec::new() }
    }

    /// The value of a variable. Where it is wrong that is noted, and the default goes on in its place, so that the other
    /// mistakes are found too.
    pub(super) fn read<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Parsed<T>) -> T {
        let variable = described(name);
        match parse(self.text(variable)) {
            Ok(value) => value,
            Err(allowed) => {
                let shown = if variable.secret { "(hidden)".to_owned() } else { format!("{:?}", self.text(variable)) };
                self.mistake(format!("{name}={shown}: {allowed}"));
                parse(variable.default).unwrap_or_else(|error| panic!("the default of {name} is wrong: {error}"))
            }
        }
    }

    /// Whether a variable has a value of its own; an empty one counts as not set, as compose files pass it on.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.variables.get(name).is_some_and(|value| !value.trim().is_empty())
    }

    pub(super) fn mistake(&mut self, text: String) {
        self.mistakes.push(text);
    }

    /// All mistakes so far.
    pub(super) fn mistakes(self) -> Result<(), Vec<String>> {
        if self.mistakes.is_empty() { Ok(()) } else { Err(self.mistakes) }
    }

    /// All mistakes, or every variable as it may be shown.
    pub(super) fn finish(mut self) -> Result<Vec<(&'static str, String)>, Vec<String>> {
        self.note_misspelt();
        if !self.mistakes.is_empty() {
            return Err(self.mistakes);
        }
        let show = |variable: &Variable| match self.text(variable) {
            text if variable.secret && !text.is_empty() => "(hidden)".to_owned(),
            text => text.to_owned(),
        };
        Ok(VARIABLES.iter().map(|variable| (variable.name, show(variable))).collect())
    }

    fn text(&self, variable: &Variable) -> &str {
        match self.variables.get(variable.name) {
            Some(value) if !value.trim().is_empty() => value.trim(),
            _ => variable.default,
        }
    }

    /// A misspelt variable would silently be the default. Only near misses count: the environment has others' names too.
    fn note_misspelt(&mut self) {
        let mut names: Vec<_> = self.variables.keys().filter(|name| is_meant_for_us(name)).collect();
        names.sort_unstable();
        for name in names {
            let near = VARIABLES.iter().find(|variable| edits(name, variable.name) <= GUESS_MAX_EDITS);
            if let Some(near) = near.filter(|near| near.name != name.as_str()) {
                self.mistakes.push(format!("{name} is not known; did you mean {}?", near.name));
            }
        }
    }
}

fn described(name: &str) -> &'static Variable {
    let found = VARIABLES.iter().find(|variable| variable.name == name);
    found.unwrap_or_else(|| panic!("{name} is not in the list of variables"))
}

fn is_meant_for_us(name: &str) -> bool {
    OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !VARIABLES.iter().any(|known| known.name == name)
}

/// The number of letters to be changed, added or taken away to make `a` into `b` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("SMTP_ADDR", "SMTP_ADDR"), 0);
        assert_eq!(edits("SMTP_ADR", "SMTP_ADDR"), 1);
        assert_eq!(edits("SMPT_ADDR", "SMTP_ADDR"), 2);
        assert_eq!(edits("", "abc"), 3);
    }
}
