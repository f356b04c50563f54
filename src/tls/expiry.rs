//! When a certificate expires, and when that is worth a warning.

use std::time::Duration;

use super::certificate::{Certificate, Source};
use crate::clock::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Time enough to renew a certificate by hand.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// One sentence for each certificate that needs somebody's attention.
pub(super) fn warnings(certificates: &[Certificate], now: Timestamp) -> Vec<String> {
    certificates.iter().filter_map(|certificate| warning(certificate, now)).collect()
}

fn warning(certificate: &Certificate, now: Timestamp) -> Option<String> {
    let names = match certificate.names.as_slice() {
        [] => "no name".to_owned(),
        names => names.join(", "),
    };
    if now < certificate.valid_from {
        return Some(format!("the certificate for {names} is not valid yet; is the clock of this machine right?"));
    }
    let left = until(certificate.expires_at, now);
    if left.is_zero() {
        return Some(format!("the certificate for {names} has expired"));
    }
    (left <= warn_before(certificate)).then(|| match left.as_secs() / DAY.as_secs() {
        0 => format!("the certificate for {names} expires in less than a day"),
        1 => format!("the certificate for {names} expires in 1 day"),
        days => format!("the certificate for {names} expires in {days} days"),
    })
}

/// One by ACME may live for a few days in all; it is renewed when a third is left, so a quarter says that this failed.
fn warn_before(certificate: &Certificate) -> Duration {
    match certificate.source {
        Source::Acme => WARN_BEFORE.min(until(certificate.expires_at, certificate.valid_from) / 4),
        Source::Files | Source::SelfSigned => WARN_BEFORE,
    }
}

/// The time from `now` to `end`; none where that has passed.
pub(super) const fn until(end: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(end.as_millis().saturating_sub(now.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000_000_000);

    fn certificate(source: Source, days: u32) -> Certificate {
        let names = vec!["mx.example.com".to_owned()];
        let expires_at = START.after(DAY * days);
        Certificate { source, names, valid_from: START, expires_at, self_issued: false }
    }

    fn said(certificate: &Certificate, days: u32, secs: u64) -> Option<String> {
        warning(certificate, START.after(DAY * days).after(Duration::from_secs(secs)))
    }

    #[test]
    fn a_warning_comes_from_fourteen_days_on() {
        let ninety = certificate(Source::Files, 90);
        assert_eq!(said(&ninety, 0, 0), None);
        assert_eq!(said(&ninety, 75, 86_399), None);
        for (days, secs, end) in [
            (76, 0, "expires in 14 days"),
            (88, 86_400, "expires in 1 day"),
            (89, 1, "expires in less than a day"),
            (90, 0, "has expired"),
            (400, 0, "has expired"),
        ] {
            let text = said(&ninety, days, secs).unwrap();
            assert!(text.starts_with("the certificate for mx.example.com ") && text.ends_with(end), "{text}");
        }
        let early = warning(&ninety, Timestamp::from_millis(5)).unwrap();
        assert!(early.contains("not valid yet"), "{early}");
    }

    #[test]
    fn a_certificate_of_a_few_days_is_no_reason_to_worry_while_it_is_renewed() {
        let six = certificate(Source::Acme, 6);
        assert_eq!(said(&six, 4, 0), None);
        assert!(said(&six, 5, 0).is_some());
        assert_eq!(said(&certificate(Source::Acme, 90), 75, 0), None);
        assert!(said(&certificate(Source::Acme, 90), 76, 0).is_some());
    }
}
