//! Where variables come from: the environment, and the file `.env` beside it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;

use super::env_file::{Entry, entries};

/// The file that is read beside the environment, from the working directory.
pub(super) const ENV_FILE: &str = ".env";

/// Variables as they were found. Others have theirs in the same places: of what cannot be read, only that matters which
/// is asked for.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// Each with its value, or with the mistake that keeps it from being read.
    values: HashMap<String, Result<String, String>>,
    /// The names that stand in the file alone.
    of_file: BTreeSet<String>,
    /// The lines of the file that have no name.
    nameless: Vec<usize>,
    /// Why there is a file that cannot be read.
    unreadable: Option<String>,
}

impl Variables {
    /// The variables of the file, and over them those of the environment.
    pub(super) fn of_process() -> Self {
        let mut found = Self::default();
        match fs::read(ENV_FILE) {
            Ok(bytes) => found.add_file(&bytes),
            // Some have a directory of that name, for another purpose.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
            Err(error) => found.unreadable = Some(format!("{ENV_FILE} cannot be read: {error}")),
        }
        #[expect(clippy::disallowed_methods, reason = "this is the reader of the environment")]
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            // The value is not repeated, it may be a key.
            let value = value.into_string().map_err(|_| format!("{name} is not written in UTF-8"));
            found.add(name, value);
        }
        found
    }

    /// The value of a variable that is there, or the mistake in it.
    pub(super) fn get(&self, name: &str) -> Option<Result<&str, &str>> {
        self.values.get(name).map(|value| value.as_deref().map_err(String::as_str))
    }

    /// All names, in their order, each with whether it stands in the file alone.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        let names: BTreeSet<_> = self.values.keys().map(String::as_str).collect();
        names.into_iter().map(|name| (name, self.of_file.contains(name)))
    }

    /// Why the file cannot be read, where there is one.
    pub(super) fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// What there is to say of lines that nobody can ask for. They may be the rest of another program's value.
    pub(super) fn nameless(&self) -> Option<String> {
        let lines: Vec<_> = self.nameless.iter().map(usize::to_string).collect();
        match &lines[..] {
            [] => None,
            [line] => Some(format!("{ENV_FILE}: line {line} has no name and is left out; write NAME=value")),
            lines => {
                Some(format!("{ENV_FILE}: lines {} have no name and are left out; write NAME=value", lines.join(", ")))
            }
        }
    }

    fn add(&mut self, name: String, value: Result<String, String>) {
        self.of_file.remove(&name);
        self.values.insert(name, value);
    }

    fn add_file(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for Entry { line, name, value } in entries(&text) {
            if name.is_empty() {
                self.nameless.push(line);
                continue;
            }
            let value = value.map_err(|problem| format!("{ENV_FILE}: line {line} {problem}"));
            self.of_file.insert(name.to_owned());
            self.values.insert(name.to_owned(), value);
        }
    }
}

impl From<&HashMap<String, String>> for Variables {
    /// As if all of them stood in the environment.
    fn from(values: &HashMap<String, String>) -> Self {
        let values = values.iter().map(|(name, value)| (name.clone(), Ok(value.clone()))).collect();
        Self { values, ..Self::default() }
    }
}

#[cfg(test)]
impl Variables {
    /// Those of a file with this text.
    pub(super) fn of_file(text: &str) -> Self {
        let mut found = Self::default();
        found.add_file(text.as_bytes());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_before_the_file() {
        let mut found = Variables::of_file("DOMAIN='example.com\nSTORE=memory\n");
        assert!(found.get("DOMAIN").unwrap().unwrap_err().starts_with(".env: line 1 cannot be read"));
        found.add("DOMAIN".to_owned(), Ok("example.org".to_owned()));
        assert_eq!(found.get("DOMAIN"), Some(Ok("example.org")));
        assert_eq!(found.names().collect::<Vec<_>>(), [("DOMAIN", false), ("STORE", true)]);
    }

    #[test]
    fn lines_without_a_name_are_told_by_their_numbers() {
        let said = |file: &str| Variables::of_file(file).nameless().unwrap_or_default();
        assert_eq!(said("DOMAIN=example.com\n"), "");
        assert_eq!(said("FOO\n"), ".env: line 1 has no name and is left out; write NAME=value");
        let key = "KEY=-----BEGIN PRIVATE KEY-----\nMIIE/vgIBA+DANB\n-----END PRIVATE KEY-----\nFOO: bar\nmy-var=1\n";
        assert_eq!(said(key), ".env: lines 2, 3, 4, 5 have no name and are left out; write NAME=value");
    }
}
