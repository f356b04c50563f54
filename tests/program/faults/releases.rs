//! The program on releases of Redis and Valkey other than that of this machine, which `scripts/test` fetches where it can.

use super::load::{Account, Load};
use super::reader::Reader;
use super::redis::{node_with, only_asked_to_come_again};
use crate::redis::Release;
use crate::redis_cluster::Cluster;

macro_rules! releases {
    ($($module:ident $release:ident)*) => {
        $(mod $module {
            #[test]
            fn two_programs_share_a_cluster_with_replicas_that_are_waited_for() {
                super::two_programs_share_a_cluster_with_replicas_that_are_waited_for(super::Release::$release);
            }
        })*
    };
}

releases! {
    redis_6_2 Redis62
    redis_8 Redis8
    valkey_8 Valkey8
}

fn two_programs_share_a_cluster_with_replicas_that_are_waited_for(release: Release) {
    let cluster = Cluster::start_release(release, 2, 1);
    let waiting = [("REDIS_WAIT_REPLICAS", "1")];
    let [(first, _a), (second, _b)] = [(); 2].map(|()| node_with(&cluster.url(), &waiting));
    let (account, [from_first, from_second]) = (Account::default(), [&first, &second].map(Reader::of));
    let load = Load::start(&[&first, &second], 0, &account);
    load.wait_for(40);
    load.stop();
    only_asked_to_come_again(&account);
    account.verify_soon(&from_first);
    account.verify_soon(&from_second);

    cluster.nodes[2].pause();
    let refused = (0..20).find_map(|number| account.send(&first, &format!("refused-{number}")).err()).unwrap();
    assert!(refused.starts_with("451 4.3.0 "), "{refused}");
    cluster.nodes[2].resume();
}
