//! What the certificates count.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::label::labels;
use super::{Counters, level};
use crate::clock::Timestamp;

labels! {
    /// What became of something that was tried.
    pub enum Outcome: "result" {
        /// It was done.
        Ok = "ok",
        /// It was not.
        Failed = "failed",
    }
}

/// How long a certificate is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateTerm {
    /// Where it came from.
    pub source: &'static str,
    /// The names that it has.
    pub names: Vec<String>,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// The certificates.
#[derive(Debug, Default)]
pub struct Tls {
    /// New files of the operator, taken over or refused.
    pub reloads: Counters<Outcome>,
    /// Orders by ACME.
    pub orders: Counters<Outcome>,
    terms: Mutex<Vec<CertificateTerm>>,
}

impl Tls {
    /// Tells that these certificates are in use, and no others.
    pub fn in_use(&self, terms: Vec<CertificateTerm>) {
        *self.terms.lock().unwrap_or_else(PoisonError::into_inner) = terms;
    }

    pub(super) fn register(tls: &Arc<Self>, registry: &mut Registry) {
        let reloads = "Changed certificate files that were taken over (ok) or refused (failed)";
        tls.reloads.register("restante_tls_reloads", reloads, registry);
        tls.orders.register("restante_tls_acme_orders", "Orders of a certificate by ACME", registry);
        registry.register_collector(Box::new(Terms(tls.clone())));
    }
}

#[derive(Debug)]
struct Terms(Arc<Tls>);

impl Collector for Terms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let terms = self.0.terms.lock().unwrap_or_else(PoisonError::into_inner);
        if terms.is_empty() {
            return Ok(());
        }
        let mut metric = encoder.encode_descriptor(
            "restante_tls_certificate_expiry_timestamp_seconds",
            "When a certificate in use expires, in seconds since 1970",
            None,
            MetricType::Gauge,
        )?;
        let mut told = Vec::new();
        for CertificateTerm { source, names, expires_at } in &*terms {
            let labels = [("source", (*source).to_owned()), ("names", names.join(","))];
            // Two of the same names, with different keys say, are one series: that of the one which expires first.
            if told.contains(&labels) {
                continue;
            }
            let same = terms.iter().filter(|other| other.source == *source && other.names == *names);
            let first = same.map(|other| other.expires_at).min().unwrap_or(*expires_at);
            ConstGauge::new(level(first.as_secs())).encode(metric.encode_family(&labels)?)?;
            told.push(labels);
        }
        Ok(())
    }
}
