//! A certificate with its key: read from PEM, and checked before anybody is shown it.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::clock::Timestamp;

/// Where a certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The operator's files.
    Files,
    /// Ordered from an ACME server.
    Acme,
    /// Made at start; nobody but us vouches for it.
    SelfSigned,
}

impl Source {
    /// Its name in the log and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Acme => "acme",
            Self::SelfSigned => "self-signed",
        }
    }
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Where it came from.
    pub source: Source,
    /// The host names and addresses that it is for.
    pub names: Vec<String>,
    /// From when on it is valid.
    pub valid_from: Timestamp,
    /// Until when it is valid.
    pub expires_at: Timestamp,
    /// Whether nobody but itself vouches for it.
    pub self_issued: bool,
}

impl Certificate {
    /// Whether it is for the host `name`, in lower case; a wildcard stands for one label (RFC 9525 section 6.3).
    pub(super) fn covers(&self, name: &str) -> bool {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|own| own == name || own.strip_prefix("*.").is_some_and(|own| Some(own) == parent))
    }
}

/// A certificate chain with its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) certificate: Certificate,
}

/// Why there is no [`Pair`].
#[derive(Debug, thiserror::Error)]
pub(super) enum PairError {
    #[error("the certificates: {0}")]
    Chain(String),
    #[error("the private key: {0}")]
    Key(String),
    #[error("certificate and private key cannot be used together: {0}")]
    Mismatch(rustls::Error),
}

impl Pair {
    /// Reads a chain, the server's own certificate first, and the private key of that.
    pub(super) fn from_pem(source: Source, chain: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| PairError::Chain(unreadable(&error, "certificate")))?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| PairError::Key(unreadable(&error, "private key")))?;
        Self::new(source, chain, key)
    }

    /// Puts a chain and its key together, once they have proved to belong together.
    pub(super) fn new(
        source: Source,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, PairError> {
        let certificate = {
            let parsed = chain.iter().enumerate().map(|(at, der)| parse(at, der)).collect::<Result<Vec<_>, _>>()?;
            let own =
                parsed.first().ok_or_else(|| PairError::Chain(unreadable(&pem::Error::NoItemsFound, "certificate")))?;
            check_order(&parsed)?;
            let validity = own.validity();
            Certificate {
                source,
                names: names(own),
                valid_from: timestamp(validity.not_before),
                expires_at: timestamp(validity.not_after),
                self_issued: own.issuer().as_raw() == own.subject().as_raw(),
            }
        };
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(PairError::Mismatch)?;
        Ok(Self { key: Arc::new(key), certificate })
    }
}

fn unreadable(error: &pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("holds no {wanted} in PEM form"),
        error => format!("no {wanted} can be read from it: {error}"),
    }
}

fn parse<'a>(at: usize, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PairError> {
    match parse_x509_certificate(der) {
        Ok((_, parsed)) => Ok(parsed),
        Err(error) => Err(PairError::Chain(format!("certificate {} of it cannot be read: {error}", at + 1))),
    }
}

/// Each certificate has to be signed by the next one (RFC 5246 section 7.4.2). Clients that know only the root find no
/// way to it otherwise.
fn check_order(chain: &[X509Certificate<'_>]) -> Result<(), PairError> {
    for (at, link) in chain.windows(2).enumerate() {
        let [signed, issuer] = link else { continue };
        let verified = match signed.verify_signature(Some(issuer.public_key())) {
            // An algorithm that this server does not know is for the client to judge.
            Err(X509Error::SignatureUnsupportedAlgorithm) => true,
            result => result.is_ok(),
        };
        if signed.issuer().as_raw() != issuer.subject().as_raw() || !verified {
            return Err(PairError::Chain(format!(
                "certificate {} of it ({}) is signed by {}, and not by certificate {} ({}); the server's own certificate \
                 stands first, and behind each one the one that signed it",
                at + 1,
                signed.subject(),
                signed.issuer(),
                at + 2,
                issuer.subject(),
            )));
        }
    }
    Ok(())
}

/// The subject's alternative names. A common name is none: clients have stopped reading it (RFC 9525 section 2).
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => ip(octets).map(|ip| ip.to_string()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(octets).map(IpAddr::from).ok())
}

fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_millis(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1000))
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256};

    use super::*;

    /// A certificate for `names` and its key, in PEM.
    pub(crate) fn pem(names: &[&str], key: &KeyPair) -> (String, String) {
        let params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        (params.self_signed(key).unwrap().pem(), key.serialize_pem())
    }

    fn authority(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().unwrap())
    }

    /// A leaf that an authority has signed, that authority, and another one of the same name.
    fn chain() -> (String, String, String, KeyPair) {
        let (params, ca_key) = authority("Test CA");
        let ca = params.self_signed(&ca_key).unwrap().pem();
        let (same_name, other_key) = authority("Test CA");
        let impostor = same_name.self_signed(&other_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["mx.example.com".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::new(params, ca_key)).unwrap().pem();
        (leaf, ca, impostor, key)
    }

    fn pair(chain: &str, key: &KeyPair) -> Result<Pair, PairError> {
        Pair::from_pem(Source::Files, chain.as_bytes(), key.serialize_pem().as_bytes())
    }

    #[test]
    fn a_chain_is_in_order_and_each_one_signed_by_the_next() {
        let (leaf, ca, impostor, key) = chain();
        assert_eq!(pair(&(leaf.clone() + &ca), &key).unwrap().key.cert.len(), 2);
        assert!(pair(&leaf, &key).is_ok());
        for (wrong, named) in
            [(leaf.clone() + &impostor, "certificate 1 of it"), (leaf.clone() + &leaf, "signed by CN=Test CA")]
        {
            let error = pair(&wrong, &key).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        // The wrong way round the key is not the one of the first certificate.
        assert!(pair(&(ca + &leaf), &key).is_err());
    }

    #[test]
    fn both_usual_kinds_of_keys_will_do() {
        for key in [KeyPair::generate().unwrap(), KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()] {
            let (cert, _) = pem(&["mx.example.com"], &key);
            assert!(pair(&cert, &key).is_ok());
        }
    }

    #[test]
    fn names_and_times_are_those_of_the_certificate() {
        let key = KeyPair::generate().unwrap();
        let names = ["MX.example.com", "*.test.example", "192.0.2.1", "2001:db8::1"];
        let mut params = CertificateParams::new(names.map(str::to_owned)).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2026, 4, 2);
        let read = pair(&params.self_signed(&key).unwrap().pem(), &key).unwrap().certificate;
        assert_eq!(read.names, ["mx.example.com", "*.test.example", "192.0.2.1", "2001:db8::1"]);
        assert_eq!(read.valid_from.as_secs(), 1_767_312_000);
        assert_eq!(read.expires_at.as_secs(), 1_775_088_000);
        for (name, covered) in [
            ("mx.example.com", true),
            ("example.com", false),
            ("a.test.example", true),
            ("test.example", false),
            ("a.b.test.example", false),
        ] {
            assert_eq!(read.covers(name), covered, "{name}");
        }
    }
}
