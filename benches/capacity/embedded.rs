//! The embedded store: memory is that of this process, the disk what its files take.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use restante::store::{Kind, Settings};
use tokio::time::Instant;

use crate::lab::{Lab, Mail};

pub(crate) async fn run(messages: usize) {
    let dir =
        tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).expect("target can be written");
    let kind = Kind::Embedded { data_dir: dir.path().join("data"), min_free_bytes: 0 };
    let settings = Settings { kind, mailbox_max_messages: 1_000_000, max_bytes: u64::MAX };
    let lab = Lab::new(settings, Mail::Even, messages);

    let store = lab.open().await;
    let empty_kb = memory_kb("VmRSS");
    lab.fill(&store).await;
    lab.reads(&store).await;
    println!("memory: {} MB at the start, {} MB full", empty_kb / 1000, memory_kb("VmRSS") / 1000);
    let full = disk_bytes(dir.path());
    println!("disk: {} MB, {} bytes a message", full / 1_000_000, full / messages as u64);
    store.close().await;

    let begin = Instant::now();
    let store = lab.open().await;
    println!("start: {:?}", begin.elapsed());
    lab.expire_half(&store).await;
    let half = disk_bytes(dir.path());
    println!("disk: {} MB after the expiry, {} % of before", half / 1_000_000, half * 100 / full);
    println!("memory: {} MB at the end, {} MB at most", memory_kb("VmRSS") / 1000, memory_kb("VmHWM") / 1000);
    store.close().await;
}

/// A line of `/proc/self/status`, in kB.
fn memory_kb(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|found| found.strip_prefix(line));
    value.and_then(|value| value.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// What the files below `path` take on the disk.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).expect("the directory can be read");
    let bytes = entries.map(|entry| {
        let entry = entry.expect("the directory can be read");
        let metadata = entry.metadata().expect("the file is there");
        if metadata.is_dir() { disk_bytes(&entry.path()) } else { metadata.blocks() * 512 }
    });
    bytes.sum()
}
