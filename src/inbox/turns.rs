//! Turns at work that takes long: so much of it at once and no more, and none for those who have gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::StoreError;

/// Whether nobody waits for the outcome any more. Work that takes long looks at it again and again, and ends with any outcome.
#[derive(Debug, Default)]
pub(super) struct Stop(AtomicBool);

impl Stop {
    pub(super) fn is_said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Says stop when it goes.
struct Waiting(Arc<Stop>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.say();
    }
}

/// A turn; dropping it lets the next one have it.
pub(super) struct Turn(#[expect(dead_code, reason = "it is over when it is dropped")] Option<OwnedSemaphorePermit>);

impl Turn {
    /// Waits for one, behind those who wait already.
    pub(super) async fn take(turns: &Arc<Semaphore>) -> Self {
        // The semaphore is never closed.
        Self(turns.clone().acquire_owned().await.ok())
    }

    /// Does `work` on a thread that may be blocked. A thread cannot be called back: where the caller goes, it is told to stop, and
    /// the turn is over when it has.
    pub(super) async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce(&Stop) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let waiting = Waiting(Arc::default());
        let stop = waiting.0.clone();
        elsewhere(move || {
            let _turn = self;
            work(&stop)
        })
        .await
    }
}

/// Does work that takes long on a thread that may be blocked.
pub(super) async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::Unavailable(format!("a search broke: {error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn work_whose_caller_has_gone_is_told_to_stop_and_has_its_turn_until_then() {
        let turns = Arc::new(Semaphore::new(1));
        let ((begun, has_begun), (end, may_end)) = (oneshot::channel(), channel::<()>());
        // A test that has failed lets go of its thread.
        let going_on = Arc::new(());
        let has_failed = Arc::downgrade(&going_on);
        let turn = Turn::take(&turns).await;
        let mut working = Box::pin(turn.work(move |stop| {
            begun.send(()).unwrap();
            while !stop.is_said() && has_failed.strong_count() > 0 {
                std::thread::yield_now();
            }
            _ = may_end.recv();
        }));
        let begun = async { timeout(DEADLINE, has_begun).await.unwrap().unwrap() };
        tokio::select! {
            done = &mut working => panic!("{done:?}"),
            () = begun => {}
        }
        drop(working);
        assert_eq!(turns.available_permits(), 0, "it is still at work");
        drop(end);
        let next = timeout(DEADLINE, Turn::take(&turns)).await.unwrap();
        assert!(!next.work(|stop| stop.is_said()).await.unwrap());
        drop(going_on);
    }
}
