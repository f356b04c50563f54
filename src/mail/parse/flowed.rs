//! `format=flowed` (RFC 3676): paragraphs that a sender has broken into lines, put together again.

/// Joins the lines of paragraphs: a line that ends in a space goes on in the next one. Quoted lines keep their breaks, as
/// joined they would lose the marks in front of them.
pub(super) fn unflow(text: &str, del_sp: bool) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut is_open = false;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\r', '\n']);
        if content.starts_with('>') {
            is_open = close(is_open, &mut joined);
            joined.push_str(line);
            continue;
        }
        // RFC 3676 section 4.4: a space in front keeps a line from being taken for something else.
        let content = content.strip_prefix(' ').unwrap_or(content);
        // Section 4.3: the separator of a signature ends in a space, too, and is a line of its own.
        if content == "-- " {
            close(is_open, &mut joined);
        }
        is_open = content.ends_with(' ') && content != "-- ";
        match is_open {
            true if del_sp => joined.push_str(&content[..content.len() - 1]),
            true => joined.push_str(content),
            false => {
                joined.push_str(content);
                joined.push_str(&line[line.trim_end_matches(['\r', '\n']).len()..]);
            }
        }
    }
    joined
}

/// Ends a paragraph that something else follows than its next line; it is not open any more.
fn close(is_open: bool, joined: &mut String) -> bool {
    if is_open {
        joined.push_str("\r\n");
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_joined_and_all_else_is_left() {
        for (flowed, joined) in [
            ("a \r\nb \r\nc\r\n\r\nd\r\n", "a b c\r\n\r\nd\r\n"),
            ("a\r\nb", "a\r\nb"),
            // The space in front is stuffing, and what follows it is text.
            (" >a\r\n  b\r\n From c\r\n", ">a\r\n b\r\nFrom c\r\n"),
            ("> a \r\n> b\r\nc\r\n", "> a \r\n> b\r\nc\r\n"),
            ("a \r\n> b\r\n", "a \r\n> b\r\n"),
            ("a \r\n-- \r\nme\r\n", "a \r\n-- \r\nme\r\n"),
            ("a \nb\n", "a b\n"),
            ("a ", "a "),
            ("", ""),
        ] {
            assert_eq!(unflow(flowed, false), joined, "{flowed:?}");
        }
        assert_eq!(
            unflow("https://example.com/ \r\npath\r\ntwo  \r\nwords", true),
            "https://example.com/path\r\ntwo words"
        );
    }
}
