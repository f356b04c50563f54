//! A certificate that nobody vouches for: it encrypts, and proves nothing.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;

use super::TlsError;
use super::certificate::{Pair, Source};

/// Makes one for `hostname`.
pub(super) fn pair(hostname: &str) -> Result<Pair, TlsError> {
    let failed = |problem: String| TlsError::SelfSigned { hostname: hostname.to_owned(), problem };
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([hostname.to_owned()]).map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(|error| failed(error.to_owned()))?;
    Pair::new(Source::SelfSigned, vec![cert.der().clone()], key).map_err(|error| failed(error.to_string()))
}
