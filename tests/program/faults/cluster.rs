//! Three programs on one Redis Cluster: a program dies, slots move, a master dies.

use std::collections::BTreeSet;
use std::process::Command;

use super::load::{Account, Load, SHARED};
use super::reader::Reader;
use super::redis::{node_with, only_asked_to_come_again, until_ready};
use super::source::{Sources, all_are_there};
use crate::programs::{run, until};
use crate::redis_cluster::Cluster;

const MASTERS: usize = 3;
/// The master that gives slots away, the one that gets them, and the one that is killed.
const GIVER: usize = 0;
const TAKER: usize = 2;
const VICTIM: usize = 1;

#[test]
fn three_programs_on_a_cluster_lose_nothing_when_slots_move_and_one_and_a_master_die_together() {
    let mut cluster = Cluster::start(MASTERS, 1);
    let programs = [(); 3].map(|()| node_with(&cluster.url(), &[("REDIS_WAIT_REPLICAS", "1")]));
    let [(first, _a), (second, _b), (third, _c)] = programs;
    let account = Account::default();
    let load = Load::start(&[&first, &second, &third], 0, &account);
    let sources = Sources::start(&[&first, &second, &third]);
    load.wait_for(15);
    move_slots(&cluster);
    load.wait_for(10);

    // What its master takes from now on the replica will not have; nothing of that may be acknowledged.
    cluster.nodes[MASTERS + VICTIM].pause();
    cluster.nodes[VICTIM].cli(&["CLIENT", "KILL", "TYPE", "REPLICA"]);
    load.wait_for(5);
    third.kill();
    cluster.nodes[VICTIM].kill();
    let replica = &cluster.nodes[MASTERS + VICTIM];
    replica.resume();
    until("a new master", || replica.cli(&["ROLE"]).starts_with("master").then_some(()));
    // The new master has no replica yet, and takes no mail until the old one follows it.
    cluster.nodes[VICTIM].restart();
    for server in [&first, &second] {
        until_ready(&Reader::of(server));
    }
    load.forget();
    load.wait_for(15);
    load.stop();
    let by_source = sources.stop();
    only_asked_to_come_again(&account);
    let settled = account.settled();
    let [first, second] = [&first, &second].map(Reader::of);
    settled.verify_soon(&first);
    assert!(first.all(SHARED) == second.all(SHARED), "both serve the same");
    for reader in [&first, &second] {
        all_are_there(&by_source, reader);
    }
    let count: usize = by_source.values().map(BTreeSet::len).sum();
    assert!(count > 100, "{count} by smtp-source, {} by the others", settled.acknowledged());
}

/// Moves some slots from one master to another, with the mail that is in them.
fn move_slots(cluster: &Cluster) {
    let id = |node: usize| cluster.nodes[node].cli(&["CLUSTER", "MYID"]);
    let mut reshard = Command::new("redis-cli");
    reshard.args(["--cluster", "reshard", &cluster.nodes[GIVER].addr().to_string(), "--cluster-yes"]);
    reshard.args(["--cluster-from", &id(GIVER), "--cluster-to", &id(TAKER), "--cluster-slots", "100"]);
    run(&mut reshard, b"").ok();
}
