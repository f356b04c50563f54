//! How many mails a minute are taken, of one sender and of one client.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::mail::{Address, client_network};

/// Senders are forgotten again after so many questions, so that made-up addresses cannot fill the memory.
const QUESTIONS_BETWEEN_CLEANUPS: u32 = 4096;

/// The limits: so many mails at once, then one more each time its share of the minute has passed (GCRA).
pub(super) struct Rates {
    /// By client and sender: nobody uses up the share of a sender by forging its address from elsewhere.
    of_sender: Rate,
    of_client: Rate,
}

/// Which limit was reached, and after which time the next mail may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooFast {
    Sender(Duration),
    Client(Duration),
}

struct Rate {
    limiter: Option<DefaultKeyedRateLimiter<(IpAddr, String)>>,
    questions: AtomicU32,
}

impl Rates {
    /// At most so many mails a minute of each sender at a client, and of each client; 0 is without limit.
    pub(super) fn new(per_sender: u32, per_client: u32) -> Self {
        Self { of_sender: Rate::new(per_sender), of_client: Rate::new(per_client) }
    }

    /// Counts one mail; `None` is the null sender of bounces.
    pub(super) fn check(&self, from: Option<&Address>, client: IpAddr) -> Result<(), TooFast> {
        let network = client_network(client);
        let sender = || from.map(|address| address.to_string().to_lowercase()).unwrap_or_default();
        // First: a sender that is refused takes nothing of what the others at its client have. What the client's limit refuses
        // then counts for its sender too, and only at this client; a limiter cannot be asked without counting.
        self.of_sender.check(network, sender).map_err(TooFast::Sender)?;
        self.of_client.check(network, String::new).map_err(TooFast::Client)
    }
}

impl Rate {
    fn new(per_minute: u32) -> Self {
        let limiter = NonZeroU32::new(per_minute).map(|rate| RateLimiter::keyed(Quota::per_minute(rate)));
        Self { limiter, questions: AtomicU32::new(0) }
    }

    fn check(&self, network: IpAddr, sender: impl FnOnce() -> String) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.questions.fetch_add(1, Ordering::Relaxed) % QUESTIONS_BETWEEN_CLEANUPS == QUESTIONS_BETWEEN_CLEANUPS - 1
        {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        let checked = limiter.check_key(&(network, sender()));
        checked.map_err(|early| early.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn each_sender_has_its_own_share() {
        let rates = Rates::new(2, 0);
        let (a, b) = (address("a@example.com"), address("b@example.com"));
        assert_eq!(rates.check(Some(&a), CLIENT), Ok(()));
        assert_eq!(rates.check(Some(&a), CLIENT), Ok(()));
        let TooFast::Sender(wait) = rates.check(Some(&a), CLIENT).unwrap_err() else {
            panic!("the client is not limited")
        };
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(30), "{wait:?}");
        assert_eq!(rates.check(Some(&b), CLIENT), Ok(()));
        assert_eq!(rates.check(None, CLIENT), Ok(()));
    }

    #[test]
    fn a_stranger_does_not_use_up_the_share_of_a_sender() {
        let rates = Rates::new(1, 0);
        let (sender, stranger) = (address("a@example.com"), "192.0.2.1".parse().unwrap());
        assert_eq!(rates.check(Some(&sender), stranger), Ok(()));
        assert!(rates.check(Some(&sender), stranger).is_err());
        assert_eq!(rates.check(Some(&sender), CLIENT), Ok(()));
    }

    #[test]
    fn a_client_is_limited_whoever_it_says_is_the_sender() {
        let rates = Rates::new(0, 2);
        let ask = |sender: &str, client| rates.check(Some(&address(sender)), client);
        assert_eq!(ask("a@example.com", CLIENT), Ok(()));
        assert_eq!(ask("b@example.com", CLIENT), Ok(()));
        assert!(matches!(ask("c@example.com", CLIENT), Err(TooFast::Client(_))));
        assert_eq!(ask("a@example.com", "192.0.2.1".parse().unwrap()), Ok(()));
    }

    #[test]
    fn a_sender_that_is_refused_takes_nothing_from_the_others_at_its_client() {
        let rates = Rates::new(1, 2);
        let (fast, slow) = (address("fast@example.com"), address("slow@example.com"));
        assert_eq!(rates.check(Some(&fast), CLIENT), Ok(()));
        for _ in 0..10 {
            assert!(matches!(rates.check(Some(&fast), CLIENT), Err(TooFast::Sender(_))));
        }
        assert_eq!(rates.check(Some(&slow), CLIENT), Ok(()));
    }

    #[test]
    fn the_addresses_of_one_network_are_one_client() {
        let rates = Rates::new(1, 0);
        assert!(rates.check(None, "2001:db8::1".parse().unwrap()).is_ok());
        assert!(rates.check(None, "2001:db8::2".parse().unwrap()).is_err());
        assert!(rates.check(None, "2001:db8:0:1::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn the_case_of_an_address_does_not_matter() {
        let rates = Rates::new(1, 0);
        assert!(rates.check(Some(&address("A@example.com")), CLIENT).is_ok());
        assert!(rates.check(Some(&address("a@example.com")), CLIENT).is_err());
    }

    #[test]
    fn zero_is_without_limit() {
        let rates = Rates::new(0, 0);
        assert!((0..1000).all(|_| rates.check(None, CLIENT).is_ok()));
    }
}
