//! Whether the clock is believed.
//!
//! A clock that is suddenly far ahead may be wrong: it was set by hand, or by a time server that is, or has not been set since
//! the machine was started. It is believed once it has stayed there for a while, which adds up over the starts of a server. What
//! had expired before, and by the time that has passed since, is expired whatever the clock says.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;

/// A clock that has gained so much on the time that has passed has jumped. Time servers correct less than this, or slowly.
pub(super) const JUMP: Duration = Duration::from_secs(60);
/// How long a clock that has jumped ahead is not believed. Who sets a clock wrongly mostly notices within that; what has expired
/// while a machine was off or slept takes room for no longer.
pub(super) const DISBELIEF: Duration = Duration::from_secs(15 * 60);

/// What is thought of the clock, by the time that has passed.
pub(super) struct Doubt {
    noted: Noted,
    /// What the clock said when it was last looked at, and when that was.
    said: Timestamp,
    looked: Instant,
    /// Whether it was believed since the start.
    has_been_right: bool,
    /// Whether the log says that it is not.
    is_told: bool,
}

/// What the next start has to know of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    /// It is as late at least: what the clock said when it was last believed, and the time that was seen to pass since.
    pub(super) sure: Timestamp,
    pub(super) doubted: Option<Doubted>,
}

/// A clock that is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doubted {
    /// What it said when that began.
    pub(super) since: Timestamp,
    /// How long servers have been at work with it.
    pub(super) lasted: Duration,
}

impl Doubt {
    /// By what was noted before the start, as if no time had passed since. A clock that has come back to where it was when it was
    /// doubted, or that begins there each time, is doubted anew.
    pub(super) fn new(noted: Noted, clock: Timestamp, looked: Instant) -> Self {
        let doubted = noted.doubted.filter(|doubted| doubted.since < clock);
        Self { noted: Noted { doubted, ..noted }, said: clock, looked, has_been_right: false, is_told: false }
    }

    /// Looks at the clock, and says by which time mail may be removed.
    pub(super) fn look(&mut self, clock: Timestamp, looked: Instant) -> Noted {
        let passed = looked.duration_since(std::mem::replace(&mut self.looked, looked));
        let sure = self.noted.sure.after(passed);
        // One that jumps again while it is doubted is doubted anew.
        let has_jumped = clock > std::mem::replace(&mut self.said, clock).after(passed).after(JUMP);
        let doubted = (clock > sure.after(JUMP)).then(|| match self.noted.doubted {
            Some(Doubted { since, lasted }) if since <= clock && !has_jumped => {
                Doubted { since, lasted: lasted + passed }
            }
            _ => Doubted { since: clock, lasted: Duration::ZERO },
        });
        let doubted = doubted.filter(|doubted| doubted.lasted < DISBELIEF);
        self.noted = Noted { sure: if doubted.is_some() { sure } else { clock }, doubted };
        self.tell(clock);
        self.noted
    }

    fn tell(&mut self, clock: Timestamp) {
        let is_doubted = self.noted.doubted.is_some();
        let was_told = std::mem::replace(&mut self.is_told, is_doubted);
        let secs = clock.since(self.noted.sure).as_secs();
        if is_doubted && !was_told && self.has_been_right {
            tracing::warn!(
                secs,
                "the clock has jumped ahead; what has expired by that stays for a while, in case it goes back"
            );
        } else if is_doubted && !was_told {
            tracing::info!(
                secs,
                "the server was stopped for so long, or the clock is ahead; what has expired meanwhile stays for a while"
            );
        }
        self.has_been_right |= !is_doubted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn at(secs: u64) -> Timestamp {
        ZERO.after(Duration::from_secs(secs))
    }

    /// A run of a server that looks at the clock at these moments: what the clock says, and the time that has passed since the
    /// start of the run, in seconds. Says by which time mail may be removed at the end.
    fn run(noted: &mut Noted, looks: &[(u64, u64)]) -> u64 {
        let start = Instant::now();
        let mut doubt = Doubt::new(*noted, at(looks[0].0), start);
        for (clock, passed) in looks {
            *noted = doubt.look(at(*clock), start + Duration::from_secs(*passed));
        }
        noted.sure.since(ZERO).as_secs()
    }

    #[test]
    fn a_clock_is_believed_as_long_as_it_goes_with_the_time() {
        let mut noted = Noted { sure: ZERO, doubted: None };
        let start = Instant::now();
        let mut doubt = Doubt::new(noted, ZERO, start);
        let mut ask = |clock: u64, passed: u64| {
            noted = doubt.look(at(clock), start + Duration::from_secs(passed));
            noted.sure.since(ZERO).as_secs()
        };
        assert_eq!([ask(30, 30), ask(89, 60), ask(3600, 3600)], [30, 89, 3600]);
        assert_eq!(ask(0, 3630), 0, "one that went back makes nothing expire");
        assert_eq!(ask(30, 3660), 30);
        assert_eq!([ask(200, 3690), ask(3600, 3720)], [60, 90], "one that jumped ahead may");
        assert_eq!(ask(120, 3750), 120, "it is right again");
        assert_eq!([ask(86_400, 3780), ask(87_000, 4380)], [150, 750], "it stays where it is");
        assert_eq!([ask(87_300, 4680), ask(87_330, 4710)], [87_300, 87_330]);
    }

    #[test]
    fn a_doubt_adds_up_over_runs_that_are_shorter_than_it_lasts() {
        let mut noted = Noted { sure: ZERO, doubted: None };
        for day in 1..4 {
            let clock = day * 86_400;
            let sure = run(&mut noted, &[(clock, 0), (clock + 30, 30), (clock + 240, 240)]);
            assert_eq!(sure, day * 240, "what expired by then takes no room any more");
        }
        let clock = 4 * 86_400;
        assert_eq!(run(&mut noted, &[(clock, 0), (clock + 179, 179)]), 899);
        assert_eq!(run(&mut noted, &[(clock + 200, 0), (clock + 201, 1)]), clock + 201);
        assert_eq!(noted.doubted, None);
    }

    #[test]
    fn a_clock_that_has_come_back_is_doubted_anew_when_it_jumps_again() {
        let mut noted = Noted { sure: ZERO, doubted: None };
        run(&mut noted, &[(86_400, 0), (87_200, 800)]);
        assert_eq!(run(&mut noted, &[(1000, 0), (1100, 100)]), 900, "still after the longest time off");
        let doubted = noted.doubted.unwrap();
        assert_eq!((doubted.since, doubted.lasted.as_secs()), (at(1000), 100));
        assert_eq!(run(&mut noted, &[(950, 0)]), 950);
        assert_eq!(noted.doubted, None);
        assert_eq!(run(&mut noted, &[(86_400, 0), (86_600, 200)]), 1150, "the first time does not count");
    }

    #[test]
    fn a_clock_that_jumps_again_is_doubted_anew() {
        let mut noted = Noted { sure: ZERO, doubted: None };
        let year = 365 * 86_400;
        let looks = [(0, 0), (3600, 30), (4440, 870), (year, 900), (year + 840, 1740)];
        assert_eq!(run(&mut noted, &looks), 1740);
        assert_eq!(noted.doubted.unwrap().lasted.as_secs(), 840);
    }

    #[test]
    fn a_clock_that_begins_at_the_same_moment_each_time_is_never_right() {
        let mut noted = Noted { sure: ZERO, doubted: None };
        for day in 1..5 {
            assert_eq!(run(&mut noted, &[(86_400, 0), (87_000, 600)]), day * 600);
        }
    }
}
