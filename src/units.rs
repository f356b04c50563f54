//! How durations and sizes are written, in variables and in requests alike.

use std::time::Duration;

/// `30s`, `5m`, `24h`, `7d`: a whole number and its unit.
///
/// # Errors
/// What is allowed.
pub fn duration(text: &str) -> Result<Duration, String> {
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
///
/// # Errors
/// What is allowed.
pub fn size(text: &str) -> Result<u64, String> {
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
}
