//! Two programs with one Redis are one: workers and streams may go from one to the other at any moment.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::api::{curl, path_of};
use crate::dialogue::Client;
use crate::process::Restante;
use crate::programs::{DEADLINE, until};
use crate::redis::Redis;

/// Two programs with one Redis, and the directory that each was started in.
fn pair(redis: &Redis) -> [(Restante, TempDir); 2] {
    let url = redis.url();
    let settings =
        [("STORE", "redis"), ("REDIS_URL", &*url), ("SMTP_RATE_PER_MINUTE", "0"), ("API_RATE_PER_MINUTE", "0")];
    [(); 2].map(|()| Restante::start_anywhere(&settings))
}

/// Sends a mail for each of `subjects`, in one session.
fn send(server: &Restante, subjects: impl IntoIterator<Item = String>) {
    let mut client = Client::connect(server.smtp);
    client.ehlo();
    for subject in subjects {
        for (line, code) in [("MAIL FROM:<sender@example.org>", "250"), ("RCPT TO:<user@example.com>", "250")] {
            assert!(client.say(line).starts_with(code), "{line}");
        }
        assert!(client.say("DATA").starts_with("354"));
        assert!(client.say(&format!("Subject: {subject}\r\n\r\nHello\r\n.")).starts_with("250"));
    }
}

/// Claims a mail of the mailbox; `None` where there is none.
fn claim(server: &Restante, query: &str) -> Option<Value> {
    let answer = server.ask("POST", &format!("/emails/user/claim{query}"));
    assert!(answer.status == 200 || answer.status == 404, "{}", String::from_utf8_lossy(&answer.body));
    (answer.status == 200).then(|| answer.json())
}

/// Takes a step with a claim at another program than the one that gave it, perhaps.
fn step(server: &Restante, claimed: &Value, step: &str) {
    let path = format!("{}/{step}?token={}", path_of(claimed), claimed["claim"]["token"].as_str().unwrap());
    assert_eq!(server.ask("POST", &path).status, 200, "{path}");
}

#[test]
fn workers_at_two_programs_never_get_the_same_message() {
    const JOBS: usize = 60;
    let redis = Redis::start();
    let [(a, _dir), (b, _other_dir)] = &pair(&redis);
    send(a, (0..JOBS).map(|number| format!("job {number}")));
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (here, there) in [(a, b), (b, a), (a, b), (b, a)] {
            let done = &done;
            scope.spawn(move || {
                while let Some(claimed) = claim(here, "") {
                    done.lock().unwrap().push(claimed["id"].as_str().unwrap().to_owned());
                    step(there, &claimed, "done");
                }
            });
        }
    });
    let done = done.into_inner().unwrap();
    assert_eq!((done.len(), done.iter().collect::<BTreeSet<_>>().len()), (JOBS, JOBS));
}

#[test]
fn a_message_that_a_worker_gives_back_wakes_one_that_waits_at_another_program() {
    const ROUNDS: u32 = 5;
    let redis = Redis::start();
    let [(a, _dir), (b, _other_dir)] = &pair(&redis);
    send(a, ["job".to_owned()]);
    let mut waited = Duration::ZERO;
    for _ in 0..ROUNDS {
        let claimed = claim(a, "").unwrap();
        waited += thread::scope(|scope| {
            let waiter = scope.spawn(|| (claim(b, "?wait=50s"), Instant::now()));
            until("a waiter", || (held_requests(b) > 0).then_some(()));
            step(a, &claimed, "release");
            let released = Instant::now();
            let (found, woken) = waiter.join().unwrap();
            let found = found.unwrap();
            assert_eq!(found["id"], claimed["id"]);
            step(b, &found, "release");
            woken.saturating_duration_since(released)
        });
    }
    // Who waits looks every five seconds by itself: then each round but the first would take nearly as long.
    assert!(waited < Duration::from_secs(10), "{waited:?}");
}

fn held_requests(server: &Restante) -> u64 {
    let metrics = String::from_utf8(server.get("/metrics")).unwrap();
    let held = metrics.lines().find_map(|line| line.strip_prefix("restante_http_held_requests "));
    held.unwrap().parse().unwrap()
}

/// A stream as curl reads it; it is cut when it is dropped.
struct Stream {
    curl: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// One event of it.
#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Stream {
    /// Opens a stream, behind the event with the id `last` where that is given; returns when it has begun.
    fn open(server: &Restante, path: &str, last: Option<&str>) -> Self {
        let mut curl = curl();
        curl.args(["--silent", "--no-buffer", "--max-time", &(DEADLINE / 2).as_secs().to_string()]);
        curl.args(["--header", &format!("X-API-KEY: {}", server.key)]);
        if let Some(last) = last {
            curl.args(["--header", &format!("Last-Event-ID: {last}")]);
        }
        let mut curl = curl.arg(server.url(path)).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("retry:")), "{path}");
        Self { curl, lines }
    }

    /// The next event; waits for it, for as long as curl may take.
    fn next(&mut self) -> Option<Event> {
        let (mut name, mut id) = (String::new(), String::new());
        for line in self.lines.by_ref() {
            match line.unwrap().split_once(": ") {
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("id", value)) => value.clone_into(&mut id),
                Some(("data", value)) => return Some(Event { name, id, data: serde_json::from_str(value).unwrap() }),
                _ => {}
            }
        }
        None
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        _ = self.curl.kill();
        _ = self.curl.wait();
    }
}

#[test]
fn who_follows_a_mailbox_goes_on_at_another_program_and_hears_of_each_mail_once_in_order() {
    const MAILS: usize = 30;
    let redis = Redis::start();
    let nodes = &pair(&redis);
    let (mut heard, mut last) = (Vec::new(), "0".to_owned());
    thread::scope(|scope| {
        for (number, (taking, _)) in nodes.iter().enumerate() {
            scope.spawn(move || send(taking, (0..MAILS).map(|mail| format!("{number}-{mail}"))));
        }
        // Cut after some events each time, and gone on at the other program.
        for (telling, _) in nodes.iter().cycle() {
            let mut stream = Stream::open(telling, "/emails/user/events", Some(&last));
            for _ in 0..7 {
                let event = stream.next().expect("more mail");
                assert_eq!(event.name, "message");
                assert_eq!(event.id, event.data["seq"].to_string());
                last = event.id;
                heard.push(event.data);
                if heard.len() == 2 * MAILS {
                    return;
                }
            }
        }
    });
    let mut listed: Vec<Value> =
        serde_json::from_slice(&nodes[0].0.get(&format!("/emails/user?limit={}", 2 * MAILS))).unwrap();
    listed.reverse();
    let ids = |mails: &[Value]| mails.iter().map(|mail| mail["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&heard), ids(&listed), "each once, in the order of the list");
}

#[test]
fn who_follows_all_mailboxes_is_told_by_another_program_that_it_may_have_missed_some() {
    let redis = Redis::start();
    let [(a, _dir), (b, _other_dir)] = &pair(&redis);
    let mut stream = Stream::open(a, "/events", None);
    send(b, ["one".to_owned()]);
    let first = stream.next().unwrap();
    assert_eq!((&*first.name, &first.data["subject"]), ("message", &"one".into()));
    drop(stream);
    let mut stream = Stream::open(b, "/events", Some(&first.id));
    let gap = stream.next().unwrap();
    assert_eq!((&*gap.name, &gap.data["look_at"]), ("gap", &"/emails".into()));
    send(a, ["two".to_owned()]);
    let second = stream.next().unwrap();
    assert_eq!((&*second.name, &second.data["subject"]), ("message", &"two".into()));
}
