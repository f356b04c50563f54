//! The start: what the operator reads, what is refused, and why.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;

use restante::config::VARIABLES;
use tempfile::TempDir;

use crate::dialogue::Client;
use crate::process::{Restante, command, log_file, signal};
use crate::programs::{Ended, file, program, run, wait};
use crate::tls::{certificate, signed_certificate};

/// What is wrong is in the setup, not in the program.
const EXIT_SETUP: i32 = 2;

/// Runs the program to its end.
fn ended(dir: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    run(command(dir, variables).args(arguments), b"")
}

/// The lines of the error with which the program refuses to start.
#[track_caller]
fn refusal(dir: &Path, variables: &[(&str, &str)]) -> Vec<String> {
    let ended = ended(dir, variables, &[]);
    assert_eq!(ended.code, Some(EXIT_SETUP), "{}", ended.text());
    assert_eq!(ended.stdout, b"");
    ended.stderr.lines().map(str::to_owned).collect()
}

/// The line below `heading` in the welcome.
fn line<'a>(welcome: &'a str, heading: &str) -> &'a str {
    let mut lines = welcome.lines().skip_while(|line| *line != heading);
    lines.nth(1).unwrap().trim()
}

/// Pastes the two lines of the welcome into a shell; returns what the second one shows.
fn paste(server: &Restante, dir: &Path) -> String {
    let mut shown = String::new();
    for heading in ["Send a mail:", "Read it:"] {
        let mut shell = program("sh");
        shell
            .current_dir(dir)
            .env("API_KEY", &server.key)
            .env("CURL_HOME", dir)
            .args(["-c", line(&server.welcome, heading)]);
        shown = run(&mut shell, b"").ok();
    }
    shown
}

#[test]
fn the_lines_of_the_welcome_work() {
    let (server, dir) = Restante::start_anywhere(&[]);
    assert!(server.welcome.contains(&server.key), "{}", server.welcome);
    let shown = paste(&server, dir.path());
    assert!(shown.contains("\"subject\":\"Hello\"") && shown.contains("Hello from swaks"), "{shown}");
}

#[test]
fn the_lines_of_the_welcome_work_with_a_domain_and_a_key() {
    let (server, dir) = Restante::start_anywhere(&[("DOMAIN", "*.test.example"), ("API_KEY", "s3cret")]);
    assert!(!server.welcome.contains("s3cret"), "{}", server.welcome);
    let shown = paste(&server, dir.path());
    assert!(shown.contains("\"to\":\"user@mail.test.example\""), "{shown}");
}

#[test]
fn the_lines_of_the_welcome_work_over_tls() {
    let (server, dir) = Restante::start_anywhere(&[("HTTPS_ADDR", "127.0.0.1:0")]);
    assert!(line(&server.welcome, "Read it:").contains(" -k https://127.0.0.1:"), "{}", server.welcome);
    let shown = paste(&server, dir.path());
    assert!(shown.contains("Hello from swaks"), "{shown}");
}

#[test]
fn the_lines_of_the_welcome_work_with_a_certificate() {
    let dir = TempDir::new().unwrap();
    let ca = signed_certificate(dir.path(), "mx.example.com");
    let server = Restante::start(dir.path(), &[("HTTPS_ADDR", "127.0.0.1:0")]);
    assert!(line(&server.welcome, "Read it:").contains(" https://mx.example.com:"), "{}", server.welcome);
    // The authority of the test is known to this curl alone.
    file(dir.path(), ".curlrc", format!("cacert = \"{ca}\"\n"));
    let shown = paste(&server, dir.path());
    assert!(shown.contains("Hello from swaks"), "{shown}");
}

#[test]
fn the_lines_of_the_welcome_work_with_a_certificate_that_nobody_vouches_for() {
    let dir = TempDir::new().unwrap();
    certificate(dir.path());
    let server = Restante::start(dir.path(), &[("HTTPS_ADDR", "127.0.0.1:0")]);
    assert!(line(&server.welcome, "Read it:").contains(" -k https://127.0.0.1:"), "{}", server.welcome);
    assert!(paste(&server, dir.path()).contains("Hello from swaks"));
}

#[test]
fn what_acme_needs_is_said() {
    let dir = TempDir::new().unwrap();
    let lines = refusal(dir.path(), &[("ACME_DOMAINS", "*.example.com")]);
    assert!(lines[1].contains("ACME_DOMAINS=") && lines[1].contains("no *"), "{lines:?}");
    let lines = refusal(dir.path(), &[("ACME_DOMAINS", "mx.example.com")]);
    assert!(lines[1].contains("HTTPS_ADDR is not"), "{lines:?}");
    let https = ("HTTPS_ADDR", "127.0.0.1:0");
    let lines = refusal(dir.path(), &[("ACME_DOMAINS", "mx.example.com"), https, ("ACME_CA_FILE", "nowhere.pem")]);
    assert!(lines[0].contains("nowhere.pem: "), "{lines:?}");
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let [error] = refusal(dir.path(), &[]).try_into().unwrap();
    assert!(error.starts_with("restante: data directory ./data is in use by another restante process"), "{error}");
    server.kill();
    Restante::start(dir.path(), &[]);
}

#[test]
fn every_mistake_is_reported_at_once() {
    let dir = TempDir::new().unwrap();
    let mistakes = [
        ("HTTP_ADDR", "localhost:8080"),
        ("RETENTION", "1 week"),
        ("API_KEY", "sécret"),
        ("STORE", "floppy"),
        ("SMTP_MAX_ERRORS", "0"),
    ];
    let lines = refusal(dir.path(), &mistakes);
    assert_eq!(lines[0], "restante: 5 mistakes in the configuration");
    for (name, _) in mistakes {
        let named = lines[1..].iter().filter(|line| line.split([' ', '=']).any(|word| word == name)).count();
        assert_eq!(named, 1, "{name}: {lines:?}");
    }
    assert!(!lines.concat().contains("sécret"), "{lines:?}");
    assert!(!dir.path().join("data").exists());
}

#[test]
fn a_public_address_needs_a_domain_and_a_key() {
    let dir = TempDir::new().unwrap();
    for variable in ["SMTP_ADDR", "HTTP_ADDR"] {
        let lines = refusal(dir.path(), &[(variable, "0.0.0.0:0")]);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[1].trim_start().starts_with("DOMAIN is not set, but 0.0.0.0:0 "), "{lines:?}");
        assert!(lines[2].trim_start().starts_with("API_KEY is not set, but 0.0.0.0:0 "), "{lines:?}");
    }
    Restante::start(dir.path(), &[("SMTP_ADDR", "0.0.0.0:0"), ("DOMAIN", "example.com"), ("API_KEY", "s3cret")]);
}

#[test]
fn a_port_that_is_taken_is_said() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for variable in ["SMTP_ADDR", "HTTP_ADDR"] {
        let [error] = refusal(dir.path(), &[(variable, &addr)]).try_into().unwrap();
        assert!(error.starts_with(&format!("restante: cannot listen on {addr} ({variable}): ")), "{error}");
    }
}

#[test]
fn half_a_certificate_is_said() {
    let dir = TempDir::new().unwrap();
    let cert = file(dir.path(), "cert.pem", "");
    let [error] = refusal(dir.path(), &[("TLS_CERT_FILE", &cert)]).try_into().unwrap();
    assert!(error.contains("cert.pem is there but certs/privkey.pem is not"), "{error}");
}

#[test]
fn a_certificate_that_was_named_has_to_be_there() {
    let dir = TempDir::new().unwrap();
    for variable in ["TLS_CERT_FILE", "TLS_KEY_FILE"] {
        let [error] = refusal(dir.path(), &[(variable, "fullchian.pem")]).try_into().unwrap();
        assert!(error.contains("TLS_CERT_FILE") && error.contains("fullchian.pem"), "{error}");
    }
    // What ACME is to bring is for the names that the files do not have.
    let acme = [("ACME_DOMAINS", "mx.example.com"), ("HTTPS_ADDR", "127.0.0.1:0")];
    let named = [("TLS_CERT_FILE", "fullchian.pem"), ("TLS_KEY_FILE", "privkey.pem")];
    let [error] = refusal(dir.path(), &[&acme[..], &named].concat()).try_into().unwrap();
    assert!(error.contains("none of the files is there (fullchian.pem, privkey.pem)"), "{error}");
    let server = Restante::start(dir.path(), &[]);
    let log = fs::read_to_string(log_file(dir.path())).unwrap();
    assert!(log.contains("no certificate yet (certs/fullchain.pem, certs/privkey.pem)"), "{log}");
    assert!(server.welcome.contains("self-signed"));
}

#[test]
fn a_name_that_is_nearly_ours_is_said_and_stops_nothing() {
    let dir = TempDir::new().unwrap();
    file(
        dir.path(),
        ".env",
        "APP_NAME=Don't stop\nDOMAINS=My Shop\nHTTPS_PORT=443\nCORS_ORIGIN=*\nFOO\nRETENTION=2h\nAPP_KEY=base64:x=\n",
    );
    let misspelt = [("RETENTON", "1h"), ("REDIS_URI", "redis://redis"), ("HTTPS_PORT", "443")];
    let said = [
        ".env: DOMAINS is not known; did you mean DOMAIN? If another program has it there, write DOMAIN= beside it",
        ".env: CORS_ORIGIN is not known; did you mean CORS_ORIGINS? ",
        ".env: line 5 has no name and is left out; write NAME=value",
        "REDIS_URI is not known; did you mean REDIS_URL?",
    ];
    let is_said = |text: &str| {
        said.iter().all(|said| text.contains(said))
            && !["HTTPS_PORT", "RETENTON", "APP_"].iter().any(|x| text.contains(x))
    };
    let shown = ended(dir.path(), &misspelt, &["config"]);
    assert!(shown.code == Some(0) && is_said(&shown.stderr), "{}", shown.text());
    assert!(shown.stdout.windows(13).any(|line| line == b"RETENTION=2h\n"), "{}", shown.text());
    // They work on the store of this configuration, which may be another one than was meant.
    for command in [&["export", "--to", "backup", "--format", "eml"][..], &["import", "."]] {
        let ended = ended(dir.path(), &misspelt, command);
        assert!(is_said(&ended.stderr), "{}", ended.text());
    }
    Restante::start(dir.path(), &misspelt);
    let log = fs::read_to_string(log_file(dir.path())).unwrap();
    assert!(is_said(&log), "{log}");
    file(dir.path(), ".env", "DOMAINS=example.com\nAPI_KEY=a-key-for-this-test-alone\nSMTP_ADDR=0.0.0.0:0\n");
    let lines = refusal(dir.path(), &[("SMTP_ADDR", "0.0.0.0:0")]);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains(" 1 mistake ") && lines[1].contains("DOMAIN is not set"), "{lines:?}");
    assert!(lines[2].contains(".env: DOMAINS is not known; did you mean DOMAIN?"), "{lines:?}");
}

#[test]
fn a_name_of_a_directory_that_is_no_text_is_refused() {
    let dir = TempDir::new().unwrap();
    let latin1 = OsStr::from_bytes(b"d\xe4ta");
    let shown = run(command(dir.path(), &[]).env("DATA_DIRS", latin1).arg("config"), b"");
    assert!(
        shown.code == Some(0) && shown.stderr.contains("DATA_DIRS is not known; did you mean DATA_DIR?"),
        "{}",
        shown.text()
    );
    let ended = run(command(dir.path(), &[]).env("DATA_DIR", latin1), b"");
    assert!(
        ended.code == Some(EXIT_SETUP) && ended.stderr.contains("DATA_DIR is not written in UTF-8"),
        "{}",
        ended.text()
    );
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
}

#[test]
fn the_program_says_its_version_and_its_use() {
    let dir = TempDir::new().unwrap();
    let version = ended(dir.path(), &[], &["--version"]).ok();
    assert_eq!(version, concat!("restante ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = ended(dir.path(), &[], &["--help"]).ok();
    assert!(help.contains("Usage: restante [COMMAND]") && help.contains("config") && help.contains(".env"), "{help}");
    assert_eq!(ended(dir.path(), &[], &["--prot", "25"]).code, Some(EXIT_SETUP));
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let dir = TempDir::new().unwrap();
    let shown = ended(dir.path(), &[("API_KEY", "s3cret"), ("RETENTION", "2h")], &["config"]).ok();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), VARIABLES.len(), "{shown}");
    for (line, variable) in lines.iter().zip(VARIABLES) {
        assert!(line.starts_with(&format!("{}=", variable.name)), "{line}");
    }
    assert!(lines.contains(&"API_KEY=(hidden)") && lines.contains(&"RETENTION=2h"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
}

#[test]
fn the_environment_goes_before_the_file() {
    let dir = TempDir::new().unwrap();
    file(dir.path(), ".env", "# ours\nSMTP_HOSTNAME=file.example\nDATA_DIR='./mail box'\nSMTP_RATE_PER_MINUTE=7\n");
    let server = Restante::start(dir.path(), &[("SMTP_HOSTNAME", "environment.example")]);
    assert_eq!(Client::connect(server.smtp).greeting, "220 environment.example ESMTP restante");
    assert!(dir.path().join("mail box/api-key").exists());
    let shown = ended(dir.path(), &[("SMTP_HOSTNAME", "environment.example")], &["config"]).ok();
    assert!(shown.contains("\nSMTP_HOSTNAME=environment.example\n"), "{shown}");
    assert!(shown.contains("\nSMTP_RATE_PER_MINUTE=7\n"), "{shown}");
}

#[test]
fn what_is_broken_in_the_file_is_said_without_its_text() {
    let dir = TempDir::new().unwrap();
    file(
        dir.path(),
        ".env",
        "RETENTION=2h\nAPI_KEY=s3cret= word\n\ns3cret word\nREDIS_PASSWORD=s3cret$ecret99\nDATA_DIR='s3cret\n",
    );
    let lines = refusal(dir.path(), &[]);
    let mut broken: Vec<_> = lines[1..].iter().filter_map(|line| line.split(" cannot be read").next()).collect();
    broken.sort_unstable();
    assert_eq!(broken, ["  .env: line 2", "  .env: line 5", "  .env: line 6"], "{lines:?}");
    assert!(!lines.concat().contains("s3cret"), "{lines:?}");
}

#[test]
fn the_log_in_a_file_is_plain_text() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let log = fs::read_to_string(log_file(dir.path())).unwrap();
    assert!(log.contains("restante is ready"), "{log}");
    assert!(!log.contains('\x1b'), "{log:?}");
    assert!(!log.contains(&server.key), "{log}");
}

#[test]
fn the_log_of_a_refused_recipient_has_its_domain_alone() {
    let (server, dir) = Restante::start_anywhere(&[("DOMAIN", "example.com")]);
    let mut client = Client::connect(server.smtp);
    client.say("HELO client.example");
    client.say("MAIL FROM:<sender@example.org>");
    assert!(client.say("RCPT TO:<somebody@elsewhere.example>").starts_with("550 5.7.1 "));
    let log = fs::read_to_string(log_file(dir.path())).unwrap();
    assert!(log.contains("domain=\"elsewhere.example\""), "{log}");
    assert!(!log.contains("somebody") && !log.contains("sender"), "{log}");
}

#[test]
fn an_output_that_cannot_be_written_is_no_reason_to_stop() {
    let dir = TempDir::new().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = command(dir.path(), &[]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("restante is ready")));
    signal(&child, "TERM");
    assert!(log.any(|line| line.contains("restante has stopped")));
    assert_eq!(wait(&mut child, "restante").code(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_log_that_cannot_be_written_stops_nothing() {
    for format in ["text", "json"] {
        let dir = TempDir::new().unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let server = Restante::start_with_log(dir.path(), &[("LOG_FORMAT", format)], full);
        let mut client = Client::connect(server.smtp);
        client.begin("user@example.com");
        assert!(client.say("Subject: Kept\r\n\r\nHello\r\n.").starts_with("250 "));
        assert_eq!(server.mail("user")["subject"], "Kept");
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
    }
}
