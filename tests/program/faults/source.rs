//! Postfix's smtp-source at work on several servers, and which of its messages were acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::reader::Reader;
use crate::process::Restante;
use crate::programs::{run, smtp_source};

/// The ids that were told with `250`, by mailbox.
type Acknowledged = BTreeMap<String, BTreeSet<String>>;

/// A source for each server; it brings mail until it is stopped, or the server is gone.
pub(super) struct Sources {
    is_over: Arc<AtomicBool>,
    sources: Vec<JoinHandle<Acknowledged>>,
}

impl Sources {
    pub(super) fn start(servers: &[&Restante]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let sources = servers.iter().enumerate().map(|(number, server)| {
            let (addr, is_over) = (server.smtp, is_over.clone());
            thread::spawn(move || send(addr, number, &is_over))
        });
        Self { sources: sources.collect(), is_over }
    }

    /// Lets each of them end the messages in hand, and says what was acknowledged.
    pub(super) fn stop(self) -> Acknowledged {
        self.is_over.store(true, Ordering::Relaxed);
        self.sources.into_iter().flat_map(|source| source.join().unwrap()).collect()
    }
}

fn send(addr: SocketAddr, number: usize, is_over: &AtomicBool) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    for round in 0.. {
        if is_over.load(Ordering::Relaxed) || TcpStream::connect(addr).is_err() {
            break;
        }
        let mailbox = format!("source-{number}-{round}");
        let mut source = smtp_source();
        // It goes on where a message is refused, and tells every reply.
        source.args(["-A", "-v", "-s", "4", "-m", "12", "-l", "4000", "-f", "sender@example.org"]);
        let ended = run(source.args(["-t", &format!("{mailbox}@example.com"), &addr.to_string()]), b"");
        let ids = ended.stderr.lines().filter_map(|line| line.split_once("<<< 250 2.0.0 kept as "));
        acknowledged.insert(mailbox, ids.map(|(_, id)| id.trim().to_owned()).collect());
    }
    acknowledged
}

/// Every message that was acknowledged can be read.
pub(super) fn all_are_there(acknowledged: &Acknowledged, reader: &Reader) {
    for (mailbox, ids) in acknowledged {
        let found = reader.json(&format!("/emails/{mailbox}?limit=200"));
        let found: BTreeSet<_> = found.iter().map(|mail| mail["id"].as_str().unwrap().to_owned()).collect();
        let lost: Vec<_> = ids.difference(&found).collect();
        assert!(lost.is_empty(), "{lost:?} of {mailbox} were acknowledged");
        for id in ids {
            assert!(reader.get(&format!("/emails/{mailbox}/{id}/raw")).len() >= 4000);
        }
    }
}
