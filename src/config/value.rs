//! How values are written: each parser's error says what is allowed.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

/// The result of reading one value; the error says what is allowed.
pub(super) type Parsed<T> = Result<T, String>;

/// `127.0.0.1:2525`, or several with commas between.
pub(super) fn addresses(text: &str) -> Parsed<Vec<SocketAddr>> {
    list(text)
        .map(|item| {
            item.parse().map_err(|_| {
                format!(
                    "{item:?} is not an address with a port; write 127.0.0.1:2525 or [::1]:2525, several with commas"
                )
            })
        })
        .collect()
}

/// `10.0.0.0/8`, an address alone, or several with commas between.
pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    list(text)
        .map(|item| {
            let address = item.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| item.parse()).map(|network| network.trunc()).map_err(|_| {
                format!("{item:?} is not a network; write 10.0.0.0/8, fd00::/8 or an address, several with commas")
            })
        })
        .collect()
}

/// The items of a comma list, without the space around them.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// A whole number within `min..=max`.
pub(super) fn number<T>(min: T, max: T) -> impl Fn(&str) -> Parsed<T>
where
    T: FromStr + PartialOrd + std::fmt::Display + Copy,
{
    move |text| match text.parse() {
        Ok(value) if value >= min && value <= max => Ok(value),
        _ => Err(format!("write a whole number from {min} to {max}")),
    }
}

/// `30s`, `5m`, `24h`, `7d`: a whole number and its unit.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    let wrong = || "write a whole number with its unit, s, m, h or d, such as 30s or 24h; at most 365d".to_owned();
    let (digits, unit) = split_unit(text);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let total = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(seconds)).ok_or_else(wrong)?;
    if (1..=365 * 24 * 60 * 60).contains(&total) { Ok(Duration::from_secs(total)) } else { Err(wrong()) }
}

/// `25MiB`, `10GB`, `4096`: bytes, with a unit of 1024 (KiB, MiB, GiB, TiB) or 1000 (KB, MB, GB, TB).
pub(super) fn size(text: &str) -> Parsed<u64> {
    let wrong = || "write a number of bytes, or one with its unit, such as 25MiB or 10GB; at most 1000TB".to_owned();
    let (digits, unit) = split_unit(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    let total = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(factor)).ok_or_else(wrong)?;
    if total <= 1_000_000_000_000_000 { Ok(total) } else { Err(wrong()) }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&str) -> Parsed<T> {
    move |text| {
        choices.iter().find(|(word, _)| *word == text).map(|&(_, value)| value).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            format!("write one of: {}", words.join(", "))
        })
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..digits], text[digits..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("7 d"), Ok(Duration::from_secs(604_800)));
        for text in ["", "30", "s", "0s", "-1s", "1.5h", "1w", "366d", "99999999999999999999d"] {
            assert!(duration(text).unwrap_err().contains("30s"), "{text}");
        }
    }

    #[test]
    fn sizes_know_both_kinds_of_units() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("25MiB"), Ok(25 << 20));
        assert_eq!(size("10 gb"), Ok(10_000_000_000));
        for text in ["", "MiB", "-1", "1.5MiB", "1XB", "99999999999999999999", "9999999TB"] {
            assert!(size(text).unwrap_err().contains("25MiB"), "{text}");
        }
    }

    #[test]
    fn addresses_may_be_several() {
        assert_eq!(addresses("127.0.0.1:25, [::1]:25").unwrap().len(), 2);
        assert_eq!(addresses(""), Ok(Vec::new()));
        for text in ["localhost:25", "127.0.0.1", ":25", "127.0.0.1:99999"] {
            assert!(addresses(text).unwrap_err().contains("127.0.0.1:2525"), "{text}");
        }
    }

    #[test]
    fn networks_may_be_addresses_too() {
        let read = networks("10.1.2.3/8, 192.0.2.1,fd00::/8").unwrap();
        assert_eq!(
            read.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]
        );
        assert_eq!(networks(""), Ok(Vec::new()));
        for text in ["10.0.0.0/33", "localhost", "10.0.0/8", "/8"] {
            assert!(networks(text).unwrap_err().contains("10.0.0.0/8"), "{text}");
        }
    }

    #[test]
    fn numbers_and_choices_say_what_is_allowed() {
        assert_eq!(number(1, 10)("7"), Ok(7));
        assert_eq!(number(1, 10)("11").unwrap_err(), "write a whole number from 1 to 10");
        assert_eq!(choice(&[("a", 1), ("b", 2)])("b"), Ok(2));
        assert_eq!(choice(&[("a", 1), ("b", 2)])("c").unwrap_err(), "write one of: a, b");
    }
}
