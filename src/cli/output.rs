//! What a command says. Whoever reads it may have gone, and a disk may be full.

use std::fmt::Display;
use std::io::{self, Write};

use super::Failure;

/// Prints what was asked for. On return it is out of our hands.
///
/// # Errors
/// What was not printed was not had.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(bytes).and_then(|()| stdout.flush());
    printed.map_err(|error| Failure::NotDone(format!("standard output: {error}")))
}

/// Says something beside that. The work goes on where nobody hears of it.
pub(super) fn say(text: impl Display) {
    _ = writeln!(io::stderr(), "{text}");
}
