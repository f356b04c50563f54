//! How the server is known to be the right one.

use std::path::Path;

use fred::rustls_native_certs::load_native_certs;
use fred::types::config::{TlsConfig, TlsConnector};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::store::OpenError;

/// Trusts the certificates of `ca_file` alone, or those of the system where there is none.
pub(super) fn config(ca_file: Option<&Path>) -> Result<TlsConfig, OpenError> {
    let roots = match ca_file {
        Some(file) => private(file)?,
        None => of_the_system(),
    };
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError(format!("TLS to Redis: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(config).into())
}

fn private(file: &Path) -> Result<RootCertStore, OpenError> {
    let failed = |reason: String| OpenError(format!("REDIS_CA_FILE={}: {reason}", file.display()));
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| failed(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() { Err(failed("it has no certificate in PEM".to_owned())) } else { Ok(roots) }
}

/// A container may have none; then it is those that browsers trust.
fn of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Some systems have certificates that nothing can read; the others do.
    roots.add_parsable_certificates(load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}
