//! Streams as real clients read them: curl over both versions of HTTP, and the EventSource of a browser.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::browser::chromium;
use crate::dialogue::Client;
use crate::https::{curl_to, start, urls};
use crate::process::Restante;
use crate::programs::{DEADLINE, wait};

fn send(server: &Restante, to: &str, subject: &str) {
    let mut client = Client::connect(server.smtp);
    client.begin(to);
    assert!(client.say(&format!("Subject: {subject}\r\n\r\nHello\r\n.")).starts_with("250 "));
}

#[test]
fn curl_hears_of_mail_as_it_arrives_until_the_server_stops() {
    for version in ["--http1.1", "--http2"] {
        let dir = TempDir::new().unwrap();
        let (server, cert) = start(dir.path(), &[]);
        let [url, _] = urls(&server, "/events");
        let mut curl = curl_to(&server, &cert);
        curl.args([version, "--no-buffer", "--header", &format!("X-API-KEY: {}", server.key), &url]);
        let mut curl = curl.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with("retry:")));
        for subject in ["one", "two"] {
            send(&server, "user@example.com", subject);
            let data = lines.find_map(|line| Some(line.strip_prefix("data: ")?.to_owned())).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&data).unwrap()["subject"], subject);
        }
        server.signal("TERM");
        assert_eq!(wait(&mut curl, "curl").code(), Some(0), "{version}");
        assert_eq!(server.wait().code(), Some(0));
    }
}

/// A page that follows a mailbox, and tells its host what it hears.
const PAGE: &str = r#"<script>
const source = new EventSource("/emails/user/events?after=0");
source.addEventListener("message", (event) =>
  fetch(`/heard/${event.lastEventId}/${JSON.parse(event.data).subject}`));
</script>"#;

/// The host of [`PAGE`]: it brings the key to `server`, and cuts each stream behind its first event, as a bad line would.
fn serve_page(server: &Restante) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (upstream, key, (heard, hears)) = (server.http, server.key.clone(), channel());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (key, heard) = (key.clone(), heard.clone());
            thread::spawn(move || _ = answer(stream.unwrap(), upstream, &key, &heard));
        }
    });
    (addr, hears)
}

fn answer(mut browser: TcpStream, server: SocketAddr, key: &str, heard: &Sender<String>) -> Option<()> {
    let mut lines = BufReader::new(browser.try_clone().ok()?).lines().map_while(Result::ok);
    let request: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let path = request.first()?.split(' ').nth(1)?;
    if let Some(what) = path.strip_prefix("/heard/") {
        heard.send(what.to_owned()).ok()?;
    }
    if !path.starts_with("/emails/") {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n";
        return browser.write_all([head, PAGE].concat().as_bytes()).ok();
    }
    let mut stream = TcpStream::connect(server).ok()?;
    let last = request.iter().find(|line| line.to_lowercase().starts_with("last-event-id:"));
    let last = last.map(|line| format!("{line}\r\n")).unwrap_or_default();
    let head = format!("GET {path} HTTP/1.0\r\nX-API-KEY: {key}\r\n{last}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut passed = Vec::new();
    while !(passed.ends_with(b"\n\n") && passed.windows(6).any(|bytes| bytes == b"data: ")) {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        browser.write_all(&byte).ok()?;
        passed.push(byte[0]);
    }
    Some(())
}

/// A browser that is closed when it is dropped.
struct Browser(Child);

impl Browser {
    fn open(dir: &TempDir, url: &str) -> Self {
        let mut chromium = chromium(dir.path());
        chromium.args(["--remote-debugging-port=0", url]);
        Self(chromium.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn a_browser_hears_of_each_mail_once_however_often_its_stream_is_cut() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let (addr, heard) = serve_page(&server);
    let _browser = Browser::open(&dir, &format!("http://{addr}/"));
    send(&server, "user@example.com", "one");
    send(&server, "user@example.com", "two");
    for what in ["1/one", "2/two"] {
        assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), what);
    }
    send(&server, "other@example.com", "another");
    send(&server, "user@example.com", "three");
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), "4/three");
}
