//! What the tests of the whole program share.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

pub mod process;
