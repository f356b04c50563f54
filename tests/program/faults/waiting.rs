//! Who waits at one program is woken by mail that another has taken, whatever becomes of the channel between them.

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::load::Account;
use super::reader::Reader;
use super::redis::{node, until_ready};
use crate::process::Restante;
use crate::programs::until;
use crate::redis::Redis;
use crate::redis_sentinel::Sentinels;
use crate::way::{Proxy, Way};

/// How late a waiter may be on a machine that is busy; how late it is without a channel is bounded by how often it looks by
/// itself.
const LATE: Duration = Duration::from_secs(5);
const LATE_WITHOUT_CHANNEL: Duration = Duration::from_secs(15);

/// Waits at `waiting` for mail that is brought to `taking`, having done `before` while somebody waits; says how long it took
/// from the acknowledgement on.
fn woken(taking: &Restante, waiting: &Restante, name: &str, before: impl FnOnce()) -> Duration {
    let (reader, path) = (Reader::of(waiting), format!("/emails/{name}-0?wait=50s"));
    let watcher = Reader::of(waiting);
    let held = || metric(&watcher, "restante_http_held_requests");
    let held_before = held();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mails = reader.json(&path);
            (Instant::now(), mails.len())
        });
        until("a waiter", || (held() > held_before).then_some(()));
        before();
        Account::default().send(taking, name).unwrap();
        let acknowledged = Instant::now();
        let (woken, count) = waiter.join().unwrap();
        assert_eq!(count, 1, "{name}");
        woken.saturating_duration_since(acknowledged)
    })
}

/// The sum of a metric.
fn metric(reader: &Reader, name: &str) -> u64 {
    let text = String::from_utf8(reader.get("/metrics")).unwrap();
    let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<f64>().unwrap() as u64).sum()
}

#[test]
fn who_waits_at_one_program_is_woken_by_mail_that_another_took() {
    let redis = Redis::start();
    let way = Proxy::to(redis.addr());
    let (taking, _dir) = node(&redis.url());
    let (waiting, _dir) = node(&format!("redis://{}", way.addr()));
    let mut took: Vec<_> = (0..20).map(|n| woken(&taking, &waiting, &format!("wait-{n}"), || ())).collect();
    took.sort_unstable();
    println!("woken after {:?} at the median, {:?} at most", took[took.len() / 2], took[took.len() - 1]);
    assert!(took[took.len() / 2] < LATE, "{took:?}");

    let deaf = woken(&taking, &waiting, "deaf", || {
        redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    });
    assert!(deaf < LATE_WITHOUT_CHANNEL, "{deaf:?}");
    // All its connections are lost, and the mail comes before it has others.
    let cut = woken(&taking, &waiting, "cut", || {
        way.set(Way::Cut);
        way.set(Way::Open);
    });
    assert!(cut < LATE_WITHOUT_CHANNEL, "{cut:?}");
}

#[test]
fn sentinel_names_another_master_and_mail_and_waiters_go_on() {
    let mut sentinels = Sentinels::start();
    let (taking, _dir) = node(&sentinels.url());
    let (waiting, _dir) = node(&sentinels.url());
    let account = Account::default();
    for number in 0..10 {
        account.send(&taking, &format!("before-{number}")).unwrap();
    }
    assert_eq!(sentinels.servers[0].cli(&["WAIT", "1", "5000"]), "1");
    sentinels.servers[0].kill();
    let refusal = account.send(&taking, "meanwhile");
    assert!(refusal.as_ref().is_err_and(|reply| reply.starts_with("451 4.3.0 ")), "{refusal:?}");
    sentinels.until_failed_over_from(0);
    for server in [&taking, &waiting] {
        until_ready(&Reader::of(server));
    }
    let late = woken(&taking, &waiting, "failed-over", || ());
    assert!(late < LATE_WITHOUT_CHANNEL, "{late:?}");
    account.verify_soon(&Reader::of(&waiting));

    // The old master comes back as a replica, and nothing is lost by that.
    sentinels.servers[0].restart();
    account.send(&taking, "after").unwrap();
    account.verify_soon(&Reader::of(&waiting));
}
