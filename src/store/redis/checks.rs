//! What is looked at before the first mail is taken: whether this Redis has what is needed, and whether it keeps what it
//! acknowledges.

use fred::types::config::Server;

use super::link::Link;
use super::reply;
use super::settings::{Durability, RedisSettings};
use crate::store::{OpenError, StoreError};

/// The oldest version that has all commands that are used here.
const OLDEST: (u32, u32) = (6, 2);

/// What one server says of itself; `None` is what it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    version: Option<String>,
    /// `master` or `slave`.
    role: Option<String>,
    /// `1` on a node of a cluster.
    cluster_enabled: Option<String>,
    cluster_state: Option<String>,
    appendonly: Option<String>,
    appendfsync: Option<String>,
    maxmemory_policy: Option<String>,
    /// Bytes; 0 is without limit.
    maxmemory: Option<u64>,
    /// How many replicas are connected.
    replicas: Option<u64>,
}

/// Looks at every server that takes mail.
pub(super) async fn check(link: &Link, redis: &RedisSettings) -> Result<(), OpenError> {
    let is_strict = redis.durability == Durability::Strict;
    for server in link.masters() {
        let said = ask(link, &server).await.map_err(|error| OpenError(format!("Redis at {server}: {error}")))?;
        if let Some(reason) = said.unusable() {
            return Err(OpenError(format!("Redis at {server} {reason}")));
        }
        let dangers = said.dangers(redis.wait_replicas, redis.server.has_failover());
        if is_strict && !dangers.is_empty() {
            return Err(OpenError(format!(
                "STORE_DURABILITY=strict, and Redis at {server} could lose mail that was acknowledged:\n  {}",
                dangers.join("\n  ")
            )));
        }
        for danger in dangers {
            tracing::warn!(%server, "mail that was acknowledged can be lost: {danger}");
        }
        if let Some(growth) = said.growth() {
            tracing::warn!(%server, "{growth}");
        }
        if let Some(hindrance) = said.hindrance(redis.wait_replicas) {
            if is_strict {
                return Err(OpenError(format!(
                    "STORE_DURABILITY=strict, and Redis at {server} takes no mail: {hindrance}"
                )));
            }
            tracing::warn!(%server, "no mail is taken: {hindrance}");
        }
    }
    Ok(())
}

async fn ask(link: &Link, server: &Server) -> Result<Said, StoreError> {
    let info = link.at_server(server, "INFO", &[]).await?.into_string().unwrap_or_default();
    let field = |name: &str| reply::field(&info, name).map(str::to_owned);
    let cluster_state = if link.is_clustered() {
        let said = link.at_server(server, "CLUSTER", &["INFO"]).await?.into_string().unwrap_or_default();
        reply::field(&said, "cluster_state").map(str::to_owned)
    } else {
        None
    };
    Ok(Said {
        version: field("valkey_version").map(|_| "7.2".to_owned()).or_else(|| field("redis_version")),
        role: field("role"),
        cluster_enabled: field("cluster_enabled"),
        cluster_state,
        appendonly: field("aof_enabled").map(|enabled| if enabled == "1" { "yes" } else { "no" }.to_owned()),
        appendfsync: setting(link, server, "appendfsync").await,
        maxmemory_policy: field("maxmemory_policy"),
        maxmemory: field("maxmemory").and_then(|bytes| bytes.parse().ok()),
        replicas: field("connected_slaves").and_then(|count| count.parse().ok()),
    })
}

/// A setting that only CONFIG tells; services that others run often do not allow it.
async fn setting(link: &Link, server: &Server, name: &str) -> Option<String> {
    let answer = link.at_server(server, "CONFIG", &["GET", name]).await.ok()?;
    let words: Vec<_> = match answer {
        // Version 3 of the protocol has maps.
        fred::types::Value::Map(map) => return map.inner().into_values().next()?.into_string(),
        answer => reply::texts(answer).ok()?,
    };
    words.into_iter().nth(1)
}

impl Said {
    /// Why it cannot be used at all.
    fn unusable(&self) -> Option<String> {
        if let Some(version) = &self.version
            && is_older(version)
        {
            return Some(format!("has version {version}; {}.{} or later is needed", OLDEST.0, OLDEST.1));
        }
        if self.role.as_deref() == Some("slave") {
            return Some("is a replica, which takes no mail: name its master, or let Sentinel name it".to_owned());
        }
        if self.cluster_enabled.as_deref() == Some("1") && self.cluster_state.is_none() {
            return Some("is a node of a cluster: write REDIS_URL=redis-cluster://".to_owned());
        }
        let state = self.cluster_state.as_deref().filter(|state| *state != "ok")?;
        Some(format!(
            "says that the state of its cluster is {state}: not all slots have a master; `redis-cli --cluster check` shows \
             which, `redis-cli --cluster fix` may help"
        ))
    }

    /// Each setting by which mail can be lost, what that means, and what to do. A delivery waits for `waits_for` replicas; with
    /// a failover another server may take the place of this one.
    fn dangers(&self, waits_for: u64, has_failover: bool) -> Vec<String> {
        let mut dangers: Vec<_> = self.danger_of_failover(waits_for, has_failover).into_iter().collect();
        match self.maxmemory_policy.as_deref() {
            Some("noeviction") => {}
            Some(policy) => dangers.push(format!(
                "maxmemory-policy is {policy}: when its memory is used up, Redis throws mail away that has not expired; set \
                 maxmemory-policy noeviction, and mail is refused with 452 instead"
            )),
            None => dangers.push(
                "maxmemory-policy is not told: make sure that it is noeviction, or Redis throws mail away when its memory is \
                 used up"
                    .to_owned(),
            ),
        }
        match (self.appendonly.as_deref(), self.appendfsync.as_deref()) {
            (Some("yes"), Some("always")) => {}
            (Some("yes"), Some(fsync)) => dangers.push(format!(
                "appendfsync is {fsync}: what was written within the last second or more is gone after a loss of power; set \
                 appendfsync always"
            )),
            (Some("yes"), None) => dangers.push(
                "appendfsync is not told, as CONFIG is not allowed here: with anything but always, what was written within the \
                 last second or more is gone after a loss of power; ask whoever runs this Redis"
                    .to_owned(),
            ),
            _ => dangers.push(
                "appendonly is no: what was written since the last snapshot is gone when Redis ends unexpectedly; set \
                 appendonly yes and appendfsync always"
                    .to_owned(),
            ),
        }
        dangers
    }

    fn danger_of_failover(&self, waits_for: u64, has_failover: bool) -> Option<String> {
        let replicas = self.replicas.unwrap_or(0);
        if waits_for == 0 && (has_failover || replicas > 0) {
            return Some(format!(
                "REDIS_WAIT_REPLICAS is 0: where a replica takes the place of this master, what it had not been sent yet is \
                 gone; set REDIS_WAIT_REPLICAS={}, the number of replicas that each master has",
                replicas.max(1)
            ));
        }
        (waits_for < replicas).then(|| {
            format!(
                "REDIS_WAIT_REPLICAS is {waits_for}, and this master has {replicas} replicas: the one that takes its place may be \
                 one that was not waited for; set REDIS_WAIT_REPLICAS={replicas}"
            )
        })
    }

    /// What comes of it where nothing limits its memory. No mail is lost by that, so it is no danger.
    fn growth(&self) -> Option<&'static str> {
        (self.maxmemory == Some(0)).then_some(
            "maxmemory is 0: Redis takes mail until the machine has no memory left, and is then killed; set maxmemory below the \
             memory of the machine, such as maxmemory 1gb, and mail is refused with 452 when it is used up",
        )
    }

    /// Why no mail will be taken for now.
    fn hindrance(&self, waits_for: u64) -> Option<String> {
        let replicas = self.replicas.filter(|replicas| *replicas < waits_for)?;
        Some(format!(
            "REDIS_WAIT_REPLICAS is {waits_for}, and the number of replicas that are connected is {replicas}; `redis-cli INFO \
             replication` shows them"
        ))
    }
}

fn is_older(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < OLDEST,
        // Whatever has another way to count is newer.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Said {
        let text = |text: &str| Some(text.to_owned());
        Said {
            version: text("7.0.15"),
            role: text("master"),
            cluster_enabled: text("0"),
            cluster_state: None,
            appendonly: text("yes"),
            appendfsync: text("always"),
            maxmemory_policy: text("noeviction"),
            maxmemory: Some(1 << 30),
            replicas: Some(0),
        }
    }

    #[test]
    fn a_redis_that_keeps_what_it_acknowledges_is_not_complained_of() {
        assert!(said().dangers(0, false).is_empty());
        let followed = Said { replicas: Some(2), ..said() };
        assert!(followed.dangers(2, true).is_empty());
        assert_eq!(followed.hindrance(2), None);
        assert_eq!(said().growth(), None);
        assert_eq!(said().unusable(), None);
    }

    #[test]
    fn each_danger_is_named_with_its_consequence_and_its_cure() {
        let text = |text: &str| Some(text.to_owned());
        for (said, setting, cure) in [
            (Said { maxmemory_policy: text("allkeys-lru"), ..said() }, "is allkeys-lru", "maxmemory-policy noeviction"),
            (Said { appendfsync: text("everysec"), ..said() }, "is everysec", "set appendfsync always"),
            (Said { appendfsync: None, ..said() }, "appendfsync is not told", "ask whoever"),
            (Said { appendonly: text("no"), ..said() }, "appendonly is no", "set appendonly yes"),
        ] {
            let [danger] = <[String; 1]>::try_from(said.dangers(0, false)).unwrap();
            assert!(danger.contains(setting) && danger.contains(cure), "{danger}");
        }
        assert_eq!(Said::default().dangers(0, false).len(), 2);
        let unlimited = Said { maxmemory: Some(0), ..said() };
        assert!(unlimited.growth().unwrap().contains("set maxmemory below") && unlimited.dangers(0, false).is_empty());
    }

    #[test]
    fn a_replica_that_may_lack_mail_when_it_becomes_the_master_is_a_danger() {
        for (replicas, waits_for, has_failover, danger) in [
            (0, 0, false, None),
            (0, 0, true, Some("set REDIS_WAIT_REPLICAS=1")),
            (2, 0, false, Some("set REDIS_WAIT_REPLICAS=2")),
            (2, 1, true, Some("may be one that was not waited for; set REDIS_WAIT_REPLICAS=2")),
            (2, 2, true, None),
            (1, 2, true, None),
        ] {
            let found = Said { replicas: Some(replicas), ..said() }.dangers(waits_for, has_failover);
            assert_eq!(found.len(), usize::from(danger.is_some()), "{found:?}");
            assert!(found.iter().all(|found| found.contains(danger.unwrap())), "{found:?}");
        }
        let hindrance = Said { replicas: Some(1), ..said() }.hindrance(2).unwrap();
        assert!(hindrance.contains("the number of replicas that are connected is 1"), "{hindrance}");
    }

    #[test]
    fn a_version_too_old_and_a_cluster_with_holes_are_refused() {
        for (version, is_old) in
            [("6.0.16", true), ("5.0", true), ("6.2.0", false), ("7.0.15", false), ("8.0.1", false), ("x", false)]
        {
            assert_eq!(is_older(version), is_old, "{version}");
        }
        let text = |text: &str| Some(text.to_owned());
        for (said, reason) in [
            (Said { cluster_state: text("fail"), ..said() }, "redis-cli --cluster"),
            (Said { cluster_enabled: text("1"), ..said() }, "redis-cluster://"),
            (Said { role: text("slave"), ..said() }, "is a replica"),
        ] {
            assert!(said.unusable().unwrap().contains(reason), "{said:?}");
        }
    }
}
