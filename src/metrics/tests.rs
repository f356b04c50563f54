use super::*;

#[test]
fn a_handshake_is_told_by_its_version() {
    let smtp = Smtp::default();
    for version in [Some(ProtocolVersion::TLSv1_3), Some(ProtocolVersion::TLSv1_2), None, None] {
        smtp.handshakes.of(Handshake::with(version)).inc();
    }
    assert_eq!(format!("{:?}", smtp.handshakes), r#"{"TLSv1.3": 1, "TLSv1.2": 1, "failed": 2}"#);
}

#[test]
fn certificates_of_the_same_names_are_one_series_and_those_of_before_are_gone() {
    let metrics = Metrics::new(Timestamp::from_millis(0));
    let term = |source, name: &str, secs: u64| CertificateTerm {
        source,
        names: vec![name.to_owned(), "b".to_owned()],
        expires_at: Timestamp::from_millis(secs * 1000),
    };
    metrics.tls.in_use(vec![term("old", "a", 1)]);
    metrics.tls.in_use(vec![term("files", "a", 20), term("files", "a", 10), term("acme", "a\"\n", 30)]);
    let text = metrics.text();
    let told: Vec<_> = text.lines().filter(|line| line.starts_with("restante_tls_certificate_expiry")).collect();
    assert_eq!(
        told,
        [
            r#"restante_tls_certificate_expiry_timestamp_seconds{source="files",names="a,b"} 10"#,
            r#"restante_tls_certificate_expiry_timestamp_seconds{source="acme",names="a\"\n,b"} 30"#,
        ]
    );
}

#[test]
#[cfg(target_os = "linux")]
fn the_process_is_seen() {
    let text = Metrics::new(Timestamp::from_millis(5_000)).text();
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
        line.trim().parse().unwrap()
    };
    assert_eq!(value("process_start_time_seconds "), 5.0);
    assert!(value("process_resident_memory_bytes ") > 1_000_000.0);
    assert!(value("process_open_fds ") > 3.0 && value("process_max_fds ") >= value("process_open_fds "));
    assert!(value("process_cpu_seconds_total ") > 0.0);
}
