//! The labelled messages of `tests/codes`: how many of their codes and links are found, and how much else is.
//!
//! Each message says in its header what a person would take from it: `X-Expect-Code` and `X-Expect-Link`, or `none`. Those
//! with `X-Set: holdout` were written before the first line of the code and are never tuned on.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use restante::mail::{self, Content, LinkKind};

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
    let fields = mail::header_fields(&raw);
    let field = |name: &str| fields.iter().find(|field| field.name == name).map(|field| field.value.clone());
    let expected = |name: &str| field(name).unwrap_or_else(|| panic!("{}: {name}", path.display()));
    let labelled = |name: &str| Some(expected(name)).filter(|value| value != "none");
    Sample {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        is_held_out: field("X-Set").is_some(),
        code: labelled("X-Expect-Code"),
        link: labelled("X-Expect-Link"),
        content: mail::parse(&raw),
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

#[test]
fn tuning() {
    let (codes, links, failures) = tallies(true);
    panic!("{codes:?} {links:?}\n{}", failures.len());
}
