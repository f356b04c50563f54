//! The labelled messages of `tests/codes`: how many of their codes and links are found, and how much else is.
//!
//! Each message says in its header what a person would take from it: `X-Expect-Code` and `X-Expect-Link`, or `none`. Those
//! with `X-Set: holdout` were written before the first line of the code and are never tuned on.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use restante::mail::{self, Budgets, Content, LinkKind};

/// A labelled message, read.
struct Sample {
    name: String,
    is_held_out: bool,
    code: Option<String>,
    link: Option<String>,
    content: Content,
}

/// How well one kind of thing was found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Messages that have one, and it was given as the best.
    right: usize,
    /// Messages for which another one was given.
    wrong: usize,
    /// Messages that have none, for which one was given.
    invented: usize,
    /// Messages that have one, for which none was given.
    missed: usize,
    /// Messages that have none, for which none was given.
    none: usize,
}

impl Tally {
    fn count(&mut self, expected: Option<&str>, found: Option<&str>) -> bool {
        let place = match (expected, found) {
            (Some(expected), Some(found)) if expected == found => &mut self.right,
            (Some(_), Some(_)) => &mut self.wrong,
            (None, Some(_)) => &mut self.invented,
            (Some(_), None) => &mut self.missed,
            (None, None) => &mut self.none,
        };
        *place += 1;
        expected == found
    }

    fn messages(&self) -> usize {
        self.right + self.wrong + self.invented + self.missed + self.none
    }

    /// Of what was given, the part that is right, in tenths of a percent, rounded down.
    fn precision(&self) -> usize {
        1000 * self.right / (self.right + self.wrong + self.invented)
    }

    /// Of what there is, the part that was given, in the same measure.
    fn recall(&self) -> usize {
        1000 * self.right / (self.right + self.wrong + self.missed)
    }
}

fn samples() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/codes");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "eml")).map(sample).collect()
}

fn sample(path: &PathBuf) -> Sample {
    let raw = fs::read(path).unwrap();
    let fields = mail::header_fields(&raw, &Budgets::default());
    let field = |name: &str| fields.iter().find(|field| field.name == name).map(|field| field.value.clone());
    let expected = |name: &str| field(name).unwrap_or_else(|| panic!("{}: {name}", path.display()));
    let labelled = |name: &str| Some(expected(name)).filter(|value| value != "none");
    Sample {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        is_held_out: field("X-Set").is_some(),
        code: labelled("X-Expect-Code"),
        link: labelled("X-Expect-Link"),
        content: mail::parse(&raw, &Budgets::default()),
    }
}

/// Counts a set; says which messages were read wrongly.
fn tallies(is_held_out: bool) -> (Tally, Tally, Vec<String>) {
    let (mut codes, mut links, mut failures) = (Tally::default(), Tally::default(), Vec::new());
    for sample in samples().iter().filter(|sample| sample.is_held_out == is_held_out) {
        let code = sample.content.codes.first();
        let link = sample.content.links.first().filter(|link| link.kind == LinkKind::Action);
        if !codes.count(sample.code.as_deref(), code.map(|code| &*code.value)) {
            failures.push(format!("{}: {:?} is wanted, not {:?}", sample.name, sample.code, sample.content.codes));
        }
        if !links.count(sample.link.as_deref(), link.map(|link| &*link.href)) {
            let shown: Vec<_> = sample.content.links.iter().take(4).collect();
            failures.push(format!("{}: {:?} is wanted, not {shown:?}", sample.name, sample.link));
        }
    }
    (codes, links, failures)
}

/// The row of a set in the table of `docs/CODES.md`.
fn row(name: &str, is_held_out: bool) -> (String, Vec<String>) {
    let (codes, links, failures) = tallies(is_held_out);
    let percent = |tenths: usize| format!("{}.{} %", tenths / 10, tenths % 10);
    let parts = [codes.precision(), codes.recall(), links.precision(), links.recall()].map(percent);
    (format!("| {name} | {} | {} |\n", codes.messages(), parts.join(" | ")), failures)
}

#[test]
fn the_measured_numbers_are_those_of_the_documents() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CODES.md")).unwrap();
    let ((tuned, failures), (held_out, _)) = (row("tuned", false), row("held out", true));
    let failures = failures.join("\n");
    assert!(document.contains(&(tuned.clone() + &held_out)), "the table should read:\n{tuned}{held_out}{failures}");
}

#[test]
fn there_are_enough_messages_of_each_kind() {
    let samples = samples();
    let count = |is_wanted: fn(&Sample) -> bool| samples.iter().filter(|sample| is_wanted(sample)).count();
    assert!(count(|sample| sample.is_held_out) >= 60);
    assert!(count(|sample| !sample.is_held_out) >= 150);
    assert!(count(|sample| sample.code.is_some()) >= 100);
    assert!(count(|sample| sample.code.is_none()) >= 80);
    assert!(count(|sample| sample.link.is_some()) >= 40);
}
