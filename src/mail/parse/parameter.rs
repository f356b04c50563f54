//! The value and the parameters of `Content-Type` and `Content-Disposition`: RFC 2045 section 5.1 and RFC 2231.

use std::borrow::Cow;

use super::charset;
use super::words::Words;

/// A field value such as `text/plain; charset=utf-8`.
#[derive(Default)]
pub(super) struct Parameters {
    /// What stands before the first semicolon, lower-cased.
    pub(super) value: String,
    pieces: Vec<Piece>,
}

/// A parameter, or one section of a long one (RFC 2231 section 3).
struct Piece {
    /// Lower-cased, without the asterisks.
    name: String,
    section: Option<u32>,
    /// Whether it is percent-encoded: an asterisk stands at the end of the name.
    is_extended: bool,
    value: Vec<u8>,
}

impl Parameters {
    /// Reads an unfolded value.
    pub(super) fn read(value: &[u8]) -> Self {
        let mut segments = Segments { rest: value };
        let mut first = segments.next().unwrap_or_default();
        let forgotten = first.split_off_parameter();
        let value = String::from_utf8_lossy(&first.text).to_ascii_lowercase();
        Self { value, pieces: forgotten.into_iter().chain(segments).filter_map(Segment::into_piece).collect() }
    }

    /// The decoded text of a parameter.
    pub(super) fn text(&self, name: &str, words: &Words) -> Option<String> {
        let (charset, bytes) = self.find(name)?;
        Some(match charset {
            Some(label) if !label.is_empty() => charset::decode(Some(&label), bytes).text.into_owned(),
            // Some senders write the extended form and encode as they always do.
            _ => words.decode(&bytes),
        })
    }

    /// A parameter that is a word of the protocol.
    pub(super) fn word(&self, name: &str) -> Option<String> {
        self.find(name).map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The bytes of a parameter, for comparison with other bytes of the message.
    pub(super) fn bytes(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.find(name).map(|(_, bytes)| bytes)
    }

    /// Joins the sections of a parameter; returns the charset that it names and its bytes. The form of RFC 2231 has
    /// precedence: a plain parameter beside it is meant for those who cannot read it.
    fn find(&self, name: &str) -> Option<(Option<String>, Cow<'_, [u8]>)> {
        let mut sections: Vec<&Piece> = self.pieces.iter().filter(|piece| piece.name == name).collect();
        if let Some(whole) = sections.iter().find(|piece| piece.is_extended && piece.section.is_none()) {
            let (charset, bytes) = charset_and_rest(&whole.value);
            return Some((Some(charset), Cow::Owned(percent_decode(bytes))));
        }
        if let Some(plain) = sections.iter().find(|piece| piece.section.is_none())
            && !sections.iter().any(|piece| piece.section == Some(0))
        {
            return Some((None, Cow::Borrowed(&plain.value)));
        }
        sections.retain(|piece| piece.section.is_some());
        sections.sort_by_key(|piece| piece.section);
        sections.dedup_by_key(|piece| piece.section);
        let mut joined = Vec::new();
        let mut charset = None;
        for (expected, piece) in (0..).zip(&sections) {
            if piece.section != Some(expected) {
                break;
            }
            match (piece.is_extended, expected) {
                (true, 0) => {
                    let (label, bytes) = charset_and_rest(&piece.value);
                    charset = Some(label);
                    joined.extend(percent_decode(bytes));
                }
                (true, _) => joined.extend(percent_decode(&piece.value)),
                (false, _) => joined.extend_from_slice(&piece.value),
            }
        }
        (!joined.is_empty()).then_some((charset, Cow::Owned(joined)))
    }
}

/// Cuts a value at its semicolons, takes quotes, escapes and comments out.
struct Segments<'a> {
    rest: &'a [u8],
}

/// What stands between two semicolons.
#[derive(Default)]
struct Segment {
    text: Vec<u8>,
    /// Where the value begins: behind the first `=` outside quotes.
    value_start: Option<usize>,
    /// The length without the white space at the end, unless that was in quotes.
    solid: usize,
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if self.rest.is_empty() {
            return None;
        }
        let mut segment = Segment::default();
        let mut bytes = self.rest.iter();
        let mut in_quotes = false;
        let mut comment_depth = 0_usize;
        let mut last = b' ';
        while let Some(&byte) = bytes.next() {
            match byte {
                // As mail programs read it: a path of Windows is seldom written with two of them.
                b'\\' if in_quotes && !matches!(bytes.as_slice().first(), Some(b'"' | b'\\')) => {
                    segment.push_quoted(byte);
                }
                b'\\' if in_quotes => segment.push_quoted(bytes.next().copied().unwrap_or(byte)),
                b'\\' if comment_depth > 0 => drop(bytes.next()),
                b'(' if comment_depth > 0 => comment_depth += 1,
                b')' if comment_depth > 0 => comment_depth -= 1,
                _ if comment_depth > 0 => {}
                b'"' => in_quotes = !in_quotes,
                _ if in_quotes => segment.push_quoted(byte),
                // Only behind white space: senders write `name=report(1).pdf` and mean no comment.
                b'(' if last.is_ascii_whitespace() && !segment.goes_on(bytes.as_slice()) => comment_depth = 1,
                b';' => break,
                _ => segment.push(byte),
            }
            last = byte;
        }
        self.rest = bytes.as_slice();
        segment.text.truncate(segment.solid);
        Some(segment)
    }
}

impl Segment {
    fn push(&mut self, byte: u8) {
        match byte {
            b'=' if self.value_start.is_none() => {
                // White space before the `=` is not part of the name.
                self.text.truncate(self.solid);
                self.value_start = Some(self.solid);
            }
            byte if byte.is_ascii_whitespace() => {
                if self.text.len() > self.value_start.unwrap_or(0) {
                    self.text.push(byte);
                }
            }
            byte => self.push_quoted(byte),
        }
    }

    /// Whether a parenthesis that is opened before `rest` is part of a value: `name=copy (1).pdf`, `name=copy (1)`.
    fn goes_on(&self, rest: &[u8]) -> bool {
        /// A file name has no more.
        const REACH_BYTES: usize = 256;
        if self.value_start.is_none_or(|start| start == self.text.len()) {
            return false;
        }
        let reach = &rest[..rest.len().min(REACH_BYTES)];
        let Some(end) = memchr::memchr(b')', reach) else { return false };
        let behind = reach[end + 1..].trim_ascii_start();
        let is_number = end > 0 && reach[..end].iter().all(u8::is_ascii_digit);
        is_number || !matches!(behind.first(), None | Some(b';' | b'('))
    }

    fn push_quoted(&mut self, byte: u8) {
        self.text.push(byte);
        self.solid = self.text.len();
    }

    /// Takes the parameter out of a value behind which something else stands than a semicolon, `text/html, charset=utf-8`, or
    /// that is nothing but a parameter.
    fn split_off_parameter(&mut self) -> Option<Self> {
        let value_start = self.value_start?;
        let is_between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b':');
        let before_equals = &self.text[..value_start];
        let value_end = before_equals.iter().position(is_between).unwrap_or(0);
        let blanks = before_equals[value_end..].iter().take_while(|byte| is_between(byte)).count();
        let text = self.text.split_off(value_end).split_off(blanks);
        Some(Self { text, value_start: Some(value_start - value_end - blanks), solid: 0 })
    }

    fn into_piece(mut self) -> Option<Piece> {
        let value = self.text.split_off(self.value_start?);
        let full_name = String::from_utf8_lossy(&self.text).to_ascii_lowercase();
        let (name, is_extended) = match full_name.strip_suffix('*') {
            Some(name) => (name, true),
            None => (&*full_name, false),
        };
        let (name, section) = match name.rsplit_once('*') {
            Some((name, number)) => (name, Some(number.parse().ok()?)),
            None => (name, None),
        };
        Some(Piece { name: name.to_owned(), section, is_extended, value })
    }
}

/// Cuts `charset'language'text` (RFC 2231 section 4); without the two quotes everything is text.
fn charset_and_rest(value: &[u8]) -> (String, &[u8]) {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(charset), Some(_), Some(text)) => (String::from_utf8_lossy(charset).into_owned(), text),
        _ => (String::new(), value),
    }
}

fn percent_decode(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filename(value: &str) -> Option<String> {
        Parameters::read(value.as_bytes()).text("filename", &Words::new(100, None))
    }

    #[test]
    fn parameters_are_read_in_all_their_spellings() {
        for (value, expected) in [
            ("attachment; filename=a.txt", "a.txt"),
            ("attachment; filename = a.txt ;x=y", "a.txt"),
            ("attachment filename=a.txt; x=y", "a.txt"),
            ("attachment  filename=\"a b.txt\"", "a b.txt"),
            ("filename=\"a b.txt\"", "a b.txt"),
            ("attachment; filename*=''=?utf-8?q?=C3=A4?=.txt", "ä.txt"),
            (r#"attachment;FileName="a;b \"c\".txt "; size=3"#, "a;b \"c\".txt "),
            ("attachment; filename=two words.txt", "two words.txt"),
            ("attachment; filename=report(1).pdf", "report(1).pdf"),
            ("attachment; filename=IMG (1).jpg; size=3", "IMG (1).jpg"),
            ("attachment; filename=IMG (1)", "IMG (1)"),
            (r#"attachment; filename="C:\Docs\new.pdf""#, r"C:\Docs\new.pdf"),
            (r#"attachment; filename="C:\\Docs\\new.pdf""#, r"C:\Docs\new.pdf"),
            (r#"attachment; filename="a\"#, r"a\"),
            (r"attachment (a; (nested) \) comment); filename=a.txt (another)", "a.txt"),
            ("attachment; filename==?utf-8?q?=C3=A4.txt?=", "ä.txt"),
            (r#"attachment; filename="=?utf-8?b?w6Q=?= =?utf-8?q?.txt?=""#, "ä.txt"),
            ("attachment; filename=plain.txt; filename*=utf-8''%c3%a4.txt", "ä.txt"),
            ("attachment; filename*=iso-8859-1'de'%e4.txt", "ä.txt"),
            ("attachment; filename*=no-quotes%20at-all", "no-quotes at-all"),
            // A character that is cut in two by the sections.
            ("attachment; filename*1*=%9f.txt; filename*0*=utf-8''stra%c3", "straß.txt"),
            (r#"attachment; filename*0="a b"; filename*1="c.txt"; filename*3=lost"#, "a bc.txt"),
            ("attachment; filename*0*=latin1''%e4; filename*1*=%e4", "ää"),
            ("attachment; filename=ä.txt", "ä.txt"),
            ("attachment; filename=\"never closed", "never closed"),
        ] {
            assert_eq!(filename(value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn an_absent_or_broken_parameter_is_none() {
        for value in [
            "",
            ";",
            "attachment",
            "a,=,x",
            ",=x",
            "=",
            ": =:",
            "attachment; filename",
            "attachment; filename*x=a",
            "attachment; filename*1=a",
        ] {
            assert_eq!(filename(value), None, "{value}");
        }
    }

    #[test]
    fn the_value_is_lower_cased_and_bare() {
        for (value, expected) in [
            (" Text/HTML ; charset=x", "text/html"),
            ("text/html charset=x", "text/html"),
            ("text/html, charset=x", "text/html"),
            ("charset=x", ""),
            ("text/plain (what (is) it)", "text/plain"),
            ("", ""),
        ] {
            assert_eq!(Parameters::read(value.as_bytes()).value, expected, "{value}");
        }
    }
}
