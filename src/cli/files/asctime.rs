//! The time in a `From ` line of an mbox file: `Fri Jan  2 03:04:05 2026`, in UTC.

use time::{Date, Month, OffsetDateTime, Time};

use crate::clock::Timestamp;

pub(crate) fn written(moment: Timestamp) -> String {
    let seconds = i64::try_from(moment.as_secs()).unwrap_or(i64::MAX);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    let (hour, minute, second) = at.to_hms();
    format!("{:.3} {:.3} {:2} {hour:02}:{minute:02}:{second:02} {}", weekday, month, at.day(), at.year())
}

/// Reads what mail programs write: the seconds may be missing, and the name of a zone may stand before or behind the year;
/// it is taken for UTC.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    let words: Vec<_> = text.split_whitespace().collect();
    let at = words.iter().rposition(|word| month(word).is_some())?;
    let (day, clock) = (words.get(at + 1)?.parse().ok()?, words.get(at + 2)?);
    let year = words.get(at + 3..)?.iter().find(|word| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()))?;
    let date = Date::from_calendar_date(year.parse().ok()?, month(words[at])?, day).ok()?;
    let mut parts = clock.split(':').map(|part| part.parse::<u8>().ok());
    let time = Time::from_hms(parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?).ok()?;
    let seconds = u64::try_from(date.with_time(time).assume_utc().unix_timestamp()).ok()?;
    Some(Timestamp::from_millis(seconds * 1000))
}

fn month(word: &str) -> Option<Month> {
    let mut all = (1..=12).filter_map(|number| Month::try_from(number).ok());
    all.find(|month| word.len() == 3 && month.to_string().starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_and_read_to_the_second() {
        let moment = Timestamp::from_millis(1_767_323_045_000);
        assert_eq!(written(moment), "Fri Jan  2 03:04:05 2026");
        for text in ["Fri Jan  2 03:04:05 2026", "Fri Jan 2 03:04:05 UTC 2026", "Jan 02 03:04:05 2026 +0000"] {
            assert_eq!(read(text), Some(moment), "{text}");
        }
        for text in ["", "Jan", "Fri Jan 32 03:04:05 2026", "Fri Jan 2 24:04:05 2026", "Fri Foo 2 03:04:05 2026"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
