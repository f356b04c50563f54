//! Waiting until replicas have what was written: a master may die then, and nothing that was acknowledged goes with it.
//!
//! `WAIT` holds up all that comes behind it, and it waits for the writes of its own connection alone. So each master has a
//! connection for it, on which several deliveries share one: whoever has the turn asks for all that wait, in one go:
//!
//! ```text
//! CLIENT SETNAME   this connection, and
//! EXISTS ...       that what each delivery wrote is there: the master may be another one since
//! SET ...          a write that is behind all of that
//! WAIT             for the replicas to have it
//! CLIENT GETNAME   it was this connection all the time: on a new one WAIT knows of no write, and waits for nothing
//! ```

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::{Options, Server};
use fred::types::{ClusterHash, CustomCommand, Value};
use fred::util::redis_keyslot;
use futures_util::future::join_all;
use tokio::sync::{Mutex as TurnMutex, oneshot};
use tokio::time::{sleep, timeout};

use super::keys::Keys;
use super::link::{CALL_TIMEOUT, RETRY_PAUSE, is_demoted, meaning};
use super::{PROBE_MS, Redis, reply};
use crate::store::StoreError;

/// How long one turn waits for replicas. Where too few have acknowledged by then it is asked again, as long as a call may take.
const ACKNOWLEDGED_WITHIN_MS: u64 = 1500;

/// What there is to see at a master that has taken a write.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    /// A key on that master.
    key: String,
    command: &'static str,
    args: Vec<String>,
    expected: Expected,
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    Count(usize),
    Something,
    Anything,
}

/// Who waits for replicas.
pub(super) struct Replicas {
    client: Client,
    wanted: u64,
    lines: Mutex<HashMap<Option<Server>, Arc<Line>>>,
}

/// Those who wait for the replicas of one master.
#[derive(Default)]
struct Line {
    turn: TurnMutex<()>,
    waiting: Mutex<Vec<Waiter>>,
    /// Whether enough replicas followed when somebody asked last.
    is_followed: AtomicBool,
}

struct Waiter {
    traces: Vec<Trace>,
    answer: oneshot::Sender<Result<(), Doubt>>,
}

/// Why it is not known that replicas have it.
#[derive(Clone, Debug)]
enum Doubt {
    /// The same may well succeed in a moment.
    Passing(String),
    Final(StoreError),
}

impl Trace {
    /// These keys were written; all of them have the same hash tag.
    pub(super) fn written(keys: Vec<String>) -> Self {
        let key = keys.first().cloned().unwrap_or_default();
        Self { key, command: "EXISTS", expected: Expected::Count(keys.len()), args: keys }
    }

    /// This key was removed.
    pub(super) fn removed(key: String) -> Self {
        Self { expected: Expected::Count(0), ..Self::written(vec![key]) }
    }

    /// This member was put into a sorted set.
    pub(super) fn member(key: String, member: &str) -> Self {
        Self { args: vec![key.clone(), member.to_owned()], key, command: "ZSCORE", expected: Expected::Something }
    }

    /// Nothing was written yet.
    pub(super) fn none(key: String) -> Self {
        Self { expected: Expected::Anything, ..Self::written(vec![key]) }
    }

    fn is_seen_in(&self, answer: &Value) -> bool {
        match self.expected {
            Expected::Count(count) => answer.as_u64() == Some(count as u64),
            Expected::Something => !answer.is_null(),
            Expected::Anything => true,
        }
    }
}

impl Redis {
    /// Waits until as many replicas as are wanted have what left these traces. Where none are wanted nobody is asked.
    pub(super) async fn replicated(&self, traces: impl FnOnce() -> Vec<Trace>) -> Result<(), StoreError> {
        match &self.replicas {
            Some(replicas) => replicas.have(&traces()).await,
            None => Ok(()),
        }
    }

    /// The keys among these whose masters had too few replicas when somebody asked last, or were never asked: what is written
    /// there would be seen until it is clear that it cannot stay.
    pub(super) fn not_followed(&self, keys: impl Iterator<Item = String>) -> Vec<Trace> {
        let Some(replicas) = &self.replicas else { return Vec::new() };
        keys.map(Trace::none).filter(|trace| !replicas.is_followed(trace)).collect()
    }
}

impl Replicas {
    /// Waits for `wanted` replicas on the connections of `client`, which nobody else uses.
    pub(super) fn new(client: Client, wanted: u64) -> Self {
        Self { client, wanted, lines: Mutex::default() }
    }

    async fn have(&self, traces: &[Trace]) -> Result<(), StoreError> {
        let mut last = "Redis does not answer".to_owned();
        let asked = async {
            loop {
                match self.ask_masters(traces).await {
                    Ok(()) => return Ok(()),
                    Err(Doubt::Final(error)) => return Err(error),
                    Err(Doubt::Passing(reason)) => last = reason,
                }
                sleep(RETRY_PAUSE).await;
            }
        };
        let in_time = timeout(CALL_TIMEOUT, asked).await;
        in_time.unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no word of the replicas of Redis: {last}"))))
    }

    async fn ask_masters(&self, traces: &[Trace]) -> Result<(), Doubt> {
        let mut at_masters: HashMap<_, Vec<_>> = HashMap::new();
        for trace in traces {
            at_masters.entry(self.master_of(trace)?).or_default().push(trace.clone());
        }
        // To the end, whatever the others say: who has the turn at one of them asks for others too.
        let asked = at_masters.into_iter().map(|(master, traces)| self.stand_in_line(master, traces));
        join_all(asked).await.into_iter().collect()
    }

    /// The server that has the key of a trace; there is only one outside of a cluster.
    fn master_of(&self, trace: &Trace) -> Result<Option<Server>, Doubt> {
        if !self.client.is_clustered() {
            return Ok(None);
        }
        let master =
            self.client.cached_cluster_state().and_then(|state| state.get_server(slot_of(&trace.key)).cloned());
        master.map(Some).ok_or_else(|| Doubt::Passing("no master is known for a slot".to_owned()))
    }

    fn line(&self, master: Option<Server>) -> Arc<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).entry(master).or_default().clone()
    }

    fn is_followed(&self, trace: &Trace) -> bool {
        self.master_of(trace).is_ok_and(|master| self.line(master).is_followed.load(Ordering::Relaxed))
    }

    async fn stand_in_line(&self, master: Option<Server>, traces: Vec<Trace>) -> Result<(), Doubt> {
        let line = self.line(master.clone());
        let (answer, mut answered) = oneshot::channel();
        line.waiting().push(Waiter { traces, answer });
        let turn = tokio::select! {
            biased;
            answer = &mut answered => return answer.unwrap_or_else(|_| Err(left_alone())),
            turn = line.turn.lock() => turn,
        };
        // Those who come from now on need a write of their own. Nobody may wait any more: the answer came with the turn.
        let waiting = std::mem::take(&mut *line.waiting());
        if !waiting.is_empty() {
            let answers = self.ask(master, &line, &waiting).await;
            for (waiter, answer) in waiting.into_iter().zip(answers) {
                // Nobody may be there any more.
                let _ = waiter.answer.send(answer);
            }
        }
        drop(turn);
        answered.await.unwrap_or_else(|_| Err(left_alone()))
    }

    /// Asks for all who wait, and gives an answer for each.
    async fn ask(&self, master: Option<Server>, line: &Line, waiting: &[Waiter]) -> Vec<Result<(), Doubt>> {
        let traces: Vec<_> = waiting.iter().flat_map(|waiter| &waiter.traces).collect();
        let (answers, acknowledged) = match self.in_one_go(master, &traces).await {
            Ok(said) => said,
            Err(error) => {
                if is_demoted(&error) {
                    let _ = self.client.force_reconnection().await;
                }
                let doubt = match meaning(&error) {
                    full @ StoreError::Full(_) => Doubt::Final(full),
                    passing => Doubt::Passing(passing.to_string()),
                };
                return vec![Err(doubt); waiting.len()];
            }
        };
        line.is_followed.store(acknowledged >= self.wanted, Ordering::Relaxed);
        let (wanted, mut answers) = (self.wanted, answers.into_iter());
        let answer = |waiter: &Waiter| {
            let answers: Vec<_> = answers.by_ref().take(waiter.traces.len()).collect();
            let is_seen = waiter.traces.iter().zip(&answers).all(|(trace, answer)| trace.is_seen_in(answer));
            match (acknowledged >= wanted, is_seen) {
                (true, true) => Ok(()),
                (true, false) => Err(Doubt::Final(lost())),
                // They may be behind by more than can be sent to them in one turn.
                (false, _) => Err(Doubt::Passing(format!("{acknowledged} of {wanted} have acknowledged in time"))),
            }
        };
        waiting.iter().map(answer).collect()
    }

    /// Asks one server for these traces and then for its replicas, all on the same connection: what there is to see, and how
    /// many replicas have acknowledged.
    async fn in_one_go(&self, master: Option<Server>, traces: &[&Trace]) -> Result<(Vec<Value>, u64), Error> {
        static TURN: AtomicU64 = AtomicU64::new(0);
        let name = format!("waits-{}", TURN.fetch_add(1, Ordering::Relaxed));
        let first = traces.first().map_or("", |trace| &trace.key);
        let (slot, probe) = (ClusterHash::Custom(slot_of(first)), Keys::probe_beside(first));
        let pipeline = self.client.pipeline().with_options(&Options { cluster_node: master, ..Options::default() });
        let say = async |command: &'static str, args: &[&str]| {
            let args: Vec<_> = args.iter().map(|arg| Value::from(*arg)).collect();
            let custom = CustomCommand::new_static(command, slot.clone(), false);
            pipeline.custom::<Value, Value>(custom, args).await
        };
        say("CLIENT", &["SETNAME", &name]).await?;
        for trace in traces {
            say(trace.command, &trace.args.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        }
        say("SET", &[&probe, "1", "PX", &PROBE_MS.to_string()]).await?;
        say("WAIT", &[&self.wanted.to_string(), &ACKNOWLEDGED_WITHIN_MS.to_string()]).await?;
        say("CLIENT", &["GETNAME"]).await?;
        match &pipeline.all::<Vec<Value>>().await?[..] {
            [_, seen @ .., _, acknowledged, Value::String(same)] if **same == *name => {
                Ok((seen.to_vec(), reply::count(acknowledged)))
            }
            _ => Err(Error::new(ErrorKind::IO, "the connection is a new one")),
        }
    }
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiter>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot_of(key: &str) -> u16 {
    redis_keyslot(key.as_bytes())
}

fn lost() -> StoreError {
    StoreError::Unavailable("what was written went with a master that died".to_owned())
}

/// Whoever had the turn has given up.
fn left_alone() -> Doubt {
    Doubt::Passing("whoever asked has given up".to_owned())
}
