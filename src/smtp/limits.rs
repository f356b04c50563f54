//! What all connections share: the bytes of mail that they may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
