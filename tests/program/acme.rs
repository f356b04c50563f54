//! Certificates by ACME, from Pebble: ordered, renewed, kept, and done without while there are none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::api::curl;
use crate::pebble::{Pebble, issuer};
use crate::process::{Restante, log_file};
use crate::programs::{run, until};
use crate::tls::{HTTPS, SMTP, shown};

const NAME: &str = "mx.example.com";
const OTHER_NAME: &str = "api.example.com";
const DAY_SECS: u64 = 24 * 60 * 60;

fn start(dir: &Path, pebble: &Pebble) -> Restante {
    let server = Restante::start(
        dir,
        &[
            ("HTTPS_ADDR", "127.0.0.1:0"),
            ("ACME_DOMAINS", &format!("{NAME}, {OTHER_NAME}")),
            ("ACME_EMAIL", "admin@example.com"),
            ("ACME_DIRECTORY_URL", &pebble.directory_url()),
            ("ACME_CA_FILE", &pebble.ca_file),
        ],
    );
    pebble.proof.lead_to(server.https);
    server
}

/// The certificate on the port of HTTPS, once Pebble has issued it.
fn issued(server: &Restante) -> String {
    until("the certificate", || {
        let certificate = shown(server.https.unwrap(), HTTPS, NAME);
        issuer(&certificate).contains("Pebble Intermediate CA").then_some(certificate)
    })
}

#[test]
fn a_certificate_is_ordered_used_on_all_ports_and_kept_over_a_restart() {
    let (dir, beside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let pebble = Pebble::start(beside.path(), 90 * DAY_SECS);
    let server = start(dir.path(), &pebble);
    let certificate = issued(&server);
    assert_eq!(shown(server.smtp, SMTP, NAME), certificate);
    assert_eq!(shown(server.smtp, SMTP, OTHER_NAME), certificate);
    let port = server.https.unwrap().port();
    let ready = run(
        curl()
            .args(["--silent", "--show-error", "--insecure", "--resolve", &format!("{NAME}:{port}:127.0.0.1")])
            .args(["--write-out", "%{certs}", &format!("https://{NAME}:{port}/ready")]),
        b"",
    )
    .ok();
    assert!(ready.contains(r#""source":"acme""#) && ready.contains(r#""warnings":[]"#), "{ready}");
    for entry in fs::read_dir(dir.path().join("data/acme")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }

    server.kill();
    pebble.reachable(false);
    let server = start(dir.path(), &pebble);
    assert!(!server.welcome.contains("self-signed"), "{}", server.welcome);
    assert_eq!(shown(server.https.unwrap(), HTTPS, NAME), certificate);
    assert_eq!(shown(server.smtp, SMTP, NAME), certificate);
}

#[test]
fn a_certificate_is_renewed_in_time() {
    let (dir, beside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let pebble = Pebble::start(beside.path(), 24);
    let server = start(dir.path(), &pebble);
    let first = issued(&server);
    let renewed = until("the next certificate", || {
        let certificate = shown(server.https.unwrap(), HTTPS, NAME);
        (certificate != first).then_some(certificate)
    });
    assert!(issuer(&renewed).contains("Pebble Intermediate CA"));
    let log = fs::read_to_string(log_file(dir.path())).unwrap();
    assert!(!log.contains("no certificate by ACME"), "{log}");
}

#[test]
fn without_the_acme_server_the_mail_server_runs_and_tries_again() {
    let (dir, beside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let pebble = Pebble::start(beside.path(), 90 * DAY_SECS);
    pebble.reachable(false);
    let server = start(dir.path(), &pebble);
    assert!(server.welcome.contains("self-signed"), "{}", server.welcome);
    let log = || fs::read_to_string(log_file(dir.path())).unwrap();
    until("the failure", || log().contains("no certificate by ACME").then_some(()));
    assert!(!issuer(&shown(server.smtp, SMTP, NAME)).contains("Pebble"));
    pebble.reachable(true);
    let certificate = issued(&server);
    assert_eq!(shown(server.smtp, SMTP, NAME), certificate);
}
