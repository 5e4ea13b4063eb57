//! A private key with which the gateway signs who it is (`private_key_jwt`), and what the provider needs to verify it.
//!
//! *Never*: a private key in a message; a key that is too weak to sign with.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::secrets;
use super::source::{Says, says};

/// No key file is longer.
const LIMIT: u64 = 64 * 1024;
/// The fewest bytes of an RSA modulus (NIST SP 800-131A).
const RSA_BYTES: usize = 256;

/// A signing key of the gateway as a client.
#[derive(Debug, Clone)]
pub struct ClientKey {
    path: PathBuf,
    id: String,
    algorithm: Algorithm,
    private: EncodingKey,
    public: Jwk,
    certificate: Option<String>,
}

impl ClientKey {
    /// Reads a PKCS#8 PEM file. The algorithm is that of the key: `ES256` (P-256), `EdDSA` (Ed25519), and for RSA
    /// `rsa`, one of `RS256` and `PS256`. Without `id`, the key is called by its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// What is wrong with the file and what to do.
    pub fn read(path: &Path, id: Option<String>, rsa: Algorithm) -> Result<Self, Says> {
        let shown = path.display();
        let mut pem = Zeroizing::new(Vec::new());
        secrets::guard(path)?
            .take(LIMIT)
            .read_to_end(&mut pem)
            .map_err(|source| {
                says(
                    format!("`{shown}` cannot be read: {source}"),
                    "name a readable file",
                )
            })?;
        let private = EncodingKey::from_ec_pem(&pem)
            .or_else(|_| EncodingKey::from_ed_pem(&pem))
            .or_else(|_| EncodingKey::from_rsa_pem(&pem));
        let unusable = || {
            says(
                format!("`{shown}` holds no private key that can sign"),
                "name a PKCS#8 PEM file with a P-256, Ed25519 or RSA key: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            )
        };
        let private = private.ok().ok_or_else(unusable)?;
        let algorithm = match private.family() {
            AlgorithmFamily::Ec => Algorithm::ES256,
            AlgorithmFamily::Ed => Algorithm::EdDSA,
            AlgorithmFamily::Rsa => rsa,
            AlgorithmFamily::Hmac => return Err(unusable()),
        };
        let mut public = Jwk::from_encoding_key(&private, algorithm)
            .ok()
            .ok_or_else(unusable)?;
        if let AlgorithmParameters::RSA(parameters) = &public.algorithm
            && URL_SAFE_NO_PAD
                .decode(&parameters.n)
                .map_or(0, |n| n.iter().skip_while(|byte| **byte == 0).count())
                < RSA_BYTES
        {
            return Err(says(
                format!("the RSA key in `{shown}` has fewer than 2048 bits"),
                "make a longer one, or a P-256 key",
            ));
        }
        let id = match id {
            Some(id) => id,
            None => public
                .thumbprint(ThumbprintHash::SHA256)
                .ok()
                .ok_or_else(unusable)?,
        };
        public.common.key_id = Some(id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            path: path.to_owned(),
            id,
            algorithm,
            private,
            public,
            certificate: None,
        })
    }

    /// The same key, for a provider that knows it by its certificate.
    ///
    /// # Errors
    /// What is wrong with the certificate's file.
    pub fn certified(mut self, chain: &Path) -> Result<Self, Says> {
        let shown = chain.display();
        let leaf = CertificateDer::pem_file_iter(chain)
            .ok()
            .and_then(|mut certificates| certificates.next()?.ok());
        let Some(leaf) = leaf else {
            return Err(says(
                format!("`{shown}` holds no certificate"),
                "name the PEM file of the certificate that the provider has",
            ));
        };
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaf);
        self.certificate = Some(URL_SAFE_NO_PAD.encode(digest));
        Ok(self)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The algorithm that it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key itself.
    #[must_use]
    pub const fn private(&self) -> &EncodingKey {
        &self.private
    }

    /// What the provider verifies with.
    #[must_use]
    pub const fn public(&self) -> &Jwk {
        &self.public
    }

    /// `x5t#S256`: the thumbprint of its certificate.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.pem");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        (home, path)
    }

    fn key(algorithm: &'static rcgen::SignatureAlgorithm) -> String {
        rcgen::KeyPair::generate_for(algorithm)
            .unwrap()
            .serialize_pem()
    }

    /// As `openssl genpkey -algorithm ED25519` writes it.
    fn ed25519() -> String {
        use base64::engine::general_purpose::STANDARD;
        let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
        let der = pair.to_pkcs8v1().unwrap();
        let text = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    #[test]
    fn the_algorithm_is_the_keys() {
        for (made, algorithm) in [
            (key(&rcgen::PKCS_ECDSA_P256_SHA256), Algorithm::ES256),
            (ed25519(), Algorithm::EdDSA),
        ] {
            let (_home, path) = written(&made);
            let key = ClientKey::read(&path, None, Algorithm::RS256).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            assert_eq!(key.id().len(), 43, "a thumbprint");
            let public = serde_json::to_string(key.public()).unwrap();
            assert!(!public.contains("\"d\""), "{public}");
        }
        let rsa =
            rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
                .unwrap();
        let (_home, path) = written(&rsa.serialize_pem());
        for algorithm in [Algorithm::RS256, Algorithm::PS256] {
            let key = ClientKey::read(&path, Some("mine".to_owned()), algorithm).unwrap();
            assert_eq!((key.algorithm(), key.id()), (algorithm, "mine"));
        }
    }

    #[test]
    fn what_cannot_sign_is_refused_without_being_shown() {
        let weak = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for text in ["", "nothing", weak, &key(&rcgen::PKCS_ECDSA_P384_SHA384)] {
            let (_home, path) = written(text);
            let said = ClientKey::read(&path, None, Algorithm::RS256).unwrap_err();
            assert!(said.message.contains("holds no private key"), "{said:?}");
        }
        let (_home, path) = written(&ed25519());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(ClientKey::read(&path, None, Algorithm::RS256).is_err());
    }
}
