//! The names of the keys. Those of one mailbox, of one shared body and of one slot of the list of mailboxes each have a hash
//! tag, so that a cluster keeps them together.
//!
//! ```text
//! <prefix>:{<mailbox>}:i           ZSET    what the mailbox holds: score = seq, member = see `member`
//! <prefix>:{<mailbox>}:b           HASH    seq = the last one given out, listed = the expiry it was listed with
//! <prefix>:{<mailbox>}:g           ZSET    what is gone from it: score = when, member = see `tombstones`
//! <prefix>:{<mailbox>}:l           HASH    who works on its messages: id = token and end of the lease
//! <prefix>:{<mailbox>}:m:<id>      STRING  the message, or a note in its place: see `value`
//! <prefix>:{<mailbox>}:r:<id>      STRING  its raw bytes, where they are small
//! <prefix>:{<id>}:held             SET     who needs the shared body of a message: <token>:<mailbox>
//! <prefix>:{<id>}:record:<n>       STRING  a piece of a large record
//! <prefix>:{<id>}:raw:<n>          STRING  a piece of large raw bytes
//! <prefix>:{<slot>}:names          ZSET    mailboxes, all with score 0: in the order of their names
//! <prefix>:{<slot>}:due            ZSET    the same, by the moment at which something in them expires first
//! <prefix>:{<slot>}:open           ZSET    deliveries to several mailboxes that are under way, by the moment they began
//! <prefix>:{<slot>}:open:<token>   STRING  what such a delivery is about
//! <prefix>:{<any of these>}:probe  STRING  written to see whether that can be done, and whether replicas follow
//! ```

use std::fmt::Write as _;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::mail::{MailboxName, MessageId};

/// Into how many parts the list of mailboxes is cut: as many servers of a cluster may share the work, and a page of the list
/// asks each of them.
pub(super) const SLOTS: u8 = 16;

/// Which of the two texts of a message is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The record.
    Record,
    /// The raw bytes.
    Raw,
}

/// Makes the names of the keys of one installation.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
    channel: String,
}

/// The keys of one mailbox.
pub(super) struct MailboxKeys {
    tagged: String,
}

impl Keys {
    /// The channel of Redis is shared by all its databases, so it carries the number of ours.
    pub(super) fn new(prefix: &str, database: u8) -> Self {
        Self { prefix: prefix.to_owned(), channel: format!("{prefix}:{database}:new") }
    }

    /// Where it is said that mail has come.
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn mailbox(&self, name: &MailboxName) -> MailboxKeys {
        let mut tagged = format!("{}:{{", self.prefix);
        for c in name.as_str().chars() {
            match c {
                // A brace would end the hash tag, or make it empty.
                '{' | '}' | '%' => _ = write!(tagged, "%{:02X}", u32::from(c)),
                c => tagged.push(c),
            }
        }
        tagged.push_str("}:");
        MailboxKeys { tagged }
    }

    pub(super) fn holders(&self, id: MessageId) -> String {
        format!("{}:{{{id}}}:held", self.prefix)
    }

    pub(super) fn piece(&self, id: MessageId, part: Part, number: usize) -> String {
        let part = match part {
            Part::Record => "record",
            Part::Raw => "raw",
        };
        format!("{}:{{{id}}}:{part}:{number}", self.prefix)
    }

    pub(super) fn slots() -> Range<u8> {
        0..SLOTS
    }

    /// The part of the list that a mailbox is in.
    pub(super) fn slot_of(name: &str) -> u8 {
        u8::try_from(xxh3_64(name.as_bytes()) % u64::from(SLOTS)).unwrap_or(0)
    }

    pub(super) fn names(&self, slot: u8) -> String {
        self.of_slot(slot, "names")
    }

    pub(super) fn due(&self, slot: u8) -> String {
        self.of_slot(slot, "due")
    }

    pub(super) fn open(&self, slot: u8) -> String {
        self.of_slot(slot, "open")
    }

    pub(super) fn open_delivery(&self, slot: u8, token: &str) -> String {
        self.of_slot(slot, &format!("open:{token}"))
    }

    /// A key that is written only to see whether that can be done.
    pub(super) fn probe(&self, slot: u8) -> String {
        self.of_slot(slot, "probe")
    }

    /// The same, on the server that has `key`.
    pub(super) fn probe_beside(key: &str) -> String {
        let tagged = key.split_inclusive('}').next().unwrap_or(key);
        format!("{tagged}:probe")
    }

    fn of_slot(&self, slot: u8, name: &str) -> String {
        format!("{}:{{{slot}}}:{name}", self.prefix)
    }
}

impl MailboxKeys {
    pub(super) fn index(&self) -> String {
        format!("{}i", self.tagged)
    }

    pub(super) fn state(&self) -> String {
        format!("{}b", self.tagged)
    }

    pub(super) fn gone(&self) -> String {
        format!("{}g", self.tagged)
    }

    pub(super) fn leases(&self) -> String {
        format!("{}l", self.tagged)
    }

    pub(super) fn message(&self, id: MessageId) -> String {
        format!("{}m:{id}", self.tagged)
    }

    pub(super) fn raw(&self, id: MessageId) -> String {
        format!("{}r:{id}", self.tagged)
    }
}

#[cfg(test)]
mod tests {
    use fred::util::redis_keyslot;

    use super::*;

    #[test]
    fn the_keys_of_a_mailbox_are_kept_together_and_apart_from_those_of_others() {
        let keys = Keys::new("rst", 0);
        let id = MessageId::from_bytes([7; 16]);
        let mut seen = Vec::new();
        for name in ["a", "}x", "{}", "a{b}c", "%7B%7D", "{", " ", "äö", "0", &id.to_string()] {
            let of_mailbox = keys.mailbox(&MailboxName::stored(name.to_owned()));
            let all = [
                of_mailbox.index(),
                of_mailbox.state(),
                of_mailbox.gone(),
                of_mailbox.leases(),
                of_mailbox.message(id),
                of_mailbox.raw(id),
            ];
            let slot = redis_keyslot(all[0].as_bytes());
            assert!(all.iter().all(|key| redis_keyslot(key.as_bytes()) == slot), "{name}");
            seen.extend(all);
        }
        seen.extend([keys.holders(id), keys.piece(id, Part::Raw, 0), keys.piece(id, Part::Record, 0)]);
        for key in seen.clone() {
            let probe = Keys::probe_beside(&key);
            assert_eq!(redis_keyslot(probe.as_bytes()), redis_keyslot(key.as_bytes()), "{probe}");
        }
        seen.extend([keys.names(0), keys.due(0), keys.open(0), keys.open_delivery(0, "x"), keys.probe(0)]);
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn the_list_of_mailboxes_is_spread_over_a_cluster() {
        let keys = Keys::new("rst", 0);
        let third = |slot| usize::from(redis_keyslot(keys.names(slot).as_bytes())) * 3 / 16384;
        let mut masters = [0; 3];
        Keys::slots().for_each(|slot| masters[third(slot)] += 1);
        assert!(masters.iter().all(|count| *count >= 3), "{masters:?}");
    }
}
