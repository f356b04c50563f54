//! Three programs on one Redis Cluster: a program dies, slots move, a master dies.

use std::process::Command;

use super::load::{Account, Load, SHARED};
use super::reader::Reader;
use super::redis::{node, only_asked_to_come_again, until_ready};
use crate::programs::{run, until};
use crate::redis_cluster::Cluster;

const MASTERS: usize = 3;
/// The master that gives slots away, the one that gets them, and the one that is killed.
const GIVER: usize = 0;
const TAKER: usize = 2;
const VICTIM: usize = 1;

#[test]
fn three_programs_on_a_cluster_lose_nothing_when_one_and_a_master_die_and_slots_move() {
    let mut cluster = Cluster::start(MASTERS, 1);
    let [(first, _a), (second, _b), (third, _c)] = [(); 3].map(|()| node(&cluster.url()));
    let account = Account::default();
    let load = Load::start(&[&first, &second, &third], 0, &account);
    load.wait_for(15);
    third.kill();
    load.wait_for(10);
    move_slots(&cluster);
    load.wait_for(10);

    // Replication is not waited for: what a master had acknowledged a moment before it dies may go with it.
    let settled = account.settled();
    for master in &cluster.nodes[..MASTERS] {
        assert_eq!(master.cli(&["WAIT", "1", "5000"]), "1");
    }
    cluster.nodes[VICTIM].kill();
    let replica = &cluster.nodes[MASTERS + VICTIM];
    until("a new master", || replica.cli(&["ROLE"]).starts_with("master").then_some(()));
    for server in [&first, &second] {
        until_ready(&Reader::of(server));
    }
    load.forget();
    load.wait_for(15);
    load.stop();
    only_asked_to_come_again(&account);
    let [first, second] = [&first, &second].map(Reader::of);
    settled.verify_soon(&first);
    assert!(first.all(SHARED) == second.all(SHARED), "both serve the same");
}

/// Moves some slots from one master to another, with the mail that is in them.
fn move_slots(cluster: &Cluster) {
    let id = |node: usize| cluster.nodes[node].cli(&["CLUSTER", "MYID"]);
    let mut reshard = Command::new("redis-cli");
    reshard.args(["--cluster", "reshard", &cluster.nodes[GIVER].addr().to_string(), "--cluster-yes"]);
    reshard.args(["--cluster-from", &id(GIVER), "--cluster-to", &id(TAKER), "--cluster-slots", "300"]);
    run(&mut reshard, b"").ok();
}
