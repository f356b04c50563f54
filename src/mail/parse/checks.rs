//! What is wrong with a message as a whole, whatever its parts are.

use super::findings::Findings;
use super::header::Header;
use crate::mail::problem::Problem;

/// How a problem names the message itself.
const MESSAGE: &str = "the message";

/// The longest line without its line break (RFC 5322 section 2.1.1).
const LINE_MAX_BYTES: usize = 998;

/// Fields that stand in a header at most once (RFC 5322 section 3.6, RFC 2045 section 3).
const SINGLE_FIELDS: &[&str] = &[
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
];

/// Looks at the fields of the header.
pub(super) fn header(header: &Header<'_>, findings: &mut Findings) {
    if header.fields().is_empty() {
        findings.add(Problem::NoHeader, &MESSAGE);
        return;
    }
    let needed =
        [("Date", Problem::MissingDate), ("From", Problem::MissingFrom), ("Message-ID", Problem::MissingMessageId)];
    for (name, problem) in needed {
        if header.first(name).is_none() {
            findings.add(problem, &MESSAGE);
        }
    }
    if header.first("Content-Type").is_some() && header.first("MIME-Version").is_none() {
        findings.add(Problem::MissingMimeVersion, &MESSAGE);
    }
    for name in SINGLE_FIELDS {
        if header.all(name).nth(1).is_some() {
            findings.add_word(Problem::DuplicateHeader, &MESSAGE, name);
        }
    }
    let mut not_ascii = header.fields().iter().filter(|field| !field.raw.is_ascii()).peekable();
    if not_ascii.peek().is_some() {
        let is_utf8 = not_ascii.all(|field| std::str::from_utf8(field.raw).is_ok());
        findings.add(if is_utf8 { Problem::Utf8Header } else { Problem::EightBitHeader }, &MESSAGE);
    }
}

/// Looks at the lines of the raw message.
pub(super) fn lines(raw: &[u8], findings: &mut Findings) {
    if has_long_line(raw) {
        findings.add(Problem::LongLine, &MESSAGE);
    }
    if has_bare_line_end(raw) {
        findings.add(Problem::BareLineEnd, &MESSAGE);
    }
    if memchr::memchr(b'\0', raw).is_some() {
        findings.add(Problem::Nul, &MESSAGE);
    }
}

/// Looks backwards for a line end from where the longest line would have to end: few of the bytes are touched.
fn has_long_line(raw: &[u8]) -> bool {
    let mut rest = raw;
    while let Some(reach) = rest.get(..=LINE_MAX_BYTES) {
        rest = match (memchr::memrchr(b'\n', reach), &rest[LINE_MAX_BYTES..]) {
            (Some(at), _) => &rest[at + 1..],
            (None, [b'\r', b'\n', behind @ ..]) => behind,
            (None, behind) => return behind != b"\r",
        };
    }
    false
}

/// A CR before each LF, and as many of them: then none stands alone.
fn has_bare_line_end(raw: &[u8]) -> bool {
    let mut line_feeds = 0;
    let mut all = memchr::memchr_iter(b'\n', raw);
    let are_pairs = all.all(|at| {
        line_feeds += 1;
        at > 0 && raw[at - 1] == b'\r'
    });
    !are_pairs || memchr::memchr_iter(b'\r', raw).count() != line_feeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_found_wherever_it_is() {
        let line = |length: usize| "x".repeat(length) + "\r\n";
        for before in [0, 1, 500, 2_000] {
            let before: String = "a\r\n".repeat(before);
            for (raw, is_long) in [
                (line(998), false),
                (line(999), true),
                (line(5_000), true),
                ("x".repeat(998), false),
                ("x".repeat(999), true),
                ("x".repeat(998) + "\r", false),
                ("x".repeat(998) + "\n", false),
                ("x".repeat(999) + "\n", true),
            ] {
                assert_eq!(has_long_line((before.clone() + &raw).as_bytes()), is_long, "{} bytes", raw.len());
                assert_eq!(has_long_line((before.clone() + &raw + "\nend").as_bytes()), is_long, "{} bytes", raw.len());
            }
        }
    }

    #[test]
    fn a_line_end_that_stands_alone_is_found() {
        for (raw, is_bare) in
            [("", false), ("a\r\nb", false), ("\n", true), ("a\r", true), ("\r\r\n", true), ("\r\n\n", true)]
        {
            assert_eq!(has_bare_line_end(raw.as_bytes()), is_bare, "{raw:?}");
        }
    }
}
