//! `restante wait` and `restante send`, against a running server.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::process::{Restante, command};
use crate::programs::{Ended, bent_clock, file, run, until, wait};
use crate::proxy::HaProxy;
use crate::tls::{certificate, signed_certificate};

/// What counts the requests for the newest message that were answered with no message.
const REFUSED: &str = r#"restante_http_requests_total{route="/emails/{mailbox}/latest",method="GET",status="4xx"}"#;

/// Runs a command in the directory of a server, which has its key.
pub(crate) fn restante(dir: &Path, arguments: &[&str]) -> Ended {
    run(command(dir, &[]).args(arguments), b"")
}

pub(crate) fn send(dir: &Path, server: &Restante, arguments: &[&str]) -> Ended {
    let place = ["send", "--server", &server.smtp.to_string(), "--to", "user@example.com"].map(str::to_owned);
    run(command(dir, &[]).args(place).args(arguments), b"")
}

/// Begins to wait; returns when the server holds the request.
pub(crate) fn begin(dir: &Path, server: &Restante, arguments: &[&str]) -> Child {
    begin_at(&server.url(""), &[], dir, server, arguments)
}

/// Begins to wait at `url`, with these variables.
fn begin_at(url: &str, variables: &[(&str, &str)], dir: &Path, server: &Restante, arguments: &[&str]) -> Child {
    let mut command = command(dir, variables);
    command.args(["wait", "--url", url, "--mailbox", "user"]).args(arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    is_held(server);
    child
}

/// Waits until the server holds one request.
pub(crate) fn is_held(server: &Restante) {
    until("the request", || (server.metrics().value("restante_http_held_requests") == 1.0).then_some(()));
}

pub(crate) fn printed(mut child: Child) -> (Option<i32>, String) {
    let code = wait(&mut child, "restante wait").code();
    (code, std::io::read_to_string(child.stdout.take().unwrap()).unwrap())
}

#[test]
fn a_script_waits_for_its_mail_and_gets_the_part_that_it_wants() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let waiting = begin(dir.path(), &server, &["--match", "subject:Verify", "--print", "code", "--timeout", "2m"]);
    send(dir.path(), &server, &["--subject", "Other"]).ok();
    send(dir.path(), &server, &["--subject", "Verify: the code comes by itself", "--text", "Soon."]).ok();
    let html = "<p>Your code is 482913.</p><a href=\"https://example.com/confirm?token=8f2a9c40d7be\">Confirm</a>";
    let text = "Your code is 482913.";
    let sent =
        send(dir.path(), &server, &["--subject", "Verify ä", "--text", text, "--html", html, "--header", "X-Run: 7"]);
    assert!(sent.ok().starts_with("250 2.0.0 kept as "), "{}", sent.text());
    assert_eq!(printed(waiting), (Some(0), "482913\n".to_owned()));

    let url = server.url("/");
    let print = |part: &str| restante(dir.path(), &["wait", "--url", &url, "--mailbox", "user", "--print", part]);
    assert_eq!(print("link").ok(), "https://example.com/confirm?token=8f2a9c40d7be\n");
    assert!(print("text").ok().contains(text) && print("html").ok().contains("<p>Your code"));
    let raw = print("raw").ok();
    assert!(raw.contains("\r\nX-Run: 7\r\n") && raw.contains("multipart/alternative"), "{raw}");
    let id = print("id").ok();
    let json: serde_json::Value = serde_json::from_str(&print("json").ok()).unwrap();
    assert_eq!((json["id"].as_str(), json["subject"].as_str()), (Some(id.trim()), Some("Verify ä")));
    let both = ["wait", "--url", &url, "--mailbox", "user", "--print", "json", "--count", "2", "--after", "0"];
    let both = restante(dir.path(), &both).ok();
    let subjects: Vec<_> = both.lines().map(|line| line.contains("Verify")).collect();
    assert_eq!(subjects, [true, true], "{both}");
}

#[test]
fn who_waits_in_vain_is_told_why_by_code_and_text() {
    let (server, dir) = Restante::start_anywhere(&[("DOMAIN", "example.com")]);
    send(dir.path(), &server, &["--subject", "Reset your password"]).ok();
    let url = server.url("");
    let wait = |arguments: &[&str]| {
        let all = [&["wait", "--url", &url, "--mailbox", "user", "--timeout", "1s"], arguments].concat();
        restante(dir.path(), &all)
    };
    let other = wait(&["--match", "subject:Verify"]);
    assert_eq!((other.code, other.stdout.len()), (Some(1), 0));
    assert!(other.stderr.contains("no such mail in user within 1s"), "{}", other.stderr);
    assert!(other.stderr.contains("Reset your password") && other.stderr.contains("wanted"), "{}", other.stderr);
    let part = wait(&["--print", "code"]);
    assert!(part.code == Some(1) && part.stderr.contains("has:code: no code was found in it"), "{}", part.text());
    let part = wait(&["--print", "html"]);
    assert!(part.code == Some(1) && part.stderr.contains("has no html"), "{}", part.text());
    let few = wait(&["--count", "2"]);
    assert!(few.code == Some(1) && few.stderr.contains("1 of 2 messages came"), "{}", few.text());
    let query = wait(&["--match", "subject:("]);
    assert!(query.code == Some(2) && query.stderr.contains("query parameter q"), "{}", query.text());
    for (query, said) in [("subject:x OR", "column 13: a condition is missing"), (" ", "q is empty")] {
        let query = wait(&["--match", query, "--print", "link"]);
        assert!(query.code == Some(2) && query.stderr.contains(said), "{}", query.text());
    }
    let key = wait(&["--key", "wrong"]);
    assert!(key.code == Some(3) && key.stderr.contains("invalid API key (401)"), "{}", key.text());
    let nowhere = restante(dir.path(), &["wait", "--url", "http://127.0.0.1:1", "--mailbox", "user"]);
    assert!(nowhere.code == Some(3) && nowhere.stderr.contains("cannot be reached"), "{}", nowhere.text());
    let no_key = restante(TempDir::new().unwrap().path(), &["wait", "--mailbox", "user"]);
    assert!(no_key.code == Some(2) && no_key.stderr.contains("set RESTANTE_API_KEY"), "{}", no_key.text());
}

/// The clocks of the server and of who waits are twenty times as fast as that of the test.
#[test]
fn who_waits_for_longer_than_a_request_is_held_asks_again_until_the_mail_comes_or_the_time_is_over() {
    let library = bent_clock();
    let fast = [("LD_PRELOAD", &library[..]), ("FAKETIME", "+0 x20"), ("FAKETIME_NO_CACHE", "1")];
    // What is generous to others is short for them.
    let patient =
        ["HTTP_HEADER_TIMEOUT", "HTTP_REQUEST_TIMEOUT", "SMTP_TLS_HANDSHAKE_TIMEOUT"].map(|name| (name, "10m"));
    let (server, dir) = Restante::start_anywhere(&[&fast[..], &patient].concat());
    let url = server.url("");
    let in_vain =
        run(command(dir.path(), &fast).args(["wait", "--url", &url, "--mailbox", "nobody", "--timeout", "95s"]), b"");
    assert!(
        in_vain.code == Some(1) && in_vain.stderr.contains("no such mail in nobody within 95s"),
        "{}",
        in_vain.text()
    );
    assert_eq!(server.metrics().value(REFUSED), 2.0);

    let waiting = begin_at(&url, &fast, dir.path(), &server, &["--print", "code", "--timeout", "1h"]);
    until("the end of the first request", || (server.metrics().value(REFUSED) >= 3.0).then_some(()));
    is_held(&server);
    send(dir.path(), &server, &["--text", "Your code is 482913."]).ok();
    assert_eq!(printed(waiting), (Some(0), "482913\n".to_owned()));
}

#[test]
fn a_proxy_that_gives_up_before_the_mail_comes_is_asked_again() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let to = format!("server restante {}", server.http);
    let _haproxy = HaProxy::start(dir.path(), listener, &["mode http", "timeout server 300ms", &to]);
    let in_vain = restante(dir.path(), &["wait", "--url", &url, "--mailbox", "user", "--timeout", "1s"]);
    assert!(in_vain.code == Some(3) && in_vain.stderr.contains("(504)"), "{}", in_vain.text());
    let waiting = begin_at(&url, &[], dir.path(), &server, &["--print", "code", "--timeout", "2m"]);
    until("the end of the first request", || {
        (server.metrics().value("restante_http_held_requests") == 0.0).then_some(())
    });
    send(dir.path(), &server, &["--text", "Your code is 482913."]).ok();
    assert_eq!(printed(waiting), (Some(0), "482913\n".to_owned()));
}

#[test]
fn a_key_that_is_no_good_any_more_ends_the_wait_at_once() {
    let (server, dir) = Restante::start_anywhere(&[("API_KEY", "the-key-of-before")]);
    let (next, _dir) = Restante::start_anywhere(&[("API_KEY", "another-key")]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Each request goes to the other server.
    let servers = [("server before", server.http), ("server next", next.http)].map(|(name, to)| format!("{name} {to}"));
    let settings = ["mode http", "balance roundrobin", "timeout server 2m", &servers[0], &servers[1]];
    let _haproxy = HaProxy::start(dir.path(), listener, &settings);
    let key = ["--key", "the-key-of-before", "--timeout", "2m"];
    let mut waiting = begin_at(&url, &[], dir.path(), &server, &key);
    server.signal("TERM");
    let code = wait(&mut waiting, "restante wait").code();
    let said = std::io::read_to_string(waiting.stderr.take().unwrap()).unwrap();
    assert!(code == Some(3) && said.contains("invalid API key (401)"), "{code:?}: {said}");
    assert_eq!(next.metrics().value(REFUSED), 1.0);
}

#[test]
fn a_web_server_that_is_not_ours_is_not_waited_for() {
    let dir = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let _haproxy = HaProxy::start(dir.path(), listener, &["mode http", "http-request return status 404"]);
    let ended = restante(dir.path(), &["wait", "--url", &url, "--key", "k", "--mailbox", "user", "--timeout", "2m"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("(404)"), "{:?}: {}", ended.code, ended.stderr);
}

#[test]
fn a_server_with_a_certificate_is_asked_where_it_is_vouched_for() {
    let dir = TempDir::new().unwrap();
    let ca = signed_certificate(dir.path(), "localhost");
    let server = Restante::start(dir.path(), &[("HTTPS_ADDR", "127.0.0.1:0"), ("SMTPS_ADDR", "127.0.0.1:0")]);
    let smtps = format!("localhost:{}", server.smtps.unwrap().port());
    let implicit = |trust: &[&str]| {
        let arguments =
            [&["send", "--server", &smtps, "--to", "user@example.com", "--tls", "implicit"], trust].concat();
        restante(dir.path(), &arguments)
    };
    implicit(&["--ca-file", &ca]).ok();
    assert_eq!(implicit(&[]).code, Some(3));
    let url = format!("https://localhost:{}", server.https.unwrap().port());
    let wait = |trust: &[&str]| {
        restante(dir.path(), &[&["wait", "--url", &url, "--mailbox", "user", "--print", "id"], trust].concat())
    };
    let id = wait(&["--ca-file", &ca]).ok();
    assert_eq!(wait(&["--insecure"]).ok(), id);
    assert_eq!(wait(&[]).code, Some(3));
    let clear = restante(dir.path(), &["wait", "--url", &server.url(""), "--mailbox", "user"]);
    assert!(clear.code == Some(3) && clear.stderr.contains("--url"), "{}", clear.text());
}

#[test]
fn a_mail_is_sent_with_what_it_was_given_or_the_reason_is_printed() {
    let dir = TempDir::new().unwrap();
    certificate(dir.path());
    let server = Restante::start(dir.path(), &[("DOMAIN", "example.com")]);
    let pdf = file(dir.path(), "ä.pdf", b"%PDF-1.7\0\xff");
    send(dir.path(), &server, &["--from", "", "--attach", &pdf, "--html", "<p>x</p>", "--to", "ada@example.com"]).ok();
    let mail = server.mail("user");
    assert_eq!((&mail["from"], &mail["attachments"][0]), (&"".into(), &"ä.pdf".into()));
    assert!(mail["peer"]["tls"].is_string() && server.mails("ada").len() == 1);
    assert_eq!(server.get(mail["attachment_records"][0]["url"].as_str().unwrap()), b"%PDF-1.7\0\xff");

    let off = send(dir.path(), &server, &["--tls", "off", "--subject", "clear"]);
    off.ok();
    assert!(server.mails("user")[0]["peer"]["tls"].is_null());
    let nowhere = restante(dir.path(), &["send", "--server", "127.0.0.1:1", "--to", "a@example.com"]);
    assert_eq!(nowhere.code, Some(3), "{}", nowhere.text());
    for wrong in
        [&["--header", "no colon"][..], &["--from", "nobody"], &["--attach", "nowhere.pdf"], &["--header", "A B: c"]]
    {
        let ended = send(dir.path(), &server, wrong);
        assert_eq!(ended.code, Some(2), "{wrong:?}: {}", ended.text());
    }
    assert_eq!(server.mails("user").len(), 2);
}

#[test]
fn a_mail_goes_to_whom_the_server_takes_and_each_refused_recipient_is_named_with_its_reply() {
    let (server, dir) = Restante::start_anywhere(&[("DOMAIN", "example.com")]);
    let some = ["--to", "x@elsewhere.example", "--to", "ada@example.com", "--to", "y@elsewhere.example"];
    let some = send(dir.path(), &server, &some);
    assert_eq!(some.code, Some(4), "{}", some.text());
    assert!(some.stdout.starts_with(b"250 2.0.0 kept as "), "{}", some.text());
    let refused: Vec<_> = some.stderr.lines().filter_map(|line| line.strip_prefix("refused: ")).collect();
    let [x, y] = refused[..] else { panic!("two were refused: {}", some.stderr) };
    assert!(x.starts_with("x@elsewhere.example: 550 5.7.1 relaying denied: "), "{x}");
    assert!(y.starts_with("y@elsewhere.example: 550 5.7.1 "), "{y}");
    assert!(some.stderr.ends_with("refused for 2 of 4 recipients\n"), "{}", some.stderr);
    assert_eq!((server.mails("user").len(), server.mails("ada").len()), (1, 1));
    send(dir.path(), &server, &["--to", "用户@example.com"]).ok();
    assert_eq!(server.mail("%E7%94%A8%E6%88%B7")["envelope"]["smtputf8"], true);

    let smtp = server.smtp.to_string();
    let nobody = restante(dir.path(), &["send", "--server", &smtp, "--to", "x@elsewhere.example"]);
    assert_eq!((nobody.code, nobody.stdout.len()), (Some(1), 0), "{}", nobody.text());
    assert!(nobody.stderr.contains("x@elsewhere.example: 550 5.7.1 "), "{}", nobody.stderr);
    drop(server);
    let (limited, dir) = Restante::start_anywhere(&[("SMTP_RATE_PER_MINUTE", "1")]);
    send(dir.path(), &limited, &[]).ok();
    let refused = send(dir.path(), &limited, &[]);
    assert!(refused.code == Some(1) && refused.stderr.contains("refused: 450 4.7.1 "), "{}", refused.text());
}
