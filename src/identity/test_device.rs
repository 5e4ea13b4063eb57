//! A browser's device for unit tests: a key, and proofs of it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The key of a device.
pub(super) enum Device {
    Ec(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

impl Device {
    pub(super) fn new() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(super) fn with_rsa() -> Self {
        Self::Rsa(rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap())
    }

    pub(super) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    pub(super) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Self::Rsa(pair) => {
                let modulus = pair.public_key().modulus();
                let n = text(modulus.big_endian_without_leading_zero());
                json!({ "kty": "RSA", "n": n, "e": "AQAB" })
            }
        }
    }

    /// A token with this header and payload.
    pub(super) fn sign(&self, header: &Value, payload: &Value) -> String {
        let text = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", text(header), text(payload));
        let signature = match self {
            Self::Ec(pair) => {
                let random = SystemRandom::new();
                let signature = pair.sign(&random, signed.as_bytes()).unwrap();
                signature.as_ref().to_vec()
            }
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &random,
                    signed.as_bytes(),
                    &mut signature,
                )
                .unwrap();
                signature
            }
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What registers this key in answer to a challenge.
    pub(super) fn registration(&self, challenge: &str) -> String {
        let header = json!({ "alg": self.algorithm(), "typ": "dbsc+jwt", "jwk": self.jwk() });
        self.sign(&header, &json!({ "jti": challenge }))
    }

    /// What proves it.
    pub(super) fn proof(&self, challenge: &str) -> String {
        let header = json!({ "alg": self.algorithm(), "typ": "dbsc+jwt" });
        self.sign(&header, &json!({ "jti": challenge }))
    }
}
