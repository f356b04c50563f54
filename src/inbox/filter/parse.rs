//! The query language: words and phrases that all must be there, fields, `-`, `OR` and parentheses.

use std::str::FromStr;

use super::{Clause, Field, Filter, Pattern, Test, Thing};
use crate::clock::Timestamp;
use crate::units;

/// The most conditions of one query.
const CLAUSES_MAX: usize = 64;
/// The memory that the regular expressions of one query may take together, where there are several: what they cost adds up.
const EXPRESSIONS_MAX_BYTES: usize = 384 << 10;
/// The shortest number that is taken for seconds since 1970.
const SECONDS_MIN_DIGITS: usize = 9;
/// The deepest parentheses.
const DEPTH_MAX: usize = 16;
/// Every field that there is, as an error names them.
const FIELDS: &str = "from, to, cc, subject, body, filename, code, link, header, has, larger, smaller, before, after";

/// What is wrong with a query, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct FilterError {
    /// The character at which it is, from 1.
    pub column: usize,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl Filter {
    /// Messages with `wanted` in the sender, of the envelope or of the header.
    ///
    /// # Errors
    /// `wanted` is empty or too long.
    pub fn from(wanted: &str) -> Result<Self, String> {
        Self::of(Field::From, wanted)
    }

    /// Messages with `wanted` in a recipient, of this mailbox's envelope or of the header.
    ///
    /// # Errors
    /// `wanted` is empty or too long.
    pub fn to(wanted: &str) -> Result<Self, String> {
        Self::of(Field::To, wanted)
    }

    /// Messages with `wanted` in the subject.
    ///
    /// # Errors
    /// `wanted` is empty or too long.
    pub fn subject(wanted: &str) -> Result<Self, String> {
        Self::of(Field::Subject, wanted)
    }

    fn of(field: Field, wanted: &str) -> Result<Self, String> {
        if wanted.is_empty() {
            return Err("write the text to look for".to_owned());
        }
        Ok(Self(vec![Clause::Test(Test::Text(field, Pattern::text(wanted)?))]))
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser { text, at: 0, clauses: 0, expression_bytes: 0, depth: 0 };
        let clauses = parser.all()?;
        match parser.rest().chars().next() {
            None => Ok(Self(clauses)),
            Some(_) => Err(parser.error("there is no ( for this )")),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    clauses: usize,
    expression_bytes: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Clauses up to the end or a closing parenthesis. `OR` binds closer than standing side by side.
    fn all(&mut self) -> Result<Vec<Clause>, FilterError> {
        let mut clauses = Vec::new();
        loop {
            self.skip_blanks();
            if self.rest().is_empty() || self.rest().starts_with(')') {
                return Ok(clauses);
            }
            let mut choices = vec![self.clause()?];
            while self.takes_or() {
                self.skip_blanks();
                choices.push(self.clause()?);
            }
            clauses.push(match choices.len() {
                1 => choices.remove(0),
                _ => Clause::Any(choices),
            });
        }
    }

    fn clause(&mut self) -> Result<Clause, FilterError> {
        self.clauses += 1;
        if self.clauses > CLAUSES_MAX {
            return Err(self.error(format!("there are more than {CLAUSES_MAX} conditions")));
        }
        match self.rest().chars().next() {
            None | Some(')') => Err(self.error("a condition is missing here")),
            Some('-') => {
                self.at += 1;
                if self.rest().starts_with([' ', '-']) {
                    return Err(self.error("write - right before what is not wanted, once"));
                }
                Ok(Clause::Not(Box::new(self.clause()?)))
            }
            Some('(') => self.group(),
            Some(_) if self.is_or() => {
                Err(self.error("OR stands between two conditions; write \"OR\" to look for the word"))
            }
            Some(_) => self.test().map(Clause::Test),
        }
    }

    fn group(&mut self) -> Result<Clause, FilterError> {
        let open = self.at;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("parentheses are nested more than {DEPTH_MAX} deep")));
        }
        self.at += 1;
        let clauses = self.all()?;
        if !self.rest().starts_with(')') {
            return Err(self.error_at(open, "there is no ) for this ("));
        }
        if clauses.is_empty() {
            return Err(self.error_at(open, "there is nothing in the parentheses"));
        }
        self.at += 1;
        self.depth -= 1;
        Ok(Clause::All(clauses))
    }

    fn test(&mut self) -> Result<Test, FilterError> {
        let start = self.at;
        let Some(name) = self.takes_field() else { return Ok(Test::Text(Field::Anywhere, self.pattern()?)) };
        let field = match name.to_ascii_lowercase().as_str() {
            "from" => Field::From,
            "to" => Field::To,
            "cc" => Field::Cc,
            "subject" => Field::Subject,
            "body" => Field::Body,
            "filename" => Field::Filename,
            "code" => Field::Code,
            "link" => Field::Link,
            "header" => return self.header(),
            "has" => return self.value(has).map(Test::Has),
            "larger" => return self.value(units::size).map(Test::Larger),
            "smaller" => return self.value(units::size).map(Test::Smaller),
            "before" => return self.value(time).map(Test::Before),
            "after" => return self.value(time).map(Test::After),
            _ => {
                let problem =
                    format!("{name:?} is no field; there are {FIELDS}. Put quotes around a text with a colon");
                return Err(self.error_at(start, problem));
            }
        };
        Ok(Test::Text(field, self.pattern()?))
    }

    /// `header:Name`, `header:Name=value`.
    fn header(&mut self) -> Result<Test, FilterError> {
        let end =
            self.rest().find(|c: char| c == '=' || c == ')' || c.is_whitespace()).unwrap_or_else(|| self.rest().len());
        let name = &self.rest()[..end];
        // RFC 5322 section 2.2.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
            return Err(self.error("write header:Name or header:Name=value"));
        }
        self.at += end;
        if !self.rest().starts_with('=') {
            return Ok(Test::Header(name.to_owned(), None));
        }
        self.at += 1;
        Ok(Test::Header(name.to_owned(), Some(self.pattern()?)))
    }

    /// `word`, `"phrase"`, `re:/expression/`.
    fn pattern(&mut self) -> Result<Pattern, FilterError> {
        let start = self.at;
        let pattern = if let Some(rest) = self.rest().strip_prefix("re:/") {
            let (expression, len) =
                until(rest, '/').ok_or_else(|| self.error("there is no / at the end of the expression"))?;
            self.at += "re:/".len() + len;
            // The slash alone is escaped for our sake.
            Pattern::regex(&expression.replace("\\/", "/"))
        } else if let Some(rest) = self.rest().strip_prefix('"') {
            let (phrase, len) =
                until(rest, '"').ok_or_else(|| self.error("there is no \" at the end of the phrase"))?;
            self.at += 1 + len;
            if phrase.is_empty() {
                return Err(self.error_at(start, "the phrase is empty"));
            }
            Pattern::text(&phrase.replace("\\\"", "\"").replace("\\\\", "\\"))
        } else {
            let word = self.takes_word();
            if word.is_empty() {
                return Err(self.error("write the text to look for behind the colon"));
            }
            Pattern::text(word)
        };
        if !self.rest().is_empty() && !self.rest().starts_with(|c: char| c.is_whitespace() || c == ')') {
            return Err(self.error("write a blank between two conditions"));
        }
        let pattern = pattern.map_err(|problem| self.error_at(start, problem))?;
        self.expression_bytes += pattern.expression_bytes();
        // One by itself is never so large.
        if self.expression_bytes > EXPRESSIONS_MAX_BYTES {
            let problem = "the expressions up to here are too large together; write [a-z0-9_] for \\w and [0-9] for \\d, which stand for those of all scripts";
            return Err(self.error_at(start, problem));
        }
        Ok(pattern)
    }

    fn value<T>(&mut self, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, FilterError> {
        let start = self.at;
        let word = self.takes_word();
        parse(word).map_err(|problem| self.error_at(start, format!("{word:?}: {problem}")))
    }

    /// The name before a colon. A URL has a colon too, and is a word.
    fn takes_field(&mut self) -> Option<&'a str> {
        let (name, rest) = self.rest().split_once(':')?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !is_name || rest.starts_with("//") || (name == "re" && rest.starts_with('/')) {
            return None;
        }
        self.at += name.len() + 1;
        Some(name)
    }

    fn takes_word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"')).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn takes_or(&mut self) -> bool {
        self.skip_blanks();
        let is_or = self.is_or();
        if is_or {
            self.at += "OR".len();
        }
        is_or
    }

    fn is_or(&self) -> bool {
        let behind = self.rest().strip_prefix("OR");
        behind.is_some_and(|behind| behind.is_empty() || behind.starts_with(|c: char| c.is_whitespace() || c == '('))
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, problem: impl Into<String>) -> FilterError {
        self.error_at(self.at, problem)
    }

    fn error_at(&self, at: usize, problem: impl Into<String>) -> FilterError {
        FilterError { column: self.text[..at].chars().count() + 1, problem: problem.into() }
    }
}

/// What comes before the next `end` without a backslash before it, and how many bytes that is with the `end`.
fn until(text: &str, end: char) -> Option<(&str, usize)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == end => return Some((&text[..at], at + end.len_utf8())),
            _ => {}
        }
    }
    None
}

fn has(word: &str) -> Result<Thing, String> {
    let things = [Thing::Attachment, Thing::Text, Thing::Html, Thing::Code, Thing::Link];
    let found = things.into_iter().find(|thing| thing.name().eq_ignore_ascii_case(word));
    found.ok_or_else(|| format!("write one of: {}", things.map(Thing::name).join(", ")))
}

/// A day in UTC, a moment of RFC 3339, or seconds since 1970.
fn time(word: &str) -> Result<Timestamp, String> {
    let wrong =
        || "write a day such as 2026-01-31, a moment such as 2026-01-31T12:00:00Z, or seconds since 1970".to_owned();
    // Fewer digits are a year or a slip of the pen, and would be a moment of 1970.
    if word.len() >= SECONDS_MIN_DIGITS && word.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = word.parse::<u64>().map_err(|_| wrong())?;
        return seconds.checked_mul(1000).map(Timestamp::from_millis).ok_or_else(wrong);
    }
    Timestamp::from_rfc3339(word).ok_or_else(wrong)
}
