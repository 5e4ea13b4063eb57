//! The certificate that a client presented in the TLS handshake. Possession of its key is proven; nothing else is,
//! until the third stage has judged it.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

/// Most certificates of a chain, the leaf included.
pub const MAX_CHAIN: usize = 8;
/// Most bytes of a chain.
pub const MAX_BYTES: usize = 32 * 1024;

/// A client's certificate chain as it was presented.
pub struct ClientCertificate {
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    thumbprint: [u8; 32],
}

impl ClientCertificate {
    /// Takes a presented chain, leaf first. `None` for an empty one; what is beyond the bounds is left out, so that a
    /// chain that needs it does not verify.
    #[must_use]
    pub fn presented(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (leaf, rest) = chain.split_first()?;
        let mut room = MAX_BYTES.saturating_sub(leaf.len());
        let intermediates = rest
            .iter()
            .take(MAX_CHAIN.saturating_sub(1))
            .take_while(|certificate| {
                let fits = certificate.len() <= room;
                room = room.saturating_sub(certificate.len());
                fits
            })
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let mut thumbprint = [0; 32];
        for (to, from) in thumbprint.iter_mut().zip(digest(&SHA256, leaf).as_ref()) {
            *to = *from;
        }
        Some(Self {
            leaf: leaf.clone().into_owned(),
            intermediates,
            thumbprint,
        })
    }

    /// The client's own certificate.
    #[must_use]
    pub const fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// What it says leads to its CA.
    #[must_use]
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.intermediates
    }

    /// SHA-256 of the client's own certificate (`x5t#S256`, RFC 8705 §3.1).
    #[must_use]
    pub const fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCertificate")
            .field(&hex::encode(self.thumbprint))
            .finish()
    }
}
