//! What all connections share: how many there are, and how many bytes of mail they hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::mail::client_network;

/// Counts connections, in all and by client.
#[derive(Debug)]
pub(super) struct Connections {
    max: usize,
    max_per_ip: usize,
    by_network: Mutex<HashMap<IpAddr, usize>>,
    total: AtomicUsize,
}

/// A counted connection; dropping it counts it off.
#[derive(Debug)]
pub(super) struct Admission {
    connections: Arc<Connections>,
    network: IpAddr,
}

/// Why a connection is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    InAll,
    OfThisClient,
}

impl Connections {
    pub(super) fn new(max: usize, max_per_ip: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_ip, by_network: Mutex::default(), total: AtomicUsize::new(0) })
    }

    pub(super) fn admit(self: &Arc<Self>, client: IpAddr) -> Result<Admission, TooMany> {
        let network = client_network(client);
        let mut by_network = self.by_network.lock().unwrap_or_else(PoisonError::into_inner);
        if self.total.load(Ordering::Relaxed) >= self.max {
            return Err(TooMany::InAll);
        }
        let count = by_network.entry(network).or_default();
        if *count >= self.max_per_ip {
            return Err(TooMany::OfThisClient);
        }
        *count += 1;
        self.total.fetch_add(1, Ordering::Relaxed);
        Ok(Admission { connections: self.clone(), network })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut by_network = self.connections.by_network.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_network.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                by_network.remove(&self.network);
            }
        }
        self.connections.total.fetch_sub(1, Ordering::Relaxed);
    }
}

/// So many bytes of each message are not counted: whoever uses up the budget with large mails does not stop small ones.
/// A connection takes as much for its input.
const UNCOUNTED_BYTES: usize = 64 * 1024;

/// The memory that messages on their way in may take, over all connections.
#[derive(Debug)]
pub(super) struct Budget {
    max_bytes: usize,
    used_bytes: AtomicUsize,
}

/// One connection's part of the budget; dropping it gives the part back.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { max_bytes, used_bytes: AtomicUsize::new(0) })
    }

    pub(super) const fn share(budget: Arc<Self>) -> Share {
        Share { budget, bytes: 0 }
    }
}

impl Share {
    /// Makes the part large enough for a message of `bytes`; false if it may not grow so far, and then it stays as it is.
    pub(super) fn resize(&mut self, bytes: usize) -> bool {
        let bytes = bytes.saturating_sub(UNCOUNTED_BYTES);
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            let used = self.budget.used_bytes.fetch_add(more, Ordering::Relaxed) + more;
            if used > self.budget.max_bytes {
                self.budget.used_bytes.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        } else {
            self.budget.used_bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_limited_in_all_and_by_client() {
        let connections = Connections::new(3, 2);
        let [a, b, c]: [IpAddr; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|ip| ip.parse().unwrap());
        let first = connections.admit(a).unwrap();
        let _second = connections.admit(a).unwrap();
        assert_eq!(connections.admit(a).unwrap_err(), TooMany::OfThisClient);
        let _third = connections.admit(b).unwrap();
        assert_eq!(connections.admit(c).unwrap_err(), TooMany::InAll);
        drop(first);
        assert!(connections.admit(c).is_ok());
        assert_eq!(connections.by_network.lock().unwrap().len(), 2);
    }

    #[test]
    fn the_addresses_of_one_network_are_counted_as_one_client() {
        let connections = Connections::new(3, 1);
        let _first = connections.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert_eq!(connections.admit("2001:db8::2".parse().unwrap()).unwrap_err(), TooMany::OfThisClient);
        assert!(connections.admit("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let budget = Budget::new(100);
        let (mut a, mut b) = (Budget::share(budget.clone()), Budget::share(budget.clone()));
        let message = |counted: usize| UNCOUNTED_BYTES + counted;
        assert!(a.resize(message(60)));
        assert!(!b.resize(message(60)));
        assert!(b.resize(message(40)));
        assert!(a.resize(message(10)));
        assert!(b.resize(message(90)));
        drop((a, b));
        assert_eq!(budget.used_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_small_message_comes_in_however_many_large_ones_do() {
        let budget = Budget::new(100);
        let (mut large, mut small) = (Budget::share(budget.clone()), Budget::share(budget));
        assert!(large.resize(UNCOUNTED_BYTES + 100));
        assert!(small.resize(UNCOUNTED_BYTES));
        assert!(!small.resize(UNCOUNTED_BYTES + 1));
    }
}
