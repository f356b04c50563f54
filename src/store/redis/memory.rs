//! How full Redis is, for the metrics: its own word for it, and asked for no more often than it is swept.

use super::{Redis, reply, together};
use crate::metrics::level;
use crate::store::StoreError;

/// What one server says of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    used_bytes: u64,
    /// 0 where nothing limits it.
    max_bytes: u64,
}

impl Redis {
    /// Looks how much all masters hold together, and how much they may. Where they do not say so, nothing changes.
    pub(super) async fn look_at_memory(&self) {
        match self.memory().await {
            Ok(Memory { used_bytes, max_bytes }) => {
                self.metrics.redis_used_bytes.set(level(used_bytes));
                self.metrics.redis_max_bytes.set(level(max_bytes));
            }
            Err(error) => tracing::debug!(%error, "Redis does not say how full it is"),
        }
    }

    async fn memory(&self) -> Result<Memory, StoreError> {
        let masters = self.link.masters();
        let asked = masters.iter().map(async |master| {
            let info = self.link.at_server(master, "INFO", &["memory"]).await?.into_string().unwrap_or_default();
            Memory::read(&info).ok_or_else(|| StoreError::Damaged(format!("{master} does not tell its memory")))
        });
        Ok(Memory::sum(&together(asked.collect()).await?))
    }
}

impl Memory {
    /// Reads the answer to `INFO memory`.
    fn read(info: &str) -> Option<Self> {
        let field = |name| reply::field(info, name)?.parse().ok();
        Some(Self { used_bytes: field("used_memory")?, max_bytes: field("maxmemory")? })
    }

    /// Where one has no limit, all together have none.
    fn sum(all: &[Self]) -> Self {
        let has_limit = all.iter().all(|memory| memory.max_bytes > 0);
        let max_bytes = if has_limit { all.iter().map(|memory| memory.max_bytes).sum() } else { 0 };
        Self { used_bytes: all.iter().map(|memory| memory.used_bytes).sum(), max_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_have_a_limit_together_where_each_has_one() {
        let info = "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\nmaxmemory:2097152\r\n";
        let limited = Memory::read(info).unwrap();
        assert_eq!(limited, Memory { used_bytes: 1 << 20, max_bytes: 2 << 20 });
        assert_eq!(Memory::sum(&[limited, limited]), Memory { used_bytes: 2 << 20, max_bytes: 4 << 20 });
        let free = Memory { max_bytes: 0, ..limited };
        assert_eq!(Memory::sum(&[limited, free]), Memory { used_bytes: 2 << 20, max_bytes: 0 });
        for info in ["", "used_memory:1", "used_memory:x\r\nmaxmemory:0"] {
            assert_eq!(Memory::read(info), None, "{info}");
        }
    }
}
