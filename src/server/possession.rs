//! Asks clients for a certificate, and has them prove that they hold its key. Whether the certificate is any good is
//! judged in the third stage, at every request: there a bad one is a refusal on record, and one that is revoked while
//! a connection lasts is noticed.
//!
//! *Never*: a conclusion from a certificate that was only presented.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::tls::provider;

/// Has a client prove possession of the key of whatever certificate it has.
pub(super) struct Possession {
    issuers: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Possession {
    /// Asks for certificates of `issuers`; a browser offers no other.
    pub(super) fn new(issuers: Vec<DistinguishedName>) -> Arc<Self> {
        let algorithms = provider().signature_verification_algorithms;
        Arc::new(Self {
            issuers,
            algorithms,
        })
    }
}

impl fmt::Debug for Possession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Possession").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Possession {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.issuers
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // SECURITY: nothing is concluded from this. `identity::api::certificate` verifies the chain at each request.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
