//! A sign of life for who watches a command that takes long.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::output;
use crate::clock::{Clock, Timestamp};

/// For how long a line stands before it is written anew.
const EVERY: Duration = Duration::from_millis(200);
/// Erases the line in which the cursor is: CR, and EL of ECMA-48.
const ERASE: &str = "\r\x1b[K";
/// Cuts off what is longer than a row of the terminal, as one row alone is erased: DECAWM of the VT100.
const CUT_OFF: &str = "\x1b[?7l";
/// Lets lines go on in the next row again.
const GO_ON: &str = "\x1b[?7h";

/// One line on standard error that is written anew again and again, where a person looks at it. In a file it would be noise.
pub(super) struct Progress {
    clock: Clock,
    is_watched: bool,
    written_at: Option<Timestamp>,
}

impl Progress {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, is_watched: io::stderr().is_terminal(), written_at: None }
    }

    /// Says how far it is, unless that was said just now.
    pub(super) fn step(&mut self, line: impl FnOnce() -> String) {
        if !self.is_watched {
            return;
        }
        let now = self.clock.now();
        if self.written_at.is_none_or(|written_at| now.since(written_at) >= EVERY) {
            // A terminal that is gone is no reason to stop.
            _ = write!(io::stderr(), "{ERASE}{CUT_OFF}{}{GO_ON}", line());
            self.written_at = Some(now);
        }
    }

    /// Says what is to stay, in the place of the line.
    pub(super) fn say(&mut self, text: impl Display) {
        output::say(format_args!("{}{text}", self.written_at.take().map_or("", |_| ERASE)));
    }
}
