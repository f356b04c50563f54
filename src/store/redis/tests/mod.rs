//! What is particular to Redis; the rest is in the contract of all backends.

#[path = "../../../../tests/support/redis.rs"]
mod redis;
#[path = "../../../../tests/support/redis_cluster.rs"]
mod redis_cluster;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use self::redis::Redis as Server;
use self::redis_cluster::Cluster;
use super::{Durability, RedisServer, RedisSettings};

static ONE: LazyLock<Server> = LazyLock::new(Server::start);
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(3, 0));

/// What some messages take beside their bytes.
const OVERHEAD_BYTES: u64 = 200 * 1024;

/// The servers of a store under test: those that all tests share, where it can do with a prefix of its own.
pub(in crate::store) enum Servers {
    Shared(String),
    One(Server),
    Cluster(Cluster),
}

impl Servers {
    /// One server; one of its own where what it holds is to be limited.
    pub(in crate::store) fn one(is_limited: bool) -> Self {
        if is_limited { Self::One(Server::start()) } else { Self::Shared(ONE.url()) }
    }

    /// A cluster; where what it holds is to be limited, one of its own with a single master, which has all of it.
    pub(in crate::store) fn cluster(is_limited: bool) -> Self {
        if is_limited { Self::Cluster(Cluster::start(1, 0)) } else { Self::Shared(CLUSTER.url()) }
    }

    /// From now on the server has room for `max_bytes` more than it holds.
    pub(in crate::store) fn limit(&self, max_bytes: u64) {
        let server = match self {
            Self::Shared(_) => return,
            Self::One(server) => server,
            Self::Cluster(cluster) => &cluster.nodes[0],
        };
        let memory = server.cli(&["INFO", "memory"]);
        let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        let limit = used.trim().parse::<u64>().unwrap() + max_bytes + OVERHEAD_BYTES;
        assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", &limit.to_string()]), "OK");
    }

    /// How to use them, with a prefix that nobody else has.
    pub(in crate::store) fn settings(&self) -> RedisSettings {
        let url = match self {
            Self::Shared(url) => url.clone(),
            Self::One(server) => server.url(),
            Self::Cluster(cluster) => cluster.url(),
        };
        settings(&url)
    }
}

fn settings(url: &str) -> RedisSettings {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let server: RedisServer = url.parse().unwrap();
    let prefix = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    RedisSettings { server, ca_file: None, prefix, durability: Durability::Warn }
}
