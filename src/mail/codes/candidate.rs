//! What could be a one-time code by its look alone, and how much it looks like one.

use super::atom::{Atom, Word, ascii, atoms, is_ignorable, words};
use super::words::is_cased;

/// Protects the time: each candidate is looked at with what stands around it.
const CANDIDATES_MAX: usize = 300;

/// Groups of digits that people read as one number; the lengths of the groups.
const GROUPS: [&[usize]; 8] =
    [&[3, 3], &[4, 4], &[3, 4], &[2, 2, 2], &[2, 3, 3], &[3, 3, 2], &[3, 2, 3], &[2, 2, 2, 2]];

/// A part of a text that could be a code.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Digits in ASCII, without spaces and dashes if it is all digits.
    pub(super) value: String,
    /// How much it looks like a code.
    pub(super) points: i32,
    /// How much it looks like something that everybody writes: a year, a round number.
    pub(super) doubt: i32,
    /// It is all letters: a code only where a code is announced.
    pub(super) is_letters: bool,
}

/// All candidates of `text` in order.
pub(super) fn find(text: &str) -> Vec<Candidate> {
    let atoms = atoms(text);
    if !atoms.iter().any(|atom| atom.digits > 0 || atom.uppers > 2 || atom.lowers > 2) {
        return Vec::new();
    }
    let words = words(text, &atoms);
    let mut search = Search { text, atoms: &atoms, words: &words, found: Vec::new(), no_groups_before: 0 };
    let mut place = 0;
    while place < words.len() && search.found.len() < CANDIDATES_MAX {
        place = search.step(place);
    }
    search.found
}

struct Search<'a> {
    text: &'a str,
    atoms: &'a [Atom],
    words: &'a [Word],
    found: Vec<Candidate>,
    /// Words before this one are in a run of groups that is no code, and so is every end of that run: it is not walked
    /// through again for each of them.
    no_groups_before: usize,
}

impl<'a> Search<'a> {
    /// Looks at the word at `place` and those that belong to it; returns the place of the next one.
    fn step(&mut self, place: usize) -> usize {
        if let Some(end) = self.single_characters(place) {
            return end;
        }
        if let Some(end) = self.groups(place) {
            return end;
        }
        if self.digits(place).is_none() {
            self.mixed(place);
            return place + 1;
        }
        let mut end = place + 1;
        while self.words[end - 1].goes_on && end < self.words.len() && self.digits(end).is_some() {
            end += 1;
        }
        self.numbers(place, end);
        end
    }

    /// The atoms of a word.
    fn parts(&self, place: usize) -> &'a [Atom] {
        &self.atoms[self.words[place].atoms.clone()]
    }

    /// The number of digits of a word that is nothing else.
    fn digits(&self, place: usize) -> Option<usize> {
        match self.parts(place) {
            [atom] if atom.is_digits() => Some(atom.digits),
            _ => None,
        }
    }

    /// Digits or capitals that stand alone, as in a table with a cell for each.
    fn single_characters(&mut self, place: usize) -> Option<usize> {
        let is_single = |word: &Word| match &self.atoms[word.atoms.clone()] {
            [atom] => atom.len() == 1 && atom.lowers == 0,
            _ => false,
        };
        let first = self.words[place].atoms.start;
        // A word of single characters and dashes is one of these too.
        let parts = self.parts(place);
        if parts.len() > 3 && self.words[place].is_plain && parts.iter().all(|atom| atom.len() == 1 && atom.lowers == 0)
        {
            self.add_single(first, self.words[place].atoms.end);
            return Some(place + 1);
        }
        let mut end = place;
        while end < self.words.len() && is_single(&self.words[end]) && (end == place || self.is_gap(end - 1)) {
            end += 1;
        }
        if end < place + 4 {
            return None;
        }
        self.add_single(first, self.words[end - 1].atoms.end);
        Some(end)
    }

    /// Capitals and digits in two to four groups of the same length, parted by spaces: `AB12 CD34`. In more groups it is
    /// the number of an account.
    fn groups(&mut self, place: usize) -> Option<usize> {
        let group = |place: usize| match self.parts(place) {
            [atom] if atom.lowers == 0 && (3..=5).contains(&atom.len()) => Some(atom),
            _ => None,
        };
        let first = group(place)?;
        if place < self.no_groups_before {
            return None;
        }
        let mut end = place + 1;
        while end < self.words.len()
            && self.words[end - 1].goes_on
            && group(end).is_some_and(|atom| atom.len() == first.len())
        {
            end += 1;
        }
        let atoms: Vec<&Atom> = (place..end).filter_map(group).collect();
        let with_letters = atoms.iter().filter(|atom| !atom.is_digits()).count();
        let with_digits = atoms.iter().filter(|atom| !atom.is_letters()).count();
        if with_letters < 2 || with_digits == 0 || atoms.len() < 2 {
            self.no_groups_before = end;
            return None;
        }
        let last = *atoms.last()?;
        if atoms.len() <= 4 {
            self.add(first, last, false, 20);
        }
        Some(end)
    }

    fn add_single(&mut self, first: usize, end: usize) {
        let atoms = &self.atoms[first..end];
        let digits = atoms.iter().filter(|atom| atom.is_digits()).count();
        if (4..=10).contains(&atoms.len()) && digits > 0 {
            self.add(&atoms[0], &atoms[atoms.len() - 1], true, length_points(atoms.len()) + 14);
        }
    }

    /// Whether what stands behind a word could part single characters of one code.
    fn is_gap(&self, place: usize) -> bool {
        let (Some(left), Some(right)) =
            (self.parts(place).last(), self.words.get(place + 1).and_then(|word| self.atoms.get(word.atoms.start)))
        else {
            return false;
        };
        let gap = &self.text[left.end..right.start];
        gap.len() <= 8
            && gap.chars().all(|c| c.is_whitespace() || is_ignorable(c) || matches!(c, '|' | '·' | '•' | '-'))
    }

    /// Numbers that are parted by single spaces.
    fn numbers(&mut self, place: usize, end: usize) {
        let lengths: Vec<usize> = (place..end).filter_map(|place| self.digits(place)).collect();
        let (first, last) = (&self.parts(place)[0], &self.parts(end - 1)[0]);
        if lengths.len() > 1 && GROUPS.contains(&&*lengths) {
            // In front of it `+` or `(`: a telephone number.
            if !self.text[..first.start].trim_end().ends_with(['+', '(', ')']) {
                self.add(first, last, true, length_points(lengths.iter().sum()) + 2);
            }
            return;
        }
        let is_list = lengths.iter().all(|length| *length >= 6 && *length == lengths[0]);
        if lengths.len() > 2 && !is_list || self.text[..first.start].ends_with('+') {
            return;
        }
        let crowd = if lengths.len() == 1 || is_list { 0 } else { -15 };
        for place in place..end {
            let atom = &self.parts(place)[0];
            if (4..=10).contains(&atom.digits) {
                self.add(atom, atom, true, length_points(atom.digits) + crowd);
            }
        }
    }

    /// A word with letters or dashes.
    fn mixed(&mut self, place: usize) {
        let atoms = self.parts(place);
        let (Some(first), Some(last)) = (atoms.first(), atoms.last()) else { return };
        if !self.words[place].is_plain {
            return;
        }
        if atoms.iter().all(Atom::is_digits) {
            let lengths: Vec<usize> = atoms.iter().map(|atom| atom.digits).collect();
            let is_date = lengths == [2, 2, 2] && could_be_date(&self.value(first, last));
            if GROUPS.contains(&&*lengths) && lengths != [3, 4] && !is_date {
                self.add(first, last, true, length_points(lengths.iter().sum()) + 2);
            }
            return;
        }
        let points = if let [atom] = atoms {
            single_points(atom, &self.text[atom.start..atom.end])
        } else {
            group_points(atoms)
        };
        if let Some(points) = points {
            self.add(first, last, false, points);
            if let Some(candidate) = self.found.last_mut().filter(|found| found.start == first.start) {
                candidate.is_letters = atoms.iter().all(Atom::is_letters);
            }
        }
    }

    fn value(&self, first: &Atom, last: &Atom) -> String {
        self.text[first.start..last.end].chars().filter_map(ascii).collect()
    }

    fn add(&mut self, first: &Atom, last: &Atom, is_joined: bool, points: i32) {
        let (start, end) = (first.start, last.end);
        if is_part_of_more(&self.text[..start], &self.text[end..]) {
            return;
        }
        let value = if is_joined {
            self.value(first, last)
        } else {
            let written = self.text[start..end].chars().filter(|c| !is_ignorable(*c));
            let joint = |c: char| if c.is_whitespace() { ' ' } else { '-' };
            written.map(|c| ascii(c).unwrap_or_else(|| joint(c))).collect()
        };
        let is_year = value.len() == 4 && matches!(&value[..2], "19" | "20");
        let is_round = is_joined && value.ends_with("000");
        let doubt = if is_year { 30 } else { 0 } + if is_round { 20 } else { 0 };
        self.found.push(Candidate { start, end, value, points, doubt, is_letters: false });
    }
}

/// Whether what touches a candidate makes it a part of something else: a colour, a handle, a path, a price, a longer word.
fn is_part_of_more(before: &str, behind: &str) -> bool {
    let before = before.chars().next_back().unwrap_or(' ');
    let mut behind = behind.chars();
    let (next, after) = (behind.next().unwrap_or(' '), behind.next().unwrap_or(' '));
    matches!(
        before,
        '#' | '@'
            | '/'
            | '\\'
            | '='
            | '_'
            | '&'
            | '.'
            | ','
            | '+'
            | '-'
            | '%'
            | '$'
            | '€'
            | '£'
            | '¥'
            | '￥'
            | '₹'
            | '₩'
            | '₽'
            | '№'
    ) || matches!(next, '@' | '_' | '=' | '%' | '/' | '\\' | '€' | '$' | '£' | '°' | '元' | '円' | '원')
        || (matches!(next, '-' | ',' | '.') && after.is_alphanumeric() && after.is_ascii())
        || is_cased(before)
        || is_cased(next)
}

/// Six digits are what most senders take.
const fn length_points(digits: usize) -> i32 {
    match digits {
        6 => 30,
        8 => 24,
        5 | 7 => 22,
        4 => 18,
        _ => 5,
    }
}

/// Whether six digits could be a day, a month and a year in some order.
fn could_be_date(digits: &str) -> bool {
    let part = |at: usize| digits.get(at..at + 2).and_then(|part| part.parse::<u32>().ok()).unwrap_or(99);
    let (a, b, c) = (part(0), part(2), part(4));
    (a <= 31 && b <= 12 || a <= 12 && b <= 31) && (19..=39).contains(&c)
        || ((19..=39).contains(&a) && b <= 12 && c <= 31)
}

/// Letters and digits without a dash.
fn single_points(atom: &Atom, text: &str) -> Option<i32> {
    if atom.is_letters() {
        let vowels = text.bytes().filter(|byte| b"AEIOU".contains(byte)).count();
        // Words have vowels; codes mostly leave them out, so that they are no words.
        let points = if vowels * 4 <= atom.uppers { 10 } else { 4 };
        return (atom.lowers == 0 && (5..=8).contains(&atom.uppers)).then_some(points);
    }
    if !(4..=10).contains(&atom.len()) || text.starts_with("0x") {
        return None;
    }
    let letters_first = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let digits_first = text.bytes().take_while(u8::is_ascii_digit).count();
    let is_two_parts = letters_first == atom.uppers + atom.lowers || digits_first == atom.digits;
    match (atom.uppers, atom.lowers) {
        // 250ml, 24hours, 10MB
        (uppers, lowers) if digits_first == atom.digits && (lowers > 0 || uppers <= 2) => None,
        // Covid19, version2, iPhone15
        (_, 1..) if is_two_parts && atom.digits <= 4 && letters_first > 2 => None,
        // AE1482, XX4477: flights, cards, products
        (_, 0) if is_two_parts && letters_first <= 3 => Some(8),
        (_, 0) if (5..=8).contains(&atom.len()) => Some(26),
        (_, 0) => Some(14),
        (0, _) if (5..=8).contains(&atom.len()) => Some(14),
        (0, _) => Some(6),
        (_, _) => Some(8),
    }
}

/// Letters and digits in groups parted by dashes.
fn group_points(atoms: &[Atom]) -> Option<i32> {
    let total: usize = atoms.iter().map(Atom::len).sum();
    let is_even = atoms.iter().all(|atom| atom.len() == atoms[0].len());
    let lowers: usize = atoms.iter().map(|atom| atom.lowers).sum();
    let uppers: usize = atoms.iter().map(|atom| atom.uppers).sum();
    if !(5..=24).contains(&total) || atoms.len() > 4 || lowers > 0 && uppers > 0 {
        return None;
    }
    if atoms.iter().all(Atom::is_letters) {
        let is_words = lowers > 0 && atoms.len() >= 3 && atoms.iter().all(|atom| (3..=8).contains(&atom.len()));
        let is_code = lowers == 0 && is_even && (3..=4).contains(&atoms[0].len());
        return if is_code { Some(18) } else { is_words.then_some(10) };
    }
    match atoms {
        // G-482913
        [prefix, number] if prefix.len() == 1 && prefix.uppers == 1 && number.is_digits() && number.len() > 3 => {
            return Some(length_points(number.len()));
        }
        // INV-204418
        [prefix, number] if prefix.uppers == prefix.len() && number.is_digits() && !is_even => {
            return Some(match prefix.len() {
                2 if number.len() > 4 => 20,
                3 if number.len() > 4 => 16,
                _ => 10,
            });
        }
        _ => {}
    }
    // 3-pack, covid-19
    let has_plain_word = atoms.iter().any(|atom| atom.is_letters() && atom.lowers > 0);
    match (is_even && atoms[0].len() >= 3, has_plain_word) {
        (false, true) => None,
        (true, _) if lowers == 0 => Some(26),
        (true, _) => Some(20),
        (false, false) => Some(if lowers == 0 { 14 } else { 6 }),
    }
}
