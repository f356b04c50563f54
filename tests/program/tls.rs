//! Certificates: the operator's files, and what clients see of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::api::curl;
use crate::process::{Restante, log_file};
use crate::programs::{file, program, run, until};

/// Makes `certs/fullchain.pem` and `certs/privkey.pem` in `dir`, where restante looks for them; returns their paths.
pub(crate) fn certificate(dir: &Path) -> [String; 2] {
    certificate_for(dir, "mx.example.com", 2)
}

/// The same for `name`, valid for so many days.
pub(crate) fn certificate_for(dir: &Path, name: &str, days: u32) -> [String; 2] {
    fs::create_dir_all(dir.join("certs")).unwrap();
    let files = ["certs/fullchain.pem", "certs/privkey.pem"].map(|name| dir.join(name).to_str().unwrap().to_owned());
    let [cert, key] = &files;
    run(
        program("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", &days.to_string(), "-subj", &format!("/CN={name}")])
            .args(["-addext", &format!("subjectAltName=DNS:{name},IP:127.0.0.1"), "-out", cert, "-keyout", key]),
        b"",
    )
    .ok();
    files
}

/// Makes the two files with a certificate that an authority has signed; returns the path of that one's certificate.
pub(crate) fn signed_certificate(dir: &Path, name: &str) -> String {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "Test CA");
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let ca = authority.self_signed(&ca_key).unwrap().pem();
    let leaf = CertificateParams::new([name.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(authority, ca_key)).unwrap().pem();
    fs::create_dir_all(dir.join("certs")).unwrap();
    file(&dir.join("certs"), "fullchain.pem", leaf + &ca);
    file(&dir.join("certs"), "privkey.pem", key.serialize_pem());
    file(dir, "ca.pem", ca)
}

/// How openssl connects to a port.
pub(crate) const SMTP: &[&str] = &["-starttls", "smtp"];
pub(crate) const HTTPS: &[&str] = &[];
const SMTPS: &[&str] = &[];

/// Every port with TLS.
const ALL_PORTS: [(&str, &str); 2] = [("HTTPS_ADDR", "127.0.0.1:0"), ("SMTPS_ADDR", "127.0.0.1:0")];

fn ports(server: &Restante) -> [(SocketAddr, &'static [&'static str]); 3] {
    [(server.smtp, SMTP), (server.smtps.unwrap(), SMTPS), (server.https.unwrap(), HTTPS)]
}

/// What openssl says about a handshake with `addr`, however it ends.
pub(crate) fn handshake(addr: SocketAddr, protocol: &[&str], options: &[&str]) -> String {
    let mut openssl = program("openssl");
    openssl.args(["s_client", "-connect", &addr.to_string()]).args(protocol).args(options);
    run(&mut openssl, b"").text()
}

/// The certificate that is shown to who asks for `name`, in PEM.
pub(crate) fn shown(addr: SocketAddr, protocol: &[&str], name: &str) -> String {
    let said = handshake(addr, protocol, &["-servername", name, "-showcerts"]);
    let end = "-----END CERTIFICATE-----\n";
    let rest = &said[said.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("{said}"))..];
    rest[..rest.find(end).unwrap() + end.len()].to_owned()
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

#[test]
fn old_versions_and_weak_ciphers_are_refused_on_every_port() {
    let dir = TempDir::new().unwrap();
    certificate(dir.path());
    let server = Restante::start(dir.path(), &ALL_PORTS);
    for (addr, protocol) in ports(&server) {
        // openssl would not offer them by itself.
        for version in ["-tls1", "-tls1_1"] {
            let said = handshake(addr, protocol, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
            // Which alert it is depends on what else such a client lacks.
            assert!(said.contains("SSL alert number") && said.contains("Cipher is (NONE)"), "{version}: {said}");
        }
        for cipher in ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-SHA", "DHE-RSA-AES256-GCM-SHA384", "NULL"]
        {
            let said = handshake(addr, protocol, &["-tls1_2", "-cipher", &format!("{cipher}:@SECLEVEL=0")]);
            assert!(said.contains("alert handshake failure"), "{cipher}: {said}");
        }
        for cipher in
            ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
        {
            let said = handshake(addr, protocol, &["-tls1_2", "-cipher", cipher]);
            assert!(said.contains(&format!("New, TLSv1.2, Cipher is {cipher}")), "{said}");
        }
        for cipher in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
            let said = handshake(addr, protocol, &["-tls1_3", "-ciphersuites", cipher]);
            assert!(said.contains(&format!("New, TLSv1.3, Cipher is {cipher}")), "{said}");
        }
    }
}

#[test]
fn a_session_is_resumed() {
    let (server, dir) = Restante::start_anywhere(&[("HTTPS_ADDR", "127.0.0.1:0")]);
    let session = dir.path().join("session").to_str().unwrap().to_owned();
    let addr = server.https.unwrap().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let again = |option: &str| {
            let mut openssl = program("openssl");
            openssl.args(["s_client", "-connect", &addr, "-ign_eof", version, option, &session]);
            // With the answer to a request the tickets of TLS 1.3 have come too.
            run(&mut openssl, b"GET /health HTTP/1.0\r\n\r\n").ok()
        };
        assert!(again("-sess_out").contains("New, TLSv1."));
        assert!(again("-sess_in").contains("Reused, TLSv1."), "{version}");
    }
}

#[test]
fn several_certificates_are_chosen_by_name() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let [one_cert, one_key] = certificate_for(one.path(), "mx.example.com", 90);
    let [two_cert, two_key] = certificate_for(two.path(), "api.example.org", 90);
    let (certs, keys) = (format!("{one_cert}, {two_cert}"), format!("{one_key}, {two_key}"));
    let variables = [&ALL_PORTS[..], &[("TLS_CERT_FILE", &*certs), ("TLS_KEY_FILE", &*keys)]].concat();
    let (server, _dir) = Restante::start_anywhere(&variables);
    for (addr, protocol) in ports(&server) {
        for (name, file) in
            [("mx.example.com", &one_cert), ("api.example.org", &two_cert), ("other.example", &one_cert)]
        {
            assert_eq!(shown(addr, protocol, name), fs::read_to_string(file).unwrap(), "{name}");
        }
    }
}

#[test]
fn a_broken_certificate_is_refused_and_the_old_one_stays() {
    let dir = TempDir::new().unwrap();
    let [cert, _key] = certificate(dir.path());
    let server = Restante::start(dir.path(), &[]);
    let before = fs::read_to_string(&cert).unwrap();
    let log = || fs::read_to_string(log_file(dir.path())).unwrap();
    fs::write(&cert, "not a certificate").unwrap();
    server.signal("HUP");
    until("the refusal", || log().contains("the new certificate is refused").then_some(()));
    assert!(log().contains("certs/fullchain.pem: holds no certificate"), "{}", log());
    assert_eq!(shown(server.smtp, SMTP, "mx.example.com"), before);

    // Put right, it is taken without being told.
    certificate_for(dir.path(), "new.example.com", 90);
    let after = fs::read_to_string(&cert).unwrap();
    until("the new certificate", || (shown(server.smtp, SMTP, "new.example.com") == after).then_some(()));
}

#[test]
fn certificate_files_that_come_later_are_taken_too() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let [cert, _key] = certificate(dir.path());
    server.signal("HUP");
    let cert = fs::read_to_string(cert).unwrap();
    until("the certificate", || (shown(server.smtp, SMTP, "mx.example.com") == cert).then_some(()));
}

#[test]
fn what_is_about_to_expire_is_said() {
    let dir = TempDir::new().unwrap();
    certificate_for(dir.path(), "mx.example.com", 10);
    let server = Restante::start(dir.path(), &[]);
    let ready = server.ask_as_stranger("GET", "/ready").json();
    let warning = ready["warnings"][0].as_str().unwrap();
    assert_eq!(warning, "the certificate for mx.example.com, 127.0.0.1 expires in 9 days");
    assert_eq!(ready["certificates"][0]["source"], "files");
    assert!(ready["certificates"][0]["expires_at"].is_u64());
    let log = || fs::read_to_string(log_file(dir.path())).unwrap();
    until("the warning", || log().contains(warning).then_some(()));

    certificate_for(dir.path(), "mx.example.com", 90);
    server.signal("HUP");
    until("the new certificate", || {
        let ready = server.ask_as_stranger("GET", "/ready").json();
        ready["warnings"].as_array().unwrap().is_empty().then_some(())
    });
}
