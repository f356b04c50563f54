//! Runs of digits and letters, and the words that they make up with what stands between them.

use std::ops::Range;

/// Protects the memory: the text of a mail has a few hundred words.
const ATOMS_MAX: usize = 50_000;

/// Digits that are not ASCII, each script by its zero; the others follow it.
const ZEROS: [char; 18] = ['٠', '۰', '०', '০', '੦', '૦', '୦', '௦', '౦', '೦', '൦', '๐', '໐', '༠', '၀', '០', '᠐', '０'];

/// A maximal run of digits, of any script, and Latin letters. Characters without width do not end it.
#[derive(Clone, Debug)]
pub(super) struct Atom {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) digits: usize,
    pub(super) uppers: usize,
    pub(super) lowers: usize,
}

/// What stands between two atoms that are close to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    Space,
    Dash,
    /// A dot, a comma, a colon, a slash: such atoms are parts of a date, a price, a version, a path.
    Point,
}

/// Atoms with no white space between them.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) atoms: Range<usize>,
    /// Whether nothing but dashes joins its atoms.
    pub(super) is_plain: bool,
    /// Whether a single space parts it from the next one.
    pub(super) goes_on: bool,
}

impl Atom {
    pub(super) const fn len(&self) -> usize {
        self.digits + self.uppers + self.lowers
    }

    pub(super) const fn is_digits(&self) -> bool {
        self.uppers + self.lowers == 0
    }

    pub(super) const fn is_letters(&self) -> bool {
        self.digits == 0
    }

    const fn begins_at(at: usize) -> Self {
        Self { start: at, end: at, digits: 0, uppers: 0, lowers: 0 }
    }
}

/// The atoms of `text`, but for those of web addresses.
pub(super) fn atoms(text: &str) -> Vec<Atom> {
    let mut atoms = Vec::new();
    let mut open: Option<Atom> = None;
    let mut skip_to = 0;
    for (at, c) in text.char_indices() {
        if at < skip_to {
            continue;
        }
        let count = match c {
            '0'..='9' => |atom: &mut Atom| atom.digits += 1,
            'A'..='Z' => |atom: &mut Atom| atom.uppers += 1,
            'a'..='z' => |atom: &mut Atom| atom.lowers += 1,
            c if !c.is_ascii() && is_ignorable(c) => continue,
            c if !c.is_ascii() && ascii(c).is_some_and(|c| c.is_ascii_digit()) => |atom: &mut Atom| atom.digits += 1,
            'Ａ'..='Ｚ' => |atom: &mut Atom| atom.uppers += 1,
            'ａ'..='ｚ' => |atom: &mut Atom| atom.lowers += 1,
            c => {
                let Some(atom) = open.take() else { continue };
                if c == ':' && is_scheme(&text[atom.start..atom.end]) && text[at..].starts_with("://") {
                    skip_to = at + address_len(&text[at..]);
                } else {
                    atoms.push(atom);
                }
                if atoms.len() == ATOMS_MAX {
                    return atoms;
                }
                continue;
            }
        };
        let atom = open.get_or_insert_with(|| Atom::begins_at(at));
        atom.end = at + c.len_utf8();
        count(atom);
    }
    atoms.extend(open);
    atoms
}

/// The words that `atoms` of `text` make up.
pub(super) fn words(text: &str, atoms: &[Atom]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut start = 0;
    let mut is_plain = true;
    for place in 0..atoms.len() {
        let joint = atoms.get(place + 1).and_then(|next| joint(text, &atoms[place], next));
        match joint {
            Some(Joint::Dash) => {}
            Some(Joint::Point) => is_plain = false,
            joint => {
                let goes_on = joint == Some(Joint::Space);
                words.push(Word { atoms: start..place + 1, is_plain, goes_on });
                (start, is_plain) = (place + 1, true);
            }
        }
    }
    words
}

fn joint(text: &str, atom: &Atom, next: &Atom) -> Option<Joint> {
    let mut between = text[atom.end..next.start].chars().filter(|c| !is_ignorable(*c));
    let (joint, None) = (between.next()?, between.next()) else { return None };
    match joint {
        ' ' | '\u{a0}' | '\u{2007}' | '\u{2009}' | '\u{202f}' => Some(Joint::Space),
        '-' | '\u{2010}'..='\u{2013}' | '\u{2212}' => Some(Joint::Dash),
        // `code:482913`, and a sentence that ends without a space behind it.
        ':' | ',' | '.' if atom.is_letters() != next.is_letters() && next.len() > 3 && atom.len() > 1 => None,
        '.' | ',' | ':' | '/' | '\\' | '_' | '@' | '=' | '&' | '%' | '+' | '\'' | '’' | '٫' | '٬' => {
            Some(Joint::Point)
        }
        _ => None,
    }
}

/// The ASCII digit or letter that a character stands for.
pub(super) fn ascii(c: char) -> Option<char> {
    if c.is_ascii_alphanumeric() {
        return Some(c);
    }
    let zero = ZEROS.iter().find(|zero| (**zero..=char::from_u32(**zero as u32 + 9).unwrap_or(**zero)).contains(&c));
    if let Some(zero) = zero {
        return char::from_digit(c as u32 - *zero as u32, 10);
    }
    match c {
        'Ａ'..='Ｚ' | 'ａ'..='ｚ' => char::from_u32(c as u32 - 'Ａ' as u32 + 'A' as u32),
        _ => None,
    }
}

/// Characters without width, which some senders put between the digits.
pub(super) const fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn is_scheme(text: &str) -> bool {
    text.eq_ignore_ascii_case("http") || text.eq_ignore_ascii_case("https")
}

/// How much of `text` a web address can take up.
fn address_len(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_graphic() || matches!(c, '<' | '>' | '"')).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_apart(text: &str) -> Vec<String> {
        let atoms = atoms(text);
        let written = |word: &Word| {
            let texts: Vec<_> = atoms[word.atoms.clone()].iter().map(|atom| &text[atom.start..atom.end]).collect();
            texts.join(if word.is_plain { "-" } else { "!" })
        };
        words(text, &atoms).iter().map(written).collect()
    }

    #[test]
    fn a_text_is_taken_apart() {
        for (text, expected) in [
            ("482 913", &["482", "913"][..]),
            ("AB12-CD34.", &["AB12-CD34"]),
            ("1.2,3 19/11/2026 09:41", &["1!2!3", "19!11!2026", "09!41"]),
            ("code:482913.Next", &["code", "482913", "Next"]),
            ("https://a.example/482913?x=1)验证码482913", &["482913"]),
            ("a@b.example", &["a!b!example"]),
            ("4\u{200b}8\u{200b}2", &["4\u{200b}8\u{200b}2"]),
            ("٤٨٢ ４８", &["٤٨٢", "４８"]),
            ("https:", &["https"]),
        ] {
            assert_eq!(taken_apart(text), expected, "{text}");
        }
    }

    #[test]
    fn digits_of_all_scripts_are_ascii() {
        let read = |text: &str| text.chars().filter_map(ascii).collect::<String>();
        assert_eq!(read("٤٨٢ ۴۸۲ ४८२ ๔๘๒ ４８２Ａｂ é中"), "482482482482482Ab");
    }
}
