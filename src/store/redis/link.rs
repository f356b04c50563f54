//! The connections to Redis: commands with a time limit, scripts, and what their errors mean.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, Server, TcpConfig, UnresponsiveConfig,
};
use fred::types::{Builder, ClusterHash, CustomCommand, Value};
use fred::util::{redis_keyslot, sha1_hash};
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::store::{StoreError, closing};

/// How long whoever asks waits for an answer, whatever has to be tried again meanwhile. A client of SMTP waits for minutes,
/// one of the API for a minute; who is told soon can do something else.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(4);
/// How long one command may take, a connection may take to be made, and a server may say nothing. Below that of a call: the
/// rest of the time is for another try, at another server perhaps.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(3500);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long all connections together may take at the start, and each of them at the end.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long is waited before something is tried again.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(50);
const RECONNECT_MIN_MS: u32 = 50;
const RECONNECT_MAX_MS: u32 = 1000;
/// How many events may wait to be read before some are lost.
const EVENTS_BACKLOG: usize = 16 * 1024;
/// More bytes than this go over a connection of their own, where they do not hold up others.
const BULK_MIN_BYTES: usize = 32 * 1024;

/// A script that Redis keeps by its hash.
pub(super) struct Script {
    source: &'static str,
    hash: String,
}

impl Script {
    pub(super) fn new(source: &'static str) -> Self {
        Self { source, hash: sha1_hash(source) }
    }
}

/// The connections of one process.
pub(super) struct Link {
    small: Client,
    bulk: Client,
    pub(super) subscriber: SubscriberClient,
    /// Where somebody waits for replicas: `WAIT` holds up whatever comes behind it.
    pub(super) waiting: Option<Client>,
    closed: AtomicBool,
}

impl Link {
    /// Connects; `waits` says whether somebody will wait for replicas.
    pub(super) async fn connect(config: Config, waits: bool) -> Result<Self, Error> {
        let mut builder = Builder::from_config(config);
        builder
            .set_connection_config(connection_config())
            .set_performance_config(PerformanceConfig {
                default_command_timeout: COMMAND_TIMEOUT,
                broadcast_channel_capacity: EVENTS_BACKLOG,
                ..PerformanceConfig::default()
            })
            .set_policy(ReconnectPolicy::new_exponential(0, RECONNECT_MIN_MS, RECONNECT_MAX_MS, 2));
        let (small, bulk) = (builder.build()?, builder.build()?);
        let subscriber = builder.build_subscriber_client()?;
        // What is said there belongs together: nothing of it may go elsewhere, or go again.
        let once = ConnectionConfig { max_command_attempts: 1, max_redirections: 0, ..connection_config() };
        let waiting = if waits { Some(builder.set_connection_config(once).build()?) } else { None };
        let link = Self { small, bulk, subscriber, waiting, closed: AtomicBool::new(false) };
        let connected = timeout(OPEN_TIMEOUT, link.init()).await;
        let connected = connected.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no answer")));
        if connected.is_err() {
            // Or it would go on trying beside the next one.
            link.close().await;
        }
        connected.map(|()| link)
    }

    async fn init(&self) -> Result<(), Error> {
        self.small.init().await?;
        self.bulk.init().await?;
        if let Some(waiting) = &self.waiting {
            waiting.init().await?;
        }
        self.subscriber.init().await.map(drop)
    }

    pub(super) fn is_clustered(&self) -> bool {
        self.small.is_clustered()
    }

    /// The servers that take mail.
    pub(super) fn masters(&self) -> Vec<Server> {
        self.small.active_connections()
    }

    /// Runs a command about `key`. It must be one that may be run again: that is what is done where the answer is lost.
    pub(super) async fn call(&self, key: &str, command: &'static str, args: Vec<Value>) -> Result<Value, StoreError> {
        let bytes = args.iter().filter_map(Value::as_bytes).map(<[u8]>::len).sum::<usize>();
        let client = if bytes < BULK_MIN_BYTES { &self.small } else { &self.bulk };
        self.ask(client, key, command, args).await
    }

    /// Runs a command that has a large answer.
    pub(super) async fn call_bulk(
        &self,
        key: &str,
        command: &'static str,
        args: Vec<Value>,
    ) -> Result<Value, StoreError> {
        self.ask(&self.bulk, key, command, args).await
    }

    /// Runs a script; it may name no keys but these, and all of them are kept together.
    pub(super) async fn run(&self, script: &Script, keys: Vec<String>, args: Vec<Value>) -> Result<Value, StoreError> {
        let first = keys.first().cloned().unwrap_or_default();
        let arguments = |script: Value| {
            let mut all = vec![script, number(keys.len() as u64)];
            all.extend(keys.iter().map(|key| Value::from(key.as_str())));
            all.extend(args.iter().cloned());
            all
        };
        match self.call(&first, "EVALSHA", arguments(Value::from(script.hash.as_str()))).await {
            // After a restart, or on a server that has just become the master.
            Err(StoreError::Unavailable(reason)) if reason.contains("NOSCRIPT") => {
                self.call(&first, "EVAL", arguments(Value::from_static_str(script.source))).await
            }
            answer => answer,
        }
    }

    /// Runs a command at one server.
    pub(super) async fn at_server(
        &self,
        server: &Server,
        command: &'static str,
        args: &[&str],
    ) -> Result<Value, StoreError> {
        let args: Vec<Value> = args.iter().map(|arg| Value::from(*arg)).collect();
        let custom = CustomCommand::new_static(command, ClusterHash::FirstKey, false);
        let answer = if self.is_clustered() {
            self.small.with_cluster_node(server).custom::<Value, Value>(custom, args).await
        } else {
            self.small.custom::<Value, Value>(custom, args).await
        };
        answer.map_err(|error| meaning(&error))
    }

    async fn ask(
        &self,
        client: &Client,
        key: &str,
        command: &'static str,
        args: Vec<Value>,
    ) -> Result<Value, StoreError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(closing());
        }
        let slot = ClusterHash::Custom(redis_keyslot(key.as_bytes()));
        let answered = async {
            loop {
                let custom = CustomCommand::new_static(command, slot.clone(), false);
                match client.custom::<Value, Value>(custom, args.clone()).await {
                    Err(error) if is_passing(&error) => {
                        tracing::debug!(%error, command, "tried again");
                        if is_demoted(&error) {
                            // It would go on asking a server that is no master any more.
                            let _ = client.force_reconnection().await;
                        }
                        sleep(RETRY_PAUSE).await;
                    }
                    answer => return answer.map_err(|error| meaning(&error)),
                }
            }
        };
        timeout(CALL_TIMEOUT, answered)
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable(format!("Redis does not answer {command}"))))
    }

    /// Answers nobody any more, and closes the connections.
    pub(super) async fn close(&self) {
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        let clients = [Some(&self.small), Some(&self.bulk), self.waiting.as_ref()];
        let quit = clients.into_iter().flatten().map(|client| timeout(QUIT_TIMEOUT, client.quit()));
        let _ = tokio::join!(join_all(quit), timeout(QUIT_TIMEOUT, self.subscriber.quit()));
    }

    pub(super) fn check_open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::SeqCst) { Err(closing()) } else { Ok(()) }
    }
}

fn connection_config() -> ConnectionConfig {
    ConnectionConfig {
        // Or a small command waits until the one before it is confirmed, which a server may put off by 40 ms.
        tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
        connection_timeout: CONNECT_TIMEOUT,
        internal_command_timeout: CONNECT_TIMEOUT,
        cluster_cache_update_delay: Duration::from_millis(100),
        max_command_attempts: 3,
        // A peer that is gone without a word is noticed.
        unresponsive: UnresponsiveConfig { max_timeout: Some(CONNECT_TIMEOUT), interval: Duration::from_millis(500) },
        reconnect_on_auth_error: true,
        ..ConnectionConfig::default()
    }
}

pub(super) fn number(number: u64) -> Value {
    Value::from(number.to_string())
}

/// Whether the same may well succeed in a moment.
fn is_passing(error: &Error) -> bool {
    const PASSING: [&str; 7] = ["LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "MOVED", "ASK"];
    matches!(error.kind(), ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Cluster | ErrorKind::Routing)
        || PASSING.iter().any(|code| error.details().starts_with(code))
}

/// Whether it may help to wait, where no connection was ever made: for a server that starts, not for another password.
pub(super) fn may_pass_at_the_start(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Auth | ErrorKind::Config | ErrorKind::InvalidArgument)
        && !error.details().contains("InvalidCertificate")
}

/// Whether the server has become a replica.
pub(super) fn is_demoted(error: &Error) -> bool {
    error.details().starts_with("READONLY") || error.details().starts_with("MASTERDOWN")
}

/// What an error of Redis is to whoever asked the store. Its text has no password in it.
pub(super) fn meaning(error: &Error) -> StoreError {
    let text = error.details();
    if text.starts_with("OOM") {
        StoreError::Full("Redis has used up its maxmemory".to_owned())
    } else if text.starts_with("MISCONF") && text.contains("No space left") {
        StoreError::Full("the disk of Redis is full".to_owned())
    } else {
        StoreError::Unavailable(format!("Redis: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_refuses_for_want_of_room_is_full_and_all_else_is_unavailable() {
        let of = |text: &'static str| meaning(&Error::new(ErrorKind::Unknown, text));
        let full =
            ["OOM command not allowed when used memory > 'maxmemory'.", "MISCONF Errors: No space left on device"];
        assert!(full.into_iter().all(|text| matches!(of(text), StoreError::Full(_))));
        let away = ["MISCONF Redis is configured to save RDB snapshots", "LOADING Redis is loading", "NOAUTH", "ERR"];
        assert!(away.into_iter().all(|text| matches!(of(text), StoreError::Unavailable(_))));
    }

    #[test]
    fn what_passes_is_tried_again() {
        let is_passing = |text: &'static str| is_passing(&Error::new(ErrorKind::Unknown, text));
        assert!(is_passing("LOADING Redis is loading") && is_passing("READONLY You can't write"));
        assert!(!is_passing("OOM command") && !is_passing("NOAUTH") && !is_passing("ERR unknown command"));
    }
}
