//! `restante`, an inbound catch-all mailbox server. The modules in the order of their layers; each may name only those above it.

pub mod clock;
pub mod units;
pub mod metrics;
pub mod mail;
pub mod connections;
pub mod shutdown;
pub mod tls;
pub mod smtp;
pub mod store;
pub mod inbox;
pub mod http;
pub mod config;
pub mod app;
pub mod cli;
