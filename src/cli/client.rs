//! A running server, asked by its API.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{ClientBuilder, Response, StatusCode, redirect};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use super::{Failure, at};
use crate::config;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// When to ask again that a server could not answer, where it does not say.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);
/// The problems of which mail, or a part of it, is not there; any other 404 is that of a URL that leads elsewhere.
const MISSING: [&str; 5] = ["message not found", "message gone", "code not found", "link not found", "body not found"];

/// Where the server is, and what opens it.
#[derive(Args, Debug)]
pub(super) struct Place {
    /// Where its API is; else RESTANTE_URL
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The key of the API; else RESTANTE_API_KEY, the first of API_KEY, or what the server has generated in DATA_DIR
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Certificates in PEM that vouch for the server; else those that browsers trust
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Take any certificate of the server
    #[arg(long, conflicts_with = "ca_file")]
    insecure: bool,
}

/// The API of a server.
pub(super) struct Server {
    http: reqwest::Client,
    url: String,
    key: String,
}

/// What it answered.
pub(super) enum Answer<T = Response> {
    /// What was asked for.
    Good(T),
    /// It is not there; the problem says more.
    Missing(Value),
    /// Ask again.
    NotNow(NotNow),
}

/// Why there is nothing for the moment.
pub(super) struct NotNow {
    /// What was said.
    pub(super) said: String,
    /// After how long to ask again.
    pub(super) pause: Duration,
    /// Whether the server has said it. Else it was a proxy on the way, or the answer was cut off: whether there is a
    /// server is not known.
    pub(super) is_of_server: bool,
}

impl Server {
    pub(super) fn new(place: &Place) -> Result<Self, Failure> {
        let client = config::Client::load(place.url.as_deref(), place.key.as_deref());
        let client = client.map_err(|mistakes| Failure::setup(&mistakes))?;
        let key = client.key().map_err(Failure::Setup)?;
        // The key is for this server, and not for one that it may lead to.
        let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).redirect(redirect::Policy::none());
        let http = trusting(builder, place)?.no_proxy().build().map_err(|error| Failure::Setup(causes(&error)))?;
        Ok(Self { http, url: client.url.trim_end_matches('/').to_owned(), key })
    }

    /// The answer to a GET, which may take `time`, and is of the type `content_type` where it is what was asked for.
    pub(super) async fn get(&self, path: &str, content_type: &str, time: Duration) -> Result<Answer, Failure> {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.key).timeout(time);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if was_cut(&error) => {
                let (said, pause) = (causes(&error.without_url()), RETRY_AFTER_DEFAULT);
                return Ok(Answer::NotNow(NotNow { said, pause, is_of_server: false }));
            }
            Err(error) => {
                let why = causes(&error.without_url());
                return Err(Failure::Unreachable(format!("{} cannot be reached: {why}", self.url)));
            }
        };
        let status = response.status();
        if status.is_success() && is_of_type(response.headers(), content_type) {
            return Ok(Answer::Good(response));
        }
        if status.is_success() {
            let said = format!("the answer is not of type {content_type}; is {} the URL of the API?", self.url);
            return Err(Failure::NotOurs(said));
        }
        if let Some(location) = response.headers().get(LOCATION).filter(|_| status.is_redirection()) {
            let location = String::from_utf8_lossy(location.as_bytes());
            return Err(Failure::TurnedAway(format!("the server sends us to {location}; give its address as --url")));
        }
        let pause = retry_after(response.headers());
        let problem = response.json::<Value>().await.unwrap_or_default();
        let said = problem["detail"].as_str().unwrap_or("no reason given");
        let said = format!("{} ({}): {said}", problem["error"].as_str().unwrap_or("refused"), status.as_u16());
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE if MISSING.iter().any(|error| problem["error"] == *error) => {
                Ok(Answer::Missing(problem))
            }
            // A proxy has less patience than we (RFC 9110 section 15.6.5), or sees no server at the moment.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                Ok(Answer::NotNow(NotNow { said, pause, is_of_server: problem.is_object() }))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => {
                Err(Failure::TurnedAway(said))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(Failure::NotOurs(format!("{said}; is {} the URL of the API?", self.url)))
            }
            status if status.is_client_error() => Err(Failure::Setup(said)),
            _ => Err(Failure::Unreachable(said)),
        }
    }
}

/// Whether somebody has taken the request, and was gone before the answer. Who answers in another language is no server of
/// ours, and will not be the next time either.
fn was_cut(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            let is_end = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
            // What the system or HTTP/2 has said stands behind it.
            return is_end || (error.source().is_some() && !error.is_parse());
        }
        cause = error.source();
    }
    error.is_timeout() && !error.is_connect()
}

fn is_of_type(headers: &HeaderMap, content_type: &str) -> bool {
    let found = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).and_then(|text| text.split(';').next());
    found.is_some_and(|found| found.trim().eq_ignore_ascii_case(content_type))
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let secs = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    secs.map_or(RETRY_AFTER_DEFAULT, Duration::from_secs)
}

fn trusting(builder: ClientBuilder, place: &Place) -> Result<ClientBuilder, Failure> {
    if place.insecure {
        // The library takes that of the process, where it is not given a whole configuration.
        _ = aws_lc_rs::default_provider().install_default();
        return Ok(builder.tls_danger_accept_invalid_certs(true));
    }
    let mut roots = RootCertStore::empty();
    match &place.ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let pem = fs::read(file).map_err(at(file)).map_err(Failure::Setup)?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let added = certificate
                    .map_err(|error| error.to_string())
                    .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
                added.map_err(|error| Failure::Setup(format!("{}: {error}", file.display())))?;
            }
            if roots.is_empty() {
                return Err(Failure::Setup(format!("{}: holds no certificate in PEM form", file.display())));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|error| Failure::setup(&error))?;
    Ok(builder.tls_backend_preconfigured(config.with_root_certificates(roots).with_no_client_auth()))
}

/// An error with what is behind it; the first text of these libraries says little.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
