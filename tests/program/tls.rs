//! Certificates: the operator's files, and what clients see of them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use tempfile::TempDir;

use crate::api::curl;
use crate::process::Restante;
use crate::programs::{Ended, program, run};

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

/// What openssl says about a handshake of this version, by STARTTLS or on a port that begins with it.
fn handshake(addr: &str, starttls: bool, version: &str) -> Ended {
    let mut openssl = program("openssl");
    openssl.args(["s_client", "-crlf", "-quiet", "-connect", addr, version]);
    // Else openssl itself would refuse what is old.
    openssl.args(["-cipher", "DEFAULT@SECLEVEL=0"]);
    if starttls {
        openssl.args(["-starttls", "smtp"]);
    }
    run(&mut openssl, b"EHLO client.example\nQUIT\n")
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let (server, _dir) = Restante::start_anywhere(&[("SMTPS_ADDR", "127.0.0.1:0")]);
    for (addr, starttls) in [(server.smtp, true), (server.smtps.unwrap(), false)] {
        for version in ["-tls1_2", "-tls1_3"] {
            let said = handshake(&addr.to_string(), starttls, version).ok();
            assert!(said.contains("221 2.0.0 "), "{version}: {said}");
        }
        for version in ["-tls1", "-tls1_1"] {
            let refused = handshake(&addr.to_string(), starttls, version);
            assert_ne!(refused.code, Some(0), "{version}: {}", refused.text());
            // It is the server that will not.
            assert!(refused.stderr.contains("SSL alert number "), "{version}: {}", refused.text());
        }
    }
}

#[test]
fn mail_comes_in_where_tls_begins_at_once() {
    let (server, _dir) = Restante::start_anywhere(&[("SMTPS_ADDR", "127.0.0.1:0")]);
    let addr = server.smtps.unwrap();
    let mut swaks = program("swaks");
    swaks.args(["--server", &addr.to_string(), "--from", "sender@example.org", "--to", "swaks@example.com"]);
    let said = run(swaks.arg("--tls-on-connect"), b"").ok();
    assert!(!said.contains("STARTTLS"), "{said}");
    let url = format!("smtps://{addr}");
    let arguments = ["--mail-from", "sender@example.org", "--mail-rcpt", "curl@example.com", "--upload-file", "-"];
    run(curl().args(["--silent", "--show-error", "--insecure", &url]).args(arguments), b"Subject: x\r\n\r\n").ok();
    for mailbox in ["swaks", "curl"] {
        let tls = server.mail(mailbox)["peer"]["tls"].as_str().unwrap().to_owned();
        assert!(tls.starts_with("TLSv1.3 "), "{mailbox}: {tls}");
    }
    // Who speaks clear text there is not understood, and harms nobody.
    let mut confused = TcpStream::connect(addr).unwrap();
    confused.write_all(b"EHLO client.example\r\n").unwrap();
    let mut said = Vec::new();
    confused.read_to_end(&mut said).unwrap();
    assert!(!said.starts_with(b"2"), "{}", said.escape_ascii());
    assert!(run(&mut swaks, b"").ok().contains("221 2.0.0 "));
}

#[test]
fn where_tls_is_required_no_mail_comes_without() {
    let (server, _dir) = Restante::start_anywhere(&[("SMTP_TLS", "required")]);
    let mut swaks = program("swaks");
    swaks.args(["--server", &server.smtp.to_string(), "--from", "sender@example.org", "--to", "user@example.com"]);
    let refused = run(&mut swaks, b"");
    // swaks(1): the sender was refused.
    assert_eq!(refused.code, Some(23), "{}", refused.text());
    assert!(refused.text().contains("<** 530 5.7.0 "), "{}", refused.text());
    run(swaks.arg("--tls"), b"").ok();
    assert!(server.mail("user")["peer"]["tls"].is_string());
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
