//! `restante wait` where something is in its way: large mail, a server that says "later" or goes away, another's directory.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::api::curl;
use crate::commands::{begin, is_held, printed, restante, send};
use crate::dialogue::Client;
use crate::process::{Restante, command};
use crate::programs::{Ended, file, run, until, wait};

/// A mail with a text of so many MB.
fn send_large(server: &Restante, subject: &str, mb: usize) {
    let mut client = Client::connect(server.smtp);
    client.begin("user@example.com");
    client.send(format!("Subject: {subject}\r\n\r\n"));
    client.send(b"thirty-one bytes and a line end\r\n".repeat(mb * 1_000_000 / 33));
    assert!(client.say(".").starts_with("250 "));
}

fn subjects(printed: &str) -> Vec<String> {
    let messages = printed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    messages.map(|message| message["subject"].as_str().unwrap().to_owned()).collect()
}

/// Runs a command with a standard output that is full.
fn into_a_full_disk(dir: &Path, arguments: &[&str]) -> Ended {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = command(dir, &[]).args(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let code = wait(&mut child, "restante").code();
    Ended { code, stdout: Vec::new(), stderr: std::io::read_to_string(child.stderr.take().unwrap()).unwrap() }
}

#[test]
fn so_many_messages_come_as_are_wanted_though_no_page_has_them_all() {
    let (server, dir) = Restante::start_anywhere(&[]);
    ["one", "two", "three"].iter().for_each(|subject| send_large(&server, subject, 9));
    let url = server.url("");
    let all =
        restante(dir.path(), &["wait", "--url", &url, "--mailbox", "user", "--count", "3", "--timeout", "1m"]).ok();
    assert_eq!(subjects(&all), ["one", "two", "three"]);
    let newest = ["wait", "--url", &url, "--mailbox", "user", "--count", "2", "--match", "subject:t", "--after", "0"];
    assert_eq!(subjects(&restante(dir.path(), &newest).ok()), ["two", "three"]);
    // What is there is not fetched again and again until the last one comes.
    let requests = r#"restante_http_requests_total{route="/emails/{mailbox}",method="GET",status="2xx"}"#;
    let before = server.metrics().value(requests);
    let waiting = begin(dir.path(), &server, &["--count", "4", "--print", "id", "--timeout", "2m"]);
    send(dir.path(), &server, &["--subject", "four"]).ok();
    let (code, ids) = printed(waiting);
    assert_eq!((code, ids.lines().count()), (Some(0), 4), "{ids}");
    let three = ["wait", "--url", &url, "--mailbox", "user", "--count", "3", "--print", "id"];
    assert_eq!(server.metrics().value(requests) - before, 4.0);
    assert!(ids.ends_with(&restante(dir.path(), &three).ok()), "{ids}");
}

#[test]
fn large_mail_that_comes_later_stands_behind_what_came_before() {
    let (server, dir) = Restante::start_anywhere(&[]);
    ["one", "two"].iter().for_each(|subject| send_large(&server, subject, 9));
    let requests = r#"restante_http_requests_total{route="/emails/{mailbox}",method="GET",status="2xx"}"#;
    let waiting = begin(dir.path(), &server, &["--count", "5", "--print", "id", "--timeout", "2m"]);
    until("both pages of what is there", || (server.metrics().value(requests) >= 2.0).then_some(()));
    is_held(&server);
    ["three", "four", "five"].iter().for_each(|subject| send_large(&server, subject, 9));
    let (code, ids) = printed(waiting);
    let all = ["wait", "--url", &server.url(""), "--mailbox", "user", "--count", "5", "--print", "id"];
    assert_eq!((code, ids), (Some(0), restante(dir.path(), &all).ok()));
}

#[test]
fn raw_messages_are_asked_for_again_where_the_server_says_later() {
    let (server, dir) = Restante::start_anywhere(&[("API_RATE_PER_MINUTE", "60")]);
    ["one", "two"].iter().for_each(|subject| _ = send(dir.path(), &server, &["--subject", subject]).ok());
    // The requests of a minute, all at once; then there is one a second.
    run(
        curl().args(["--silent", "--header", &format!("X-API-KEY: {}", server.key), &server.url("/emails/x[1-70]")]),
        b"",
    );
    assert_eq!(server.ask("GET", "/emails/user").status, 429);
    let url = server.url("");
    let raw =
        restante(dir.path(), &["wait", "--url", &url, "--mailbox", "user", "--count", "2", "--print", "raw"]).ok();
    assert!(raw.contains("Subject: one\r\n") && raw.contains("Subject: two\r\n"), "{raw}");
}

#[test]
fn a_url_that_leads_elsewhere_is_not_waited_at() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let wait = |arguments: &[&str]| {
        restante(dir.path(), &[&["wait", "--mailbox", "user", "--timeout", "2m"], arguments].concat())
    };
    for url in [server.url("/x"), server.url("/emails/user")] {
        let ended = wait(&["--url", &url]);
        assert!(ended.code == Some(2) && ended.stderr.contains("the URL of the API?"), "{url}: {}", ended.text());
    }
    // That is where mail comes in.
    let smtp = format!("http://{}", server.smtp);
    let ended = wait(&["--url", &smtp]);
    assert!(ended.code == Some(3) && ended.stderr.contains("cannot be reached"), "{}", ended.text());
    let ended = wait(&["--url", "http://:8080", "--key", "two words"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("--url \"http://:8080\": write a URL"), "{}", ended.text());
    assert!(ended.stderr.contains("--key: ") && !ended.stderr.contains("two words"), "{}", ended.text());
}

#[test]
fn a_server_that_is_killed_while_it_holds_the_first_request_is_waited_for() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let (http, url) = (server.http.to_string(), server.url(""));
    let waiting = begin(dir.path(), &server, &["--print", "code", "--timeout", "2m"]);
    server.kill();
    let back = Restante::start(dir.path(), &[("HTTP_ADDR", &http)]);
    assert_eq!(back.url(""), url);
    send(dir.path(), &back, &["--text", "Your code is 482913."]).ok();
    assert_eq!(printed(waiting), (Some(0), "482913\n".to_owned()));
}

/// Answers one request after the other, each with the next of these: status, type and body.
fn answering(answers: &'static [(&str, &str, &str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (status, content_type, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let request = BufReader::new(stream.try_clone().unwrap()).lines();
            request.map(Result::unwrap).find(String::is_empty).unwrap();
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n");
            stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn what_a_proxy_says_in_the_place_of_a_server_that_restarts_ends_no_wait() {
    let dir = TempDir::new().unwrap();
    let wait = |url: &str| {
        let arguments = ["wait", "--url", url, "--key", "k", "--mailbox", "user", "--print", "id", "--timeout", "2m"];
        restante(dir.path(), &arguments)
    };
    let url = answering(&[
        ("404 Not Found", "application/problem+json", r#"{"error":"message not found"}"#),
        ("404 Not Found", "text/plain", "no such backend"),
        ("200 OK", "text/html", "<p>Soon back.</p>"),
        ("200 OK", "application/json", r#"{"id":"a","seq":1}"#),
    ]);
    assert_eq!(wait(&url).ok(), "a\n");
    // Where the API has never answered it is probably elsewhere.
    let page = wait(&answering(&[("200 OK", "text/html", "<p>Welcome.</p>")]));
    assert!(page.code == Some(2) && page.stderr.contains("the URL of the API?"), "{}", page.text());
}

#[test]
fn the_directory_of_any_project_is_no_obstacle() {
    let (server, dir) = Restante::start_anywhere(&[("API_KEY", "the-key-of-this-server")]);
    send(dir.path(), &server, &[]).ok();
    let project = TempDir::new().unwrap();
    file(project.path(), ".env", "APP_NAME=My Shop\nexport APP_KEY=base64:$x y\nnot a setting\nRETENTION=soon\n");
    let url = server.url("");
    let wait = |key: &[&str], variables: &[(&str, &str)]| {
        let arguments =
            [&["wait", "--url", &url, "--mailbox", "user", "--print", "id", "--timeout", "1s"], key].concat();
        run(command(project.path(), variables).args(arguments), b"")
    };
    let id = wait(&["--key", "the-key-of-this-server"], &[]).ok();
    assert_eq!(wait(&[], &[("RESTANTE_API_KEY", "the-key-of-this-server")]).ok(), id);
    file(project.path(), ".env", "APP_NAME=My Shop\nRESTANTE_API_KEY='the-key-of-this-server'\n");
    assert_eq!(wait(&[], &[]).ok(), id);
    file(project.path(), ".env", "DATA_DIR=${HOME}/data\nAPI_KEY=sk-$foo\nRESTANTE_API_KEY=the-key-of-this-server\n");
    assert_eq!(wait(&[], &[]).ok(), id);
    // Where all is given nothing is looked at; else what is looked at has to be right.
    file(project.path(), ".env", "RESTANTE_API_KEY=the key\n");
    assert_eq!(wait(&["--key", "the-key-of-this-server"], &[]).ok(), id);
    let ended = wait(&[], &[]);
    assert!(ended.code == Some(2) && ended.stderr.contains(".env: line 1 cannot be read"), "{}", ended.text());
}

#[test]
fn what_cannot_be_printed_is_said_and_a_mail_that_was_sent_is_sent() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let smtp = server.smtp.to_string();
    let sent = into_a_full_disk(dir.path(), &["send", "--server", &smtp, "--to", "user@example.com"]);
    assert!(sent.code == Some(0) && sent.stderr.contains("the server has said: 250 2.0.0 "), "{}", sent.text());
    let url = server.url("");
    for part in ["json", "raw", "id"] {
        let waited = into_a_full_disk(dir.path(), &["wait", "--url", &url, "--mailbox", "user", "--print", part]);
        assert!(waited.code == Some(1) && waited.stderr.contains("standard output: "), "{part}: {}", waited.text());
    }
    let shown = into_a_full_disk(dir.path(), &["config"]);
    assert!(shown.code == Some(1) && shown.stderr.contains("standard output: "), "{}", shown.text());
}
