//! What all connections share: the bytes of mail that they may hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::mail::client_network;
use crate::metrics::{Gauge, level};

/// So many bytes of each message are not counted: whoever uses up the budget with large mails does not stop small ones.
/// A connection takes as much for its input.
const UNCOUNTED_BYTES: usize = 64 * 1024;

/// The memory that messages on their way in may take, over all connections. One client may take half of it with more than
/// one message, so that the other half is there for everybody else.
#[derive(Debug)]
pub(super) struct Budget {
    max_bytes: usize,
    used: Mutex<Used>,
    /// Shows what is used.
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct Used {
    bytes: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// One connection's part of the budget; dropping it gives the part back.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    network: IpAddr,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(max_bytes: usize, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self { max_bytes, used: Mutex::default(), gauge })
    }

    /// The part of a connection of `client`.
    pub(super) const fn share(budget: Arc<Self>, client: IpAddr) -> Share {
        Share { budget, network: client_network(client), bytes: 0 }
    }
}

impl Share {
    /// Makes the part large enough for a message of `bytes`; false if it may not grow so far, and then it stays as it is.
    pub(super) fn resize(&mut self, bytes: usize) -> bool {
        let bytes = bytes.saturating_sub(UNCOUNTED_BYTES);
        if bytes == self.bytes {
            return true;
        }
        let mut used = self.budget.used.lock().unwrap_or_else(PoisonError::into_inner);
        let in_all = used.bytes - self.bytes + bytes;
        let of_client = used.by_network.get(&self.network).copied().unwrap_or_default() - self.bytes + bytes;
        // The only message of a client may be as large as any.
        let is_too_much_of_one = of_client > self.budget.max_bytes / 2 && of_client > bytes;
        if bytes > self.bytes && (in_all > self.budget.max_bytes || is_too_much_of_one) {
            return false;
        }
        used.bytes = in_all;
        self.budget.gauge.set(level(in_all as u64));
        if of_client == 0 {
            used.by_network.remove(&self.network);
        } else {
            used.by_network.insert(self.network, of_client);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    const C: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));

    fn message(counted: usize) -> usize {
        UNCOUNTED_BYTES + counted
    }

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let budget = Budget::new(100, Gauge::default());
        let [mut a, mut b, mut c] = [A, B, C].map(|client| Budget::share(budget.clone(), client));
        assert!(a.resize(message(50)));
        assert!(b.resize(message(40)));
        assert!(!c.resize(message(20)));
        assert!(c.resize(message(10)));
        assert!(a.resize(message(10)));
        assert!(c.resize(message(50)));
        drop((a, b, c));
        let used = budget.used.lock().unwrap();
        assert_eq!((used.bytes, used.by_network.len()), (0, 0));
    }

    #[test]
    fn one_client_leaves_half_of_it_to_the_others() {
        let budget = Budget::new(100, Gauge::default());
        let [mut first, mut second, mut other] = [A, A, B].map(|client| Budget::share(budget.clone(), client));
        assert!(first.resize(message(40)));
        assert!(!second.resize(message(11)));
        assert!(second.resize(message(10)));
        assert!(other.resize(message(50)));
    }

    #[test]
    fn the_only_message_of_a_client_may_take_all_that_is_there() {
        let budget = Budget::new(100, Gauge::default());
        let [mut first, mut second] = [A, A].map(|client| Budget::share(budget.clone(), client));
        assert!(first.resize(message(100)));
        assert!(!second.resize(message(1)));
    }

    #[test]
    fn a_small_message_comes_in_however_many_large_ones_do() {
        let budget = Budget::new(100, Gauge::default());
        let [mut large, mut more, mut small] = [A, B, C].map(|client| Budget::share(budget.clone(), client));
        assert!(large.resize(message(50)) && more.resize(message(50)));
        assert!(small.resize(UNCOUNTED_BYTES));
        assert!(!small.resize(UNCOUNTED_BYTES + 1));
    }
}
