//! How values are written: each parser's error says what is allowed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

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

/// Nothing, or what `parse` makes of the text.
pub(super) fn optional<T>(parse: impl Fn(&str) -> Parsed<T>) -> impl Fn(&str) -> Parsed<Option<T>> {
    move |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// Whatever a file may be called.
pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    if text.contains('\0') { Err("write a path, which has no NUL".to_owned()) } else { Ok(PathBuf::from(text)) }
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

/// One of a few words.
pub(super) fn choice<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&str) -> Parsed<T> {
    move |text| {
        choices.iter().find(|(word, _)| *word == text).map(|&(_, value)| value).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            format!("write one of: {}", words.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
