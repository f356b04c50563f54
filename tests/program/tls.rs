//! Certificates: the operator's files, and what clients see of them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::process::Restante;
use crate::programs::{program, run};

/// Makes `certs/fullchain.pem` and `certs/privkey.pem` in `dir`, where restante looks for them; returns their paths.
pub(crate) fn certificate(dir: &Path) -> [String; 2] {
    fs::create_dir_all(dir.join("certs")).unwrap();
    let files = ["certs/fullchain.pem", "certs/privkey.pem"].map(|name| dir.join(name).to_str().unwrap().to_owned());
    let [cert, key] = &files;
    run(
        program("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=mx.example.com"])
            .args(["-addext", "subjectAltName=DNS:mx.example.com,IP:127.0.0.1", "-out", cert, "-keyout", key]),
        b"",
    )
    .ok();
    files
}

/// A session that is typed into openssl; returns what it shows and what the server says.
fn typed(server: &Restante, options: &[&str], text: &str) -> String {
    let connect = server.smtp.to_string();
    let mut openssl = program("openssl");
    openssl.args(["s_client", "-starttls", "smtp", "-crlf", "-connect", &connect]).args(options);
    run(&mut openssl, text.as_bytes()).ok()
}

#[test]
fn a_session_typed_into_openssl_brings_a_mail() {
    let (server, _dir) = Restante::start_anywhere(&[]);
    let said = typed(
        &server,
        // Else openssl would take lines with Q and R as commands for itself.
        &["-quiet"],
        "EHLO typist.example\nMAIL FROM:<sender@example.org>\nRCPT TO:<user@example.com>\nDATA\n\
         Subject: Typed\n\nQuite by hand.\nReally.\n..dotted\n.\nQUIT\n",
    );
    assert!(said.contains("250 2.0.0 kept as ") && said.contains("221 2.0.0 "), "{said}");
    let mail = server.mail("user");
    assert_eq!(mail["subject"], "Typed");
    assert_eq!(mail["body_text"], "Quite by hand.\r\nReally.\r\n.dotted\r\n");
    assert_eq!(mail["peer"]["helo"], "typist.example");
}

#[test]
fn tls_1_2_is_spoken_too() {
    let (server, _dir) = Restante::start_anywhere(&[]);
    let said = typed(&server, &["-quiet", "-tls1_2"], "EHLO old.example\nQUIT\n");
    assert!(said.contains("221 2.0.0 "), "{said}");
}

#[test]
fn the_certificate_shown_is_the_one_of_the_files() {
    let elsewhere = TempDir::new().unwrap();
    let [cert, key] = certificate(elsewhere.path());
    let (server, _dir) = Restante::start_anywhere(&[("TLS_CERT_FILE", &cert), ("TLS_KEY_FILE", &key)]);
    assert!(!server.welcome.contains("self-signed"), "{}", server.welcome);
    let said = typed(&server, &["-showcerts", "-ign_eof", "-CAfile", &cert, "-verify_ip", "127.0.0.1"], "QUIT\n");
    assert!(said.contains(&fs::read_to_string(&cert).unwrap()), "{said}");
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
}

#[test]
fn files_in_the_usual_place_need_no_variable() {
    let dir = TempDir::new().unwrap();
    let [cert, _key] = certificate(dir.path());
    let server = Restante::start(dir.path(), &[]);
    let said = typed(&server, &["-showcerts", "-ign_eof"], "QUIT\n");
    assert!(said.contains(&fs::read_to_string(&cert).unwrap()), "{said}");
}
