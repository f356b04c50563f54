//! How often a minute one client may be wrong about the key.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::key::KeyIndex;

const MINUTE: Duration = Duration::from_secs(60);

/// So many clients are remembered at least before those are forgotten that have their whole share again.
const CLIENTS_BEFORE_CLEANUP: usize = 4096;
/// So many wrong keys of one client are remembered, so that each is counted once.
const KEYS_PER_CLIENT: usize = 64;
/// So many times it is remembered that a client has shown a key that is right.
const RIGHT_MAX: usize = 16 * 1024;

/// The SHA-256 of what was shown.
type Digest = [u8; 32];

/// Counts wrong keys: so many at once, then one more each time its share of the minute has passed. Until then no key of that
/// client is looked at, not even a right one: otherwise who guesses would still learn which one it is.
///
/// What a client has shown before tells nothing new, and goes on as it was: the right key of others at the same address, and
/// the old key of a script that nobody has told of the new one.
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
    /// Who has shown which key that is right.
    right: HashSet<(IpAddr, KeyIndex)>,
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

    /// Whether `client` may show this key, which is right; the error is the time after which it may.
    pub(super) fn right(&self, client: IpAddr, key: KeyIndex, now: Instant) -> Result<(), Duration> {
        let Some(share) = self.share else { return Ok(()) };
        let mut clients = self.clients();
        if clients.right.contains(&(client, key)) {
            return Ok(());
        }
        clients.may_guess(client, share, now)?;
        if clients.right.len() >= RIGHT_MAX {
            clients.right.clear();
        }
        clients.right.insert((client, key));
        Ok(())
    }

    /// Counts a wrong key of `client`, unless it was counted before; the error is the time after which one may be shown.
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
    const KEY: KeyIndex = KeyIndex(0);

    #[test]
    fn a_client_is_wrong_so_often_and_then_waits() {
        let guesses = Guesses::new(3);
        let start = Instant::now();
        for key in 1..=3 {
            assert_eq!(guesses.wrong(CLIENT, [key; 32], start), Ok(()));
        }
        let wait = Err(Duration::from_secs(20));
        assert_eq!(guesses.wrong(CLIENT, [4; 32], start), wait);
        assert_eq!(guesses.right(CLIENT, KEY, start), wait, "it would be told that it has guessed right");
        assert_eq!(guesses.right(OTHER, KEY, start), Ok(()));
        let later = start + Duration::from_secs(20);
        assert_eq!(guesses.wrong(CLIENT, [4; 32], later), Ok(()));
        assert_eq!(guesses.wrong(CLIENT, [5; 32], later), wait);
        assert_eq!(guesses.right(CLIENT, KEY, later + MINUTE), Ok(()));
    }

    #[test]
    fn what_was_shown_before_goes_on_as_it_was() {
        let guesses = Guesses::new(2);
        let start = Instant::now();
        assert_eq!(guesses.right(CLIENT, KEY, start), Ok(()));
        for _ in 0..100 {
            assert_eq!(guesses.wrong(CLIENT, [1; 32], start), Ok(()), "the same is no new guess");
        }
        assert_eq!(guesses.wrong(CLIENT, [2; 32], start), Ok(()));
        assert!(guesses.wrong(CLIENT, [3; 32], start).is_err());
        assert_eq!(guesses.wrong(CLIENT, [1; 32], start), Ok(()));
        assert_eq!(guesses.right(CLIENT, KEY, start), Ok(()));
        assert!(guesses.right(CLIENT, KeyIndex(1), start).is_err(), "another key");
    }

    #[test]
    fn many_clients_and_many_keys_do_not_fill_the_memory() {
        let guesses = Guesses::new(60);
        let start = Instant::now();
        for n in 0..20_000_u32 {
            let client = std::net::Ipv4Addr::from(n).into();
            guesses.wrong(client, [0; 32], start + Duration::from_millis(n.into())).unwrap();
            guesses.right(client, KEY, start + Duration::from_millis(n.into())).unwrap();
        }
        let clients = guesses.clients();
        assert!(clients.wrong.len() <= CLIENTS_BEFORE_CLEANUP && clients.right.len() <= RIGHT_MAX);
        drop(clients);
        for n in 0..1000_u64 {
            let key = std::array::from_fn(|at| n.to_le_bytes()[at % 8]);
            guesses.wrong(CLIENT, key, start + MINUTE * u32::try_from(n).unwrap()).unwrap();
        }
        assert_eq!(guesses.clients().wrong[&CLIENT].keys.len(), KEYS_PER_CLIENT);
        let unlimited = Guesses::new(0);
        (0..100).for_each(|key| unlimited.wrong(CLIENT, [key; 32], start).unwrap());
        assert_eq!(unlimited.right(CLIENT, KEY, start), Ok(()));
    }
}
