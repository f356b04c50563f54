//! What the system knows of the process, under the names that every Prometheus client gives it.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::level;
use crate::clock::Timestamp;

/// Looks at the process whenever somebody asks. What the system does not tell is left out.
#[derive(Debug)]
pub(super) struct Process {
    started_at: Timestamp,
}

impl Process {
    pub(super) const fn new(started_at: Timestamp) -> Self {
        Self { started_at }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let cpu = ConstCounter::new(cpu_seconds());
        let help = "Processor time that the process has used";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?)?;
        let gauges = [
            (
                "process_start_time_seconds",
                "When the server was started, in seconds since 1970",
                Some(self.started_at.as_secs()),
            ),
            ("process_open_fds", "Files and sockets that are open", open_files()),
            ("process_max_fds", "The most that may be open", getrlimit(Resource::Nofile).current),
            ("process_resident_memory_bytes", "Memory that the process has", resident_bytes()),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(level(value));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a process does not run for ages")]
fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn open_files() -> Option<u64> {
    fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64)
}

/// The line is such as `VmRSS:     12345 kB`.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}
