//! What the SMTP server counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::label::labels;
use super::{Counters, Handshake, Refused, Timing};

labels! {
    /// How an SMTP connection ended.
    pub enum SmtpEnd: "reason" {
        /// By QUIT.
        Quit = "quit",
        /// The client closed it without a word.
        Closed = "closed",
        /// The client was silent, too slow with a message, or connected for too long.
        Timeout = "timeout",
        /// The client had too many refused or idle commands.
        TooManyCommands = "too_many_commands",
        /// The client behind a balancer had too many connections.
        Refused = "refused",
        /// The server stops.
        Stopping = "stopping",
        /// The network or the TLS handshake failed, or a balancer sent no header.
        Lost = "lost",
    }
}

labels! {
    /// How mail was kept out.
    pub enum KeptOut: "class" {
        /// For now: its sender tries again.
        ForNow = "4xx",
        /// For good.
        ForGood = "5xx",
        /// The client went away in the middle.
        Interrupted = "interrupted",
    }
}

/// The codes of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Codes {
    code: u16,
    status: String,
}

/// The SMTP server.
#[derive(Debug, Default)]
pub struct Smtp {
    /// Connections that were let in.
    pub accepted: Counter,
    /// Connections that were turned away.
    pub refused: Counters<Refused>,
    /// Connections that are open now.
    pub open: Gauge,
    /// TLS handshakes, behind STARTTLS or from the first byte on.
    pub handshakes: Counters<Handshake>,
    /// Connections that ended.
    pub ended: Counters<SmtpEnd>,
    /// Messages that were kept.
    pub messages: Counter,
    /// Their recipients.
    pub recipients: Counter,
    /// Mail that was kept out, each attempt once.
    pub kept_out: Counters<KeptOut>,
    /// The bytes of the messages that came in whole, kept or not.
    pub received_bytes: Counter,
    /// From the end of a message to its answer.
    pub delivery: Timing,
    /// The bytes that messages on their way in take of their budget.
    pub in_flight_bytes: Gauge,
    refusals: Family<Codes, Counter>,
}

impl Smtp {
    /// Counts a reply that refuses a command. The codes are those of the program: what a client sends makes no new ones.
    pub fn refusal(&self, code: u16, status: Option<(u8, u16, u16)>) {
        let status = status.map(|(class, subject, detail)| format!("{class}.{subject}.{detail}"));
        self.refusals.get_or_create(&Codes { code, status: status.unwrap_or_default() }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("restante_smtp_connections_accepted", "SMTP connections let in", self.accepted.clone());
        self.refused.register("restante_smtp_connections_refused", "SMTP connections turned away", registry);
        registry.register("restante_smtp_open_connections", "SMTP connections open now", self.open.clone());
        self.handshakes.register("restante_smtp_tls_handshakes", "TLS handshakes of SMTP connections", registry);
        self.ended.register("restante_smtp_connections_ended", "SMTP connections that have ended", registry);
        registry.register("restante_smtp_messages_kept", "Messages answered with 250", self.messages.clone());
        registry.register("restante_smtp_recipients", "Recipients of the messages kept", self.recipients.clone());
        let kept_out = "Mail kept out, each attempt once, by the class of the reply";
        self.kept_out.register("restante_smtp_messages_refused", kept_out, registry);
        registry.register(
            "restante_smtp_refusals",
            "Replies that refused a command, by code and enhanced status code",
            self.refusals.clone(),
        );
        registry.register(
            "restante_smtp_received_bytes",
            "Bytes of the messages that came in whole",
            self.received_bytes.clone(),
        );
        registry.register(
            "restante_smtp_delivery_duration_seconds",
            "From the end of a message to its answer",
            self.delivery.0.clone(),
        );
        registry.register(
            "restante_smtp_in_flight_bytes",
            "Bytes that messages on their way in take of SMTP_MAX_IN_FLIGHT",
            self.in_flight_bytes.clone(),
        );
    }
}
