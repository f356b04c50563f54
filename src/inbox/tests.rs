//! An inbox in memory, for the tests of its parts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Domains, Inbox, Settings};
use crate::clock::{Clock, Timestamp};
use crate::mail::{Address, Budgets, Envelope, MailParameters, Naming, Peer};
use crate::shutdown::Shutdown;
use crate::store::{self, Kind, Store};

pub(super) const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn settings() -> Settings {
    Settings {
        domains: Domains::Listed(vec!["example.com".parse().unwrap()]),
        hostname: "mx.example.net".into(),
        naming: Naming::default(),
        retention: RETENTION,
        mime: Budgets::default(),
        rate_per_minute: 0,
        rate_per_minute_per_ip: 0,
        attempts_per_mailbox: 3,
        attempts_max: 5,
    }
}

pub(crate) async fn inbox(settings: Settings, max_bytes: u64) -> Inbox {
    let store = store::Settings { kind: Kind::Memory, mailbox_max_messages: 10, max_bytes };
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let store = Store::open(&store, clock.clone(), Arc::default(), &Shutdown::new()).await.unwrap();
    Inbox::new(settings, store, clock, Arc::default())
}

pub(crate) fn envelope(rcpt_to: &[&str]) -> Envelope {
    let addr = SocketAddr::from(([192, 0, 2, 1], 25));
    Envelope {
        peer: Peer { addr, local: addr, helo: "client.example".into(), tls: None },
        mail_from: None,
        parameters: MailParameters::default(),
        rcpt_to: rcpt_to.iter().map(|to| Address::parse(to).unwrap().into()).collect(),
    }
}
