//! What the delivery of mail counts.

use prometheus_client::registry::Registry;

use super::Timing;

/// The delivery of mail.
#[derive(Debug, Default)]
pub struct Inbox {
    /// The reading of a message into its record.
    pub parse: Timing,
}

impl Inbox {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "restante_inbox_parse_duration_seconds",
            "The reading of a message into its record, with the wait for a turn where it is large",
            self.parse.0.clone(),
        );
    }
}
