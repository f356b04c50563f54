//! The removal of what has expired, every now and then.
//!
//! A clock that is suddenly far ahead may be wrong: it was set by hand, or by a time server that is, or has not been set since
//! the machine was started. Mail is not served then, as far as the clock goes; but it is not removed before the clock has had
//! time to come back. What several servers share is removed only by those whose clocks agree with that of Redis.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::{Store, StoreError};
use crate::clock::Timestamp;
use crate::shutdown::Shutdown;

/// How long an expired message may still take up room; it is not served any more from the moment of its expiry on.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);
/// A clock that has gained so much on the time that has passed has jumped. Time servers correct less than this, or slowly.
const JUMP: Duration = Duration::from_secs(60);
/// How long a clock that has jumped ahead is not believed. Who sets a clock wrongly mostly notices within that; room is short
/// for no longer than this after a machine has slept.
const DISBELIEF: Duration = Duration::from_secs(15 * 60);

/// Removes what has expired, each time that `interval` is over, until the tasks are stopped.
pub(super) async fn run(store: Store, interval: Duration, tasks: Shutdown) {
    let mut due = tokio::time::interval_at(Instant::now() + interval, interval);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut doubt = Doubt::new(store.seen().unwrap_or_else(|| store.clock.now()), Instant::now());
    let mut agreed = true;
    loop {
        tokio::select! {
            () = tasks.requested() => return,
            _ = due.tick() => {}
        }
        if doubt.is_believed(store.clock.now(), Instant::now())
            && let Err(error) = sweep_if_agreed(&store, &mut agreed).await
        {
            tracing::warn!(%error, "expired mail was not removed; it will be tried again");
        }
    }
}

/// Removes what has expired, unless the clock is another one than that of the servers that keep the mail.
async fn sweep_if_agreed(store: &Store, agreed: &mut bool) -> Result<(), StoreError> {
    let (there, here) = (store.time().await?, store.clock.now());
    let secs = there.since(here).max(here.since(there)).as_secs();
    let was_agreed = std::mem::replace(agreed, secs <= JUMP.as_secs());
    if *agreed {
        return store.sweep().await.map(drop);
    }
    if was_agreed {
        tracing::warn!(
            secs,
            "the clocks of this server and of Redis differ; expired mail is not removed until they agree"
        );
    }
    Ok(())
}

/// What is thought of the clock, by the time that has passed.
struct Doubt {
    /// What the clock said when it was last believed, and when that was.
    clock: Timestamp,
    passed: Instant,
    /// Until when it is not believed.
    until: Option<Instant>,
    /// Whether it was believed since the start.
    has_been_right: bool,
}

impl Doubt {
    /// By what the clock said when it was believed before the start, as if no time had passed since.
    const fn new(clock: Timestamp, passed: Instant) -> Self {
        Self { clock, passed, until: None, has_been_right: false }
    }

    /// Whether the clock is right as far as anybody knows.
    fn is_believed(&mut self, clock: Timestamp, passed: Instant) -> bool {
        let expected = self.clock.after(passed.duration_since(self.passed));
        let is_ahead = clock > expected.after(JUMP);
        match self.until {
            None if is_ahead => {
                let secs = clock.as_secs() - expected.as_secs();
                if self.has_been_right {
                    tracing::warn!(
                        secs,
                        "the clock has jumped ahead; what has expired by that stays for a while, in case it goes back"
                    );
                } else {
                    tracing::info!(
                        secs,
                        "the server was stopped for so long, or the clock is ahead; what has expired stays for a while"
                    );
                }
                self.until = Some(passed + DISBELIEF);
                false
            }
            Some(until) if is_ahead && passed < until => false,
            _ => {
                *self = Self { clock, passed, until: None, has_been_right: true };
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;
    use crate::clock::Clock;
    use crate::mail::MessageId;
    use crate::store::contract::{Lab, Subject, name};
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

    /// Has something done behind what the writer was asked for until now. It is a thread of its own: while it is waited for
    /// here, no time passes.
    async fn wait_for_writer(lab: &Lab, id: MessageId) {
        let (store, runtime) = (lab.store.clone(), Handle::current());
        let deleting = tokio::task::spawn_blocking(move || runtime.block_on(store.delete(&name("nobody"), id)));
        assert!(!deleting.await.unwrap().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn mail_outlives_a_start_with_a_clock_that_is_wrong() {
        let lab = Lab::open(Subject::Embedded).await;
        let (right, wrong) = (lab.clock.now(), lab.clock.now().after(3 * DAY));
        let (seq, id) = lab.deliver("alice", b"hello").await;
        lab.store.sweep().await.unwrap();
        lab.clock.set(wrong);
        let lab = lab.reopen(|_| ()).await;
        tokio::time::sleep(DISBELIEF - JUMP).await;
        assert_eq!(lab.seqs("alice").await, [0; 0], "by the clock it has expired");
        wait_for_writer(&lab, id).await;
        lab.clock.set(right);
        assert_eq!(lab.seqs("alice").await, [seq]);

        // One that was really off for days.
        lab.clock.set(wrong);
        let lab = lab.reopen(|_| ()).await;
        tokio::time::sleep(DISBELIEF + 3 * INTERVAL).await;
        wait_for_writer(&lab, id).await;
        lab.clock.set(right);
        assert_eq!(lab.seqs("alice").await, [0; 0], "a clock that stays ahead is right");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn shared_mail_is_not_swept_by_a_clock_that_is_not_that_of_redis() {
        let lab = Lab::open(Subject::Redis(Release::Installed)).await;
        let now = Clock::system().now();
        lab.clock.set(now);
        let (seq, _) = lab.deliver("alice", b"hello").await;
        lab.clock.set(now.after(3 * DAY));
        let mut agreed = true;
        sweep_if_agreed(&lab.store, &mut agreed).await.unwrap();
        lab.clock.set(now);
        assert_eq!((lab.seqs("alice").await, agreed), (vec![seq], false));
        sweep_if_agreed(&lab.store, &mut agreed).await.unwrap();
        assert!(agreed);
    }

    #[test]
    fn a_clock_is_believed_as_long_as_it_goes_with_the_time() {
        let (start, zero) = (Instant::now(), Timestamp::from_millis(1_800_000_000_000));
        let mut doubt = Doubt::new(zero, start);
        let mut ask = |clock: u64, passed: u64| {
            let [clock, passed] = [clock, passed].map(Duration::from_secs);
            doubt.is_believed(zero.after(clock), start + passed)
        };
        assert!(ask(30, 30) && ask(89, 60) && ask(3600, 3600));
        assert!(ask(0, 3630), "one that went back makes nothing expire");
        assert!(ask(30, 3660));
        assert!(!ask(200, 3690) && !ask(3600, 3720), "one that jumped ahead may");
        assert!(ask(120, 3750), "it is right again");
        assert!(!ask(86_400, 3780) && !ask(87_000, 4380) && ask(87_300, 4680), "it stays where it is");
        assert!(ask(87_330, 4710));
    }
}
