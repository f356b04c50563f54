//! Whether a store can keep mail, asked no more often than it is worth: strangers may ask, and each look costs a write.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::StoreError;

/// How long what is known is true.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// What was found when somebody looked last.
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, Result<(), StoreError>)>>);

impl Readiness {
    /// What `look` finds, or what it found just now. Whoever asks meanwhile waits for the same answer.
    pub(super) async fn or_look(&self, look: impl Future<Output = Result<(), StoreError>>) -> Result<(), StoreError> {
        let mut known = self.0.lock().await;
        if let Some((since, result)) = &*known
            && since.elapsed() < KNOWN_FOR
        {
            return result.clone();
        }
        let result = look.await;
        *known = Some((Instant::now(), result.clone()));
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_asks_together_or_soon_has_one_look() {
        let (readiness, looks) = (Readiness::default(), AtomicU64::new(0));
        let look = async || {
            tokio::task::yield_now().await;
            if looks.fetch_add(1, Ordering::Relaxed) == 0 { Ok(()) } else { Err(super::super::closing()) }
        };
        let ask = || readiness.or_look(look());
        assert!(join_all((0..100).map(|_| ask())).await.iter().all(Result::is_ok));
        tokio::time::advance(KNOWN_FOR - Duration::from_millis(1)).await;
        assert!(ask().await.is_ok());
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(ask().await.is_err() && ask().await.is_err());
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    }
}
