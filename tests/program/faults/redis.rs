//! A Redis that dies, hangs, is cut off or is full: mail stays with its sender meanwhile, what was acknowledged is there, and
//! all goes on by itself.

use std::time::Duration;

use tempfile::TempDir;

use super::load::{Account, Load, SETTINGS};
use super::reader::Reader;
use crate::process::Restante;
use crate::programs::until;
use crate::redis::Redis;
use crate::way::{Proxy, Way};

/// The program with its mail in the Redis at `url`, and where its key is.
pub(super) fn node(url: &str) -> (Restante, TempDir) {
    node_with(url, &[])
}

/// The same with further variables.
pub(super) fn node_with(url: &str, variables: &[(&str, &str)]) -> (Restante, TempDir) {
    let redis = [("STORE", "redis"), ("REDIS_URL", url), ("API_KEY", "key")];
    Restante::start_anywhere(&[&SETTINGS[..], &redis, variables].concat())
}

/// While the store is away senders keep their mail, readers are told to come again, and a balancer looks elsewhere.
pub(super) fn is_away(server: &Restante, reader: &Reader, account: &Account, name: &str) {
    let refusal = account.send(server, name).unwrap_err();
    assert!(refusal.starts_with("451 4.3.0 "), "{refusal}");
    for path in ["/ready", "/emails/anybody"] {
        let (status, retry_after) = reader.status(path);
        assert!(status == 503 && retry_after.is_some(), "{path}: {status} {retry_after:?}");
    }
}

pub(super) fn until_ready(reader: &Reader) {
    until("a server that is ready", || (reader.status("/ready").0 == 200).then_some(()));
}

/// All refusals asked the sender to come again.
pub(super) fn only_asked_to_come_again(account: &Account) {
    let refusals = account.refusals();
    assert!(refusals.keys().all(|reply| reply.starts_with("451 4.3.0 ")), "{refusals:?}");
}

#[test]
fn redis_is_killed_under_load_and_nothing_that_was_acknowledged_is_lost() {
    let mut redis = Redis::start();
    let (server, _dir) = node(&redis.url());
    let (reader, account) = (Reader::of(&server), Account::default());
    let load = Load::start(&[&server], 0, &account);
    for round in 0..4 {
        load.wait_for(15 + 7 * round);
        redis.kill();
        if round == 0 {
            is_away(&server, &reader, &account, "away");
        }
        redis.restart();
        until_ready(&reader);
        load.forget();
    }
    load.wait_for(20);
    load.stop();
    only_asked_to_come_again(&account);
    account.verify_soon(&reader);
}

#[test]
fn the_program_is_killed_under_load_and_no_mail_is_there_by_half() {
    let redis = Redis::start();
    let account = Account::default();
    for round in 0..4 {
        let (server, _dir) = node(&redis.url());
        let load = Load::start(&[&server], round, &account);
        load.wait_for(10 + 13 * round);
        server.kill();
        load.stop();
    }
    let (server, _dir) = node(&redis.url());
    account.verify_soon(&Reader::of(&server));
}

#[test]
fn a_connection_that_is_cut_or_slow_or_hangs_loses_nothing() {
    let redis = Redis::start();
    let way = Proxy::to(redis.addr());
    let (server, _dir) = node(&format!("redis://{}", way.addr()));
    let (reader, account) = (Reader::of(&server), Account::default());
    let load = Load::start(&[&server], 0, &account);
    for _ in 0..5 {
        load.wait_for(10);
        way.set(Way::Cut);
        way.set(Way::Open);
    }
    way.set(Way::Slow(Duration::from_millis(50)));
    load.forget();
    load.wait_for(10);
    way.set(Way::Hanging);
    is_away(&server, &reader, &account, "hanging");
    way.set(Way::Open);
    until_ready(&reader);
    load.forget();
    load.wait_for(10);
    redis.pause();
    is_away(&server, &reader, &account, "paused");
    redis.resume();
    until_ready(&reader);
    load.forget();
    load.wait_for(10);
    load.stop();
    only_asked_to_come_again(&account);
    account.verify_soon(&reader);
}

#[test]
fn a_redis_that_is_full_refuses_mail_is_read_and_takes_mail_again() {
    let redis = Redis::start();
    let (server, _dir) = node(&redis.url());
    let (reader, account) = (Reader::of(&server), Account::default());
    for number in 0..20 {
        assert_eq!(account.send(&server, &format!("before-{number}")), Ok(()));
    }
    let set_max = |bytes: &str| assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", bytes]), "OK");
    set_max("1mb");
    for number in 0..5 {
        let refusal = account.send(&server, &format!("full-{number}")).unwrap_err();
        assert!(refusal.starts_with("452 4.3.1 "), "{refusal}");
    }
    account.verify_soon(&reader);
    set_max("0");
    assert_eq!(account.send(&server, "after"), Ok(()));
    account.verify(&reader);

    let used: u64 = info(&redis, "used_memory");
    set_max(&(used + 300_000).to_string());
    // Each mail has a name of its own: one that is sent again would rightly be there twice.
    let mut names = (0..).map(|number| format!("fill-{number}"));
    until("a full Redis", || names.by_ref().take(20).any(|name| account.send(&server, &name).is_err()).then_some(()));
    account.verify_soon(&reader);
    account.delete_all(&reader);
    until("room by deletion", || account.send(&server, "fits-again").ok());
    account.verify(&reader);
}

fn info(redis: &Redis, name: &str) -> u64 {
    let info = redis.cli(&["INFO", "memory"]);
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap().trim().parse().unwrap()
}
