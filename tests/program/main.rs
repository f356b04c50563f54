//! The whole program as its users meet it: a process with real clients around it.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod api;
mod clients;
mod crash;
mod curl;
mod dialogue;
mod process;
mod programs;
mod python;
mod setup;
mod signals;
mod tls;
