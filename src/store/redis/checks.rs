//! What is looked at before the first mail is taken: whether this Redis has what is needed, and whether it keeps what it
//! acknowledges.

use fred::types::config::Server;

use super::link::Link;
use super::reply;
use super::settings::Durability;
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
}

/// Looks at every server that takes mail.
pub(super) async fn check(link: &Link, durability: Durability) -> Result<(), OpenError> {
    for server in link.masters() {
        let said = ask(link, &server).await.map_err(|error| OpenError(format!("Redis at {server}: {error}")))?;
        if let Some(reason) = said.unusable() {
            return Err(OpenError(format!("Redis at {server} {reason}")));
        }
        let dangers = said.dangers();
        if durability == Durability::Strict && !dangers.is_empty() {
            return Err(OpenError(format!(
                "STORE_DURABILITY=strict, and Redis at {server} could lose mail that was acknowledged:\n  {}",
                dangers.join("\n  ")
            )));
        }
        for danger in dangers {
            tracing::warn!(%server, "mail that was acknowledged can be lost: {danger}");
        }
    }
    Ok(())
}

async fn ask(link: &Link, server: &Server) -> Result<Said, StoreError> {
    let info = link.at_server(server, "INFO", &[]).await?.into_string().unwrap_or_default();
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned())
    };
    let cluster_state = if link.is_clustered() {
        let said = link.at_server(server, "CLUSTER", &["INFO"]).await?.into_string().unwrap_or_default();
        said.lines().find_map(|line| line.strip_prefix("cluster_state:")).map(|state| state.trim().to_owned())
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

    /// Each setting by which mail can be lost, what that means, and what to do.
    fn dangers(&self) -> Vec<String> {
        let mut dangers = Vec::new();
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
        }
    }

    #[test]
    fn a_redis_that_keeps_what_it_acknowledges_is_not_complained_of() {
        assert!(said().dangers().is_empty());
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
            let [danger] = <[String; 1]>::try_from(said.dangers()).unwrap();
            assert!(danger.contains(setting) && danger.contains(cure), "{danger}");
        }
        assert_eq!(Said::default().dangers().len(), 2);
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
