//! How long something took, as a histogram.

use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

/// The upper ends of the classes: from what memory takes to what nobody waits for.
const BOUNDS_SECONDS: [f64; 14] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// How often something took how long.
#[derive(Clone, Debug)]
pub struct Timing(pub(super) Histogram);

impl Default for Timing {
    fn default() -> Self {
        Self(histogram())
    }
}

impl Timing {
    /// Counts one that took so long.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

pub(super) fn histogram() -> Histogram {
    Histogram::new(BOUNDS_SECONDS)
}
