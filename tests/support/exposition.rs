//! A reader of what `/metrics` tells, as strict as the format is: every sample belongs to a metric that was described
//! before it, no series comes twice, and histograms add up.

use std::collections::{BTreeMap, BTreeSet};

/// What was told.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// The type of each metric.
    pub(crate) types: BTreeMap<String, String>,
    /// Each sample by its series, as it was written.
    pub(crate) samples: BTreeMap<String, f64>,
}

impl Exposition {
    /// Reads it.
    ///
    /// # Panics
    /// Where it is not what the format allows.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has an end");
        let mut told = Self::default();
        let mut described = BTreeSet::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                assert!(!help.trim().is_empty() && is_name(name), "{line}");
                assert!(described.insert(name.to_owned()), "described twice: {line}");
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert_eq!(name, current, "a type behind its help: {line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                told.types.insert(name.to_owned(), kind.to_owned());
            } else {
                told.sample(line, &current);
            }
        }
        assert_eq!(described.len(), told.types.len());
        told.check_histograms();
        told
    }

    #[track_caller]
    fn sample(&mut self, line: &str, current: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let name = series.split('{').next().unwrap_or_default();
        let kind = self.types.get(current).unwrap_or_else(|| panic!("no type before {line}"));
        let belongs = match kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(current)),
            _ => name == current,
        };
        assert!(belongs, "{line} stands behind {current}");
        if let Some(labels) = series.strip_prefix(name).and_then(|labels| labels.strip_prefix('{')) {
            let labels = labels.strip_suffix("\"}").unwrap_or_else(|| panic!("labels without an end: {line}"));
            for label in labels.split("\",") {
                let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
                assert!(is_name(name) && !value.contains('\n'), "{line}");
            }
        }
        let value = value.parse::<f64>().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(value.is_finite() && (kind == "gauge" || value >= 0.0), "{line}");
        assert!(self.samples.insert(series.to_owned(), value).is_none(), "told twice: {line}");
    }

    /// Classes are added up from the lowest on, and the last one has all.
    #[track_caller]
    fn check_histograms(&self) {
        for (series, all) in self.samples.iter().filter(|(series, _)| series.contains("le=\"+Inf\"")) {
            let count = series.replace("_bucket{", "_count{").replace("le=\"+Inf\"", "");
            let count = count.replace(",}", "}").replace("{}", "");
            assert_eq!(self.samples.get(&count), Some(all), "{series}");
        }
    }

    /// The value of a series; nought where it is not there.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.samples.get(series).copied().unwrap_or_default()
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
