//! A part of a download, for those whose download broke off.

use restante::mail::Content;

use super::support::{Answer, Api, KEY, attachment, message};

async fn part(api: &Api, path: &str, range: &str, of: Option<&str>) -> Answer {
    let request = api.request("GET", path).header("X-API-KEY", KEY).header("Range", range);
    Answer::of(if let Some(of) = of { request.header("If-Range", of) } else { request }).await
}

#[tokio::test]
async fn a_download_that_broke_off_is_gone_on_with() {
    let api = Api::start().await;
    // More than one piece, and base64 more than is decoded at once.
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
    let raw = [
        b"MIME-Version: 1.0\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        encoded(&bytes).as_slice(),
    ]
    .concat();
    api.deliver(&["user@example.com"], raw.clone()).await;
    let listed = &api.get("/emails/user").await.json()[0];
    let attachment = listed["attachment_records"][0]["url"].as_str().unwrap().to_owned();
    let message = format!("/emails/user/{}/raw", listed["id"].as_str().unwrap());
    for (path, bytes) in [(&message, &raw), (&attachment, &bytes)] {
        let len = bytes.len();
        let whole = api.get(path).await;
        assert!(whole.body == *bytes, "{path}");
        assert_eq!((whole.header("accept-ranges"), whole.header("content-length")), ("bytes", &*len.to_string()));
        let tag = whole.header("etag");
        for (range, start, end) in [
            ("bytes=0-0".to_owned(), 0, 1),
            ("bytes=1000000-1000009".to_owned(), 1_000_000, 1_000_010),
            (format!("bytes={}-", len - 5), len - 5, len),
            ("bytes=-7".to_owned(), len - 7, len),
            (format!("bytes=1-{}", len * 2), 1, len),
        ] {
            let answer = part(&api, path, &range, Some(tag)).await;
            assert_eq!(answer.status, 206, "{path} {range}");
            assert_eq!(answer.header("content-range"), format!("bytes {start}-{}/{len}", end - 1));
            assert_eq!(answer.header("content-length"), (end - start).to_string());
            assert!(answer.body == bytes[start..end], "{path} {range}");
        }
        let outside = part(&api, path, &format!("bytes={len}-"), None).await;
        assert_eq!(outside.header("content-range"), format!("bytes */{len}"));
        let (error, detail) = outside.problem(416);
        assert!(error == "range not satisfiable" && detail.contains(&len.to_string()), "{error}: {detail}");
        assert_eq!(
            part(&api, path, "bytes=0-0", Some("\"another\"")).await.status,
            200,
            "what it has the beginning of"
        );
        assert_eq!(part(&api, path, "bytes=0-0,5-6", None).await.status, 200, "several ranges are all of it");
    }
}

#[tokio::test]
async fn an_attachment_that_is_not_by_the_book_has_ranges_too() {
    let api = Api::start().await;
    let kept = message(
        &api.clock,
        Content { attachments: vec![attachment(0, None, "text/plain", 2, 8)], ..Content::default() },
    );
    let path = format!("/emails/user/{}/attachments/0", kept.id);
    api.keep(&["user@example.com"], kept, "0123456789").await;
    let answer = part(&api, &path, "bytes=1-2", None).await;
    assert_eq!((answer.status, answer.text()), (206, "34"));
}

/// In lines, as mail has it.
fn encoded(bytes: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    text.as_bytes().chunks(76).collect::<Vec<_>>().join(&b"\r\n"[..])
}
