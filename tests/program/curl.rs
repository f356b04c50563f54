//! curl on both sides: it brings mail, and it deletes it again.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::{curl, path_of};
use crate::process::Restante;
use crate::programs::{file, run};

const MESSAGE: &str = "Subject: By curl\r\n\r\n.first\r\n.\r\n..\r\nlast\r\n";

/// Uploads [`MESSAGE`] for `to`, by curl's client for SMTP.
fn upload(server: &Restante, dir: &TempDir, to: &str, options: &[&str]) {
    let message = file(dir.path(), "message.eml", MESSAGE);
    let url = format!("smtp://{}/client.example", server.smtp);
    let mut curl = curl();
    curl.args(["--silent", "--show-error", &url, "--mail-from", "sender@example.org", "--mail-rcpt", to]);
    run(curl.args(["--upload-file", &message]).args(options), b"").ok();
}

#[test]
fn what_curl_uploads_comes_out_byte_for_byte() {
    let (server, dir) = Restante::start_anywhere(&[]);
    upload(&server, &dir, "user@example.com", &[]);
    let mail = server.mail("user");
    assert_eq!(mail["subject"], "By curl");
    assert_eq!(mail["peer"], json!({"ip": "127.0.0.1", "helo": "client.example", "tls": null}));
    assert_eq!(server.get(&format!("{}/raw", path_of(&mail))), MESSAGE.as_bytes());
}

#[test]
fn curl_uploads_over_starttls() {
    let (server, dir) = Restante::start_anywhere(&[]);
    upload(&server, &dir, "user@example.com", &["--ssl-reqd", "--insecure"]);
    assert!(server.mail("user")["peer"]["tls"].as_str().unwrap().starts_with("TLSv1.3 "));
}

#[test]
fn a_message_is_deleted_alone() {
    let (server, dir) = Restante::start_anywhere(&[]);
    upload(&server, &dir, "user@example.com", &[]);
    upload(&server, &dir, "user@example.com", &[]);
    let [newer, older]: [Value; 2] = server.mails("user").try_into().unwrap();
    let id = older["id"].as_str().unwrap();
    let answer = server.ask("DELETE", &path_of(&older));
    assert_eq!((answer.status, answer.json()), (200, json!({"message": format!("Message {id} has been deleted")})));
    assert_eq!(server.mail("user")["id"], newer["id"]);
    for method in ["GET", "DELETE"] {
        let answer = server.ask(method, &path_of(&older));
        let problem = json!({
            "type": "about:blank", "title": "Gone", "status": 410, "error": "message gone", "reason": "deleted",
            "detail": format!("message {id} was deleted from mailbox user"), "at": answer.json()["at"],
        });
        assert!(problem["at"].as_u64().is_some_and(|at| at >= older["received_at"].as_u64().unwrap()), "{problem}");
        assert_eq!((answer.status, answer.json()), (410, problem));
    }
}

#[test]
fn a_mailbox_is_cleared_and_no_other() {
    let (server, dir) = Restante::start_anywhere(&[]);
    for to in ["user@example.com", "user@example.com", "other@example.com"] {
        upload(&server, &dir, to, &[]);
    }
    let answer = server.ask("DELETE", "/emails/user");
    assert_eq!((answer.status, answer.json()), (200, json!({"message": "All messages for user have been cleared"})));
    assert_eq!(server.mails("user"), Vec::<Value>::new());
    server.mail("other");
}

#[test]
fn without_a_key_nothing_is_read_and_nothing_deleted() {
    let (server, dir) = Restante::start_anywhere(&[]);
    upload(&server, &dir, "user@example.com", &[]);
    for (method, path) in [("GET", "/emails/user"), ("GET", "/emails"), ("DELETE", "/emails/user")] {
        let answer = server.ask_as_stranger(method, path);
        let problem = json!({
            "type": "about:blank", "title": "Unauthorized", "status": 401, "error": "invalid API key",
            "detail": "send a valid key as X-API-KEY: <key> or Authorization: Bearer <key>",
        });
        assert_eq!((answer.status, answer.json()), (401, problem), "{method} {path}");
    }
    assert_eq!(server.ask_as_stranger("GET", "/health").status, 200);
    server.mail("user");
}

#[test]
fn an_unknown_mailbox_is_empty_and_a_bad_name_is_said() {
    let (server, _dir) = Restante::start_anywhere(&[]);
    let answer = server.ask("GET", "/emails/nobody");
    assert_eq!((answer.status, &*answer.body), (200, &b"[]"[..]));
    let answer = server.ask("GET", "/emails/a@b@c");
    let problem = json!({
        "type": "about:blank", "title": "Bad Request", "status": 400, "error": "bad mailbox name",
        "detail": "the mailbox name is not a valid address: write user or user@example.com, and quote a local-part with \
                   special characters: \"a b\"@example.com",
    });
    assert_eq!((answer.status, answer.json()), (400, problem));
}

#[test]
fn too_many_requests_are_turned_away() {
    let (server, _dir) = Restante::start_anywhere(&[("API_RATE_PER_MINUTE", "1")]);
    assert_eq!(server.ask("GET", "/emails/user").status, 200);
    let answer = server.ask("GET", "/emails/user");
    assert_eq!((answer.status, &answer.json()["error"]), (429, &json!("rate limit exceeded")));
}

#[test]
fn curl_writes_an_attachment_under_its_own_name() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let message = file(
        dir.path(),
        "attached.eml",
        "MIME-Version: 1.0\r\nContent-Type: text/csv; charset=utf-8\r\n\
         Content-Disposition: attachment; filename=\"../../list.csv\"\r\n\r\na,b\r\n",
    );
    let url = format!("smtp://{}", server.smtp);
    let arguments = ["--mail-from", "sender@example.org", "--mail-rcpt", "user@example.com", "--upload-file", &message];
    run(curl().args(["--silent", "--show-error", &url]).args(arguments), b"").ok();
    let mail = server.mail("user");
    let url = server.url(mail["attachment_records"][0]["url"].as_str().unwrap());
    let key = format!("X-API-KEY: {}", server.key);
    let downloads = dir.path().join("downloads");
    fs::create_dir(&downloads).unwrap();
    let options = ["--silent", "--show-error", "--remote-name", "--remote-header-name", "--header", &key, &url];
    run(curl().current_dir(&downloads).args(options), b"").ok();
    let [saved]: [_; 1] = fs::read_dir(&downloads).unwrap().collect::<Vec<_>>().try_into().unwrap();
    assert!(saved.as_ref().unwrap().file_name().to_str().unwrap().ends_with("list.csv"), "{saved:?}");
    assert_eq!(fs::read(saved.unwrap().path()).unwrap(), b"a,b\r\n");
}
