//! Lists of addresses (RFC 5322 sections 3.4 and 4.4), as senders write them: each entry with its name, groups dissolved.

use std::mem;

use crate::mail::message::HeaderAddress;

/// How far the end of an address literal is looked for.
const LITERAL_MAX_BYTES: usize = 64;

/// Reads a list. Encoded words are left as they are: they have to stand there without any mark that means something here.
pub(super) fn read(value: &str) -> Vec<HeaderAddress> {
    let mut reader = Reader { rest: value, ..Reader::default() };
    while let Some(c) = reader.rest.chars().next() {
        reader.take(c);
    }
    reader.finish();
    reader.found
}

/// A text without its comments.
pub(super) fn without_comments(value: &str) -> String {
    let mut bare = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('(') {
        bare.push_str(&rest[..at]);
        bare.push(' ');
        match comment(&rest[at..]) {
            Some((_, length)) => rest = &rest[at + length..],
            None => return bare,
        }
    }
    bare + rest
}

/// What an entry is made of but for its address in angle brackets and its comments.
struct Token {
    text: String,
    is_quoted: bool,
    /// Whether a blank stands before it.
    is_apart: bool,
}

#[derive(Default)]
struct Reader<'a> {
    rest: &'a str,
    found: Vec<HeaderAddress>,
    tokens: Vec<Token>,
    /// The tokens in front of the angle brackets, and what is in them.
    bracketed: Option<(Vec<Token>, String)>,
    comments: Vec<String>,
    is_apart: bool,
    /// A quote, a parenthesis and an angle bracket that are not closed close nowhere behind it either: they are not searched
    /// for again.
    is_unclosed: [bool; 3],
}

impl Reader<'_> {
    /// Takes what begins with `c`.
    fn take(&mut self, c: char) {
        let taken = match c {
            '"' => self.closed(0, quoted).map(|text| self.push(text, true)),
            '(' => self.closed(1, comment).map(|text| self.comments.push(text.trim().to_owned())),
            '<' => self.closed(2, angle).map(|text| {
                if self.bracketed.is_some() {
                    // A comma was forgotten: what stands before these is theirs.
                    let tokens = mem::take(&mut self.tokens);
                    self.finish();
                    self.tokens = tokens;
                }
                self.bracketed = Some((mem::take(&mut self.tokens), text));
            }),
            _ => None,
        };
        if taken.is_some() {
            self.is_apart = false;
            return;
        }
        let end = self.rest[c.len_utf8()..].find(|c: char| c.is_whitespace() || "\"(<,;:[".contains(c));
        let length = end.map_or(self.rest.len(), |end| end + c.len_utf8());
        match c {
            ',' | ';' => self.skip(c, Self::finish),
            // The name of a group stands before it.
            ':' => self.skip(c, |reader| reader.tokens.clear()),
            c if c.is_whitespace() => self.skip(c, |reader| reader.is_apart = true),
            '<' => self.skip(c, |_| {}),
            // An address literal has colons in it.
            '[' => {
                let near = &self.rest[..self.rest.floor_char_boundary(LITERAL_MAX_BYTES)];
                let end = near.find([']', ',', ' ']).filter(|end| near[*end..].starts_with(']'));
                self.push_word(end.map_or(1, |end| end + 1));
            }
            _ => self.push_word(length),
        }
    }

    /// What is closed further on, read by `read`.
    fn closed(&mut self, kind: usize, read: impl Fn(&str) -> Option<(String, usize)>) -> Option<String> {
        if self.is_unclosed[kind] {
            return None;
        }
        let Some((text, length)) = read(self.rest) else {
            self.is_unclosed[kind] = true;
            return None;
        };
        self.rest = &self.rest[length..];
        Some(text)
    }

    fn skip(&mut self, c: char, then: impl FnOnce(&mut Self)) {
        self.rest = &self.rest[c.len_utf8()..];
        then(self);
    }

    fn push_word(&mut self, length: usize) {
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        // What a bracket has cut belongs together.
        match self.tokens.last_mut().filter(|last| !last.is_quoted && !self.is_apart) {
            Some(last) => last.text.push_str(word),
            None => self.push(word.to_owned(), false),
        }
        self.is_apart = false;
    }

    fn push(&mut self, text: String, is_quoted: bool) {
        self.tokens.push(Token { text, is_quoted, is_apart: self.is_apart });
    }

    /// Ends an entry.
    fn finish(&mut self) {
        let (mut tokens, comments) = (mem::take(&mut self.tokens), mem::take(&mut self.comments).join(" "));
        self.is_apart = false;
        let address = match self.bracketed.take() {
            Some((before, text)) => {
                let behind = mem::replace(&mut tokens, before);
                tokens.extend(behind);
                Some(text)
            }
            None => bare(&mut tokens),
        };
        let name = joined(&tokens);
        let (name, address) = match (name, address, comments) {
            // As the first mail programs wrote it: `root (The Superuser)`.
            (name, None, comments) if is_user(&name) && !comments.is_empty() => (comments, Some(name)),
            (name, address, comments) if name.is_empty() => (comments, address),
            (name, address, comments) if comments.is_empty() => (name, address),
            (name, address, comments) => (format!("{name} ({comments})"), address),
        };
        let kept = |text: String| Some(text).filter(|text| !text.is_empty());
        let entry = HeaderAddress { name: kept(name), address: address.and_then(kept) };
        if entry.name.is_some() || entry.address.is_some() {
            self.found.push(entry);
        }
    }
}

/// Takes an address without angle brackets out of the tokens: what stands around an `@`. Blanks may be there too.
fn bare(tokens: &mut Vec<Token>) -> Option<String> {
    // Behind a blank `@home` is a name.
    let is_name = |token: &Token| token.is_quoted || token.is_apart && token.text.starts_with('@') && token.text != "@";
    let at = tokens.iter().position(|token| token.text.contains('@') && !is_name(token))?;
    let takes_before = tokens[at].text.starts_with('@') && at > 0;
    let takes_behind = tokens[at].text.ends_with('@') && at + 1 < tokens.len();
    let first = at - usize::from(takes_before);
    let address: Vec<Token> = tokens.drain(first..=at + usize::from(takes_behind)).collect();
    Some(address.iter().map(written).collect())
}

/// Whether a name is that of a user of the machine. An encoded word is none.
fn is_user(name: &str) -> bool {
    !name.is_empty() && !name.contains(' ') && !name.contains("=?")
}

fn written(token: &Token) -> String {
    if token.is_quoted { quote(&token.text) } else { token.text.clone() }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A name as people read it, on one line.
fn joined(tokens: &[Token]) -> String {
    let mut name = String::new();
    for token in tokens {
        if token.is_apart && !name.is_empty() {
            name.push(' ');
        }
        name.push_str(&token.text);
    }
    name.trim().to_owned()
}

/// The text of the quoted-string that `text` begins with, and its length there.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, at + 1)),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    None
}

/// The same of a comment. Comments may be nested.
fn comment(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut depth = 0_usize;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ')' if depth == 1 => return Some((value, at + 1)),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => {
                if depth > 0 {
                    value.push(c);
                }
                depth = depth + usize::from(c == '(') - usize::from(c == ')');
            }
        }
    }
    None
}

/// The same of an address in angle brackets, without its route, comments, and the white space that folding has brought.
fn angle(text: &str) -> Option<(String, usize)> {
    let mut address = String::new();
    let (mut has_quotes, mut has_comments) = (true, true);
    let mut at = 1;
    while let Some(c) = text[at..].chars().next() {
        let inner = match c {
            '>' => return Some((without_route(&address).to_owned(), at + 1)),
            '"' if has_quotes => quoted(&text[at..]).inspect(|(inner, _)| address.push_str(&quote(inner))),
            '(' if has_comments => comment(&text[at..]),
            _ => None,
        };
        match (inner, c) {
            (Some((_, length)), _) => {
                at += length;
                continue;
            }
            // What is not closed is not searched for again.
            (None, '"') => has_quotes = false,
            (None, '(') => has_comments = false,
            _ => {}
        }
        if !c.is_whitespace() {
            address.push(c);
        }
        at += c.len_utf8();
    }
    None
}

/// RFC 5322 section 4.4: a route is read and left out.
fn without_route(address: &str) -> &str {
    match address.split_once(':') {
        Some((route, rest)) if route.starts_with('@') => rest,
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: &str) -> Vec<(String, String)> {
        let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        read(value).into_iter().map(|entry| (text(entry.name), text(entry.address))).collect()
    }

    #[test]
    fn lists_are_read_as_senders_write_them() {
        for (value, expected) in [
            ("a@x.y", &[("-", "a@x.y")][..]),
            (" Ann Example <a@x.y>, <b@x.y> ,, c@x.y", &[("Ann Example", "a@x.y"), ("-", "b@x.y"), ("-", "c@x.y")]),
            (r#""john.doe"@example.com"#, &[("-", r#""john.doe"@example.com"#)]),
            (r#""a b"@x.y, C <c@x.y>"#, &[("-", r#""a b"@x.y"#), ("C", "c@x.y")]),
            (r#"Ann <"a \"b\" c"@x.y>"#, &[("Ann", r#""a \"b\" c"@x.y"#)]),
            ("<a@x.y> <b@x.y>", &[("-", "a@x.y"), ("-", "b@x.y")]),
            ("A <a@x.y> B <b@x.y>", &[("A", "a@x.y"), ("B", "b@x.y")]),
            (r#""Doe, Jo (she)" <a@x.y>"#, &[("Doe, Jo (she)", "a@x.y")]),
            ("Foo, Inc. <a@x.y>", &[("Foo", "-"), ("Inc.", "a@x.y")]),
            ("a@x.y (Ann), root (The (old) Superuser)", &[("Ann", "a@x.y"), ("The (old) Superuser", "root")]),
            ("Ann <a@x.y> (at work)", &[("Ann (at work)", "a@x.y")]),
            ("Ann a@x.y", &[("Ann", "a@x.y")]),
            ("a @ x.y", &[("-", "a@x.y")]),
            ("a@x.y <a@x.y>", &[("a@x.y", "a@x.y")]),
            ("The team: a@x.y, B <b@x.y>; c@x.y", &[("-", "a@x.y"), ("B", "b@x.y"), ("-", "c@x.y")]),
            ("undisclosed-recipients:;", &[]),
            ("a@x.y; b@x.y", &[("-", "a@x.y"), ("-", "b@x.y")]),
            ("a@[IPv6:2001:db8::1], b@[192.0.2.1]", &[("-", "a@[IPv6:2001:db8::1]"), ("-", "b@[192.0.2.1]")]),
            ("<@r.x,@s.x:a@x.y>", &[("-", "a@x.y")]),
            ("Ann < a (work) @x.y >", &[("Ann", "a@x.y")]),
            ("Ann [Sales] <a@x.y>", &[("Ann [Sales]", "a@x.y")]),
            ("O'Brien \\o/ <a@x.y>", &[("O'Brien \\o/", "a@x.y")]),
            ("\"never closed <a@x.y>", &[("\"never closed", "a@x.y")]),
            ("Ann (never closed <a@x.y>", &[("Ann (never closed", "a@x.y")]),
            ("Ann <a@x.y", &[("Ann", "a@x.y")]),
            ("Ann <a@x.y, B <b@x.y", &[("Ann", "a@x.y"), ("B", "b@x.y")]),
            ("Ann @home", &[("Ann @home", "-")]),
            ("<>", &[]),
            ("", &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(name, at)| ((*name).to_owned(), (*at).to_owned())).collect();
            assert_eq!(found(value), expected, "{value}");
        }
    }

    #[test]
    fn what_never_ends_is_searched_for_once() {
        for mark in ["\"", "(", "<", "[", "a@", "\\", "(\"<", "<\"(", "[a", ",", ":"] {
            assert!(read(&mark.repeat(200_000)).len() < 2, "{mark}");
        }
    }
}
