//! Where variables come from: the environment, and the file `.env` beside it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;

use super::env_file::{Entry, entries};

/// The file that is read beside the environment, from the working directory.
pub(super) const ENV_FILE: &str = ".env";

/// Variables as they were found, and what could not be read of those that are ours.
#[derive(Debug, Default)]
pub(super) struct Variables {
    values: HashMap<String, String>,
    /// The names that stand in the file alone.
    of_file: BTreeSet<String>,
    mistakes: Vec<String>,
}

impl Variables {
    /// The variables of the file, and over them those of the environment. Others have variables in both; what cannot be read
    /// is a mistake where `is_ours` says so of its name, which is empty where a line has none.
    pub(super) fn of_process(is_ours: impl Fn(&str) -> bool) -> Self {
        let mut found = Self::default();
        match fs::read(ENV_FILE) {
            Ok(bytes) => found.add_file(&bytes, &is_ours),
            // Some have a directory of that name, for another purpose.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
            Err(error) if is_ours("") => found.mistakes.push(format!("{ENV_FILE} cannot be read: {error}")),
            Err(_) => {}
        }
        #[expect(clippy::disallowed_methods, reason = "this is the reader of the environment")]
        for (name, value) in std::env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => found.add(name, value),
                // The value is not repeated, it may be a key.
                (Ok(name), Err(_)) if is_ours(&name) => found.mistakes.push(format!("{name} is not written in UTF-8")),
                _ => {}
            }
        }
        found
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All names, in their order, each with whether it stands in the file alone.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        let names: BTreeSet<_> = self.values.keys().map(String::as_str).collect();
        names.into_iter().map(|name| (name, self.of_file.contains(name)))
    }

    /// What could not be read.
    pub(super) fn mistakes(&self) -> &[String] {
        &self.mistakes
    }

    fn add(&mut self, name: String, value: String) {
        self.of_file.remove(&name);
        self.values.insert(name, value);
    }

    fn add_file(&mut self, bytes: &[u8], is_ours: &impl Fn(&str) -> bool) {
        let text = String::from_utf8_lossy(bytes);
        for Entry { line, name, value } in entries(&text) {
            match value {
                Ok(value) => {
                    self.of_file.insert(name.to_owned());
                    self.values.insert(name.to_owned(), value);
                }
                Err(problem) if is_ours(name) => self.mistakes.push(format!("{ENV_FILE}: line {line} {problem}")),
                Err(_) => {}
            }
        }
    }
}

impl From<&HashMap<String, String>> for Variables {
    /// As if all of them stood in the environment.
    fn from(values: &HashMap<String, String>) -> Self {
        Self { values: values.clone(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, is_ours: impl Fn(&str) -> bool) -> Variables {
        let mut found = Variables::default();
        found.add_file(file.as_bytes(), &is_ours);
        found
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let mut found = read("DOMAIN=example.com\nSTORE=memory\n", |_| true);
        found.add("DOMAIN".to_owned(), "example.org".to_owned());
        assert_eq!(found.get("DOMAIN"), Some("example.org"));
        assert_eq!(found.names().collect::<Vec<_>>(), [("DOMAIN", false), ("STORE", true)]);
    }

    #[test]
    fn what_is_broken_in_a_line_of_others_is_theirs() {
        let file = "APP_NAME=My Shop\nDOMAIN=example.com\nAPP_URL=http://$HOST\nnot a setting\n";
        let found = read(file, |name| name == "DOMAIN");
        assert_eq!((found.get("DOMAIN"), found.mistakes().len()), (Some("example.com"), 0));
        let all = read(file, |_| true);
        let lines: Vec<_> = all.mistakes().iter().map(|mistake| mistake.split(' ').nth(2).unwrap()).collect();
        assert_eq!(lines, ["1", "3", "4"], "{all:?}");
    }
}
