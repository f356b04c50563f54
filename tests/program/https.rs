//! The API over TLS, the way to it from clear text, and a certificate that is exchanged while it is used.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::api::curl;
use crate::process::Restante;
use crate::programs::{program, run, until};
use crate::tls::{HTTPS, SMTP, certificate_for, shown};

const NAME: &str = "api.example.com";

/// A server with a certificate for [`NAME`] in `dir`; its file is the second one.
pub(crate) fn start(dir: &Path, variables: &[(&str, &str)]) -> (Restante, String) {
    let [cert, _key] = certificate_for(dir, NAME, 90);
    let variables = [&[("HTTPS_ADDR", "127.0.0.1:0"), ("SMTP_HOSTNAME", NAME)], variables].concat();
    (Restante::start(dir, &variables), cert)
}

/// curl that finds [`NAME`] on loopback at both ports and trusts `cert` alone.
pub(crate) fn curl_to(server: &Restante, cert: &str) -> Command {
    let mut curl = curl();
    for port in [server.http.port(), server.https.unwrap().port()] {
        curl.args(["--resolve", &format!("{NAME}:{port}:127.0.0.1")]);
    }
    curl.args(["--silent", "--show-error", "--cacert", cert]);
    curl
}

/// The URL of a path over TLS, and in clear text.
pub(crate) fn urls(server: &Restante, path: &str) -> [String; 2] {
    [
        format!("https://{NAME}:{}{path}", server.https.unwrap().port()),
        format!("http://{NAME}:{}{path}", server.http.port()),
    ]
}

/// The head of the answer, header names in lower case.
fn head(curl: &mut Command) -> String {
    run(curl.args(["--dump-header", "-", "--output", "/dev/null"]), b"").ok().to_lowercase()
}

#[test]
fn both_versions_of_http_are_spoken_over_tls() {
    let dir = TempDir::new().unwrap();
    let (server, cert) = start(dir.path(), &[]);
    let [url, _] = urls(&server, "/emails/user");
    let key = format!("X-API-KEY: {}", server.key);
    for (option, version) in [("--http1.1", "http/1.1 200"), ("--http2", "http/2 200")] {
        let head = head(curl_to(&server, &cert).args([option, "--header", &key, &url]));
        assert!(head.starts_with(version), "{head}");
        assert!(head.contains("strict-transport-security: max-age=31536000\r\n"), "{head}");
    }
}

#[test]
fn clear_text_leads_to_tls_and_keeps_the_method() {
    let dir = TempDir::new().unwrap();
    let (server, cert) = start(dir.path(), &[]);
    let [to, from] = urls(&server, "/emails/user?limit=1");
    let first = head(curl_to(&server, &cert).arg(&from));
    assert!(first.starts_with("http/1.1 308 permanent redirect\r\n"), "{first}");
    assert!(first.contains(&format!("location: {to}\r\n")), "{first}");
    assert!(!first.contains("strict-transport-security"), "{first}");

    let key = format!("X-API-KEY: {}", server.key);
    let followed = |method: &str, path: &str| {
        let [_, from] = urls(&server, path);
        let mut curl = curl_to(&server, &cert);
        run(curl.args(["--location", "--request", method, "--header", &key, &from]), b"").ok()
    };
    assert_eq!(followed("GET", "/emails/user"), "[]");
    assert_eq!(followed("DELETE", "/emails/user"), r#"{"message":"All messages for user have been cleared"}"#);
    assert_eq!(followed("GET", "/health"), r#"{"status":"ok"}"#);
    let health = head(curl_to(&server, &cert).arg(&urls(&server, "/health")[1]));
    assert!(health.starts_with("http/1.1 200 ok\r\n"), "{health}");
}

#[test]
fn the_host_of_a_request_leads_nobody_astray() {
    let dir = TempDir::new().unwrap();
    let variables = [("HTTPS_HOST", "www.example.com"), ("HTTP_HOSTS", "other.example")];
    let (server, cert) = start(dir.path(), &variables);
    let from = format!("http://{}/emails", server.http);
    for host in ["other.example", "other.example:80", NAME] {
        let answer = head(curl_to(&server, &cert).args(["--header", &format!("Host: {host}"), &from]));
        assert!(answer.contains("location: https://www.example.com/emails\r\n"), "{answer}");
    }
    let stranger = head(curl_to(&server, &cert).args(["--header", "Host: evil.example", &from]));
    assert!(stranger.starts_with("http/1.1 421 ") && !stranger.contains("location:"), "{stranger}");
}

#[test]
fn the_api_is_not_served_in_clear_text_beside_tls() {
    let dir = TempDir::new().unwrap();
    let (server, cert) = start(dir.path(), &[]);
    let key = format!("X-API-KEY: {}", server.key);
    for path in ["/emails", "/emails/user", "/ready", "/nothing"] {
        let [_, from] = urls(&server, path);
        assert!(head(curl_to(&server, &cert).args(["--header", &key, &from])).starts_with("http/1.1 308 "), "{path}");
    }
}

/// As certbot keeps them: `live/` has links, and a renewal points them elsewhere.
fn certbot(dir: &Path, version: &str) {
    let archive = dir.join(version);
    certificate_for(&archive, NAME, 90);
    let live = dir.join("live");
    fs::create_dir_all(&live).unwrap();
    for name in ["fullchain.pem", "privkey.pem"] {
        let link = live.join(format!("{name}.new"));
        symlink(archive.join("certs").join(name), &link).unwrap();
        fs::rename(link, live.join(name)).unwrap();
    }
}

/// A request on a connection that is open since before the exchange.
struct Kept {
    child: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Kept {
    fn open(addr: SocketAddr) -> Self {
        let mut openssl = program("openssl");
        openssl.args(["s_client", "-quiet", "-connect", &addr.to_string()]);
        let piped = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = piped.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The status line of the next answer, whose body is `{"status":"ok"}`.
    fn ask(&mut self) -> String {
        self.child.stdin.as_mut().unwrap().write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let status =
            self.lines.find_map(|line| line.unwrap().split_once("HTTP/1.1 ").map(|(_, status)| status.to_owned()));
        let blank = self.lines.find(|line| line.as_ref().unwrap().trim().is_empty());
        assert!(blank.is_some());
        status.unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn a_certificate_is_exchanged_under_load_and_no_request_fails() {
    let dir = TempDir::new().unwrap();
    certbot(dir.path(), "1");
    let live = |name: &str| dir.path().join("live").join(name).to_str().unwrap().to_owned();
    let variables = [
        ("HTTPS_ADDR", "127.0.0.1:0"),
        ("TLS_CERT_FILE", &*live("fullchain.pem")),
        ("TLS_KEY_FILE", &*live("privkey.pem")),
    ];
    let server = Restante::start(dir.path(), &variables);
    let https = server.https.unwrap();
    let old = fs::read_to_string(live("fullchain.pem")).unwrap();
    assert_eq!(shown(https, HTTPS, NAME), old);
    let mut kept = Kept::open(https);
    assert_eq!(kept.ask(), "200 OK");

    let (over, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    let new = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // Which of the two certificates it sees does not matter here.
                    let url = format!("https://{https}/health");
                    run(curl().args(["--silent", "--show-error", "--insecure", "--fail", &url]), b"").ok();
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let exchanged = std::panic::catch_unwind(|| {
            certbot(dir.path(), "2");
            let new = fs::read_to_string(live("fullchain.pem")).unwrap();
            until("the new certificate", || (shown(https, HTTPS, NAME) == new).then_some(()));
            let before = requests.load(Ordering::Relaxed);
            until("requests behind it", || (requests.load(Ordering::Relaxed) > before + 5).then_some(()));
            new
        });
        over.store(true, Ordering::Relaxed);
        exchanged.unwrap()
    });
    assert_ne!(old, new);
    assert_eq!(shown(server.smtp, SMTP, NAME), new);
    assert_eq!(kept.ask(), "200 OK", "the connection of before goes on");
}
