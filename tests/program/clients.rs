//! Mail in by the clients that people use.

use std::process::Command;

use tempfile::TempDir;

use crate::api::path_of;
use crate::process::Restante;
use crate::programs::{file, program, run, smtp_source};
use crate::tls::certificate;

/// swaks, about to send a mail to `to`.
pub(crate) fn swaks(server: &Restante, to: &str) -> Command {
    let mut swaks = program("swaks");
    swaks.args(["--server", &server.smtp.to_string(), "--from", "sender@example.org", "--to", to]);
    swaks.args(["--ehlo", "client.example"]);
    swaks
}

#[test]
fn swaks_sends_a_plain_mail() {
    let (server, _dir) = Restante::start_anywhere(&[]);
    run(swaks(&server, "User@example.com").args(["--header", "Subject: Hello", "--body", "Hello from swaks"]), b"")
        .ok();
    let mail = server.mail("user");
    assert_eq!(mail["from"], "sender@example.org");
    assert_eq!(mail["to"], "User@example.com");
    assert_eq!(mail["subject"], "Hello");
    // How many empty lines end it depends on the version of swaks.
    assert_eq!(mail["body_text"].as_str().unwrap().trim_end(), "Hello from swaks");
    assert_eq!(mail["body_html"], "");
    assert_eq!(mail["attachments"].as_array().unwrap().len(), 0);
    assert_eq!(mail["expires_at"].as_u64().unwrap() - mail["received_at"].as_u64().unwrap(), 24 * 60 * 60);
    assert_eq!(mail["peer"]["ip"], "127.0.0.1");
    assert_eq!(mail["peer"]["helo"], "client.example");
    assert!(mail["peer"]["tls"].is_null());
}

#[test]
fn swaks_sends_over_starttls() {
    let (server, _dir) = Restante::start_anywhere(&[]);
    run(swaks(&server, "user@example.com").arg("--tls"), b"").ok();
    let tls = server.mail("user")["peer"]["tls"].as_str().unwrap().to_owned();
    assert!(tls.starts_with("TLSv1.3 TLS_"), "{tls}");
}

#[test]
fn swaks_sends_html_and_an_attachment() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let pdf = b"%PDF-1.7\n\0\xff\r\n.\r\n";
    let path = file(dir.path(), "report.pdf", pdf);
    run(
        swaks(&server, "user@example.com")
            .args(["--attach-type", "text/plain", "--attach-body", "plain text"])
            .args(["--attach-type", "text/html", "--attach-body", "<p>rich text</p>"])
            .args(["--attach-type", "application/pdf", "--attach-name", "report.pdf", "--attach", &format!("@{path}")]),
        b"",
    )
    .ok();
    let mail = server.mail("user");
    assert_eq!(mail["body_text"], "plain text");
    assert_eq!(mail["body_html"], "<p>rich text</p>");
    assert_eq!(mail["attachments"], serde_json::json!(["report.pdf"]));
    let record = &mail["attachment_records"][0];
    assert_eq!(record["content_type"], "application/pdf");
    assert_eq!(record["size"], pdf.len());
    let url = record["url"].as_str().unwrap();
    assert_eq!(url, format!("{}/attachments/0", path_of(&mail)));
    assert_eq!(server.get(url), pdf);
    assert_eq!(server.get(&format!("{}/html", path_of(&mail))), b"<p>rich text</p>");
}

#[test]
fn each_recipient_has_the_mail_and_sees_only_itself() {
    let (server, _dir) = Restante::start_anywhere(&[]);
    let recipients = ["first@example.com", "second@example.net", "third@example.org"];
    run(swaks(&server, &recipients.join(",")).args(["--header-To", "everybody@lists.example"]), b"").ok();
    for (own, mailbox) in recipients.iter().zip(["first", "second", "third"]) {
        let mail = server.mail(mailbox);
        assert_eq!(mail["to"], *own);
        let whole = String::from_utf8(server.get(&path_of(&mail))).unwrap();
        for other in recipients.iter().filter(|other| other != &own) {
            assert!(!whole.contains(other), "{whole}");
        }
    }
}

#[test]
fn mail_for_a_foreign_domain_is_refused() {
    let (server, _dir) = Restante::start_anywhere(&[("DOMAIN", "example.com,*.test.example")]);
    let refused = run(&mut swaks(&server, "user@elsewhere.example"), b"");
    // swaks(1): no recipient was accepted.
    assert_eq!(refused.code, Some(24), "{}", refused.text());
    assert!(refused.text().contains("<** 550 5.7.1 "), "{}", refused.text());
    assert_eq!(server.mails("user"), Vec::<serde_json::Value>::new());
    for ours in ["user@EXAMPLE.com", "user@mx.test.example", "user@[127.0.0.1]"] {
        run(&mut swaks(&server, ours), b"").ok();
    }
    assert_eq!(server.mails("user").len(), 3);
}

#[test]
fn swaks_pipelines() {
    let (server, _dir) = Restante::start_anywhere(&[]);
    let said = run(swaks(&server, "a@example.com,b@example.com").args(["--pipeline", "--tls"]), b"").ok();
    let replies: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("<~  ")).map(|line| &line[..3]).collect();
    assert_eq!(replies[replies.len() - 6..], ["250", "250", "250", "354", "250", "221"], "{said}");
    assert_eq!(
        (server.mail("a")["to"].clone(), server.mail("b")["to"].clone()),
        ("a@example.com".into(), "b@example.com".into())
    );
}

#[test]
fn a_runaway_sender_is_slowed_down() {
    let (server, _dir) = Restante::start_anywhere(&[("SMTP_RATE_PER_MINUTE", "1")]);
    run(&mut swaks(&server, "user@example.com"), b"").ok();
    let refused = run(&mut swaks(&server, "user@example.com"), b"");
    // swaks(1): the sender was refused.
    assert_eq!(refused.code, Some(23), "{}", refused.text());
    assert!(refused.text().contains("<** 450 4.7.1 "), "{}", refused.text());
    run(swaks(&server, "user@example.com").args(["--from", "another@example.org"]), b"").ok();
}

#[test]
fn many_sessions_at_once_lose_nothing() {
    let (server, _dir) = Restante::start_anywhere(&[("SMTP_RATE_PER_MINUTE", "0")]);
    let mut source = smtp_source();
    source.args(["-s", "20", "-m", "400", "-l", "4000", "-f", "sender@example.org", "-t", "user@example.com"]);
    run(source.arg(server.smtp.to_string()), b"").ok();
    let [mailbox] = serde_json::from_slice::<[serde_json::Value; 1]>(&server.get("/emails")).unwrap();
    assert_eq!((&mailbox["name"], &mailbox["count"]), (&"user".into(), &400.into()));
}

#[test]
fn msmtp_trusts_the_certificate_of_the_files() {
    let dir = TempDir::new().unwrap();
    let [cert, _key] = certificate(dir.path());
    let server = Restante::start(dir.path(), &[]);
    let config = format!(
        "account default\nhost 127.0.0.1\nport {}\nfrom sender@example.org\ntls on\ntls_starttls on\ntls_trust_file {cert}\n",
        server.smtp.port()
    );
    let config = file(dir.path(), "msmtprc", config);
    let mail = b"Subject: By msmtp\n\nline\n.\n..dots\n";
    run(program("msmtp").args(["--file", &config, "user@example.com"]), mail).ok();
    let mail = server.mail("user");
    assert_eq!(mail["subject"], "By msmtp");
    assert_eq!(mail["body_text"], "line\r\n.\r\n..dots\r\n");
    assert!(mail["peer"]["tls"].is_string());
}

#[test]
fn msmtp_stands_in_for_sendmail() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let config = format!(
        "account default\nhost 127.0.0.1\nport {}\nfrom sender@example.org\ntls on\ntls_certcheck off\n",
        server.smtp.port()
    );
    file(dir.path(), ".msmtprc", config);
    // As cron, PHP and git call it: the recipients are in the message.
    let mail = b"From: sender@example.org\nTo: user@example.com\nBcc: hidden@example.com\nSubject: Report\n\nDone.\n";
    run(program("msmtp").env("HOME", dir.path()).args(["-t", "-oi"]), mail).ok();
    assert_eq!(server.mail("user")["subject"], "Report");
    assert_eq!(server.mail("hidden")["to"], "hidden@example.com");
    assert!(!String::from_utf8(server.get(&path_of(&server.mail("user")))).unwrap().contains("hidden"));
}
