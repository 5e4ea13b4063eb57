//! TLS towards others: whom the gateway trusts, and the certificate that it shows.
//!
//! *On failure*: [`HttpError::Ca`] or [`HttpError::Certificate`] with the file's name; nothing is trusted instead.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::HttpError;
use crate::config::Certificate;

/// The certificates of a private CA.
///
/// # Errors
/// [`HttpError::Ca`], where the file is unreadable or holds none.
pub fn private_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let failed = |problem: String| HttpError::Ca {
        path: path.display().to_string(),
        problem,
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| failed(source.to_string()))?;
    if certificates.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// TLS that trusts the CA in the file, or the system's roots, and shows a certificate to whoever asks for one.
pub(super) fn trusting(
    ca: Option<&Path>,
    certificate: Option<&Certificate>,
) -> Result<ClientConfig, HttpError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in private_roots(path)? {
                roots.add(certificate).map_err(|source| HttpError::Ca {
                    path: path.display().to_string(),
                    problem: source.to_string(),
                })?;
            }
        }
        // A root of the system that does not parse is skipped; connections that need it fail.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(HttpError::Tls)?
        .with_root_certificates(roots);
    match certificate {
        Some(pair) => {
            let (chain, key) = shown(pair)?;
            config
                .with_client_auth_cert(chain, key)
                .map_err(HttpError::Tls)
        }
        None => Ok(config.with_no_client_auth()),
    }
}

/// A certificate with its key, as it is shown.
pub(super) fn shown(
    pair: &Certificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), HttpError> {
    let failed = |path: &Path, source: rustls::pki_types::pem::Error| HttpError::Certificate {
        path: path.display().to_string(),
        problem: source.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(&pair.chain)
        .and_then(Iterator::collect)
        .map_err(|source| failed(&pair.chain, source))?;
    let key =
        PrivateKeyDer::from_pem_file(&pair.key).map_err(|source| failed(&pair.key, source))?;
    Ok((chain, key))
}
