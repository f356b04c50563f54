//! What several variables have to be together.

use std::net::SocketAddr;

use super::reader::Reader;
use super::{Config, value};
use crate::store::Kind;

/// A key of fewer characters may be guessed, or tried against a token at home.
const KEY_LONG_ENOUGH: usize = 16;

/// What a store counts, at the most, for the record of a message without texts, roughly.
const RECORD_BYTES: u64 = 64 * 1024;
/// And for each mailbox of a message.
const RECIPIENT_BYTES: u64 = 2 * 1024;

/// Names of one machine or one network; no authority whom browsers trust signs for them (RFC 6761, RFC 6762, RFC 8375, and
/// `internal`, which is set aside for them).
const PRIVATE_ENDINGS: [&str; 6] = ["home.arpa", "internal", "invalid", "local", "localhost", "test"];

impl Config {
    /// Notes all mistakes that lie in more than one variable.
    pub(super) fn check(&self, reader: &mut Reader<'_>) {
        self.check_exposure(reader);
        self.check_room(reader);
        self.check_acme(reader);
        self.check_addresses(reader);
    }

    /// Where it listens, by the variables that say so.
    fn addresses(&self) -> [(&'static str, &[SocketAddr]); 5] {
        [
            ("SMTP_ADDR", &self.smtp_addrs),
            ("SMTPS_ADDR", &self.smtps_addrs),
            ("HTTP_ADDR", &self.http_addrs),
            ("HTTPS_ADDR", &self.https_addrs),
            ("METRICS_ADDR", &self.metrics_addrs),
        ]
    }

    /// A message of the size that is offered has to find room on its way in, and in an empty store: what is refused for
    /// the moment is tried again for days.
    fn check_room(&self, reader: &mut Reader<'_>) {
        let session = &self.smtp.session;
        let size = session.max_message_bytes as u64;
        let in_flight = self.smtp.max_bytes_in_flight as u64;
        if in_flight < size {
            reader.mistake(format!(
                "SMTP_MAX_IN_FLIGHT is {in_flight} bytes, less than the {size} of SMTP_MAX_MESSAGE_SIZE: no such \
                 message would get in; make it larger, or the messages smaller"
            ));
        }
        let needed = 2 * size + session.max_recipients as u64 * RECIPIENT_BYTES + RECORD_BYTES;
        let room = self.store.max_bytes;
        // Redis has a limit of its own.
        if room < needed && !matches!(self.store.kind, Kind::Redis(_)) {
            reader.mistake(format!(
                "STORE_MAX_BYTES is {room} bytes, and a message of SMTP_MAX_MESSAGE_SIZE ({size} bytes) to \
                 SMTP_MAX_RECIPIENTS may take {needed}, as it is kept as it came and as it was read: write {needed} at \
                 least, or make the messages smaller"
            ));
        }
    }

    /// Strangers may reach the server only where it is said whose mail it takes and who may read it.
    fn check_exposure(&self, reader: &mut Reader<'_>) {
        let mut all = self.addresses().into_iter().flat_map(|(_, addrs)| addrs);
        let Some(addr) = all.find(|addr| !addr.ip().to_canonical().is_loopback()) else { return };
        if !reader.is_set("DOMAIN") {
            reader.mistake(format!(
                "DOMAIN is not set, but {addr} can be reached by strangers: say whose mail is taken, such as \
                 DOMAIN=example.com (or * for any domain)"
            ));
        }
        if !reader.is_set("API_KEY") {
            reader.mistake(format!(
                "API_KEY is not set, but {addr} can be reached by strangers: set a long random key, such as the output of \
                 `openssl rand -hex 32`"
            ));
        }
        if value::list(reader.value("API_KEY")).any(|key| key.len() < KEY_LONG_ENOUGH) {
            reader.warn(format!(
                "API_KEY has a key of fewer than {KEY_LONG_ENOUGH} characters, and {addr} can be reached by strangers, who may \
                 guess it: set a long random key, such as the output of `openssl rand -hex 32`"
            ));
        }
    }

    /// A certificate authority asks on port 443 who has the names, and has to find them.
    fn check_acme(&self, reader: &mut Reader<'_>) {
        let Some(acme) = &self.tls.acme else { return };
        if self.https_addrs.is_empty() {
            reader.mistake(
                "ACME_DOMAINS is set, but HTTPS_ADDR is not: the names are proved on port 443, write HTTPS_ADDR=0.0.0.0:443 \
                 or the address that port 443 is passed on to"
                    .to_owned(),
            );
        }
        // An authority of one's own may sign for any name.
        if !reader.is_set("ACME_DIRECTORY_URL") {
            for name in acme.domains.iter().filter(|name| is_private(name)) {
                reader.mistake(format!(
                    "ACME_DOMAINS has {name}, and ACME_DIRECTORY_URL is not set: no public authority signs for such a name; \
                     write one that DNS knows, such as mx.example.com, or name an authority of your own"
                ));
            }
        }
    }

    /// An address and port can be listened on once; else the second attempt fails as if another program were there.
    fn check_addresses(&self, reader: &mut Reader<'_>) {
        let named = self.addresses().into_iter().flat_map(|(name, addrs)| addrs.iter().map(move |addr| (name, *addr)));
        let named: Vec<_> = named.collect();
        for (at, (name, addr)) in named.iter().enumerate() {
            for (other_name, other) in named[..at].iter().filter(|(_, other)| collide(*addr, *other)) {
                reader.mistake(format!(
                    "{other_name} has {other} and {name} has {addr}: only one of them can be listened on; give each an \
                     address or a port of its own"
                ));
            }
        }
    }
}

fn is_private(name: &str) -> bool {
    !name.contains('.')
        || PRIVATE_ENDINGS.iter().any(|end| name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')))
}

/// Whether only one of them can be listened on. Port 0 is another one each time. That all addresses of a family have each
/// single one in them is the rule of Linux. `[::]` has those of IPv4 in it only where none of them is named with its port.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let (a_ip, b_ip) = (a.ip().to_canonical(), b.ip().to_canonical());
    let is_same_family = a_ip.is_ipv4() == b_ip.is_ipv4();
    let is_same_place = (a_ip, scope(a)) == (b_ip, scope(b)) || a_ip.is_unspecified() || b_ip.is_unspecified();
    a.port() == b.port() && a.port() != 0 && is_same_family && is_same_place
}

/// The network interface of an address that each of them may have.
const fn scope(addr: SocketAddr) -> u32 {
    match addr {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(addr) => addr.scope_id(),
    }
}
