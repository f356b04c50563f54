//! The removal of what has expired, every now and then.
//!
//! What the clock says is expired is not served. It is removed when the clock is believed (see `doubt`), and before that as
//! far as it had to expire in any case. What several servers share is removed only by those whose clocks agree with that of
//! Redis.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::doubt::{Doubt, JUMP, Noted};
use super::{Store, StoreError};
use crate::clock::Timestamp;
use crate::metrics::level;
use crate::shutdown::Shutdown;

/// How long an expired message may still take up room; it is not served any more from the moment of its expiry on.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);
/// How often it is said that nothing is removed as the clocks differ.
const REMINDER: Duration = Duration::from_secs(60 * 60);

/// Removes what has expired, each time that `interval` is over, until the tasks are stopped.
pub(super) async fn run(store: Store, interval: Duration, tasks: Shutdown) {
    let start = Instant::now();
    let mut due = tokio::time::interval_at(start + interval, interval);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (now, mut told) = (store.clock.now(), None);
    let mut doubt = Doubt::new(store.noted().unwrap_or(Noted { sure: now, doubted: None }), now, start);
    store.note(doubt.look(now, start)).await;
    loop {
        let is_end = tokio::select! {
            () = tasks.requested() => true,
            _ = due.tick() => false,
        };
        let noted = doubt.look(store.clock.now(), Instant::now());
        store.note(noted).await;
        if is_end {
            return;
        }
        if let Err(error) = sweep_if_agreed(&store, noted.sure, &mut told).await {
            tracing::warn!(%error, "expired mail was not removed; it will be tried again");
        }
    }
}

/// Removes what has expired until `sure`, unless the clock is another one than that of the servers that keep the mail; `told` is
/// when that was last said.
async fn sweep_if_agreed(store: &Store, sure: Timestamp, told: &mut Option<Instant>) -> Result<(), StoreError> {
    let (there, here) = (store.time().await?, store.clock.now());
    let secs = there.since(here).max(here.since(there)).as_secs();
    store.metrics.clock_skew_seconds.set(level(secs));
    if secs <= JUMP.as_secs() {
        *told = None;
        return store.sweep_until(sure).await.map(drop);
    }
    if told.is_none_or(|told| told.elapsed() >= REMINDER) {
        *told = Some(Instant::now());
        tracing::warn!(
            secs,
            "the clocks of this server and of Redis differ; expired mail is not removed until they agree"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::runtime::Handle;

    use super::*;
    use crate::clock::Clock;
    use crate::mail::{Message, MessageId};
    use crate::metrics::Removal;
    use crate::store::contract::{Lab, Subject, name, to};
    use crate::store::doubt::DISBELIEF;
    use crate::store::redis::tests::Release;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[tokio::test(start_paused = true)]
    async fn mail_outlives_a_clock_that_is_wrong_for_a_while() {
        let lab = Lab::open(Subject::Memory).await;
        let (right, wrong) = (lab.clock.now(), lab.clock.now().after(3 * DAY));
        let (seq, _) = lab.deliver("alice", b"hello").await;
        tokio::time::sleep(INTERVAL).await;
        lab.clock.set(wrong);
        tokio::time::sleep(DISBELIEF - JUMP).await;
        assert_eq!(lab.seqs("alice").await, [0; 0], "by the clock it has expired");
        lab.clock.set(right);
        assert_eq!(lab.seqs("alice").await, [seq]);
        tokio::time::sleep(DISBELIEF).await;
        assert_eq!(lab.seqs("alice").await, [seq], "the clock has come back in time");

        lab.clock.set(wrong);
        tokio::time::sleep(DISBELIEF + 3 * INTERVAL).await;
        lab.clock.set(right);
        assert_eq!(lab.seqs("alice").await, [0; 0], "a clock that stays ahead is right");
    }

    #[tokio::test(start_paused = true)]
    async fn what_expired_before_a_clock_is_doubted_takes_no_room_meanwhile() {
        let lab = Lab::open(Subject::Memory).await;
        let start = lab.clock.now();
        let short = Message { expires_at: start.after(DISBELIEF / 3), ..lab.message() };
        lab.store.append(to(&["alice"]), short, Bytes::from_static(b"hello")).await.unwrap();
        let (seq, _) = lab.deliver("alice", b"hello").await;
        tokio::time::sleep(INTERVAL).await;
        lab.clock.set(start.after(3 * DAY));
        tokio::time::sleep(DISBELIEF / 2).await;
        assert_eq!(lab.store.metrics.removed.of(Removal::Expired).get(), 1);
        lab.clock.set(start);
        assert_eq!(lab.seqs("alice").await, [seq]);
    }

    /// Lets time pass, and the sweeper and the writer work. The writer is a thread of its own: while it is waited for here, no time
    /// passes.
    async fn pass(lab: &Lab, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            tokio::time::sleep(INTERVAL).await;
            // The sweeper asks for one thing after the other.
            for _ in 0..8 {
                let (store, runtime) = (lab.store.clone(), Handle::current());
                let id = MessageId::new(Timestamp::from_millis(0));
                let deleting = tokio::task::spawn_blocking(move || runtime.block_on(store.delete(&name("nobody"), id)));
                assert!(!deleting.await.unwrap().unwrap());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn mail_outlives_a_start_with_a_clock_that_is_wrong() {
        let lab = Lab::open(Subject::Embedded).await;
        let (right, wrong) = (lab.clock.now(), lab.clock.now().after(3 * DAY));
        let (seq, _) = lab.deliver("alice", b"hello").await;
        pass(&lab, INTERVAL).await;
        lab.clock.set(wrong);
        let lab = lab.reopen(|_| ()).await;
        pass(&lab, DISBELIEF - JUMP).await;
        assert_eq!(lab.seqs("alice").await, [0; 0], "by the clock it has expired");
        lab.clock.set(right);
        assert_eq!(lab.seqs("alice").await, [seq]);

        // One that was really off for days.
        lab.clock.set(wrong);
        let lab = lab.reopen(|_| ()).await;
        pass(&lab, DISBELIEF + 3 * INTERVAL).await;
        lab.clock.set(right);
        assert_eq!(lab.seqs("alice").await, [0; 0], "a clock that stays ahead is right");
    }

    #[tokio::test(start_paused = true)]
    async fn runs_that_are_short_remove_what_has_expired_too() {
        let mut lab = Lab::open(Subject::Embedded).await;
        let right = lab.clock.now();
        lab.deliver("alice", b"hello").await;
        let mut runs = 0;
        while lab.store.metrics.removed.of(Removal::Expired).get() == 0 {
            assert!(runs < 8, "it never goes");
            lab.clock.advance(3 * DAY);
            lab = lab.reopen(|_| ()).await;
            for _ in 0..4 {
                pass(&lab, INTERVAL).await;
                lab.clock.advance(INTERVAL);
            }
            runs += 1;
        }
        assert_eq!(runs, 8, "a quarter of an hour in all");
        lab.clock.set(right);
        assert_eq!(lab.seqs("alice").await, [0; 0]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn shared_mail_is_not_swept_by_a_clock_that_is_not_that_of_redis() {
        let lab = Lab::open(Subject::Redis(Release::Installed)).await;
        let now = Clock::system().now();
        lab.clock.set(now);
        let (seq, _) = lab.deliver("alice", b"hello").await;
        lab.clock.set(now.after(3 * DAY));
        let mut told = None;
        sweep_if_agreed(&lab.store, lab.clock.now(), &mut told).await.unwrap();
        let skew = lab.store.metrics.clock_skew_seconds.get();
        assert!((3 * 86_400 - 60..=3 * 86_400).contains(&skew), "{skew}");
        lab.clock.set(now);
        assert_eq!(lab.seqs("alice").await, [seq]);
        let first = told.unwrap();
        sweep_if_agreed(&lab.store, now, &mut told).await.unwrap();
        assert_eq!(told, None);
        lab.clock.set(now.after(DAY));
        for (said, is_again) in [(first, false), (first.checked_sub(REMINDER).unwrap(), true)] {
            told = Some(said);
            sweep_if_agreed(&lab.store, now, &mut told).await.unwrap();
            assert_eq!(told != Some(said), is_again);
        }
    }
}
