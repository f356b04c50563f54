//! How many mails a minute one sender may bring.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::mail::{Address, client_network};

/// Senders are forgotten again after so many questions, so that made-up addresses cannot fill the memory.
const QUESTIONS_BETWEEN_CLEANUPS: u32 = 4096;

/// A limit for each sender address: so many mails at once, then one more each time its share of the minute has passed.
pub(super) struct SenderRate {
    limiter: Option<DefaultKeyedRateLimiter<Sender>>,
    questions: AtomicU32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Sender {
    Address(String),
    /// Bounces have no sender; they are counted by the client that brings them.
    Null(IpAddr),
}

impl SenderRate {
    /// At most `per_minute` mails a minute of each sender; 0 is without limit.
    pub(super) fn new(per_minute: u32) -> Self {
        let limiter = NonZeroU32::new(per_minute).map(|rate| RateLimiter::keyed(Quota::per_minute(rate)));
        Self { limiter, questions: AtomicU32::new(0) }
    }

    /// Counts one mail; the error is the time after which the next one may come.
    pub(super) fn check(&self, from: Option<&Address>, client: IpAddr) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.questions.fetch_add(1, Ordering::Relaxed) % QUESTIONS_BETWEEN_CLEANUPS == QUESTIONS_BETWEEN_CLEANUPS - 1
        {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        let sender = match from {
            Some(address) => Sender::Address(address.to_string().to_lowercase()),
            None => Sender::Null(client_network(client)),
        };
        limiter.check_key(&sender).map_err(|early| early.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn each_sender_has_its_own_share() {
        let rate = SenderRate::new(2);
        let (a, b) = (Address::parse("a@example.com").unwrap(), Address::parse("b@example.com").unwrap());
        assert!(rate.check(Some(&a), CLIENT).is_ok());
        assert!(rate.check(Some(&a), CLIENT).is_ok());
        let wait = rate.check(Some(&a), CLIENT).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(30), "{wait:?}");
        assert!(rate.check(Some(&b), CLIENT).is_ok());
        assert!(rate.check(None, CLIENT).is_ok());
    }

    #[test]
    fn bounces_are_counted_by_the_network_that_brings_them() {
        let rate = SenderRate::new(1);
        assert!(rate.check(None, "2001:db8::1".parse().unwrap()).is_ok());
        assert!(rate.check(None, "2001:db8::2".parse().unwrap()).is_err());
        assert!(rate.check(None, "2001:db8:0:1::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn the_case_of_an_address_does_not_matter() {
        let rate = SenderRate::new(1);
        assert!(rate.check(Some(&Address::parse("A@example.com").unwrap()), CLIENT).is_ok());
        assert!(rate.check(Some(&Address::parse("a@example.com").unwrap()), CLIENT).is_err());
    }

    #[test]
    fn zero_is_without_limit() {
        let rate = SenderRate::new(0);
        assert!((0..1000).all(|_| rate.check(None, CLIENT).is_ok()));
    }
}
