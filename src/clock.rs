//! The time: the only reader of the system clock, and a manual clock for tests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The moment that `text` names in the form of RFC 3339, or the beginning of a day in UTC; `None` if it is neither, or is
    /// before 1970.
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let day = (text.len() == "2026-01-31".len()).then(|| format!("{text}T00:00:00Z"));
        let moment = OffsetDateTime::parse(day.as_deref().unwrap_or(text), &Rfc3339).ok()?;
        u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(Self)
    }

    /// How long it is from `earlier` to this moment; nothing where that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment `duration` later; the end of time where that would overflow.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// Tells the time. Clones share the same source.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The clock of the system.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] or [`Clock::set`] moves it.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start.as_millis()))))
    }

    /// The current moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
            Source::System => Timestamp(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            ),
            Source::Manual(millis) => Timestamp(millis.load(Ordering::SeqCst)),
        }
    }

    /// Sets a manual clock, also back; the system clock is left alone.
    pub fn set(&self, now: Timestamp) {
        if let Source::Manual(millis) = &self.0 {
            millis.store(now.as_millis(), Ordering::SeqCst);
        }
    }

    /// Moves a manual clock forward; the system clock is left alone.
    pub fn advance(&self, duration: Duration) {
        if let Source::Manual(millis) = &self.0 {
            let step = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            millis.fetch_add(step, Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Clock(system)",
            Source::Manual(_) => "Clock(manual)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told_and_all_clones_with_it() {
        let clock = Clock::manual(Timestamp::from_millis(1_000));
        let clone = clock.clone();
        assert_eq!(clone.now(), Timestamp::from_millis(1_000));
        clock.advance(Duration::from_millis(2_500));
        assert_eq!(clone.now().as_millis(), 3_500);
        assert_eq!(clone.now().as_secs(), 3);
        clone.set(Timestamp::from_millis(7));
        assert_eq!(clock.now(), Timestamp::from_millis(7));
    }

    #[test]
    fn a_moment_is_read_in_its_written_form() {
        let secs = |text: &str| Timestamp::from_rfc3339(text).map(Timestamp::as_secs);
        assert_eq!(secs("2026-01-31"), Some(1_769_817_600));
        assert_eq!(secs("2026-01-31T01:00:00+01:00"), Some(1_769_817_600));
        for text in ["", "2026-02-30", "2026-1-31", "31-01-2026", "1969-12-31", "2026-01-31T00:00:00", "2026-01-3äZ"] {
            assert_eq!(secs(text), None, "{text}");
        }
    }

    #[test]
    fn the_system_clock_is_in_this_century() {
        assert!(Clock::system().now().as_secs() > 1_700_000_000);
    }

    #[test]
    fn a_far_end_does_not_wrap() {
        let (start, end) = (Timestamp::from_millis(u64::MAX - 1), Timestamp::from_millis(u64::MAX));
        assert_eq!(start.after(Duration::from_secs(60)), end);
        assert_eq!(end.since(start), Duration::from_millis(1));
        assert_eq!(start.since(end), Duration::ZERO);
    }
}
