//! How often a minute one client may be wrong about the key.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// So many clients are remembered at least before those are forgotten that have their whole share again.
const CLIENTS_BEFORE_CLEANUP: usize = 4096;
/// So many wrong keys of one client are remembered, so that each is counted once.
const KEYS_PER_CLIENT: usize = 64;

/// The SHA-256 of what was shown, a key or a token.
type Digest = [u8; 32];

/// Counts wrong keys, and tokens that no key has signed: so many at once, then one more each time its share of the minute has
/// passed. Until then none of that client opens, not even a right one that has come from there before: otherwise who guesses
/// would still learn which one it is, if only which one somebody else at the same address has.
///
/// A wrong one that was counted is no new guess: a script that nobody has told of the new key shuts out nobody.
#[derive(Debug)]
pub(super) struct Guesses {
    /// The share of the minute that one wrong key takes; `None` is without limit.
    share: Option<Duration>,
    clients: Mutex<Clients>,
}

#[derive(Debug, Default)]
struct Clients {
    wrong: HashMap<IpAddr, Wrong>,
    /// How many there may be until the next cleanup.
    room: usize,
}

/// What one client was wrong about.
#[derive(Debug)]
struct Wrong {
    /// When it has its whole minute again.
    whole_at: Instant,
    /// What it has shown, the latest last.
    keys: VecDeque<Digest>,
}

impl Guesses {
    /// At most `per_minute` wrong keys a minute of each client; 0 is without limit.
    pub(super) fn new(per_minute: u32) -> Self {
        Self { share: MINUTE.checked_div(per_minute), clients: Mutex::default() }
    }

    /// Whether what `client` shows opens, which is right; the error is the time after which it does.
    pub(super) fn right(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        self.share.map_or(Ok(()), |share| self.clients().may_guess(client, share, now))
    }

    /// Counts what `client` shows and is wrong, unless it was counted before; the error is the time after which it is looked at.
    pub(super) fn wrong(&self, client: IpAddr, key: Digest, now: Instant) -> Result<(), Duration> {
        let Some(share) = self.share else { return Ok(()) };
        let mut clients = self.clients();
        if clients.wrong.get(&client).is_some_and(|wrong| wrong.keys.contains(&key)) {
            return Ok(());
        }
        clients.may_guess(client, share, now)?;
        clients.clean_up(now);
        let wrong = clients.wrong.entry(client).or_insert_with(|| Wrong { whole_at: now, keys: VecDeque::new() });
        wrong.whole_at = wrong.whole_at.max(now) + share;
        if wrong.keys.len() == KEYS_PER_CLIENT {
            wrong.keys.pop_front();
        }
        wrong.keys.push_back(key);
        Ok(())
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clients {
    fn may_guess(&self, client: IpAddr, share: Duration, now: Instant) -> Result<(), Duration> {
        let used =
            self.wrong.get(&client).map_or(Duration::ZERO, |wrong| wrong.whole_at.saturating_duration_since(now));
        match (used + share).checked_sub(MINUTE) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    fn clean_up(&mut self, now: Instant) {
        if self.wrong.len() >= self.room {
            self.wrong.retain(|_, wrong| wrong.whole_at > now);
            // Twice what is left, so that a cleanup pays however many there are.
            self.room = CLIENTS_BEFORE_CLEANUP.max(2 * self.wrong.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

    #[test]
    fn a_client_is_wrong_so_often_and_then_waits() {
        let guesses = Guesses::new(3);
        let start = Instant::now();
        for key in 1..=3 {
            assert_eq!(guesses.wrong(CLIENT, [key; 32], start), Ok(()));
        }
        let wait = Err(Duration::from_secs(20));
        assert_eq!(guesses.wrong(CLIENT, [4; 32], start), wait);
        assert_eq!(guesses.right(CLIENT, start), wait, "it would be told that it has guessed right");
        assert_eq!(guesses.right(OTHER, start), Ok(()));
        let later = start + Duration::from_secs(20);
        assert_eq!(guesses.wrong(CLIENT, [4; 32], later), Ok(()));
        assert_eq!(guesses.wrong(CLIENT, [5; 32], later), wait);
        assert_eq!(guesses.right(CLIENT, later + MINUTE), Ok(()));
    }

    #[test]
    fn what_was_counted_is_no_new_guess() {
        let guesses = Guesses::new(2);
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(guesses.wrong(CLIENT, [1; 32], start), Ok(()), "the same is no new guess");
        }
        assert_eq!(guesses.right(CLIENT, start), Ok(()), "the script with the old key shuts out nobody");
        assert_eq!(guesses.wrong(CLIENT, [2; 32], start), Ok(()));
        assert!(guesses.wrong(CLIENT, [3; 32], start).is_err());
        assert_eq!(guesses.wrong(CLIENT, [1; 32], start), Ok(()));
        assert!(guesses.right(CLIENT, start).is_err());
    }

    #[test]
    fn many_clients_and_many_keys_do_not_fill_the_memory() {
        let guesses = Guesses::new(60);
        let start = Instant::now();
        for n in 0..20_000_u32 {
            let client = std::net::Ipv4Addr::from(n).into();
            guesses.wrong(client, [0; 32], start + Duration::from_millis(n.into())).unwrap();
        }
        assert!(guesses.clients().wrong.len() <= CLIENTS_BEFORE_CLEANUP);
        for n in 0..1000_u64 {
            let key = std::array::from_fn(|at| n.to_le_bytes()[at % 8]);
            guesses.wrong(CLIENT, key, start + MINUTE * u32::try_from(n).unwrap()).unwrap();
        }
        assert_eq!(guesses.clients().wrong[&CLIENT].keys.len(), KEYS_PER_CLIENT);
        let unlimited = Guesses::new(0);
        (0..100).for_each(|key| unlimited.wrong(CLIENT, [key; 32], start).unwrap());
        assert_eq!(unlimited.right(CLIENT, start), Ok(()));
    }
}
