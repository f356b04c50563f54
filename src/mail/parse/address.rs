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

impl Token {
    /// Whether an address without angle brackets stands around an `@` in it.
    fn has_address(&self) -> bool {
        // Behind a blank `@home` is a name.
        let is_name = self.is_quoted || self.is_apart && self.text.starts_with('@') && self.text != "@";
        !is_name && self.text.contains('@')
    }
}

struct Comment {
    text: String,
    /// How many tokens stand before it.
    place: usize,
}

#[derive(Default)]
struct Reader<'a> {
    rest: &'a str,
    found: Vec<HeaderAddress>,
    tokens: Vec<Token>,
    /// The tokens in front of the angle brackets, and what is in them.
    bracketed: Option<(Vec<Token>, String)>,
    comments: Vec<Comment>,
    is_apart: bool,
    unclosed: Unclosed,
}

/// Protects the time: a quote or a parenthesis that is not closed closes nowhere behind it either, wherever in the field it
/// is opened again, and is not searched for again.
#[derive(Default)]
struct Unclosed {
    quote: bool,
    parenthesis: bool,
}

impl Reader<'_> {
    /// Takes what begins with `c`.
    fn take(&mut self, c: char) {
        let taken = match c {
            '"' => self.unclosed.quoted(self.rest).map(|(text, length)| {
                self.push(text, true);
                length
            }),
            '(' => self.unclosed.comment(self.rest).map(|(text, length)| {
                self.comments.push(Comment { text: text.trim().to_owned(), place: self.tokens.len() });
                length
            }),
            '<' => self.unclosed.angle(self.rest).map(|(text, length)| {
                self.bracket(text);
                length
            }),
            _ => None,
        };
        if let Some(length) = taken {
            self.rest = &self.rest[length..];
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
            // One that is not closed, or was not opened.
            '<' | '>' => self.skip(c, |_| {}),
            // An address literal has colons in it.
            '[' => {
                let near = &self.rest[..self.rest.floor_char_boundary(LITERAL_MAX_BYTES)];
                let end =
                    memchr::memchr3(b']', b',', b' ', near.as_bytes()).filter(|end| near[*end..].starts_with(']'));
                self.push_word(end.map_or(1, |end| end + 1));
            }
            _ => self.push_word(length),
        }
    }

    /// Takes an address in angle brackets.
    fn bracket(&mut self, text: String) {
        if self.bracketed.is_some() {
            // A comma was forgotten: what stands before these is theirs.
            let tokens = mem::take(&mut self.tokens);
            self.finish();
            self.tokens = tokens;
        }
        self.bracketed = Some((mem::take(&mut self.tokens), text));
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
        let (mut tokens, comments) = (mem::take(&mut self.tokens), mem::take(&mut self.comments));
        self.is_apart = false;
        match self.bracketed.take() {
            Some((before, text)) => {
                let behind = mem::replace(&mut tokens, before);
                tokens.extend(behind);
                self.add(&tokens, Some(text), comments);
            }
            None => self.add_bare(tokens, comments),
        }
    }

    /// Adds what stands without angle brackets: several entries where a comma was forgotten between addresses.
    fn add_bare(&mut self, tokens: Vec<Token>, comments: Vec<Comment>) {
        let mut comments = comments.into_iter().peekable();
        let mut entry = Vec::new();
        let mut has_address = false;
        for (place, token) in tokens.into_iter().enumerate() {
            // One that begins or ends with `@` may be a piece of the address.
            let is_whole = token.has_address() && !token.text.starts_with('@') && !token.text.ends_with('@');
            if has_address && is_whole {
                // The names in between are those of the next one. Pieces of addresses are not: each is looked at once.
                let names = entry.split_off(end_of_addresses(&entry));
                let own = place - names.len();
                let own = std::iter::from_fn(|| comments.next_if(|comment| comment.place <= own)).collect();
                let address = bare(&mut entry);
                self.add(&entry, address, own);
                entry = names;
                has_address = false;
            }
            has_address |= token.has_address();
            entry.push(token);
        }
        let address = bare(&mut entry);
        self.add(&entry, address, comments.collect());
    }

    /// Adds an entry: the tokens of its name, its address, its comments.
    fn add(&mut self, name: &[Token], address: Option<String>, comments: Vec<Comment>) {
        let name = joined(name);
        let comments = comments.into_iter().map(|comment| comment.text).collect::<Vec<_>>().join(" ");
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

/// Where the tokens end that belong to addresses.
fn end_of_addresses(tokens: &[Token]) -> usize {
    let Some(last) = tokens.iter().rposition(Token::has_address) else { return 0 };
    // Its domain may stand apart.
    tokens.len().min(last + 1 + usize::from(tokens[last].text.ends_with('@')))
}

/// Takes an address without angle brackets out of the tokens: what stands around an `@`. Blanks may be there too.
fn bare(tokens: &mut Vec<Token>) -> Option<String> {
    let at = tokens.iter().position(Token::has_address)?;
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
pub(super) fn quoted(text: &str) -> Option<(String, usize)> {
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

impl Unclosed {
    fn quoted(&mut self, text: &str) -> Option<(String, usize)> {
        let found = (!self.quote).then(|| quoted(text))?;
        self.quote = found.is_none();
        found
    }

    fn comment(&mut self, text: &str) -> Option<(String, usize)> {
        let found = (!self.parenthesis).then(|| comment(text))?;
        self.parenthesis = found.is_none();
        found
    }

    /// The same of an address in angle brackets, without its route, its comments, and the white space that folding and old
    /// mail programs bring. It is not closed where another one is opened: so none is read twice.
    fn angle(&mut self, text: &str) -> Option<(String, usize)> {
        let mut address = String::new();
        let mut is_apart = false;
        let mut at = 1;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            let (piece, length) = match c {
                '>' => return Some((without_route(&address).to_owned(), at + 1)),
                '<' => return None,
                '(' => match self.comment(rest) {
                    Some((_, length)) => (None, length),
                    None => (Some(c.to_string()), 1),
                },
                '"' => match self.quoted(rest) {
                    Some((inner, length)) => (Some(quote(&inner)), length),
                    None => (Some(c.to_string()), 1),
                },
                c if c.is_whitespace() => (None, c.len_utf8()),
                _ => {
                    let is_end = |c: char| c.is_whitespace() || "<>(\"".contains(c);
                    let length = rest.find(is_end).unwrap_or(rest.len());
                    (Some(rest[..length].to_owned()), length)
                }
            };
            at += length;
            let Some(piece) = piece else {
                is_apart = true;
                continue;
            };
            // Between words it stays: they are no address, and none is to be made of them.
            if is_apart && !address.ends_with(MARKS) && !piece.starts_with(MARKS) && !address.is_empty() {
                address.push(' ');
            }
            is_apart = false;
            address.push_str(&piece);
        }
        None
    }
}

/// What an address has white space around that means nothing; a colon ends a route.
const MARKS: [char; 5] = ['@', '.', '"', ',', ':'];

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
            ("Ann <no address here>", &[("Ann", "no address here")]),
            ("<@r.x, @s.x : a . b @ x . y>", &[("-", "a.b@x.y")]),
            ("<\"a b\" @x.y>", &[("-", "\"a b\"@x.y")]),
            ("<undisclosed-recipients:;>", &[("-", "undisclosed-recipients:;")]),
            ("Ann <a@x.y, Bob <b@x.y>", &[("Ann", "a@x.y"), ("Bob", "b@x.y")]),
            ("<<a@x.y>>, b@x.y", &[("-", "a@x.y"), ("-", "b@x.y")]),
            ("a@x.y b@x.y", &[("-", "a@x.y"), ("-", "b@x.y")]),
            ("Ann a@x.y (at work) Bob b@x.y (Bob)", &[("Ann (at work)", "a@x.y"), ("Bob (Bob)", "b@x.y")]),
            ("a@x.y b@x.y <c@x.y>", &[("a@x.y b@x.y", "c@x.y")]),
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

    /// Each of these takes hours where what is left is looked through again at each mark.
    #[test]
    fn what_never_ends_is_searched_for_once() {
        let one = ["\"", "(", "<", "[", "a@", "\\", "(\"<", "<\"(", "[a", ",", ":", "<(", "<\"", "<a", "<a (", "<a(b)"];
        for mark in one {
            assert!(read(&mark.repeat(200_000)).len() < 2, "{mark}");
        }
        let many =
            ["<(>", "<\\\">", "<\">", "<(>,", "<\\\">,", "<<a>", "<(b)a\"c\">", "a@x.y ", "a@x.y (b) ", "a@ ", "a (,"];
        for mark in many {
            assert!(!read(&mark.repeat(200_000)).is_empty(), "{mark}");
        }
        assert!(read(&["@ ".repeat(200_000), "a@x.y ".repeat(200_000)].concat()).len() > 100_000);
    }
}
