//! Tasks and their end: everything that runs beside `main` is spawned here, so that it can be stopped in two stages.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerWaitFuture;

/// A group of tasks that stop together: softly first (each finishes what it is in the middle of), then hard.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    tasks: TaskTracker,
    soft: CancellationToken,
    hard: CancellationToken,
    panics: Arc<AtomicU64>,
}

/// Notices that the task it lives in unwinds.
struct Watch(Arc<AtomicU64>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let panics = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(panics, "a task panicked; the others go on");
        }
    }
}

impl Shutdown {
    /// An empty group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` in this group. It is dropped at its next await once the group is stopped hard. Where it panics it ends
    /// alone, and is counted.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (hard, watch) = (self.hard.clone(), Watch(self.panics.clone()));
        // Pinned, as every future that a task is moved into keeps the room for it once more; there are thousands of them.
        let task = Box::pin(task);
        self.tasks.spawn(async move {
            let _watch = watch;
            hard.run_until_cancelled(task).await;
        })
    }

    /// How many tasks have panicked so far.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Resolves when the group has been asked to stop.
    pub async fn requested(&self) {
        self.soft.cancelled().await;
    }

    /// Whether the group has been asked to stop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Asks every task to stop when it can; returns at once.
    pub fn request(&self) {
        self.soft.cancel();
        self.tasks.close();
    }

    /// Asks every task to stop, waits up to `grace` for them, then drops those that are left.
    ///
    /// Returns how many had to be dropped.
    pub async fn stop(&self, grace: Duration) -> usize {
        self.request();
        if tokio::time::timeout(grace, self.finished()).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        self.hard.cancel();
        self.finished().await;
        left
    }

    fn finished(&self) -> TaskTrackerWaitFuture<'_> {
        self.tasks.wait()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_soft_stop_waits_for_the_work_in_hand() {
        let group = Shutdown::new();
        let finished = Arc::new(AtomicBool::new(false));
        let (inside, flag) = (group.clone(), finished.clone());
        group.spawn(async move {
            inside.requested().await;
            tokio::task::yield_now().await;
            flag.store(true, Ordering::SeqCst);
        });
        assert_eq!(group.stop(Duration::from_secs(10)).await, 0);
        assert!(finished.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_hard_stop_drops_what_does_not_listen() {
        let group = Shutdown::new();
        group.spawn(std::future::pending());
        assert_eq!(group.stop(Duration::from_millis(1)).await, 1);
    }
}
