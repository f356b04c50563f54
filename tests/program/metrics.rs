//! What `/metrics` tells of real mail.

use tempfile::TempDir;

use crate::api::curl;
use crate::dialogue::Client;
use crate::exposition::Exposition;
use crate::process::Restante;
use crate::programs::{program, run, until};
use crate::tls::certificate;

impl Restante {
    pub(crate) fn metrics(&self) -> Exposition {
        Exposition::parse(&run(curl().args(["--silent", "--fail", &self.url("/metrics")]), b"").ok())
    }
}

/// By how much each series that is given has grown.
fn grown<const N: usize>(before: &Exposition, after: &Exposition, series: [&str; N]) -> [f64; N] {
    series.map(|series| after.value(series) - before.value(series))
}

#[test]
fn mail_is_counted_on_its_whole_way_and_nobody_is_named() {
    let (server, _dir) = Restante::start_anywhere(&[("DOMAIN", "example.com")]);
    let before = server.metrics();
    let mut swaks = program("swaks");
    swaks.args(["--server", &server.smtp.to_string(), "--tls", "--helo", "sekret.example"]);
    swaks.args(["--from", "sekret-sender@example.org", "--to", "sekret-a@example.com,sekret-b@example.com"]);
    run(swaks.args(["--header", "Subject: sekret", "--body", "sekret"]), b"").ok();
    let mut client = Client::connect(server.smtp);
    client.say("HELO sekret.example");
    client.say("MAIL FROM:<sekret-sender@example.org>");
    assert!(client.say("RCPT TO:<sekret@elsewhere.example>").starts_with("550 5.7.1 "));
    assert!(client.say("QUIT").starts_with("221 "));
    assert_eq!(server.mails("sekret-a").len(), 1);

    let after = until("the end of the connections", || {
        let told = server.metrics();
        (told.value("restante_smtp_open_connections") == 0.0).then_some(told)
    });
    let series = [
        "restante_smtp_connections_accepted_total",
        "restante_smtp_connections_ended_total{reason=\"quit\"}",
        "restante_smtp_tls_handshakes_total{result=\"TLSv1.3\"}",
        "restante_smtp_messages_kept_total",
        "restante_smtp_recipients_total",
        "restante_smtp_messages_refused_total{class=\"5xx\"}",
        "restante_smtp_refusals_total{code=\"550\",status=\"5.7.1\"}",
        "restante_smtp_delivery_duration_seconds_count",
        "restante_inbox_parse_duration_seconds_count",
        "restante_store_messages_kept_total",
        "restante_store_append_duration_seconds_count",
        "restante_http_requests_total{route=\"/emails/{mailbox}\",method=\"GET\",status=\"2xx\"}",
    ];
    let expected = [2.0, 2.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0];
    assert_eq!(grown(&before, &after, series), expected);
    let size = after.value("restante_smtp_received_bytes_total");
    assert!(size > 100.0 && after.value("restante_store_held_bytes") > size, "{after:?}");
    assert!(after.value("restante_store_disk_free_bytes") > 1e6);
    assert_eq!(after.value("restante_store_max_bytes"), 10.0 * 1024.0 * 1024.0 * 1024.0);
    for series in after.samples.keys() {
        assert!(!series.contains("sekret") && !series.contains("127.0.0.1") && !series.contains('@'), "{series}");
    }
}

#[test]
fn the_expiry_of_the_certificate_is_that_of_openssl() {
    let dir = TempDir::new().unwrap();
    let [cert, _key] = certificate(dir.path());
    let server = Restante::start(dir.path(), &[("METRICS_ADDR", "127.0.0.1:0")]);
    let end = run(program("openssl").args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", &cert]), b"");
    let end = end.ok().trim().trim_start_matches("notAfter=").replace(' ', "T");
    let seconds = run(program("date").args(["--utc", "--date", &end, "+%s"]), b"").ok();

    let row = server.welcome.lines().find_map(|line| line.trim().strip_prefix("metrics")).unwrap();
    let url = format!("{}/metrics", row.trim());
    let told = Exposition::parse(&run(curl().args(["--silent", "--fail", &url]), b"").ok());
    let series =
        "restante_tls_certificate_expiry_timestamp_seconds{source=\"files\",names=\"mx.example.com,127.0.0.1\"}";
    assert_eq!(told.value(series), seconds.trim().parse::<f64>().unwrap());
    assert_eq!(server.ask("GET", "/metrics").status, 404);
}
