//! Makes, publishes and rotates the keys that sign tokens.
//!
//! *Owns*: the current key and the one before it. Keys live as long as the process.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use serde::Serialize;

use super::IssuerError;
use crate::demo::random;

/// What becomes of the key that signed until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retired {
    /// It stays in the key set, as on a planned rotation.
    Published,
    /// It leaves the key set, as after a compromise.
    Withdrawn,
}

/// A P-256 key with its public half and identifier.
pub(super) struct SigningKey {
    private: EncodingKey,
    public: Jwk,
    id: String,
}

impl SigningKey {
    /// A new random key.
    pub(super) fn generate() -> Result<Self, IssuerError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|pair| pair.to_pkcs8v1())
            .map_err(|source| IssuerError::Key { source })?;
        let private = EncodingKey::from_ec_der(pair.as_ref());
        let id: String = random::token()?.chars().take(16).collect();
        let mut public = Jwk::from_encoding_key(&private, Algorithm::ES256)?;
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        public.common.key_id = Some(id.clone());
        Ok(Self {
            private,
            public,
            id,
        })
    }

    /// Signs claims into a token of this type.
    pub(super) fn sign(&self, kind: &str, claims: &impl Serialize) -> Result<String, IssuerError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(kind.to_owned());
        header.kid = Some(self.id.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.private)?)
    }
}

/// The keys of the provider.
pub(super) struct KeyRing {
    current: SigningKey,
    previous: Option<SigningKey>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("KeyRing")
            .field("current", &self.current.id)
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    pub(super) fn generate() -> Result<Self, IssuerError> {
        Ok(Self {
            current: SigningKey::generate()?,
            previous: None,
        })
    }

    pub(super) fn current(&self) -> &SigningKey {
        &self.current
    }

    /// Signs with a new key from now on.
    pub(super) fn rotate(&mut self, retired: Retired) -> Result<(), IssuerError> {
        let old = std::mem::replace(&mut self.current, SigningKey::generate()?);
        self.previous = match retired {
            Retired::Published => Some(old),
            Retired::Withdrawn => None,
        };
        Ok(())
    }

    /// The public halves.
    pub(super) fn published(&self) -> JwkSet {
        JwkSet {
            keys: std::iter::once(&self.current)
                .chain(&self.previous)
                .map(|key| key.public.clone())
                .collect(),
        }
    }

    /// The public key with this identifier.
    pub(super) fn verifier(&self, id: &str) -> Option<DecodingKey> {
        let key = std::iter::once(&self.current)
            .chain(&self.previous)
            .find(|key| key.id == id)?;
        DecodingKey::from_jwk(&key.public).ok()
    }
}
