//! The API as a shell script uses it: by curl.

use std::process::Command;

use serde_json::Value;

use crate::process::Restante;
use crate::programs::{program, run};

/// What the API answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The answer to a request of curl; `arguments` end with the path.
    fn of(curl: &mut Command) -> Self {
        let ended = run(curl.args(["--silent", "--write-out", "%{stderr}%{http_code}"]), b"");
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        Self { status: ended.stderr.parse().unwrap(), body: ended.stdout }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// curl without the settings of whoever runs the tests.
pub(crate) fn curl() -> Command {
    let mut curl = program("curl");
    curl.arg("--disable");
    curl
}

impl Restante {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// The answer to a request with the key.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Answer {
        let key = format!("X-API-KEY: {}", self.key);
        Answer::of(curl().args(["--request", method, "--header", &key, &self.url(path)]))
    }

    /// The answer to a request without a key.
    pub(crate) fn ask_as_stranger(&self, method: &str, path: &str) -> Answer {
        Answer::of(curl().args(["--request", method, &self.url(path)]))
    }

    /// The body of a good answer.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        let answer = self.ask("GET", path);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.body
    }

    /// The mails of a mailbox, newest first.
    #[track_caller]
    pub(crate) fn mails(&self, mailbox: &str) -> Vec<Value> {
        serde_json::from_slice(&self.get(&format!("/emails/{mailbox}"))).unwrap()
    }

    /// The only mail of a mailbox.
    #[track_caller]
    pub(crate) fn mail(&self, mailbox: &str) -> Value {
        let [mail] = self.mails(mailbox).try_into().unwrap_or_else(|mails| panic!("one mail, not {mails:?}"));
        mail
    }
}

/// The path of a message below `/emails`.
pub(crate) fn path_of(mail: &Value) -> String {
    format!("/emails/{}/{}", mail["mailbox"].as_str().unwrap(), mail["id"].as_str().unwrap())
}
