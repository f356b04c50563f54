//! Style sheets and `style` attributes: the URLs in them are replaced, everything else stays as it is.

use std::ops::Range;

use cssparser::{ParseError, Parser, ParserInput, ToCss, Token};

use super::TooMuch;

/// Style sheets nest three or four blocks; the stack of the thread must do for what nests more.
const DEPTH_MAX: usize = 32;

/// The functions whose strings are loaded (CSS Values 4 section 4.5, CSS Images 4 section 2).
const LOADING: [&str; 6] = ["url", "src", "image", "image-set", "-webkit-image-set", "cross-fade"];

/// What to do with what is found.
pub(super) struct Rules<'r> {
    /// What to write in place of a URL; `None` leaves it as it is.
    pub(super) url: &'r dyn Fn(&str) -> Option<String>,
    /// Takes out what nobody can read: broken URLs, what nests too deep, comment marks of HTML.
    pub(super) clean: bool,
    /// How long the result may be.
    pub(super) max_bytes: usize,
}

/// Replaces the URLs in `css` by `rules`.
pub(super) fn rewrite(css: &str, rules: &Rules<'_>) -> Result<String, TooMuch> {
    let mut edit = Edit { css, rules, copied: 0, out: String::with_capacity(css.len()) };
    let mut input = ParserInput::new(css);
    edit.block(&mut Parser::new(&mut input), 0, false)?;
    edit.replace(css.len()..css.len(), "")?;
    Ok(edit.out)
}

/// The rewritten text so far, and how much of the original is in it.
struct Edit<'c> {
    css: &'c str,
    rules: &'c Rules<'c>,
    copied: usize,
    out: String,
}

/// What a token asks for.
enum Step {
    Keep,
    Drop,
    /// A URL, and whether it stands there as a bare string.
    Url(String, bool),
    /// A block, and whether strings in it are loaded.
    Block(bool),
}

impl Edit<'_> {
    /// Goes through one block, or the whole text.
    fn block(&mut self, parser: &mut Parser<'_, '_>, depth: usize, loading: bool) -> Result<(), TooMuch> {
        let mut imports = false;
        loop {
            let start = parser.position().byte_index();
            let Ok(token) = parser.next_including_whitespace_and_comments() else { return Ok(()) };
            match token {
                Token::AtKeyword(name) => imports = name.eq_ignore_ascii_case("import"),
                Token::Semicolon | Token::CurlyBracketBlock => imports = false,
                _ => {}
            }
            let step = self.step(token, loading || imports);
            let range = start..parser.position().byte_index();
            match step {
                Step::Keep => {}
                Step::Drop => self.replace(range, "")?,
                Step::Url(url, is_string) => {
                    if let Some(url) = (self.rules.url)(&url) {
                        let quoted = Token::QuotedString(url.into()).to_css_string();
                        self.replace(range, &if is_string { quoted } else { format!("url({quoted})") })?;
                    }
                }
                Step::Block(loading) => self.nested(parser, range, depth + 1, loading)?,
            }
        }
    }

    fn step(&self, token: &Token<'_>, loading: bool) -> Step {
        match token {
            Token::UnquotedUrl(url) => Step::Url(url.to_string(), false),
            Token::QuotedString(url) if loading => Step::Url(url.to_string(), true),
            Token::BadUrl(_) | Token::CDO | Token::CDC if self.rules.clean => Step::Drop,
            Token::Function(name) => Step::Block(LOADING.iter().any(|loads| name.eq_ignore_ascii_case(loads))),
            Token::ParenthesisBlock | Token::SquareBracketBlock | Token::CurlyBracketBlock => Step::Block(false),
            _ => Step::Keep,
        }
    }

    fn nested(
        &mut self,
        parser: &mut Parser<'_, '_>,
        opening: Range<usize>,
        depth: usize,
        loading: bool,
    ) -> Result<(), TooMuch> {
        let mut done = Ok(());
        let is_too_deep = depth > DEPTH_MAX;
        // The parser skips what the closure leaves of the block.
        let _: Result<(), ParseError<'_, ()>> = parser.parse_nested_block(|block| {
            if !is_too_deep {
                done = self.block(block, depth, loading);
            }
            Ok(())
        });
        if is_too_deep && self.rules.clean {
            self.replace(opening.start..parser.position().byte_index(), "")?;
        }
        done
    }

    fn replace(&mut self, range: Range<usize>, with: &str) -> Result<(), TooMuch> {
        self.out.push_str(&self.css[self.copied..range.start]);
        self.out.push_str(with);
        self.copied = range.end;
        if self.out.len() > self.rules.max_bytes { Err(TooMuch) } else { Ok(()) }
    }
}

/// `css` without anything that an HTML parser could take for a tag, in whatever state that is. The escape means the same
/// in strings and names, which is where such a thing stands; only a media query such as `(300px<width)`, without spaces,
/// is lost.
pub(super) fn without_tags(css: &str) -> String {
    let mut out = String::with_capacity(css.len());
    let mut pieces = css.split('<');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let opens = piece.starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c));
        out.push_str(if opens { "\\3c " } else { "<" });
        out.push_str(piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(css: &str) -> String {
        let url = |url: &str| Some(if url == "cid:a" { "/a".to_owned() } else { "X".to_owned() });
        rewrite(css, &Rules { url: &url, clean: true, max_bytes: 10_000 }).unwrap()
    }

    #[test]
    fn urls_are_found_however_they_are_written() {
        for (css, rewritten) in [
            ("a{background:url(http://e/)}", "a{background:url(\"X\")}"),
            ("a{background:url( 'http://e/' )}", "a{background:url( \"X\" )}"),
            ("a{background:URL(cid:a)}", "a{background:url(\"/a\")}"),
            ("a{background:\\75\\72\\6c(http://e/)}", "a{background:url(\"X\")}"),
            ("a{background:u\\72l('http://e/')}", "a{background:u\\72l(\"X\")}"),
            ("@import 'http://e/';b{}", "@import \"X\";b{}"),
            ("@IMPORT url(http://e/) print;", "@IMPORT url(\"X\") print;"),
            ("@\\69mport \"//e/\"", "@\\69mport \"X\""),
            (
                "a{background:image-set('http://e/' 1x, url(//e) 2x)}",
                "a{background:image-set(\"X\" 1x, url(\"X\") 2x)}",
            ),
            ("a{background:-webkit-image-set(\"http://e/\" 1x)}", "a{background:-webkit-image-set(\"X\" 1x)}"),
            ("a{background:src(\"http://e/\")}", "a{background:src(\"X\")}"),
            ("@font-face{src:url(//e) format('woff')}", "@font-face{src:url(\"X\") format('woff')}"),
            ("@media x{a{--v:url(//e)}}", "@media x{a{--v:url(\"X\")}}"),
            ("a{background:url(//e", "a{background:url(\"X\")"),
            ("a{background:url('//e", "a{background:url(\"X\""),
            ("background:url(a b)", "background:"),
            ("/* url(//e) */ a{content:'url(//e)'}", "/* url(//e) */ a{content:'url(//e)'}"),
            ("<!-- a{color:red} -->", " a{color:red} "),
        ] {
            assert_eq!(clean(css), rewritten);
        }
    }

    #[test]
    fn what_is_no_url_stays_as_it_is() {
        let css = "@charset 'x';\n/* a */ .b:not(.c)>d[e='f'] { color: RED !important; width: calc(1px + (2 * 3em)) }\n\
                   @media (max-width:600px) and (width<=3px) { .g\\:h { content: \"\\201c\" } ";
        assert_eq!(clean(css), css);
    }

    #[test]
    fn without_cleaning_only_urls_change() {
        let url = |url: &str| (url == "cid:a").then(|| "/a".to_owned());
        let rules = Rules { url: &url, clean: false, max_bytes: 10_000 };
        let css = "<!-- a{b:url(http://e/) url(c d) url(cid:a)} -->";
        assert_eq!(rewrite(css, &rules).unwrap(), css.replace("url(cid:a)", "url(\"/a\")"));
        let deep = "(".repeat(100) + "url(cid:a)";
        assert_eq!(rewrite(&deep, &rules).unwrap(), deep);
    }

    #[test]
    fn depth_and_growth_are_bounded() {
        let deep = clean(&("(".repeat(200_000) + "url(//e)"));
        assert_eq!(deep, "(".repeat(DEPTH_MAX));
        let url = |_: &str| Some("x".repeat(100));
        let rules = Rules { url: &url, clean: true, max_bytes: 1000 };
        assert!(rewrite(&"url(a)".repeat(20), &rules).is_err());
    }

    #[test]
    fn no_tag_is_left() {
        assert_eq!(without_tags("a{content:'</style><b <!x'}"), "a{content:'\\3c /style>\\3c b \\3c !x'}");
        assert_eq!(without_tags("(1px <= width) and (2px<3px)<"), "(1px <= width) and (2px<3px)<");
    }
}
