//! The Redis servers that tests stand on: they come up by themselves, keep what they acknowledged, and take each other's place.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "support/redis.rs"]
mod redis;
#[path = "support/redis_cluster.rs"]
mod redis_cluster;
#[path = "support/redis_sentinel.rs"]
mod redis_sentinel;

use redis::{Redis, Release, until};
use redis_cluster::Cluster;
use redis_sentinel::Sentinels;

#[test]
fn a_server_that_is_killed_comes_back_with_what_it_had() {
    let mut server = Redis::start();
    let url = server.url();
    assert_eq!(server.cli(&["SET", "a", "1"]), "OK");
    server.kill();
    assert!(server.dir().exists());
    server.restart();
    assert_eq!(server.cli(&["GET", "a"]), "1");
    assert_eq!(server.url(), url);
}

#[test]
fn a_server_that_is_paused_goes_on_where_it_was_and_leaves_nothing_behind() {
    let server = Redis::start();
    let dir = server.dir().to_owned();
    server.pause();
    server.resume();
    assert_eq!(server.cli(&["PING"]), "PONG");
    server.pause();
    drop(server);
    assert!(!dir.exists());
}

#[test]
fn a_cluster_serves_every_slot_and_a_replica_takes_the_place_of_its_master() {
    let mut cluster = Cluster::start(3, 1);
    assert!(cluster.url().starts_with("redis-cluster://127.0.0.1:"));
    let master = cluster.master_of("a");
    cluster.nodes[master].kill();
    let replica = until("a failover", || {
        let role = cluster.nodes[master + 3].cli(&["ROLE"]);
        role.starts_with("master").then_some(master + 3)
    });
    cluster.nodes[master].restart();
    cluster.until_all("cluster_state:ok");
    assert_eq!(cluster.master_of("a"), replica);
}

#[test]
fn sentinels_name_the_replica_once_the_master_is_gone() {
    let mut sentinels = Sentinels::start();
    assert!(sentinels.url().contains("sentinelServiceName="));
    sentinels.servers[0].kill();
    sentinels.until_failed_over_from(0);
    assert!(sentinels.servers[1].cli(&["ROLE"]).starts_with("master"));
}

/// Releases that `scripts/test` fetches where it can.
macro_rules! releases {
    ($($module:ident $release:ident $field:literal;)*) => {
        $(mod $module {
            #[test]
            fn a_cluster_of_it_has_the_version_of_its_name() {
                super::a_cluster_of_it_has_the_version_of_its_name(super::Release::$release, $field);
            }
        })*
    };
}

releases! {
    redis_6_2 Redis62 "redis_version:6.2.";
    redis_8 Redis8 "redis_version:8.";
    valkey_8 Valkey8 "valkey_version:8.";
}

fn a_cluster_of_it_has_the_version_of_its_name(release: Release, field: &str) {
    let cluster = Cluster::start_release(release, 2, 0);
    assert!(cluster.nodes.iter().all(|node| node.cli(&["INFO", "server"]).contains(field)));
}
