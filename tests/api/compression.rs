//! Answers are compressed for those who ask for it, where that is worth it.

use std::io::Read;
use std::process::{Command, Stdio};

use restante::mail::Content;

use super::support::{Answer, Api, KEY, attachment, message};

async fn compressed(api: &Api, path: &str, accepted: &str) -> Answer {
    Answer::of(api.request("GET", path).header("X-API-KEY", KEY).header("Accept-Encoding", accepted)).await
}

/// What the program makes of `bytes`; it is there where the tests run.
fn gunzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    let writing = std::thread::spawn(move || input.write_all(&bytes));
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    writing.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    out
}

#[tokio::test]
async fn text_is_compressed_for_who_asks() {
    let api = Api::start().await;
    let text = "Grüße ".repeat(500_000);
    let kept = message(&api.clock, Content { text: Some(text.clone()), ..Content::default() });
    let path = format!("/emails/user/{}", kept.id);
    api.keep(&["user@example.com"], kept, "raw").await;
    for path in ["/emails/user", &path, &format!("{path}/text")] {
        let plain = api.get(path).await;
        assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept-encoding"), "{path}");
        let gzip = compressed(&api, path, "gzip").await;
        assert_eq!((gzip.header("content-encoding"), gzip.header("vary")), ("gzip", "accept-encoding"), "{path}");
        assert_eq!(gzip.header("etag"), plain.header("etag"), "weak: it says the same");
        assert!(gzip.body.len() * 10 < plain.body.len() && gunzip(&gzip.body) == plain.body, "{path}");
        let zstd = compressed(&api, path, "gzip;q=0.5, zstd").await;
        assert_eq!(zstd.header("content-encoding"), "zstd", "{path}");
        assert!(zstd::decode_all(&zstd.body[..]).unwrap() == plain.body, "{path}");
        assert_eq!(compressed(&api, path, "identity, br").await.header("content-encoding"), "", "{path}");
    }
}

#[tokio::test]
async fn who_takes_no_coding_is_refused_before_anything_is_done() {
    let api = Api::start().await;
    api.deliver(&["user@example.com"], "Subject: kept\r\n\r\n").await;
    for (method, path) in
        [("GET", "/emails/user"), ("DELETE", "/emails/user"), ("POST", "/emails/user/claim"), ("GET", "/health")]
    {
        for accepted in ["identity;q=0", "*;q=0", "br, *;q=0"] {
            let request = api.request(method, path).header("X-API-KEY", KEY).header("Accept-Encoding", accepted);
            let answer = Answer::of(request).await;
            let (error, detail) = answer.problem(406);
            assert!(error == "not acceptable" && detail.contains("Accept-Encoding"), "{method} {path}: {detail}");
        }
    }
    assert_eq!(compressed(&api, "/emails/user", "identity;q=0, gzip").await.status, 200);
    assert_eq!(api.ask("POST", "/emails/user/claim").await.json()["subject"], "kept");
}

#[tokio::test]
async fn what_is_small_or_no_text_of_ours_comes_as_it_is() {
    let api = Api::start().await;
    let attachments = vec![attachment(0, None, "text/plain", 0, 5000), attachment(1, None, "image/png", 0, 5000)];
    let kept = message(&api.clock, Content { attachments, text: Some("short".to_owned()), ..Content::default() });
    let path = format!("/emails/user/{}", kept.id);
    api.keep(&["user@example.com"], kept, "x".repeat(5000)).await;
    for path in ["/raw", "/attachments/0", "/attachments/1", "/text"].map(|rest| format!("{path}{rest}")) {
        let answer = compressed(&api, &path, "gzip, zstd").await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, ""), "{path}");
    }
    assert_eq!(compressed(&api, "/health", "gzip").await.header("content-encoding"), "");
}
