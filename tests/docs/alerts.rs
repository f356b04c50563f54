//! The alerts of docs/METRICS.md: Prometheus' own tool says when they fire.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{blocks, path, read, told_by_all_metrics};

/// The tool in the path, or where `scripts/test` puts it.
fn promtool() -> PathBuf {
    let fetched = Path::new(env!("CARGO_TARGET_TMPDIR")).join("promtool");
    if fetched.exists() { fetched } else { "promtool".into() }
}

/// What stands between `from` and the end of its line, wherever `from` is.
fn behind<'a>(text: &'a str, from: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| Some(line.split_once(from)?.1.trim()))
}

#[test]
fn each_alert_fires_when_it_is_to_and_not_else() {
    let document = read("docs/METRICS.md");
    let rules = blocks(&document, "yaml").into_iter().find(|block| block.starts_with("groups:")).unwrap();
    let tests = read("tests/docs/alerts.yml");
    let tried: Vec<_> = behind(&tests, "alertname: ").collect();
    let alerts: Vec<_> = behind(&rules, "- alert: ").collect();
    assert!(alerts.len() > 8, "{alerts:?}");
    for alert in alerts {
        assert!(tried.contains(&alert), "tests/docs/alerts.yml does not try {alert}");
    }

    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("restante.rules.yml"), rules).unwrap();
    fs::copy(path("tests/docs/alerts.yml"), dir.path().join("alerts.yml")).unwrap();
    let mut tool = Command::new(promtool());
    let output = tool.args(["test", "rules", "alerts.yml"]).current_dir(&dir).output();
    let output = output.unwrap_or_else(|error| panic!("promtool cannot be run: {error}; scripts/test brings it"));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// An alert that is tried with labels which the server does not give would fire in the test alone.
#[test]
fn alerts_are_tried_with_the_series_that_the_server_has() {
    let told = told_by_all_metrics();
    for series in behind(&read("tests/docs/alerts.yml"), "- series: ") {
        let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap();
        // Where it is from is said by Prometheus.
        let labels = labels.split(", ").filter(|label| !label.starts_with("instance="));
        // A name of a certificate is what its operator gives it.
        let labels: Vec<_> = labels.filter(|label| !label.starts_with("names=")).collect();
        let is_told = |line: &str| {
            let (own, rest) = line.split_once(['{', ' ']).unwrap_or_default();
            let all = rest.split_once('}').map_or("", |(labels, _)| labels);
            let counted = all.split(',').filter(|label| !label.is_empty() && !label.starts_with("names=")).count();
            own == name && counted == labels.len() && labels.iter().all(|label| all.contains(label))
        };
        assert!(told.lines().any(is_told), "there is no series {series} in\n{told}");
    }
}
