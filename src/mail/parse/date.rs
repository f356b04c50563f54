//! Dates (RFC 5322 sections 3.3 and 4.3), as senders write them.

use super::address::without_comments;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Names of zones, with their minutes before or behind UTC: those of RFC 5322, and those that mean one zone in mail. What
/// means several, or nothing, is no zone: a time that is hours away would be invented.
const ZONES: &[(&str, i32)] = &[
    ("ut", 0),
    ("utc", 0),
    ("gmt", 0),
    ("z", 0),
    ("wet", 0),
    ("est", -300),
    ("edt", -240),
    ("cst", -360),
    ("cdt", -300),
    ("mst", -420),
    ("mdt", -360),
    ("pst", -480),
    ("pdt", -420),
    ("west", 60),
    ("cet", 60),
    ("met", 60),
    ("cest", 120),
    ("mest", 120),
    ("eet", 120),
    ("eest", 180),
    ("msk", 180),
    ("jst", 540),
    ("kst", 540),
];

/// A date in the form of RFC 3339, with the offset of the sender; `None` if it is none.
pub(super) fn read(value: &str) -> Option<String> {
    let text = without_comments(value);
    let mut words =
        text.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|word| !word.is_empty()).peekable();
    // The day of the week.
    words.next_if(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
    let day = number(words.next()?, 2)?;
    let month = month(words.next()?)?;
    let year = year(words.next()?)?;
    let (hour, minute, second) = time(words.next()?)?;
    let offset = offset(words.next()?)?;
    // RFC 5322 section 3.3: 60 is a leap second.
    let is_valid = (1..=days(year, month)).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let zone = match (offset, offset.unsigned_abs()) {
        (0, _) => "Z".to_owned(),
        (_, minutes) => format!("{}{:02}:{:02}", if offset < 0 { '-' } else { '+' }, minutes / 60, minutes % 60),
    };
    is_valid.then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}"))
}

fn number(text: &str, max_digits: usize) -> Option<u32> {
    let is_number = (1..=max_digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// The name of a month, or its number.
fn month(word: &str) -> Option<u32> {
    let word = word.to_ascii_lowercase();
    let is_name = |name: &str| name.starts_with(&word) && (word.len() == 3 || word.len() == name.len());
    let place = MONTHS.iter().position(|name| is_name(name));
    let by_name = place.and_then(|place| u32::try_from(place + 1).ok());
    by_name.or_else(|| number(&word, 2).filter(|month| (1..=12).contains(month)))
}

/// RFC 5322 section 4.3 says which century a short year is of.
fn year(word: &str) -> Option<u32> {
    let year = match (number(word, 4)?, word.len()) {
        (year, 1 | 2) if year < 50 => 2000 + year,
        (year, 1..=3) => 1900 + year,
        (year, _) => year,
    };
    (1900..=3000).contains(&year).then_some(year)
}

fn time(word: &str) -> Option<(u32, u32, u32)> {
    // Some programs write parts of a second.
    let mut parts = word.split_once('.').map_or(word, |(whole, _)| whole).split(':');
    let mut next = || parts.next().map(|part| number(part, 2));
    let (hour, minute) = (next()??, next()??);
    let second = match next() {
        Some(second) => second?,
        None => 0,
    };
    parts.next().is_none().then_some((hour, minute, second))
}

/// `+0100`, `GMT`, `GMT+1`: in minutes.
fn offset(word: &str) -> Option<i32> {
    let sign_at = word.find(['+', '-']).unwrap_or(word.len());
    let (name, digits) = word.split_at(sign_at);
    let named = ZONES.iter().find(|(zone, _)| zone.eq_ignore_ascii_case(name)).map(|(_, minutes)| *minutes);
    if digits.is_empty() {
        return named;
    }
    if !name.is_empty() && named != Some(0) {
        return None;
    }
    let (sign, digits) = digits.split_at(1);
    let digits = digits.replace(':', "");
    let written = i32::try_from(number(&digits, 4)?).ok()?;
    let (hours, minutes) = if digits.len() <= 2 { (written, 0) } else { (written / 100, written % 100) };
    // RFC 3339 has no larger ones.
    let minutes = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
    Some(if sign == "-" { -minutes } else { minutes })
}

const fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_senders_write_them() {
        for (date, expected) in [
            ("Thu, 29 Feb 2024 23:59:59 -0530", "2024-02-29T23:59:59-05:30"),
            ("1 Jan 2021 10:00 GMT", "2021-01-01T10:00:00Z"),
            ("1 Jan 2021 10:00 EST", "2021-01-01T10:00:00-05:00"),
            ("Sat, 31 Dec 2016 23:59:60 +0000", "2016-12-31T23:59:60Z"),
            ("Fri,2 Jan 2026 3:04:05.678 +01:00 (CET)", "2026-01-02T03:04:05+01:00"),
            ("Fri, (the second) 02 January 26 03:04:05 CET", "2026-01-02T03:04:05+01:00"),
            ("2 Jan 2026 03:04:05 GMT+0100", "2026-01-02T03:04:05+01:00"),
            ("2 Jan 101 03:04:05 Z", "2001-01-02T03:04:05Z"),
            ("2 JAN 99 03:04:05 UTC-3", "1999-01-02T03:04:05-03:00"),
            ("2 1 2026 03:04:05 -0000 and more", "2026-01-02T03:04:05Z"),
        ] {
            assert_eq!(read(date).as_deref(), Some(expected), "{date}");
        }
    }

    #[test]
    fn what_is_no_date_is_not_made_one() {
        for date in [
            "",
            "tomorrow",
            "30 Feb 2026 03:04:05 +0000",
            "29 Feb 2100 03:04:05 +0000",
            "0 Jan 2026 03:04:05 +0000",
            "31 Dec 2026 24:00:00 +0000",
            "31 Dec 2026 23:59:61 +0000",
            "1 Jan 2021 10:00:00 +9999",
            "1 Jan 2021 10:00:00 +2400",
            "1 Jan 2021 10:00:00 IST",
            "1 Jan 2021 10:00:00 CET+0100",
            "1 Jan 2021 10:00:00 PM",
            "1 Jan 2021 10:00:00",
            "1 Jan 2021 10:00:00:00 GMT",
            "1 Ja 2021 10:00:00 GMT",
            "1 Jan 12021 10:00:00 GMT",
            "2021-01-01T10:00:00Z",
        ] {
            assert_eq!(read(date), None, "{date}");
        }
    }
}
