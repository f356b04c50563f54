//! A real browser looks at a hostile message, and the test sees what it asks other hosts for.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::dialogue::Client;
use crate::process::Restante;
use crate::programs::{program, run};

/// An image of one pixel.
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x01D\0;";

/// The same, as it comes in a mail.
const GIF_IN_BASE64: &str = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";

/// Loads that somebody may ask for; each asks the foreign host for its own name.
const LOADS: &[(&str, &str)] = &[
    ("image", "<img src=URL>"),
    ("entities", "<img src='&#104;ttp&colon;//HOST/entities'>"),
    ("backslashes", "<img src='http:\\\\HOST\\backslashes'>"),
    ("srcset", "<img srcset='URL 1x'>"),
    ("source", "<picture><source srcset=URL><img></picture>"),
    ("background", "<table background=URL><tr><td>x</table>"),
    ("style", "<p style='background:url(URL)'>x</p>"),
    ("escaped", "<p style='background:u\\72l(URL)'>x</p>"),
    ("image-set", "<p style=\"background:image-set('URL' 1x)\">x</p>"),
    ("sheet", "<style>b{background:url(URL)}</style><b>x</b>"),
    ("import", "<style>@import 'URL';</style>"),
    ("font", "<style>@font-face{font-family:f;src:url(URL)}u{font-family:f}</style><u>x</u>"),
    ("link", "<link rel=stylesheet href=URL>"),
    ("poster", "<video poster=URL></video>"),
];

/// What nobody may ask for.
const ATTACKS: &[(&str, &str)] = &[
    ("script", "<script src=URL></script>"),
    ("inline-script", "<script>new Image().src='URL'</script>"),
    ("handler", "<img src=data:, onerror=\"new Image().src='URL'\">"),
    ("frame", "<iframe src=URL></iframe>"),
    ("document", "<iframe srcdoc=\"<img src='URL'>\"></iframe>"),
    ("object", "<object data=URL></object>"),
    ("embed", "<embed src=URL>"),
    ("input", "<input type=image src=URL>"),
    ("svg", "<svg><image href=URL /></svg>"),
    ("svg-style", "<svg><style>i{background:url(URL)}</style></svg><i>x</i>"),
    ("mutated", "<noscript><p title=\"</noscript><img src=data:, onerror=\"new Image().src='URL'\"></noscript>"),
    ("foreign", "<svg></p><style><a id=\"</style><img src=data:, onerror=\"new Image().src='URL'\">"),
];

/// A host on loopback that notes the path of each request.
struct Host {
    addr: SocketAddr,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Host {
    /// Answers each request by `answer`, which gets the path and the request.
    fn start(answer: impl Fn(&str, &str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(BTreeSet::new())));
        let (noted, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                thread::spawn(move || serve(stream.unwrap(), &noted, &*answer));
            }
        });
        Self { addr, asked }
    }

    /// The paths since the last look, but for the icon that browsers ask every host for.
    fn asked(&self) -> BTreeSet<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.remove("favicon.ico");
        asked
    }
}

fn serve(mut stream: TcpStream, noted: &Mutex<BTreeSet<String>>, answer: &dyn Fn(&str, &str) -> Vec<u8>) {
    let mut request = Vec::new();
    let mut byte = [0];
    // A browser opens connections on which it never speaks.
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
    noted.lock().unwrap().insert(path.clone());
    // Whoever closes the connection has seen enough.
    _ = stream.write_all(&answer(&path, &request));
}

fn response(content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A host that serves `page` without any policy at `/`, and an image everywhere else.
fn foreign_host(page: Arc<Mutex<String>>) -> Host {
    Host::start(move |path, _| match path {
        "" => response("text/html; charset=utf-8", page.lock().unwrap().as_bytes()),
        _ => response("image/gif", GIF),
    })
}

/// A reverse proxy in front of `server` that brings the key, as the server of a web inbox may.
fn proxy(server: &Restante) -> Host {
    let (upstream, key) = (server.http, server.key.clone());
    Host::start(move |path, _| {
        let mut stream = TcpStream::connect(upstream).unwrap();
        let request =
            format!("GET /{path} HTTP/1.1\r\nHost: {upstream}\r\nX-API-KEY: {key}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    })
}

/// A browser that asks nobody but the pages that it is given.
pub(crate) fn chromium(dir: &Path) -> Command {
    let mut chromium = program("chromium");
    chromium.arg(format!("--user-data-dir={}", dir.join("chromium").display())).args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--no-proxy-server",
    ]);
    chromium
}

/// Opens `url` in a browser; returns what the page has become when it has loaded all that it loads.
fn browse(dir: &Path, url: &str) -> String {
    let ended = run(chromium(dir).args(["--virtual-time-budget=3000", "--dump-dom", url]), b"");
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    String::from_utf8(ended.stdout).unwrap()
}

fn hostile(loads: &[(&str, &str)], host: SocketAddr) -> String {
    let host = host.to_string();
    loads
        .iter()
        .map(|(name, html)| html.replace("URL", &format!("http://{host}/{name}")).replace("HOST", &host) + "\r\n")
        .collect()
}

fn names(loads: &[(&str, &str)]) -> BTreeSet<String> {
    loads.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Sends a message with this HTML and two parts that it may refer to; returns its path.
fn send(server: &Restante, html: &str) -> String {
    let mut client = Client::connect(server.smtp);
    client.begin("user@example.com");
    let part = |kind: &str, id: &str| {
        format!(
            "--b\r\nContent-Type: {kind}\r\nContent-ID: <{id}>\r\nContent-Transfer-Encoding: base64\r\n\r\n{GIF_IN_BASE64}\r\n"
        )
    };
    let message = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/html\r\n\r\n{html}\r\n{}{}--b--\r\n.",
        part("image/gif", "logo@x"),
        part("image/svg+xml", "drawing@x"),
    );
    assert!(client.say(&message).starts_with("250 "));
    format!("/emails/user/{}", server.mail("user")["id"].as_str().unwrap())
}

#[test]
fn a_browser_asks_nobody_for_anything_and_runs_nothing() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let page = Arc::new(Mutex::new(String::new()));
    let (foreign, proxy) = (foreign_host(Arc::clone(&page)), proxy(&server));
    let html = hostile(LOADS, foreign.addr) + &hostile(ATTACKS, foreign.addr) + "<img src=cid:logo@x>";
    let path = send(&server, &html);
    let everything = &names(LOADS) | &names(ATTACKS);

    // Without any defence the message gets all that it wants.
    *page.lock().unwrap() = html;
    browse(dir.path(), &format!("http://{}/", foreign.addr));
    let missing = &everything - &foreign.asked();
    assert!(missing.is_empty(), "this browser does not do {missing:?}");

    // Under the policy it gets nothing, rewritten or not.
    for query in ["", "?inline=cid", "?view=1"] {
        let shown = browse(dir.path(), &format!("http://{}{path}/html{query}", proxy.addr));
        assert_eq!(foreign.asked(), BTreeSet::new(), "{query}: {shown}");
        let image = proxy.asked().contains(&format!("{}/attachments/0", &path[1..]));
        assert_eq!(image, query == "?view=1", "{query}: {shown}");
    }

    // Nor does it in a page that is kept without the headers, nor in one that says nothing of itself.
    let kept = String::from_utf8(server.get(&format!("{path}/html?view=1"))).unwrap();
    let (policy, message) = kept.split_once("\"off\">\n").unwrap();
    assert!(policy.contains("Content-Security-Policy"));
    for rewritten in [&kept, message] {
        *page.lock().unwrap() = rewritten.to_owned();
        browse(dir.path(), &format!("http://{}/", foreign.addr));
        assert_eq!(
            foreign.asked(),
            BTreeSet::from([String::new(), format!("{}/attachments/0", &path[1..])]),
            "{rewritten}"
        );
    }

    // Who asks for more gets that, and not what attacks.
    browse(dir.path(), &format!("http://{}{path}/html?view=1&remote=1", proxy.addr));
    assert_eq!(foreign.asked(), names(LOADS));
}

#[test]
fn a_browser_shows_the_images_of_a_message_and_no_drawing() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let page = Arc::new(Mutex::new(String::new()));
    let (foreign, proxy) = (foreign_host(Arc::clone(&page)), proxy(&server));
    let path = send(&server, "<img src=cid:logo@x>");
    // To the server, a page of another host is what a page in a sandbox is: of another origin.
    let image = |index: usize| {
        let url = format!("http://{}{path}/attachments/{index}", proxy.addr);
        format!(
            "<img src='{url}' onload='new Image().src=\"/shown-{index}\"' onerror='new Image().src=\"/refused-{index}\"'>"
        )
    };
    *page.lock().unwrap() = image(0) + &image(1);
    browse(dir.path(), &format!("http://{}/", foreign.addr));
    let seen = ["", "refused-1", "shown-0"].map(str::to_owned);
    assert_eq!(foreign.asked(), BTreeSet::from(seen));
}
