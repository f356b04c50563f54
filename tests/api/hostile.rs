use restante::mail::Content;

use super::support::{Api, attachment, message};
use super::{ROUTES, security_headers};

#[tokio::test]
async fn every_answer_tells_browsers_to_run_nothing() {
    let api = Api::start().await;
    // A page that runs something has a policy and a test of its own.
    let routes = ROUTES.iter().map(|(path, _)| *path).filter(|path| *path != "/docs");
    let paths = routes.chain(["/nothing", "/emails?typo=1", "/emails/a/b/c/d", "/%zz"]);
    for path in paths {
        let answer = api.get(path).await;
        for (name, value) in security_headers(&answer) {
            assert_eq!(answer.header(name), value, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn a_hostile_attachment_is_a_harmless_download() {
    let api = Api::start().await;
    let hostile = [
        (Some("../../etc/x"), "text/html"),
        (Some("a\"\r\nX-Evil: 1\r\n.svg"), "image/svg+xml"),
        (Some("invoice\u{202e}fdp.exe"), "application/javascript"),
        (Some("C:\\x\\größe.txt"), "text/plain\r\nX-Evil: 1"),
        (Some(".."), "multipart/x-mixed-replace"),
    ];
    let attachments = hostile.iter().enumerate().map(|(i, (name, kind))| attachment(i, *name, kind, 0, 1)).collect();
    let kept = message(&api.clock, Content { attachments, ..Content::default() });
    let path = format!("/emails/user/{}/attachments", kept.id);
    api.keep(&["user@example.com"], kept, "x").await;
    for (index, disposition) in [
        "attachment; filename=\"x\"; filename*=UTF-8''x",
        "attachment; filename=\"aX-Evil: 1.svg\"; filename*=UTF-8''aX-Evil%3A%201.svg",
        "attachment; filename=\"invoicefdp.exe\"; filename*=UTF-8''invoicefdp.exe",
        "attachment; filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.txt",
        "attachment",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = api.get(&format!("{path}/{index}")).await;
        assert_eq!((answer.status, answer.text()), (200, "x"));
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("content-disposition"), disposition);
        assert_eq!(answer.header("x-evil"), "");
    }
}
