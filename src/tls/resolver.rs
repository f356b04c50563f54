//! Which certificate a client is shown: that of the moment, for the name that it asks for.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_acme::{ResolvesServerCertAcme, is_tls_alpn_challenge};

use super::certificate::{Certificate, Pair};
use crate::clock::{Clock, Timestamp};
use crate::metrics::{self, CertificateTerm};

/// The certificates of the moment. Each handshake takes what is there when it begins; connections that are open keep what
/// they have.
#[derive(Debug)]
pub(super) struct Resolver {
    clock: Clock,
    current: ArcSwap<Current>,
    /// The answer to an ACME server, while one asks.
    challenge: ArcSwapOption<ResolvesServerCertAcme>,
    metrics: Arc<metrics::Tls>,
}

#[derive(Clone, Debug, Default)]
struct Current {
    files: Vec<Arc<Pair>>,
    acme: Option<Arc<Pair>>,
    self_signed: Option<Arc<Pair>>,
}

impl Resolver {
    /// Without a certificate yet; `clock` tells which ones have expired.
    pub(super) fn new(clock: Clock, metrics: Arc<metrics::Tls>) -> Self {
        Self { clock, current: ArcSwap::default(), challenge: ArcSwapOption::default(), metrics }
    }

    /// What is counted of the certificates.
    pub(super) fn metrics(&self) -> &metrics::Tls {
        &self.metrics
    }

    fn change(&self, change: impl Fn(&Current) -> Current) {
        self.current.rcu(|current| change(current));
        let term = |certificate: Certificate| {
            let Certificate { source, names, expires_at, .. } = certificate;
            CertificateTerm { source: source.name(), names, expires_at }
        };
        self.metrics.in_use(self.certificates().into_iter().map(term).collect());
    }

    pub(super) fn set_files(&self, pairs: Vec<Arc<Pair>>) {
        self.change(|current| Current { files: pairs.clone(), ..current.clone() });
    }

    pub(super) fn set_acme(&self, pair: Pair) {
        let pair = Arc::new(pair);
        self.change(|current| Current { acme: Some(pair.clone()), ..current.clone() });
    }

    pub(super) fn set_self_signed(&self, pair: Pair) {
        let pair = Arc::new(pair);
        self.change(|current| Current { self_signed: Some(pair.clone()), ..current.clone() });
    }

    pub(super) fn set_challenge(&self, challenge: Option<Arc<ResolvesServerCertAcme>>) {
        self.challenge.store(challenge);
    }

    /// What is in use.
    pub(super) fn certificates(&self) -> Vec<Certificate> {
        self.current.load().offered().map(|pair| pair.certificate.clone()).collect()
    }

    /// The certificate that ACME has brought.
    pub(super) fn acme(&self) -> Option<Certificate> {
        self.current.load().acme.as_ref().map(|pair| pair.certificate.clone())
    }
}

impl Current {
    /// The operator's word goes first; a certificate that nobody vouches for is shown only where there is no other.
    fn offered(&self) -> impl Iterator<Item = &Arc<Pair>> {
        let none = self.files.is_empty() && self.acme.is_none();
        self.files.iter().chain(&self.acme).chain(self.self_signed.iter().filter(move |_| none))
    }

    /// The first one that the client can use, that has its name and has not expired; else the first that it can use and that
    /// has its name, else the first that it can use, else the first.
    /// A mail server that asks for no name, or a wrong one, is better off with a certificate than with an alert.
    fn choose(
        &self,
        name: Option<&str>,
        now: Timestamp,
        usable: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let covers = |pair: &Pair| name.as_ref().is_some_and(|name| pair.certificate.covers(name));
        let has_expired = |pair: &Pair| pair.certificate.expires_at <= now;
        self.offered()
            .min_by_key(|pair| (!usable(&pair.key), !covers(pair), has_expired(pair)))
            .map(|pair| pair.key.clone())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if is_tls_alpn_challenge(&hello) {
            return self.challenge.load().as_ref().and_then(|challenge| challenge.resolve(hello));
        }
        let usable = |key: &CertifiedKey| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.current.load().choose(hello.server_name(), self.clock.now(), usable)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_RSA_SHA256};
    use rustls::SignatureAlgorithm;

    use super::super::certificate::Source;
    use super::super::certificate::tests::pem;
    use super::*;

    /// While all that are made here are valid.
    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn pair(source: Source, names: &[&str], key: &KeyPair) -> Pair {
        let (cert, key) = pem(names, key);
        Pair::from_pem(source, cert.as_bytes(), key.as_bytes()).unwrap()
    }

    fn ecdsa(source: Source, names: &[&str]) -> Pair {
        pair(source, names, &KeyPair::generate().unwrap())
    }

    /// The names of the certificate that is shown to who asks for `name`.
    fn shown(resolver: &Resolver, name: Option<&str>) -> Vec<String> {
        let current = resolver.current.load();
        let key = current.choose(name, NOW, |_| true).unwrap();
        current.offered().find(|pair| Arc::ptr_eq(&pair.key, &key)).unwrap().certificate.names.clone()
    }

    #[test]
    fn the_name_that_is_asked_for_decides_and_the_first_one_stands_in() {
        let resolver = Resolver::new(Clock::system(), Arc::default());
        resolver.set_self_signed(ecdsa(Source::SelfSigned, &["localhost"]));
        assert_eq!(shown(&resolver, Some("mx.example.com")), ["localhost"]);
        resolver.set_acme(ecdsa(Source::Acme, &["api.example.com"]));
        assert_eq!(shown(&resolver, Some("localhost")), ["api.example.com"]);
        let files = [["mx.example.com"], ["*.example.org"]];
        resolver.set_files(files.iter().map(|names| Arc::new(ecdsa(Source::Files, names))).collect());
        for (name, expected) in [
            (None, "mx.example.com"),
            (Some("MX.example.com"), "mx.example.com"),
            (Some("www.example.org"), "*.example.org"),
            (Some("api.example.com"), "api.example.com"),
            (Some("localhost"), "mx.example.com"),
        ] {
            assert_eq!(shown(&resolver, name), [expected], "{name:?}");
        }
        assert_eq!(resolver.certificates().len(), 3);
    }

    #[test]
    fn an_expired_certificate_gives_way_to_one_that_is_good() {
        let resolver = Resolver::new(Clock::system(), Arc::default());
        let mut expired = ecdsa(Source::Files, &["mx.example.com"]);
        expired.certificate.expires_at = NOW;
        resolver.set_files(vec![Arc::new(expired)]);
        resolver.set_acme(ecdsa(Source::Acme, &["mx.example.com"]));
        let current = resolver.current.load();
        let chosen = current.choose(Some("mx.example.com"), NOW, |_| true).unwrap();
        assert!(Arc::ptr_eq(&chosen, &current.acme.as_ref().unwrap().key));
        let before = Timestamp::from_millis(NOW.as_millis() - 1);
        let chosen = current.choose(Some("mx.example.com"), before, |_| true).unwrap();
        assert!(Arc::ptr_eq(&chosen, &current.files[0].key));
    }

    #[test]
    fn a_client_gets_a_key_that_it_can_use() {
        let resolver = Resolver::new(Clock::system(), Arc::default());
        let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let pairs = vec![ecdsa(Source::Files, &["mx.example.com"]), pair(Source::Files, &["mx.example.com"], &rsa)];
        resolver.set_files(pairs.into_iter().map(Arc::new).collect());
        for kind in [SignatureAlgorithm::ECDSA, SignatureAlgorithm::RSA] {
            let chosen = resolver.current.load().choose(Some("mx.example.com"), NOW, |key| key.key.algorithm() == kind);
            assert_eq!(chosen.unwrap().key.algorithm(), kind);
        }
    }
}
