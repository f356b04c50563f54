//! The store in Redis: what several programs share. Any of them may take a mail, any other serve it and wake who waits there.
//!
//! ```text
//! append ─► large bodies, in pieces (nobody sees them) ─► one script: index, record, small body, event ─► 250
//! read   ─► index ─► records                                        └─► pub/sub ─► every node ─► who waits
//! ```
//!
//! The keys are described in [`keys`], what the values hold in [`member`] and [`value`], what has to be one step in `scripts`.

mod append;
mod body;
mod checks;
mod claims;
mod deliveries;
mod keys;
mod link;
mod member;
mod memory;
mod names;
mod notices;
mod pieces;
mod read;
mod remove;
mod replicas;
mod reply;
mod scripts;
mod settings;
#[cfg(test)]
pub(super) mod tests;
mod tls;
mod tombstones;
mod value;

use std::sync::Arc;
use std::time::Duration;

use fred::types::Value;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

pub(super) use self::body::Body;
pub use self::settings::{Durability, RedisServer, RedisSettings};

use self::deliveries::Regret;
use self::keys::Keys;
use self::link::Link;
use self::notices::Notices;
use self::replicas::{Replicas, Trace};
use self::scripts::Scripts;
use super::readiness::Readiness;
use super::{Events, OpenError, Settings, StoreError};
use crate::clock::Timestamp;
use crate::metrics;
use crate::shutdown::Shutdown;

/// How long Redis may take to come up, or to load what it holds, before the program gives up: whoever starts both together
/// need not put them in order.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long is waited for the next try to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);
/// How many commands of one call are under way at the same time.
const TOGETHER: usize = 16;
/// How long a key that was written to see whether that can be done stays.
const PROBE_MS: u64 = 10_000;

/// A Redis in use.
pub(super) struct Redis {
    link: Link,
    keys: Keys,
    scripts: Scripts,
    replicas: Option<Replicas>,
    notices: Notices,
    regrets: mpsc::Sender<Regret>,
    metrics: Arc<metrics::Store>,
    ready: Readiness,
    mailbox_max_messages: u64,
}

impl Redis {
    pub(super) async fn open(
        settings: &Settings,
        redis: &RedisSettings,
        events: Events,
        metrics: Arc<metrics::Store>,
        tasks: &Shutdown,
    ) -> Result<Arc<Self>, OpenError> {
        let link = connect(redis).await?;
        checks::check(&link, redis).await?;
        let replicas = link.waiting.clone().map(|client| Replicas::new(client, redis.wait_replicas));
        let keys = Keys::new(&redis.prefix, redis.server.database());
        let (notices, (regrets, regretted)) = (Notices::new(events), Self::regrets());
        let opened = Arc::new(Self {
            link,
            keys,
            scripts: Scripts::new(),
            replicas,
            notices: notices.clone(),
            regrets,
            metrics,
            ready: Readiness::default(),
            mailbox_max_messages: settings.mailbox_max_messages as u64,
        });
        let ear = notices.subscribe(&opened.link.subscriber, opened.keys.channel()).await;
        let ear =
            ear.map_err(|error| OpenError(format!("Redis at {} cannot be listened to: {error}", redis.server)))?;
        tasks.spawn(notices.listen(ear, tasks.clone()));
        let (regretful, until) = (opened.clone(), tasks.clone());
        tasks.spawn(async move { regretful.take_back_regrets(regretted, until).await });
        opened.look_at_memory().await;
        let (careful, until) = (opened.clone(), tasks.clone());
        tasks.spawn(async move { careful.look_for_abandoned(until).await });
        Ok(opened)
    }

    /// Whether mail can be kept: a write says more than a ping, and in a cluster it is done at as many servers as there are.
    pub(super) async fn ready(&self) -> Result<(), StoreError> {
        self.link.check_open()?;
        let look = async {
            let slots = if self.link.is_clustered() { Keys::slots() } else { 0..1 };
            together(slots.clone().map(|slot| self.probe(slot)).collect()).await?;
            self.replicated(|| slots.map(|slot| Trace::none(self.keys.probe(slot))).collect()).await
        };
        self.ready.or_look(look).await
    }

    /// What the time is by the server; in a cluster, by one of them.
    pub(super) async fn time(&self) -> Result<Timestamp, StoreError> {
        let answer = reply::texts(self.link.call("", "TIME", Vec::new()).await?)?;
        let secs = answer.first().and_then(|secs| secs.parse().ok());
        let secs = secs.ok_or_else(|| StoreError::Damaged("Redis does not tell the time".to_owned()))?;
        Ok(Timestamp::from_millis(0).after(Duration::from_secs(secs)))
    }

    async fn probe(&self, slot: u8) -> Result<Value, StoreError> {
        let key = self.keys.probe(slot);
        let args = [&key, "1", "PX", &PROBE_MS.to_string()].map(Value::from).to_vec();
        self.link.call(&key, "SET", args).await
    }

    pub(super) async fn close(&self) {
        self.link.close().await;
    }
}

/// Does all of this, so much at a time; the first error ends it.
async fn together<T>(work: Vec<impl Future<Output = Result<T, StoreError>>>) -> Result<Vec<T>, StoreError> {
    stream::iter(work).buffered(TOGETHER).try_collect().await
}

/// Does all of this, so much at a time, whatever becomes of each.
async fn to_the_end(work: Vec<impl Future<Output = ()>>) {
    stream::iter(work).buffer_unordered(TOGETHER).collect().await
}

/// Connects; tries for a while where Redis is not there yet.
async fn connect(redis: &RedisSettings) -> Result<Link, OpenError> {
    let mut config = redis.server.config();
    if redis.server.uses_tls() {
        config.tls = Some(tls::config(redis.ca_file.as_deref())?);
    }
    let (server, until) = (&redis.server, Instant::now() + OPEN_TIMEOUT);
    loop {
        let error = match Link::connect(config.clone(), redis.wait_replicas > 0).await {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        if !link::may_pass_at_the_start(&error) {
            return Err(OpenError(format!("REDIS_URL: {server} cannot be used: {error}")));
        }
        if Instant::now() >= until {
            return Err(OpenError(format!(
                "REDIS_URL: {server} cannot be used: {error}; tried for {} s. Is it running, and can it be reached from here?",
                OPEN_TIMEOUT.as_secs()
            )));
        }
        tracing::warn!(%server, %error, "Redis cannot be reached yet; it is tried again");
        sleep(CONNECT_PAUSE).await;
    }
}
