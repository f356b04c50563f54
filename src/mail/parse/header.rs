//! Headers: where each field begins and ends.

use super::budgets::Budgets;
use super::field::Field;
use super::parameter::Parameters;

/// How the names of common fields begin. A line behind a broken one that begins so is a field and no text.
const COMMON_NAMES: &[&str] = &[
    "arc-",
    "authentication-results",
    "cc",
    "content-",
    "date",
    "delivered-to",
    "dkim-",
    "from",
    "in-reply-to",
    "list-",
    "message-id",
    "mime-version",
    "received",
    "references",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
    "user-agent",
    "x-",
];

/// The header of a message or of a part.
#[derive(Clone, Default)]
pub(super) struct Header<'a> {
    fields: Vec<Field<'a>>,
    /// Where the body begins: behind the empty line.
    pub(super) end: usize,
    /// Whether something else than an empty line ended the header.
    pub(super) is_cut: bool,
    /// Whether it was no header: its lines are the beginning of the body.
    pub(super) is_text: bool,
    /// Whether there was an empty line behind it.
    is_ended: bool,
    /// Whether there were lines in it that are no fields.
    pub(super) has_bad_lines: bool,
    /// Whether fields were left out because all together have too many bytes.
    pub(super) is_too_long: bool,
    /// Whether fields were left out because there are too many.
    pub(super) has_too_many: bool,
}

/// What a line is that may belong to a header.
enum Line<'a> {
    /// The empty line that ends it.
    Empty,
    /// A field, and where its colon is.
    Field(&'a [u8], usize),
    /// Broken, but part of the header all the same.
    Bad,
    /// The beginning of the body, or of the next part.
    Foreign,
}

impl<'a> Header<'a> {
    /// Reads the header of a message.
    pub(super) fn of_message(raw: &'a [u8], budgets: &Budgets) -> Self {
        // The separator line of an mbox file, in front of a message that was piped out of one.
        let start = if raw.starts_with(b"From ") || raw.starts_with(b">From ") { line_end(raw, 0) } else { 0 };
        Self::read(raw, start, budgets, |_| true)
    }

    /// Reads the header of a part that begins at `start`. Other fields have no meaning there (RFC 2045 section 9).
    pub(super) fn of_part(raw: &'a [u8], start: usize, budgets: &Budgets) -> Self {
        let header = Self::read(raw, start, budgets, |name| {
            name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"content-"))
        });
        let is_empty = header.fields.is_empty() && !header.is_too_long && !header.has_too_many;
        if header.is_ended || !is_empty || header.end == start {
            return header;
        }
        // Without the empty line, and without a field that means something: text with a colon, as in `Note: your code is 1`.
        Self { end: start, is_text: true, ..Self::default() }
    }

    /// Like most mail programs this takes the first line that can be no field for the beginning of the body, whether or
    /// not the empty line is there.
    fn read(raw: &'a [u8], start: usize, budgets: &Budgets, is_wanted: impl Fn(&[u8]) -> bool) -> Self {
        let mut header = Self { end: start, ..Self::default() };
        let mut bytes_left = budgets.max_header_bytes;
        loop {
            let at = header.end;
            let line = &raw[at..line_end(raw, at)];
            let field = match Line::read(line, &raw[at + line.len()..], header.fields.is_empty()) {
                Line::Empty => {
                    header.end += line.len();
                    header.is_ended = true;
                    return header;
                }
                Line::Foreign => {
                    header.is_cut = !line.is_empty() && !line.starts_with(b"--");
                    return header;
                }
                Line::Field(name, colon) => Some((name, colon)),
                Line::Bad => None,
            };
            header.end += line.len();
            while raw.get(header.end).is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
                header.end = line_end(raw, header.end);
            }
            match field {
                None => header.has_bad_lines = true,
                Some((name, _)) if !is_wanted(name) => {}
                Some(_) if header.fields.len() == budgets.max_headers => header.has_too_many = true,
                Some((name, colon)) => match bytes_left.checked_sub(header.end - at) {
                    Some(rest) => {
                        bytes_left = rest;
                        let raw = without_line_break(&raw[at + colon + 1..header.end]);
                        header.fields.push(Field { name, raw });
                    }
                    // Smaller fields behind this one may still be read; `Content-Type` is often the last.
                    None => header.is_too_long = true,
                },
            }
        }
    }

    pub(super) fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    /// The first field of a name: the one that mail programs show where there are several.
    pub(super) fn first(&self, name: &str) -> Option<Field<'a>> {
        self.all(name).next()
    }

    /// All fields of a name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = Field<'a>> {
        self.fields.iter().filter(move |field| field.is_named(name)).copied()
    }

    /// The value and the parameters of a field such as `Content-Type`.
    pub(super) fn parameters(&self, name: &str) -> Option<Parameters> {
        self.first(name).map(|field| Parameters::read(&field.unfolded()))
    }
}

impl<'a> Line<'a> {
    /// Reads a line of a header, `next` being what follows it; nothing is the end of the message.
    fn read(line: &'a [u8], next: &[u8], is_first: bool) -> Self {
        if !line.is_empty() && line.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return Line::Empty;
        }
        // A delimiter line of a multipart never belongs to a header, not even with a colon in its boundary.
        if line.is_empty() || line.starts_with(b"--") {
            return Line::Foreign;
        }
        let colon = memchr::memchr(b':', line);
        match colon.and_then(|colon| Some((field_name(&line[..colon])?, colon))) {
            Some((name, colon)) => Line::Field(name, colon),
            // The name is missing, or the beginning of a folded field.
            None if colon == Some(0) || (is_first && line.starts_with(b" ") && is_common(next)) => Line::Bad,
            None if !is_first && is_common(next) => Line::Bad,
            None => Line::Foreign,
        }
    }
}

/// Whether a text begins with one of the common fields.
fn is_common(text: &[u8]) -> bool {
    let line = &text[..line_end(text, 0)];
    let name = memchr::memchr(b':', line).and_then(|colon| field_name(&line[..colon]));
    name.is_some_and(|name| {
        COMMON_NAMES.iter().any(|common| {
            // Those with a hyphen at the end are the beginnings of many.
            let length = if common.ends_with('-') { common.len().min(name.len()) } else { name.len() };
            name[..length].eq_ignore_ascii_case(common.as_bytes())
        })
    })
}

/// RFC 5322 `ftext`, and the bytes above ASCII that some senders use; white space may stand before the colon.
fn field_name(before_colon: &[u8]) -> Option<&[u8]> {
    let name = before_colon.trim_ascii_end();
    (!name.is_empty() && name.iter().all(|byte| matches!(byte, b'!'..=b'~' | 0x80..))).then_some(name)
}

/// Where the line that begins at `start` ends, its line break included.
pub(super) fn line_end(raw: &[u8], start: usize) -> usize {
    memchr::memchr(b'\n', &raw[start..]).map_or(raw.len(), |length| start + length + 1)
}

/// Takes one line break off the end.
pub(super) fn without_line_break(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(raw: &str) -> (Vec<String>, usize, bool, bool) {
        let header = Header::of_message(raw.as_bytes(), &Budgets::default());
        let names = header.fields().iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect();
        (names, header.end, header.is_cut, header.has_bad_lines)
    }

    #[test]
    fn a_header_ends_where_mail_programs_see_its_end() {
        for (raw, fields, end, is_cut, has_bad_lines) in [
            ("A: b\r\n\r\nc", vec!["A"], 8, false, false),
            ("A: b\r\n", vec!["A"], 6, false, false),
            ("A: b\r\r\n\r\r\nc", vec!["A"], 10, false, false),
            ("A : b\n \nB: c\n\n", vec!["A", "B"], 14, false, false),
            ("From x y\nA: b\n\n", vec!["A"], 15, false, false),
            (">From x y\nA: b\n\n", vec!["A"], 16, false, false),
            ("A: b\nno field\nc: d\n", vec!["A"], 5, true, false),
            ("A: b\nno field\nSubject: c\n\n", vec!["A", "Subject"], 26, false, true),
            ("A: b\n: no name\n folded\nB: c\n\n", vec!["A", "B"], 29, false, true),
            (" folded\nSubject: c\n\n", vec!["Subject"], 20, false, true),
            (" a text\nand more\n", vec![], 0, true, false),
            ("A: b\n--c: d\n", vec!["A"], 5, false, false),
            ("X-: b\n\n", vec!["X-"], 7, false, false),
            ("", vec![], 0, false, false),
        ] {
            let fields: Vec<_> = fields.into_iter().map(str::to_owned).collect();
            assert_eq!(names(raw), (fields, end, is_cut, has_bad_lines), "{raw:?}");
        }
    }

    #[test]
    fn a_header_over_its_limits_is_read_in_part() {
        let raw = b"A: 1\r\nB: 22222222222222\r\nC: 3\r\nD: 4\r\n\r\n";
        let budgets = Budgets { max_header_bytes: 20, max_headers: 2, ..Budgets::default() };
        let header = Header::of_message(raw, &budgets);
        let names: Vec<_> = header.fields().iter().map(|field| field.name).collect();
        assert_eq!(names, [b"A", b"C"]);
        assert_eq!((header.is_too_long, header.has_too_many, header.end), (true, true, raw.len()));
    }
}
