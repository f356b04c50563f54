//! Certificates ordered from an ACME server (RFC 8555), such as Let's Encrypt; the names are proved on the port of HTTPS
//! (TLS-ALPN-01, RFC 8737).

mod cache;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_acme::{AcmeConfig, EventOk, UseChallenge};
use tokio::sync::watch;

use self::cache::Cache;
use super::TlsError;
use super::certificate::{Certificate, Pair, Source};
use super::expiry::until;
use super::resolver::Resolver;
use crate::clock::{Clock, Timestamp};
use crate::metrics::Outcome;

/// How long after each failure in a row the next order is tried; the last one stays. Let's Encrypt takes five failures of a
/// name in an hour.
const RETRY_AFTER: [Duration; 5] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(60 * 60),
];

/// How long an order may take before it is given up; the library waits for ever where the server does not answer.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The longest time in which nobody looks whether the certificate is to be renewed; the clock may be put right meanwhile.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(60 * 60);

/// From where certificates are ordered, and for what.
#[derive(Clone, Debug)]
pub struct AcmeSettings {
    /// The host names.
    pub domains: Vec<String>,
    /// Where the ACME server may write to.
    pub email: Option<String>,
    /// The directory of the ACME server.
    pub directory_url: String,
    /// Certificates in PEM that vouch for the ACME server; without them the usual authorities do.
    pub ca_file: Option<PathBuf>,
    /// Where certificates and the key of the account are kept.
    pub cache_dir: PathBuf,
}

/// Orders certificates and renews them.
pub(super) struct Acme {
    settings: AcmeSettings,
    client: Arc<ClientConfig>,
    resolver: Arc<Resolver>,
}

impl fmt::Debug for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Acme").field(&self.settings).finish()
    }
}

impl Acme {
    /// Shows the certificate of before, if it is still there. One that has expired is shown too: a client that does not
    /// verify, as most mail servers, is better off with it.
    pub(super) fn open(settings: &AcmeSettings, resolver: Arc<Resolver>) -> Result<Self, TlsError> {
        let client = client(settings.ca_file.as_deref())?;
        let acme = Self { settings: settings.clone(), client, resolver };
        match acme.cache().certificate() {
            Ok(Some(pem)) => match Pair::from_pem(Source::Acme, &pem, &pem) {
                Ok(pair) => acme.resolver.set_acme(pair),
                Err(error) => {
                    tracing::warn!(%error, "the certificate kept from before is damaged; a new one is ordered")
                }
            },
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the certificate kept from before cannot be read; a new one is ordered")
            }
        }
        Ok(acme)
    }

    fn cache(&self) -> Cache {
        let Self { settings, resolver, .. } = self;
        Cache::new(&settings.cache_dir, &settings.domains, &settings.directory_url, resolver.clone())
    }

    /// Orders a certificate whenever one is due; `asked` cuts the waiting short.
    pub(super) async fn run(&self, clock: &Clock, mut asked: watch::Receiver<()>) {
        let mut failures = 0;
        loop {
            let mut wait = self.due_in(clock.now());
            if wait.is_zero() {
                let ordered = self.order(clock).await;
                let outcome = if ordered.is_ok() { Outcome::Ok } else { Outcome::Failed };
                self.resolver.metrics().orders.of(outcome).inc();
                match ordered {
                    Ok(()) => failures = 0,
                    Err(error) => {
                        wait = RETRY_AFTER[failures.min(RETRY_AFTER.len() - 1)];
                        failures += 1;
                        let domains = self.settings.domains.join(", ");
                        tracing::error!(domains, retry_secs = wait.as_secs(), "no certificate by ACME: {error}");
                    }
                }
            }
            if let Ok(Err(_)) = tokio::time::timeout(wait.min(LOOK_AT_LEAST_EVERY), asked.changed()).await {
                // Nobody is left who could ask, nor a server to be asked for.
                return;
            }
        }
    }

    fn due_in(&self, now: Timestamp) -> Duration {
        self.resolver.acme().map_or(Duration::ZERO, |certificate| until(renewal(&certificate), now))
    }

    /// Gets one certificate.
    async fn order(&self, clock: &Clock) -> Result<(), String> {
        tracing::info!(
            domains = self.settings.domains.join(", "),
            directory = self.settings.directory_url,
            "ordering a certificate"
        );
        let ordered = tokio::time::timeout(ORDER_TIMEOUT, self.ordered()).await;
        self.resolver.set_challenge(None);
        match ordered {
            Err(_) => return Err(format!("the order took longer than {ORDER_TIMEOUT:?}")),
            Ok(result) => result?,
        }
        let due_at_once = self.due_in(clock.now()).is_zero();
        if due_at_once {
            // Without this the next order would follow at once, and so on.
            return Err("the new certificate is to be renewed already; is the clock of this machine right?".to_owned());
        }
        tracing::info!(domains = self.settings.domains.join(", "), "new certificate by ACME");
        Ok(())
    }

    /// The library keeps certificates fresh by itself, too; here it is used for one order at a time, so that each has an end
    /// and the time to the next try is ours.
    async fn ordered(&self) -> Result<(), String> {
        let contact = self.settings.email.iter().map(|email| format!("mailto:{email}"));
        let mut state = AcmeConfig::new_with_client_config(&self.settings.domains, self.client.clone())
            .directory(&self.settings.directory_url)
            .contact(contact)
            .challenge_type(UseChallenge::TlsAlpn01)
            .cache(self.cache())
            .state();
        self.resolver.set_challenge(Some(state.resolver()));
        loop {
            match state.next().await {
                Some(Ok(EventOk::CertCacheStore)) => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("the order ended without a result".to_owned()),
            }
        }
    }
}

/// When a third of its time is left, as Let's Encrypt advises.
fn renewal(certificate: &Certificate) -> Timestamp {
    let third = until(certificate.expires_at, certificate.valid_from) / 3;
    certificate.valid_from.after(third * 2)
}

/// How the ACME server is spoken to.
fn client(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let wrong = |problem: String| TlsError::File { file: file.to_owned(), problem };
            let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let certificates = read.map_err(|error| wrong(format!("no certificate can be read from it: {error}")))?;
            if certificates.is_empty() {
                return Err(wrong("holds no certificate in PEM form".to_owned()));
            }
            for certificate in certificates {
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Setup)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_time_is_left() {
        let valid_from = Timestamp::from_millis(1_000_000_000_000);
        let certificate = Certificate {
            source: Source::Acme,
            names: Vec::new(),
            valid_from,
            expires_at: valid_from.after(DAY * 90),
            self_issued: false,
        };
        assert_eq!(until(renewal(&certificate), valid_from), DAY * 60);
    }
}
