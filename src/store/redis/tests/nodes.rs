//! Several stores with one Redis.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{CLUSTER, DEADLINE, Node, ONE, settings};
use crate::store::contract::name;
use crate::store::redis::notices::LOOK_EVERY;
use crate::store::{Lease, LeaseOutcome, LeaseStep, LeaseToken};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_that_one_node_takes_is_served_by_another_and_wakes_who_waits_there() {
    for url in [ONE.url(), CLUSTER.url()] {
        let settings = settings(&url);
        let (a, b) = (Node::open(&settings).await.unwrap(), Node::open(&settings).await.unwrap());
        let mut events = b.store.subscribe(None);
        for _ in 0..10 {
            let mut watch = b.store.watch(name("alice"));
            let taken = Instant::now();
            let id = a.deliver(&["alice"], b"hello").await.unwrap();
            timeout(DEADLINE, watch.arrival()).await.unwrap();
            tracing::info!(elapsed = ?taken.elapsed(), "woken");
            assert_eq!(b.ids("alice").await[0], id);
            assert_eq!(timeout(DEADLINE, events.next()).await.unwrap().unwrap().mailbox, name("alice"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_one_node_gives_back_wakes_at_once_who_wants_it_at_another() {
    const LEASE: Duration = Duration::from_secs(600);
    for url in [ONE.url(), CLUSTER.url()] {
        let settings = settings(&url);
        let (a, b) = (Node::open(&settings).await.unwrap(), Node::open(&settings).await.unwrap());
        let alice = name("alice");
        let id = a.deliver(&["alice"], b"hello").await.unwrap();
        let began = Instant::now();
        for _ in 0..5 {
            let lease = Lease { token: LeaseToken::random(), until: a.clock.now().after(LEASE) };
            assert_eq!(a.store.claim(&alice, vec![id], lease).await.unwrap(), Some(id));
            for step in [LeaseStep::Extend(a.clock.now().after(LEASE / 2)), LeaseStep::Release] {
                let mut watch = b.store.watch(alice.clone());
                assert_eq!(a.store.step(&alice, id, lease.token, step).await.unwrap(), LeaseOutcome::Stepped);
                timeout(DEADLINE, watch.change()).await.unwrap();
            }
        }
        assert!(began.elapsed() < 3 * LOOK_EVERY, "who looks by itself alone needs ten looks, or five for each step");
    }
}
