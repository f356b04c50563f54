//! What the store counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::label::labels;
use super::{Counters, Timing};

labels! {
    /// Why a message went out of a mailbox.
    pub enum Removal: "reason" {
        /// Its time was over.
        Expired = "expired",
        /// The mailbox had more than it may hold.
        Evicted = "evicted",
        /// A reader deleted it.
        Deleted = "deleted",
    }
}

labels! {
    /// Why the store did not do what it was asked for.
    pub enum Failure: "kind" {
        /// There was no room.
        Full = "full",
        /// It could not be reached.
        Unavailable = "unavailable",
        /// What is stored could not be read back.
        Damaged = "damaged",
    }
}

/// The store. A message for several mailboxes counts in each of them.
#[derive(Debug, Default)]
pub struct Store {
    /// Messages kept.
    pub kept: Counter,
    /// Messages removed.
    pub removed: Counters<Removal>,
    /// Appends, answered well.
    pub append: Timing,
    /// What failed.
    pub failures: Counters<Failure>,
    /// Bytes that are held: raw mail and records, and what the index has above its share.
    pub held_bytes: Gauge,
    /// The most of them.
    pub max_bytes: Gauge,
    /// Bytes that are free on the disk.
    pub disk_free_bytes: Gauge,
    /// Bytes that must stay free.
    pub disk_min_free_bytes: Gauge,
    /// Bytes of memory that Redis uses, for whatever it holds.
    pub redis_used_bytes: Gauge,
    /// The most of them; 0 where there is no limit.
    pub redis_max_bytes: Gauge,
    /// How far this clock and that of Redis are apart.
    pub clock_skew_seconds: Gauge,
    /// What the writer was asked for and has not answered.
    pub waiting: Gauge,
    /// Messages that are durable and not in the index yet.
    pub unindexed: Gauge,
}

impl Store {
    pub(super) fn register(&self, registry: &mut Registry) {
        let gauges = [
            (
                "restante_store_held_bytes",
                "Bytes that the store holds: raw mail and records, and what the index has above 32 MiB",
                &self.held_bytes,
            ),
            ("restante_store_max_bytes", "The most bytes that the store holds (STORE_MAX_BYTES)", &self.max_bytes),
            (
                "restante_store_disk_free_bytes",
                "Bytes free on the disk of the store; looked at with each write and every 30 s",
                &self.disk_free_bytes,
            ),
            (
                "restante_store_disk_min_free_bytes",
                "Bytes that must stay free there (STORE_MIN_FREE)",
                &self.disk_min_free_bytes,
            ),
            (
                "restante_store_redis_used_bytes",
                "Memory that Redis uses, all masters together; looked at every 30 s",
                &self.redis_used_bytes,
            ),
            (
                "restante_store_redis_max_bytes",
                "The most of it (maxmemory), 0 where there is no limit",
                &self.redis_max_bytes,
            ),
            (
                "restante_store_clock_skew_seconds",
                "How far the clocks of this server and of Redis are apart; looked at every 30 s",
                &self.clock_skew_seconds,
            ),
            (
                "restante_store_waiting_jobs",
                "What the writer of the store was asked for and has not answered yet",
                &self.waiting,
            ),
            (
                "restante_store_unindexed_messages",
                "Messages that are durable and not in the index yet",
                &self.unindexed,
            ),
        ];
        registry.register(
            "restante_store_messages_kept",
            "Messages kept, one for each mailbox that a message went to",
            self.kept.clone(),
        );
        self.removed.register("restante_store_messages_removed", "Messages removed, one for each mailbox", registry);
        registry.register(
            "restante_store_append_duration_seconds",
            "The keeping of a message, until it is durable",
            self.append.0.clone(),
        );
        self.failures.register("restante_store_errors", "What the store could not do", registry);
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }
}
