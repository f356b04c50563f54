//! What a message is about, as far as a program can tell: its one-time codes and its links.

use std::panic::catch_unwind;

use super::message::Content;
use super::page::Page;
use super::{Code, Link, codes, links};

/// Finds the codes and the links of a message whose bodies have been decoded. Never fails and never panics.
pub(super) fn add(content: &mut Content) {
    let Content { subject, text, html, list_unsubscribe, .. } = &*content;
    let subject = subject.as_deref().unwrap_or_default();
    let (text, html) = (text.as_deref().unwrap_or_default(), html.as_deref().unwrap_or_default());
    // Tokens are made by code that is not ours; a panic in it costs these findings and not the message.
    (content.codes, content.links) = catch_unwind(|| find(subject, text, html, list_unsubscribe)).unwrap_or_default();
}

fn find(subject: &str, text: &str, html: &str, list_unsubscribe: &[String]) -> (Vec<Code>, Vec<Link>) {
    let page = Page::read(html);
    (codes::find(subject, text, &page), links::find(subject, &page, text, list_unsubscribe))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Finds what is to be found, and checks what holds for any message.
    fn check(subject: &str, text: &str, html: &str, list_unsubscribe: &str) {
        let (codes, links) = find(subject, text, html, &[list_unsubscribe.to_owned()]);
        assert!(codes.len() <= 5 && links.len() <= 300);
        for code in &codes {
            assert!((4..=28).contains(&code.value.len()) && (50..=100).contains(&code.score), "{code:?}");
            assert!(code.context.chars().count() <= 200, "{code:?}");
        }
        for link in &links {
            assert!(!link.href.is_empty() && link.text.chars().count() <= 200 && link.score <= 100, "{link:?}");
        }
        assert!(codes.is_sorted_by_key(|code| 100 - code.score));
        let hrefs: usize = links.iter().map(|link| link.href.len()).sum();
        assert!(hrefs <= 128 * 1024);
    }

    /// Texts made of what the reading looks for, in any order.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "482913",
            "482 913",
            "4",
            "Your code is ",
            "验证码",
            "Bestätigungscode: ",
            "\n",
            "\r\n\r\n",
            "\t",
            " ",
            "-",
            ".",
            "ß",
            "٤٨٢",
            "\u{200b}",
            "AB12-CD34",
            "XKQTPW",
            "https://a.example/?b=c&d=(e)",
            "<https://a.\n b>",
            "://",
            "http",
            "<p>",
            "<b>",
            "</b>",
            "<td>",
            "</td>",
            "<a href='https://a.example/verify?t=",
            "'>",
            "</a>",
            "<div style='display:none'>",
            "</div>",
            "<img src=x width=1>",
            "<style>@import url(",
            ")",
            "<!--",
            "-->",
            "&nbsp;",
            "&#50;",
            "unsubscribe",
            "confirm ",
            "%",
            "€",
            "é",
            "<pre>",
            "<title>",
            "=\"",
            "ͤ",
            "👍",
            "İ",
        ]);
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_texts_are_read(subject in any::<String>(), text in any::<String>(), html in any::<String>()) {
            check(&subject, &text, &html, &subject);
        }

        #[test]
        fn texts_of_what_matters_are_read(subject in pieces(), text in pieces(), html in pieces()) {
            check(&subject, &text, &html, &text);
        }
    }

    #[test]
    fn a_long_text_of_anything_is_read_in_the_end() {
        for piece in [
            "code 482913 ",
            "4 ",
            "482913\n",
            "code ",
            "https://a.example/",
            "<https://a.example/ ",
            "https://a.example/)))",
            "a-1-",
            "<a href=https://a.example/verify>482 913</a>",
            "XKQTPW ",
            "ABC ",
            "AB1 ",
            "123 ",
            "验证码",
            "\t4",
            "http://",
            "<p>482913",
            "confirm ",
        ] {
            let long = piece.repeat((300 << 10) / piece.len());
            check("", &long, &long, &long);
            check(&long, "", "", "");
        }
    }
}
