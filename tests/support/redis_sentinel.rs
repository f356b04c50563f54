//! A Redis master with a replica, and sentinels that watch them: child processes.

use super::redis::{Redis, until};

/// What the sentinels call the master.
const SERVICE: &str = "mail";
/// How many sentinels have to agree that the master is down: two of three.
const QUORUM: usize = 2;

/// A master, its replica and three sentinels.
pub(crate) struct Sentinels {
    /// The servers with mail; the first is the master at the start.
    pub(crate) servers: [Redis; 2],
    /// Who says which of them is the master.
    pub(crate) sentinels: [Redis; 3],
}

impl Sentinels {
    /// Starts them and waits until each sentinel knows of the replica and of the others.
    pub(crate) fn start() -> Self {
        let master = Redis::start();
        let port = master.addr().port().to_string();
        let replica = Redis::start_with(&[&format!("replicaof 127.0.0.1 {port}"), "repl-diskless-sync-delay 0"]);
        until("a replica in step", || {
            replica.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
        });
        let monitor = format!("sentinel monitor {SERVICE} 127.0.0.1 {port} {QUORUM}");
        let down_after = format!("sentinel down-after-milliseconds {SERVICE} 2000");
        let failover = format!("sentinel failover-timeout {SERVICE} 10000");
        let sentinel = || Redis::start_as("--sentinel", &[&monitor, &down_after, &failover]);
        let sentinels = [sentinel(), sentinel(), sentinel()];
        for sentinel in &sentinels {
            until("a sentinel that knows the others", || {
                let master = sentinel.cli(&["SENTINEL", "MASTER", SERVICE]);
                let is = |name: &str, value: &str| master.contains(&format!("{name}\n{value}\n"));
                (is("num-slaves", "1") && is("num-other-sentinels", "2")).then_some(())
            });
        }
        Self { servers: [master, replica], sentinels }
    }

    /// What `REDIS_URL` is to be.
    pub(crate) fn url(&self) -> String {
        let [first, second, third] = &self.sentinels;
        format!(
            "redis-sentinel://{}?node={}&node={}&sentinelServiceName={SERVICE}",
            first.addr(),
            second.addr(),
            third.addr()
        )
    }

    /// Waits until a majority calls the other server the master.
    pub(crate) fn until_failed_over_from(&self, server: usize) {
        let old = self.servers[server].addr().port().to_string();
        for sentinel in &self.sentinels {
            until("another master", || {
                let addr = sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
                (!addr.is_empty() && !addr.lines().any(|line| line == old)).then_some(())
            });
        }
    }
}
