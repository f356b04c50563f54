//! Waiting for replicas, and what is said where a failover could lose mail.

use std::pin::pin;

use bytes::Bytes;
use futures_util::future::join_all;

use super::super::deliveries::Attempt;
use super::super::replicas::Trace;
use super::{
    CLUSTER, Cluster, DEADLINE, Durability, Node, RedisSettings, Server, eventually, is_unavailable, name, open, redis,
    settings,
};
use crate::store::StoreError;
use crate::store::contract::{noise, to};

/// A master and a replica of it that is in step.
fn pair() -> (Server, Server) {
    let at_once = "repl-diskless-sync-delay 0";
    let master = Server::start_with(&[at_once]);
    let replica = Server::start_with(&[at_once, &format!("replicaof 127.0.0.1 {}", master.addr().port())]);
    redis::until("a replica in step", || {
        replica.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    });
    (master, replica)
}

fn waiting_for(replicas: u64, url: &str) -> RedisSettings {
    RedisSettings { wait_replicas: replicas, ..settings(url) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_that_no_replica_has_is_refused_and_taken_back_and_later_mail_is_not_even_seen() {
    let (master, replica) = pair();
    let node = Node::open(&waiting_for(1, &master.url())).await.unwrap();
    let kept = node.deliver_in_time(&["alice"]).await;
    assert_eq!(replica.cli(&["--scan", "--pattern", &format!("*:m:{kept}")]).lines().count(), 1, "it is there already");
    eventually("it is ready", async || node.store.ready().await.ok()).await;

    replica.pause();
    let refused = node.deliver(&["alice"], b"refused").await;
    assert!(refused.unwrap_err().to_string().contains("0 of 1 have acknowledged in time"));
    eventually("it is taken back", async || (node.ids("alice").await == [kept]).then_some(())).await;
    let mut events = node.store.subscribe(None);
    assert!(is_unavailable(&node.deliver(&["alice"], b"refused").await));
    eventually("it is not ready", async || node.store.ready().await.is_err().then_some(())).await;

    replica.resume();
    let later = node.deliver_in_time(&["alice"]).await;
    eventually("it is ready", async || node.store.ready().await.ok()).await;
    eventually("these are there", async || (node.ids("alice").await == [later, kept]).then_some(())).await;
    let seen = tokio::time::timeout(DEADLINE, events.next()).await.unwrap().unwrap().seq;
    assert_eq!(seen, node.store.message(&name("alice"), later).await.unwrap().unwrap().seq);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_replica_of_one_master_is_silent_no_mailbox_keeps_the_mail() {
    let cluster = Cluster::start(2, 1);
    let settings = waiting_for(1, &cluster.url());
    let (node, redis) = (Node::open(&settings).await.unwrap(), open(&settings).await);
    let all: Vec<_> = ('a'..='h').map(String::from).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let large = vec![b'x'; 200_000].leak();
    let (message, now) = (node.message(), node.clock.now());
    let kept = message.id;
    let append = async || redis.append(&to(&all), message.clone(), Bytes::from_static(large), now).await.ok();
    eventually("mail is taken", append).await;
    cluster.nodes[2].pause();
    let (deliveries, message) = (to(&all), node.message());
    let mailboxes: Vec<_> = deliveries.iter().map(|delivery| delivery.mailbox.clone()).collect();
    // One that is noted at the other master: nothing but the mailboxes can tell.
    let mut attempts = std::iter::repeat_with(|| Attempt::new(message.id, mailboxes.clone()));
    let attempt = attempts.find(|attempt| cluster.master_of(&redis.keys.open(attempt.slot())) == 1).unwrap();
    let refused = redis.append_as(&deliveries, message, Bytes::from_static(b"x"), attempt, now).await;
    assert!(is_unavailable(&refused));
    for name in &all {
        eventually("it is taken back", async || (node.ids(name).await == [kept]).then_some(())).await;
    }
    cluster.nodes[2].resume();
    let later = node.deliver_in_time(&all).await;
    for name in &all {
        eventually("these are there", async || (node.ids(name).await == [later, kept]).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_with_a_master_that_died_is_not_acknowledged() {
    let (master, _replica) = pair();
    let redis = open(&waiting_for(1, &master.url())).await;
    assert_eq!(master.cli(&["SET", "{a}there", "1"]), "OK");
    assert_eq!(master.cli(&["ZADD", "{a}list", "0", "member"]), "1");
    let key = |name: &str| format!("{{a}}{name}");
    for (trace, is_kept) in [
        (Trace::written(vec![key("there"), key("list")]), true),
        (Trace::written(vec![key("there"), key("lost")]), false),
        (Trace::removed(key("lost")), true),
        (Trace::removed(key("there")), false),
        (Trace::member(key("list"), "member"), true),
        (Trace::member(key("list"), "lost"), false),
        (Trace::none(key("lost")), true),
    ] {
        assert_eq!(said_of(&redis, &trace).await, is_kept, "{trace:?}");
    }
    let [lost, there] = ["lost", "there"].map(|name| Trace::written(vec![key(name)]));
    // While the first is asked for the others come together.
    let said = tokio::join!(said_of(&redis, &there), said_of(&redis, &lost), said_of(&redis, &there));
    assert_eq!(said, (true, false, true), "of several that ask together each has its own answer");
}

/// Whether what left this trace is kept, as soon as there is a word of it.
async fn said_of(redis: &super::super::Redis, trace: &Trace) -> bool {
    let ask = async || match redis.replicated(|| vec![trace.clone()]).await {
        Ok(()) => Some(true),
        Err(error) => error.to_string().contains("went with a master").then_some(false),
    };
    eventually("there is a word of it", ask).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_behind_for_a_moment_refuse_no_mail() {
    let (master, replica) = pair();
    let node = Node::open(&waiting_for(1, &master.url())).await.unwrap();
    node.deliver_in_time(&["alice"]).await;
    let behind = async || {
        assert_eq!(master.cli(&["CONFIG", "RESETSTAT"]), "OK");
        replica.pause();
        let mut delivered = pin!(node.deliver(&["alice"], b"x"));
        // The second time they are asked only because they were behind the first time.
        let asked_again = eventually("they are asked again", async || (waits(&master) > 1).then_some(()));
        let early = tokio::select! {
            early = &mut delivered => Some(early),
            () = asked_again => None,
        };
        replica.resume();
        let delivered = if let Some(early) = early { early } else { delivered.await };
        delivered.ok()
    };
    eventually("mail is taken", behind).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_mail_waits_for_replicas_while_it_is_written() {
    let (master, _replica) = pair();
    let node = Node::open(&waiting_for(1, &master.url())).await.unwrap();
    node.deliver_in_time(&["alice"]).await;
    let large: &[u8] = noise(1, 10 << 20).leak();
    let deliver = async || {
        assert_eq!(master.cli(&["CONFIG", "RESETSTAT"]), "OK");
        node.deliver(&["alice"], large).await.ok()
    };
    eventually("mail is taken", deliver).await;
    // Behind 8 and 16 of 21 pieces, behind all of them, and behind what makes them visible.
    assert!(waits(&master) >= 4, "{}", waits(&master));
}

/// How many times this server was asked to wait for its replicas.
fn waits(master: &Server) -> usize {
    let statistics = master.cli(&["INFO", "commandstats"]);
    let waits = statistics.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
    waits.map_or(0, |waits| waits.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_full_by_the_time_its_replicas_are_waited_for_is_full() {
    let (master, _replica) = pair();
    let redis = open(&waiting_for(1, &master.url())).await;
    assert_eq!(master.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    let full = async || redis.replicated(|| vec![Trace::none("{a}".to_owned())]).await;
    eventually("it is full", async || matches!(full().await, Err(StoreError::Full(_))).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_at_the_same_time_wait_for_replicas_together() {
    const DELIVERIES: usize = 200;
    let (master, _replica) = pair();
    let node = Node::open(&waiting_for(1, &master.url())).await.unwrap();
    let delivered = join_all((0..DELIVERIES).map(|_| node.deliver(&["alice"], b"together"))).await;
    let (taken, waits) = (delivered.iter().filter(|delivered| delivered.is_ok()).count(), waits(&master));
    assert!(waits < taken / 2, "{waits} for {taken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_whose_replica_could_lack_mail_is_refused_where_that_is_asked_for() {
    let (master, _replica) = pair();
    let strict = |replicas, url: &str| RedisSettings { durability: Durability::Strict, ..waiting_for(replicas, url) };
    let refusal = async |settings| Node::open(&settings).await.err().unwrap().to_string();
    assert!(refusal(strict(0, &master.url())).await.contains("set REDIS_WAIT_REPLICAS=1"));
    assert!(refusal(strict(0, &CLUSTER.url())).await.contains("set REDIS_WAIT_REPLICAS=1"));
    let too_few = refusal(strict(2, &master.url())).await;
    assert!(
        too_few.contains("REDIS_WAIT_REPLICAS is 2, and the number of replicas that are connected is 1"),
        "{too_few}"
    );
    let node = Node::open(&strict(1, &master.url())).await.unwrap();
    node.deliver_in_time(&["alice"]).await;
    let lax = Node::open(&waiting_for(2, &master.url())).await.unwrap();
    assert!(matches!(lax.deliver(&["alice"], b"refused").await, Err(StoreError::Unavailable(_))));
}
