//! What an inline style says about the text that it is for.

/// A text of this many pixels is made to be seen: bodies of mails are set in 13 to 18.
const LARGE_PX: f32 = 20.0;

/// The declarations that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Style {
    /// Nothing of it is shown, whatever stands in it.
    pub(super) is_hidden: bool,
    /// The size of the letters in pixels.
    pub(super) size_px: Option<f32>,
    /// Bold or spaced letters.
    pub(super) is_strong: bool,
    /// It has a background of its own.
    pub(super) is_filled: bool,
    /// It is at most one pixel wide or high.
    pub(super) is_dot: bool,
}

impl Style {
    /// Reads a `style` attribute.
    pub(super) fn read(declarations: &str) -> Self {
        let mut style = Self::default();
        for (property, value) in declarations.split(';').filter_map(|declaration| declaration.split_once(':')) {
            style.declare(property.trim(), value.trim());
        }
        style
    }

    /// Whether the letters are large.
    pub(super) fn is_large(&self) -> bool {
        self.size_px.is_some_and(|size| size >= LARGE_PX)
    }

    fn declare(&mut self, property: &str, value: &str) {
        let is = |name: &str| property.eq_ignore_ascii_case(name);
        let begins = |word: &str| value.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if is("font-size") {
            self.size_px = pixels(value).or(self.size_px);
        } else if is("font") {
            let mut words = value.split([' ', '/']);
            self.is_strong |= words.any(is_bold);
            self.size_px = value.split([' ', '/']).find_map(length).or(self.size_px);
        } else if is("font-weight") {
            self.is_strong |= is_bold(value);
        } else if is("letter-spacing") {
            self.is_strong |= pixels(value).is_some_and(|spacing| spacing > 0.0);
        } else if is("display") {
            self.is_hidden |= begins("none");
        } else if is("visibility") {
            self.is_hidden |= begins("hidden");
        } else if is("mso-hide") {
            self.is_hidden |= begins("all");
        } else if is("opacity") || is("max-height") {
            self.is_hidden |= pixels(value) == Some(0.0);
        } else if is("background") || is("background-color") {
            self.is_filled = !["none", "transparent", "#fff", "white", "inherit"].iter().any(|plain| begins(plain));
        } else if is("width") || is("height") {
            self.is_dot |= pixels(value).is_some_and(|size| size <= 1.0);
        }
    }
}

fn is_bold(word: &str) -> bool {
    matches!(word, "600" | "700" | "800" | "900") || word.eq_ignore_ascii_case("bold")
}

/// A length with a unit.
fn length(word: &str) -> Option<f32> {
    word.ends_with(|c: char| c.is_ascii_alphabetic()).then(|| pixels(word)).flatten()
}

/// A length in pixels; that of a font, where it matters, is taken for 16.
fn pixels(value: &str) -> Option<f32> {
    let digits = value.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let number: f32 = value[..digits].parse().ok()?;
    let unit = value[digits..].trim_start();
    let factor = match unit.get(..2).unwrap_or_default() {
        "em" | "re" | "EM" => 16.0,
        "pt" | "PT" => 4.0 / 3.0,
        _ if unit.starts_with('%') => 0.16,
        _ => 1.0,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_read_and_the_rest_is_passed_over() {
        for (text, expected) in [
            ("", Style::default()),
            ("color:red;margin:0", Style::default()),
            ("DISPLAY : None", Style { is_hidden: true, ..Style::default() }),
            ("max-height:0;overflow:hidden", Style { is_hidden: true, ..Style::default() }),
            ("opacity:0.5; max-height: 40px", Style::default()),
            ("font-size:0.9em", Style { size_px: Some(14.4), ..Style::default() }),
            ("font-size: 0px", Style { size_px: Some(0.0), ..Style::default() }),
            ("font:700 28px/1.2 Menlo", Style { size_px: Some(28.0), is_strong: true, ..Style::default() }),
            ("letter-spacing:.3em", Style { is_strong: true, ..Style::default() }),
            ("letter-spacing: normal; font-weight:400", Style::default()),
            ("background-color:#06c", Style { is_filled: true, ..Style::default() }),
            ("background:#FFF", Style::default()),
            ("width:1px", Style { is_dot: true, ..Style::default() }),
            ("ä:ö;font-size:ü;width:", Style::default()),
        ] {
            assert_eq!(Style::read(text), expected, "{text}");
        }
    }
}
