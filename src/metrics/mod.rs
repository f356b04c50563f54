//! What is counted and measured: one group of handles for each module that does something, and the text in which all of
//! them are told.
//!
//! To count is an atomic addition. There is no global registry: `app` makes a [`Metrics`] and passes each module its group.
//! A group that nobody registered, as `Arc::default()` gives it, counts for nobody.

mod http;
mod inbox;
mod label;
mod process;
mod smtp;
mod store;
mod timing;
mod tls;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use rustls::ProtocolVersion;

pub use prometheus_client::metrics::gauge::Gauge;

pub use self::http::{Answered, Http};
pub use self::inbox::Inbox;
pub use self::label::{Counters, Label};
pub use self::smtp::{KeptOut, Smtp, SmtpEnd};
pub use self::store::{Failure, Removal, Store};
pub use self::timing::Timing;
pub use self::tls::{CertificateTerm, Outcome, Tls};

use self::process::Process;
use crate::clock::Timestamp;

/// The `Content-Type` of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

label::labels! {
    /// Which limit a connection was over.
    pub enum Refused: "reason" {
        /// There were as many connections as there may be.
        Total = "total",
        /// The client had as many as one may have.
        Client = "client",
    }
}

label::labels! {
    /// How a TLS handshake ended.
    pub enum Handshake: "result" {
        /// With TLS 1.3.
        Tls13 = "TLSv1.3",
        /// With TLS 1.2.
        Tls12 = "TLSv1.2",
        /// Without a connection.
        Failed = "failed",
    }
}

impl Handshake {
    /// One that ended with this version, or without any.
    #[must_use]
    pub const fn with(version: Option<ProtocolVersion>) -> Self {
        match version {
            Some(ProtocolVersion::TLSv1_2) => Self::Tls12,
            Some(_) => Self::Tls13,
            None => Self::Failed,
        }
    }
}

/// All that is counted. Clones share it.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The SMTP server.
    pub smtp: Arc<Smtp>,
    /// The delivery of mail.
    pub inbox: Arc<Inbox>,
    /// The store.
    pub store: Arc<Store>,
    /// The API.
    pub http: Arc<Http>,
    /// The certificates.
    pub tls: Arc<Tls>,
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// Everything at nought, for a program that was started at `started_at`.
    #[must_use]
    pub fn new(started_at: Timestamp) -> Self {
        let mut registry = Registry::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("restante_build", "The version that runs", build);
        let (smtp, inbox, store) = (Arc::<Smtp>::default(), Arc::<Inbox>::default(), Arc::<Store>::default());
        let (http, tls) = (Arc::<Http>::default(), Arc::<Tls>::default());
        smtp.register(&mut registry);
        inbox.register(&mut registry);
        store.register(&mut registry);
        http.register(&mut registry);
        Tls::register(&tls, &mut registry);
        registry.register_collector(Box::new(Process::new(started_at)));
        Self { smtp, inbox, store, http, tls, registry: Arc::new(Mutex::new(registry)) }
    }

    /// Tells how many tasks have panicked, as `count` says whenever somebody asks.
    pub fn watch_task_panics(&self, count: impl Fn() -> u64 + Send + Sync + 'static) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(TaskPanics(count)));
    }

    /// Everything in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        // A string takes all that is written to it.
        _ = prometheus_text::encode(&mut text, &registry);
        text
    }
}

struct TaskPanics<F>(F);

impl<F> fmt::Debug for TaskPanics<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskPanics")
    }
}

impl<F: Fn() -> u64 + Send + Sync + 'static> Collector for TaskPanics<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let count = ConstCounter::new((self.0)());
        let help = "Tasks that ended in a panic; anything but nought is a fault of the program";
        count.encode(encoder.encode_descriptor("restante_task_panics", help, None, count.metric_type())?)
    }
}

/// Something that is there now; dropping it counts it off.
#[derive(Debug)]
pub struct Present(Gauge);

impl Present {
    /// Counts one more.
    #[must_use]
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A number as gauges have it.
#[must_use]
pub fn level(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
