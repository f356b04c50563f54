//! Records that were read lately. Who looks at a mailbox looks again, and a thousand may wait for the same mail: it is read
//! and decoded once.
//!
//! Whether a message is there is not for this to say: a record that is still here and has expired, or was deleted, is asked
//! for by nobody.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::mail::{Message, MessageId};

/// How much they take together, roughly.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// What one takes beside its texts, roughly.
const OVERHEAD_BYTES: usize = 2 * 1024;
/// One with more text than this is read each time: it would push out many.
const TEXT_MAX_BYTES: usize = 64 * 1024;

pub(super) struct Records(Cache<MessageId, Arc<Message>, Size>);

#[derive(Clone)]
struct Size;

impl Weighter<MessageId, Arc<Message>> for Size {
    fn weight(&self, _: &MessageId, message: &Arc<Message>) -> u64 {
        (message.content.text_bytes() + OVERHEAD_BYTES) as u64
    }
}

impl Records {
    pub(super) fn new() -> Self {
        let most = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX) / (2 * OVERHEAD_BYTES);
        Self(Cache::with_weighter(most, MAX_BYTES, Size))
    }

    /// The record of a message: as it was read lately, or as `read` finds it.
    pub(super) fn of(&self, id: MessageId, read: impl FnOnce() -> Option<Message>) -> Option<Arc<Message>> {
        if let Some(message) = self.0.get(&id) {
            return Some(message);
        }
        let message = Arc::new(read()?);
        if message.content.text_bytes() <= TEXT_MAX_BYTES {
            self.0.insert(id, message.clone());
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Content;
    use crate::store::contract::message;

    fn with_text(bytes: usize) -> Message {
        Message { content: Content { text: Some("x".repeat(bytes)), ..Content::default() }, ..message(0, 0) }
    }

    #[test]
    fn a_record_is_read_once_and_a_long_one_each_time() {
        let records = Records::new();
        for (bytes, reads) in [(10, 1), (TEXT_MAX_BYTES, 1), (TEXT_MAX_BYTES + 1, 2)] {
            let message = with_text(bytes);
            let mut count = 0;
            for _ in 0..2 {
                let read = || {
                    count += 1;
                    Some(message.clone())
                };
                assert_eq!(*records.of(message.id, read).unwrap(), message);
            }
            assert_eq!(count, reads, "{bytes} bytes");
        }
        assert!(records.of(message(1, 1).id, || None).is_none());
    }

    #[test]
    fn records_take_so_much_and_no_more() {
        let records = Records::new();
        for _ in 0..2 * MAX_BYTES / TEXT_MAX_BYTES as u64 {
            let message = with_text(TEXT_MAX_BYTES);
            records.of(message.id, || Some(message)).unwrap();
        }
        assert!(records.0.weight() <= MAX_BYTES && records.0.weight() > MAX_BYTES / 2, "{}", records.0.weight());
    }
}
