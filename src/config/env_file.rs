//! The lines of the file `.env`, each by itself: what is broken in one is said of that one.

/// One setting of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The number of its first line.
    pub(super) line: usize,
    /// Its name; empty where there is none to be seen.
    pub(super) name: &'a str,
    /// Its value, or why it has none. That text has nothing of the line in it, as it may hold a key.
    pub(super) value: Result<String, &'static str>,
}

const BROKEN: &str = "cannot be read; write NAME=value, and a value with spaces, quotes or a $ in 'single quotes'";
/// The library would put another variable in its place, or nothing, and a key would be shorter without a word.
const DOLLAR: &str =
    "cannot be read: a $ stands for another variable there; write the value in 'single quotes', or \\$";

/// The settings of a file, without empty lines and comments. What cannot be read ends with its first line: where
/// another program's text has an apostrophe, it takes none of the settings behind it along.
pub(super) fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut next_line = 1;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (Extent { setting, whole, .. }, value) = first(rest);
            let (text, line) = (rest[..setting].trim(), next_line);
            next_line += rest[..whole].matches('\n').count();
            rest = &rest[whole..];
            if !text.is_empty() {
                return Some(Entry { line, name: name(text), value });
            }
        }
        None
    })
}

/// How far the first entry of a text goes.
struct Extent {
    /// The bytes before its comment.
    setting: usize,
    /// All of its bytes, the line end too.
    whole: usize,
    /// Whether something in it would be replaced.
    has_dollar: bool,
}

/// The first entry of a text, and what is read of it.
fn first(text: &str) -> (Extent, Result<String, &'static str>) {
    let all = extent(text);
    match value(text[..all.setting].trim()) {
        Some(_) if all.has_dollar => (all, Err(DOLLAR)),
        Some(value) => (all, Ok(value)),
        None => {
            let line = extent(text.split_inclusive('\n').next().unwrap_or_default());
            let problem = if line.has_dollar { DOLLAR } else { BROKEN };
            (line, Err(problem))
        }
    }
}

/// A value in quotes may have several lines; a quote that does not begin it is closed on its line. The library is given
/// no comment: it would take a quote in some for the beginning of a value.
fn extent(text: &str) -> Extent {
    let (mut quote, mut is_escaped, mut has_dollar) = (None, false, false);
    let (mut is_behind_space, mut begins_value) = (true, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (quote, '\n') if quote.is_none() || !begins_value => {
                return Extent { setting: at, whole: at + 1, has_dollar };
            }
            _ if is_escaped => is_escaped = false,
            (None, '#') if is_behind_space => {
                let whole = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
                return Extent { setting: at, whole, has_dollar };
            }
            (None | Some('"'), '\\') => is_escaped = true,
            (None | Some('"'), '$') => has_dollar = true,
            (None, '\'' | '"') => {
                quote = Some(c);
                begins_value = text[..at].trim_end().ends_with('=');
            }
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        is_behind_space = c.is_whitespace();
    }
    Extent { setting: text.len(), whole: text.len(), has_dollar }
}

fn name(text: &str) -> &str {
    let (name, _) = text.split_once('=').unwrap_or_default();
    let name = name.trim().strip_prefix("export ").unwrap_or(name).trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if name.chars().all(is_name) { name } else { "" }
}

fn value(text: &str) -> Option<String> {
    // Else the second quote was an apostrophe, many lines behind the first one.
    let is_closed = !text.contains('\n') || text.ends_with(['\'', '"']);
    match dotenvy::from_read_iter(text.as_bytes()).next() {
        // What was not UTF-8 has been replaced.
        Some(Ok((_, value))) if is_closed && !value.contains(char::REPLACEMENT_CHARACTER) => Some(value),
        // A comment or an empty line.
        None if text.is_empty() => Some(String::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_has_its_line_its_name_and_its_value() {
        let file = "\u{feff}A=1\n\n# don't = $x\n  export B = 'two words $x'  # it's\r\nC=\"a\\\"b\nsecond\" \nD=x#y\nE=\n\
                    F=a\\$b\nG=\"a\\$b\"\nH=last";
        let found: Vec<_> = entries(file).map(|entry| (entry.line, entry.name, entry.value)).collect();
        let expected = [
            (1, "A", "1"),
            (4, "B", "two words $x"),
            (5, "C", "a\"b\nsecond"),
            (7, "D", "x#y"),
            (8, "E", ""),
            (9, "F", "a$b"),
            (10, "G", "a$b"),
            (11, "H", "last"),
        ];
        assert_eq!(found, expected.map(|(line, name, value)| (line, name, Ok(value.to_owned()))));
    }

    #[test]
    fn a_dollar_that_would_shorten_a_value_is_no_value() {
        for text in ["K=s3cret$ecret99", "K=\"s3cret${ecret}99\"", "K=$", "K='a'$b", "K=a # c\nK=$b"] {
            assert_eq!(entries(text).last().unwrap().value, Err(DOLLAR), "{text}");
        }
        assert!(entries("K='s3cret$ecret99' # costs $5").all(|entry| entry.value.is_ok()));
    }

    #[test]
    fn what_is_broken_is_so_by_itself() {
        let file = "A=two words\nno setting\nB=b\n1X!=y\nC=\u{fffd}\nD='open\nE=e";
        let found: Vec<_> = entries(file).map(|entry| (entry.line, entry.name, entry.value.is_ok())).collect();
        let expected = [
            (1, "A", false),
            (2, "", false),
            (3, "B", true),
            (4, "", false),
            (5, "C", false),
            (6, "D", false),
            (7, "E", true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_apostrophe_of_others_takes_no_setting_along() {
        for (others, lines) in [
            ("A=Don't stop\n", 1),
            ("A='Don't stop'\n", 1),
            ("A='tis the season\n", 1),
            ("A=\"open\n", 1),
            ("A=it's $mine\n", 1),
            ("A=\"said $b\nand \"c\"\"\n", 2),
        ] {
            for behind in ["", "C=It's\n", "C=it's so\n", "C='c'\n", "C=\"c\"\n", "# that's it\n"] {
                let file = format!("{others}DOMAIN=example.com\n{behind}");
                let found = entries(&file).find(|entry| entry.name == "DOMAIN").expect(&file);
                assert_eq!((found.line, found.value), (lines + 1, Ok("example.com".to_owned())), "{file}");
            }
        }
    }
}
