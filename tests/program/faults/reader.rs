//! The API for many requests, also to a server that may die under them.

use std::net::SocketAddr;

use serde_json::Value;

use crate::process::Restante;
use crate::programs::DEADLINE;

/// A reader with connections that it keeps.
pub(crate) struct Reader {
    addr: SocketAddr,
    key: String,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Reader {
    pub(crate) fn of(server: &Restante) -> Self {
        Self::at(server.http, &server.key)
    }

    pub(crate) fn at(addr: SocketAddr, key: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // All is in clear text here, but the client is not made without one. Another test may have been faster.
        _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { addr, key: key.to_owned(), runtime, client }
    }

    /// The status and the body of an answer; `None` where the server does not give one.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Option<(u16, Vec<u8>)> {
        let (status, _, body) = self.answer(method, path)?;
        Some((status, body))
    }

    /// The status of an answer and its `Retry-After`.
    pub(crate) fn status(&self, path: &str) -> (u16, Option<String>) {
        let (status, retry_after, _) = self.answer("GET", path).unwrap();
        (status, retry_after)
    }

    /// The body of a good answer.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        let (status, body) = self.ask("GET", path).unwrap();
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        body
    }

    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Vec<Value> {
        serde_json::from_slice(&self.get(path)).unwrap()
    }

    /// All messages of a mailbox, page by page; how many a page has is a matter of their bytes, too.
    pub(crate) fn all(&self, mailbox: &str) -> Vec<Value> {
        let mut all = self.json(&format!("/emails/{mailbox}?limit=200"));
        while let Some(last) = all.last() {
            let page = self.json(&format!("/emails/{mailbox}?limit=200&before={}", last["seq"]));
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        all
    }

    fn answer(&self, method: &str, path: &str) -> Option<(u16, Option<String>, Vec<u8>)> {
        self.runtime.block_on(async {
            let method = method.parse().unwrap();
            let request = self.client.request(method, format!("http://{}{path}", self.addr));
            let response = request.header("X-API-KEY", &self.key).timeout(DEADLINE).send().await.ok()?;
            let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            Some((response.status().as_u16(), retry_after, response.bytes().await.ok()?.into()))
        })
    }
}
