//! How far a web address goes in a plain text. Many senders write into one what should be encoded: letters that are not
//! ASCII, braces. Half an address is a wrong one, and in scripts that do without blanks the sentence goes on right behind it.

/// No word is so long and has a digit in it.
const TOKEN_MIN: usize = 16;

/// The beginning of a text that is an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) end: usize,
    /// Whether it surely does not go on.
    pub(super) is_whole: bool,
}

impl Extent {
    /// Of the address that `text` begins with; `is_bracketed` says whether an angle bracket stands before it.
    pub(super) fn of(text: &str, is_bracketed: bool) -> Self {
        let ends_at = |end: usize| Self { end, is_whole: true };
        let (mut braces, mut has_query, mut known) = (0_usize, false, 0);
        for (at, c) in text.char_indices() {
            let behind = &text[at + c.len_utf8()..];
            match c {
                _ if at < known => {}
                '?' => has_query = true,
                '{' if behind.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '{') => braces += 1,
                '}' if braces > 0 => braces -= 1,
                '^' if behind.starts_with(|c: char| c.is_ascii_alphanumeric()) => {}
                // Elsewhere it stands between an address and something else.
                '|' if has_query && !is_bracketed && stands_in_value(&text[..at], behind) => {}
                '|' if has_query && !is_bracketed && !begins_address(behind) => match parameter(behind, true) {
                    Some(length) => known = at + 1 + length,
                    None => return ends_at(at),
                },
                '<' | '>' | '"' | '`' | '{' | '}' | '|' | '\\' | '^' => return ends_at(at),
                c if c.is_ascii_graphic() => {}
                c if c.is_ascii() || c.is_whitespace() => return ends_at(at),
                c if is_letter(c) || is_mark(&text[..at], behind) => {}
                _ => match parameter(&text[at..], has_query) {
                    // What stands in between is not looked at again.
                    Some(length) => known = at + length,
                    None => return Self { end: at, is_whole: has_query || !is_in_path(&text[at..]) },
                },
            }
        }
        ends_at(text.len())
    }
}

/// A letter of a script that parts words by blanks, or a mark on one.
pub(super) fn is_letter(c: char) -> bool {
    !c.is_ascii() && (c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}')) && !is_run_together(c)
}

/// The scripts that do without blanks, or put endings right behind foreign words, and their punctuation: those of South East
/// Asia, China, Japan and Korea.
const fn is_run_together(c: char) -> bool {
    matches!(
        c,
        '\u{e00}'..='\u{109f}'
            | '\u{1100}'..='\u{11ff}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{2e80}'..='\u{a4cf}'
            | '\u{a960}'..='\u{a97f}'
            | '\u{ac00}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{fe30}'..='\u{fe4f}'
            | '\u{ff00}'..='\u{ffef}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

/// Whether what stands between these is a sign within a word, as many scripts of India have them.
fn is_mark(before: &str, behind: &str) -> bool {
    let is_of_india = |c: char| matches!(c, '\u{900}'..='\u{dff}') && c.is_alphanumeric();
    before.ends_with(is_of_india) && behind.starts_with(is_of_india)
}

/// Whether a bar between these is one of a value: between numbers, or between the number of a token and its long random text,
/// as some frameworks write it.
fn stands_in_value(before: &str, behind: &str) -> bool {
    let token = &behind[..behind.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(behind.len())];
    let is_random = token.len() >= TOKEN_MIN && token.contains(|c: char| c.is_ascii_digit());
    before.ends_with(|c: char| c.is_ascii_digit()) && (is_random || token.starts_with(|c: char| c.is_ascii_digit()))
}

fn begins_address(text: &str) -> bool {
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    begins("http://") || begins("https://")
}

/// How far it is to the next parameter of the same address, `&name=`, or to the first one, `?name=`: no sentence looks so.
fn parameter(text: &str, has_query: bool) -> Option<usize> {
    let is_end = |c: char| {
        c.is_whitespace() || matches!(c, '<' | '>' | '"' | '`' | ':') || is_run_together(c) && !c.is_alphanumeric()
    };
    let stretch = &text[..text.find(is_end).unwrap_or(text.len())];
    stretch.match_indices(['&', '?']).find_map(|(at, mark)| {
        let behind = &stretch[at + 1..];
        let name = behind.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.' | '[' | ']'))?;
        let is_named = name > 0 && behind[name..].starts_with('=');
        (is_named && has_query == (mark == "&")).then_some(at)
    })
}

/// Whether letters that a text begins with stand in the middle of a host or of a path.
fn is_in_path(text: &str) -> bool {
    let behind = text.trim_start_matches(|c: char| !c.is_ascii() && c.is_alphanumeric());
    let rest = behind.strip_prefix(['/', '.', '%', '-', '_']);
    behind.len() < text.len() && rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_goes_on_as_far_as_it_surely_does() {
        for (address, behind) in [
            ("https://example.com/confirm?name=Jürgen&token=abc12345", " now"),
            ("https://example.com/konto/bestätigen?token=abc12345", ""),
            ("https://exämple.com/confirm?token=abc12345", "\n"),
            ("https://exa\u{308}mple.com/", " "),
            ("https://почта.рф/подтвердить?код=1", " "),
            ("https://हिन्दी.भारत/a", " "),
            ("https://example.com/c?filter={a}&token=abc12345", " "),
            ("https://example.com/{{path}}/c", " "),
            ("https://example.com/c?ids=1|2&token=x", " "),
            ("https://example.com/c?price=20€&token=x", " "),
            ("https://example.com/c?q=a^b&token=x", "^"),
            ("https://example.com/确认?token=abc", "。"),
            ("https://example.com/c?name=山田-太郎&token=abc", "をクリック"),
            ("https://example.com/c?token=abc12345", "をクリック"),
            ("https://example.com/c?token=abc12345", "，然后访问https://example.com/?a=b&c=d"),
            ("https://example.com/c?token=abc12345", "을 눌러"),
            ("https://example.com/c?token=abc12345", "”"),
            ("https://example.com/c", "{ }"),
            ("https://example.com/c", "}"),
            ("https://example.com/c", "|Confirm"),
            ("https://example.com/c?ids=a|b|c&token=x", "|Confirm"),
            ("https://example.com/c?ids=1|2", "|Confirm"),
            ("https://example.com/c?token=12|AbCdEfGhIjKlMn0pQrSt", " now"),
            ("https://example.com/c?id=12", "|Unsubscribenewsletter"),
            ("https://example.com/c?token=abc", "|Confirm"),
            ("https://example.com/c?token=abc1", "|Confirm your address"),
            ("https://example.com/c?t=1", "|https://example.com/d"),
            ("https://example.com/c?t=1", "|https://example.com/d?e=f&g=h"),
            ("https://example.com", "へ"),
        ] {
            let text = format!("{address}{behind}");
            assert_eq!(Extent::of(&text, false), Extent { end: address.len(), is_whole: true }, "{text}");
        }
    }

    #[test]
    fn what_may_be_half_an_address_is_not_whole() {
        for text in ["https://www.例え.jp/confirm", "https://example.com/確認/done", "https://example.com/a/確認-2"]
        {
            assert!(!Extent::of(text, false).is_whole, "{text}");
        }
    }
}
