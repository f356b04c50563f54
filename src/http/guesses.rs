//! How often a minute one client may be wrong about the key.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// So many clients are remembered at least before those are forgotten that have their whole share again.
const CLIENTS_BEFORE_CLEANUP: usize = 4096;

/// Counts wrong keys: so many at once, then one more each time its share of the minute has passed. Until then no key of that
/// client is looked at, not even a right one: otherwise who guesses would still learn which one it is.
#[derive(Debug)]
pub(super) struct Guesses {
    /// The share of the minute that one wrong key takes; `None` is without limit.
    share: Option<Duration>,
    clients: Mutex<Clients>,
}

#[derive(Debug, Default)]
struct Clients {
    /// When each client has its whole minute again.
    whole_at: HashMap<IpAddr, Instant>,
    /// How many there may be until the next cleanup.
    room: usize,
}

impl Guesses {
    /// At most `per_minute` wrong keys a minute of each client; 0 is without limit.
    pub(super) fn new(per_minute: u32) -> Self {
        Self { share: MINUTE.checked_div(per_minute), clients: Mutex::default() }
    }

    /// Whether a key of `client` may be looked at; the error is the time after which it may.
    pub(super) fn check(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(share) = self.share else { return Ok(()) };
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let used =
            clients.whole_at.get(&client).map_or(Duration::ZERO, |whole_at| whole_at.saturating_duration_since(now));
        match (used + share).checked_sub(MINUTE) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    /// Counts a wrong key of `client`.
    pub(super) fn count(&self, client: IpAddr, now: Instant) {
        let Some(share) = self.share else { return };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.whole_at.len() >= clients.room {
            clients.whole_at.retain(|_, whole_at| *whole_at > now);
            // Twice what is left, so that a cleanup pays however many there are.
            clients.room = CLIENTS_BEFORE_CLEANUP.max(2 * clients.whole_at.len());
        }
        let whole = clients.whole_at.entry(client).or_insert(now);
        *whole = (*whole).max(now) + share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_client_is_wrong_so_often_and_then_waits() {
        let guesses = Guesses::new(3);
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(guesses.check(CLIENT, start), Ok(()));
            guesses.count(CLIENT, start);
        }
        assert_eq!(guesses.check(CLIENT, start), Err(Duration::from_secs(20)));
        assert_eq!(guesses.check("192.0.2.1".parse().unwrap(), start), Ok(()));
        let later = start + Duration::from_secs(20);
        assert_eq!(guesses.check(CLIENT, later), Ok(()));
        guesses.count(CLIENT, later);
        assert_eq!(guesses.check(CLIENT, later), Err(Duration::from_secs(20)));
        assert_eq!(guesses.check(CLIENT, later + MINUTE), Ok(()));
    }

    #[test]
    fn many_clients_do_not_fill_the_memory() {
        let guesses = Guesses::new(60);
        let start = Instant::now();
        for n in 0..20_000_u32 {
            guesses.count(std::net::Ipv4Addr::from(n).into(), start + Duration::from_millis(n.into()));
        }
        assert!(guesses.clients.lock().unwrap().whole_at.len() <= CLIENTS_BEFORE_CLEANUP);
        let unlimited = Guesses::new(0);
        (0..1000).for_each(|_| unlimited.count(CLIENT, start));
        assert_eq!(unlimited.check(CLIENT, start), Ok(()));
    }
}
