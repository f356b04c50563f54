//! The real program from outside: real clients bring mail, and curl reads it from the API.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod acme;
mod addresses;
mod api;
mod attempts;
mod browser;
mod clients;
mod commands;
mod curl;
mod dialogue;
mod events;
#[path = "../support/exposition.rs"]
mod exposition;
mod faults;
mod files;
mod https;
mod idle;
mod metrics;
mod nodes;
mod pebble;
mod process;
mod programs;
mod proxy;
mod pypi;
mod python;
mod readers;
#[path = "../support/redis.rs"]
mod redis;
#[path = "../support/redis_cluster.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod redis_cluster;
#[path = "../support/redis_sentinel.rs"]
mod redis_sentinel;
mod relay;
mod setup;
mod signals;
#[path = "../support/small_disk.rs"]
mod small_disk;
mod soak;
mod tls;
mod wait;
#[path = "../support/way.rs"]
mod way;
