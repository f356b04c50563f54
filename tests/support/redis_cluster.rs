//! A Redis Cluster of child processes.

use super::redis::{Redis, Release, free_port, until};

/// How many slots a cluster has.
const SLOTS: usize = 16384;
/// How far behind its port a node without a setting for it has the one on which it speaks to the others.
const BUS_PORT_BEHIND: u16 = 10_000;
/// How long a node may be silent before the others take it for dead. Short, and long enough for a machine that is busy.
const NODE_TIMEOUT_MS: &str = "2000";

/// A running cluster: its masters first, then the replicas, the first of them of the first master, and so on round.
pub(crate) struct Cluster {
    /// The servers.
    pub(crate) nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts it and waits until it serves every slot, and every replica is one.
    pub(crate) fn start(masters: usize, replicas_of_each: usize) -> Self {
        Self::start_release(Release::Installed, masters, replicas_of_each)
    }

    /// The same of servers of this release.
    pub(crate) fn start_release(release: Release, masters: usize, replicas_of_each: usize) -> Self {
        let nodes: Vec<_> = (0..masters * (1 + replicas_of_each)).map(|_| node(release)).collect();
        for (at, node) in nodes.iter().enumerate() {
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
            let bus = bus_port(node);
            nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &node.addr().port().to_string(), &bus]);
        }
        for (at, master) in nodes[..masters].iter().enumerate() {
            let slots = SLOTS * at / masters..SLOTS * (at + 1) / masters;
            // One by one: ranges came with version 7.
            let slots: Vec<_> = slots.map(|slot| slot.to_string()).collect();
            let command: Vec<_> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            master.cli(&command);
        }
        let cluster = Self { nodes };
        cluster.until_all(&format!("cluster_known_nodes:{}", cluster.nodes.len()));
        for (at, replica) in cluster.nodes[masters..].iter().enumerate() {
            let master = cluster.nodes[at % masters].cli(&["CLUSTER", "MYID"]);
            until("a replica", || (replica.cli(&["CLUSTER", "REPLICATE", &master]) == "OK").then_some(()));
            until("a replica in step", || {
                replica.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
            });
        }
        cluster.until_all("cluster_state:ok");
        cluster
    }

    /// What `REDIS_URL` is to be: some of its nodes, as an operator would write.
    pub(crate) fn url(&self) -> String {
        let (first, others) = self.nodes.split_first().unwrap();
        let others: Vec<_> = others.iter().take(2).map(|node| format!("node={}", node.addr())).collect();
        format!("redis-cluster://{}?{}", first.addr(), others.join("&"))
    }

    /// The node that serves `key` now.
    pub(crate) fn master_of(&self, key: &str) -> usize {
        let slot: usize = self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]).parse().unwrap();
        until("a master of the key", || {
            self.nodes.iter().position(|node| {
                node.cli(&["CLUSTER", "NODES"]).lines().any(|line| line.contains("myself,master") && serves(line, slot))
            })
        })
    }

    /// Waits until every node says `line` in its `CLUSTER INFO`.
    pub(crate) fn until_all(&self, line: &str) {
        for node in &self.nodes {
            until(line, || node.cli(&["CLUSTER", "INFO"]).lines().any(|said| said == line).then_some(()));
        }
    }
}

fn node(release: Release) -> Redis {
    let timeout = format!("cluster-node-timeout {NODE_TIMEOUT_MS}");
    let bus = release.has_cluster_port().then(|| format!("cluster-port {}", free_port()));
    let lines = ["cluster-enabled yes", &timeout, "repl-diskless-sync-delay 0"];
    Redis::start_release(release, &lines.into_iter().chain(bus.as_deref()).collect::<Vec<_>>())
}

fn bus_port(node: &Redis) -> String {
    match node.cli(&["CONFIG", "GET", "cluster-port"]).lines().last() {
        Some(port) if !port.is_empty() => port.to_owned(),
        _ => (node.addr().port() + BUS_PORT_BEHIND).to_string(),
    }
}

/// Whether a line of `CLUSTER NODES` lists `slot`.
fn serves(line: &str, slot: usize) -> bool {
    line.split_whitespace().skip(8).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().is_ok_and(|first: usize| first <= slot) && last.parse().is_ok_and(|last: usize| slot <= last)
    })
}
