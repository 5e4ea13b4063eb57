//! The public key of a device, as a browser states it: a JWK (RFC 7517) of one of two kinds.
//!
//! *Never*: a key of another kind, or of a length that is not in use; a private key.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// Length of a coordinate on P-256, in bytes.
const COORDINATE: usize = 32;
/// Lengths of an RSA modulus, in bytes: 2048 to 4096 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;
/// 65537, the public exponent of every key store that browsers use.
const EXPONENT: &str = "AQAB";

/// A JWK as it is read, before anything of it is believed.
#[derive(Debug, Deserialize)]
pub(super) struct StatedKey {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// The private part of either kind.
    d: Option<IgnoredAny>,
}

/// A public key that can verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PublicKey {
    /// On P-256, for ES256.
    Ec { x: String, y: String },
    /// For RS256.
    Rsa { n: String },
}

impl PublicKey {
    /// Reads a stated key; `None` for what is not one of the two kinds in full.
    pub(super) fn of(stated: StatedKey) -> Option<Self> {
        if stated.d.is_some() {
            return None;
        }
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        match (stated.kty.as_str(), stated.crv.as_deref()) {
            ("EC", Some("P-256")) => {
                let (x, y) = (stated.x?, stated.y?);
                let fits = |text: &str| bytes(text).is_some_and(|b| b.len() == COORDINATE);
                (fits(&x) && fits(&y)).then_some(Self::Ec { x, y })
            }
            ("RSA", None) => {
                let n = stated.n?;
                let modulus = bytes(&n)?;
                let fits = MODULUS.contains(&modulus.len()) && modulus.first() != Some(&0);
                (fits && stated.e.as_deref() == Some(EXPONENT)).then_some(Self::Rsa { n })
            }
            _ => None,
        }
    }

    /// The one algorithm that it verifies.
    pub(super) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ec { .. } => Algorithm::ES256,
            Self::Rsa { .. } => Algorithm::RS256,
        }
    }

    /// Its thumbprint (RFC 7638), SHA-256 in base64url.
    pub(super) fn thumbprint(&self) -> String {
        // The members have an order of their own, and their values need no escape.
        let members = match self {
            Self::Ec { x, y } => format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::Rsa { n } => format!(r#"{{"e":"{EXPONENT}","kty":"RSA","n":"{n}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()))
    }

    /// Whether `signature`, in base64url, is this key's under `signed`.
    pub(super) fn verifies(&self, signed: &str, signature: &str) -> bool {
        let verifier = match self {
            Self::Ec { x, y } => DecodingKey::from_ec_components(x, y),
            Self::Rsa { n } => DecodingKey::from_rsa_components(n, EXPONENT),
        };
        verifier
            .and_then(|key| {
                jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key, self.algorithm())
            })
            .unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Option<PublicKey> {
        PublicKey::of(serde_json::from_str(json).ok()?)
    }

    #[test]
    fn a_thumbprint_is_that_of_the_standard() {
        // RFC 7638 §3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = of(&format!(
            r#"{{"kty":"RSA","n":"{n}","e":"AQAB","alg":"RS256"}}"#
        ))
        .unwrap();
        assert_eq!(
            key.thumbprint(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        assert_eq!(key.algorithm(), Algorithm::RS256);
    }

    #[test]
    fn other_kinds_and_lengths_are_no_keys() {
        let of_bytes = |length: usize| URL_SAFE_NO_PAD.encode(vec![0x81_u8; length]);
        let (c, n) = (of_bytes(32), of_bytes(256));
        assert!(
            of(&format!(
                r#"{{"kty":"EC","crv":"P-256","x":"{c}","y":"{c}"}}"#
            ))
            .is_some()
        );
        assert!(of(&format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"}}"#)).is_some());
        let (short, long) = (of_bytes(128), of_bytes(513));
        let zero = URL_SAFE_NO_PAD.encode([vec![0], vec![0x81; 255]].concat());
        for json in [
            r#"{"kty":"oct","k":"c2VjcmV0"}"#.to_owned(),
            r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#.to_owned(),
            format!(r#"{{"kty":"EC","crv":"P-384","x":"{c}","y":"{c}"}}"#),
            format!(r#"{{"kty":"EC","x":"{c}","y":"{c}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{c}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{c}","y":"{short}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{c}=","y":"{c}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{c}","y":"{c}","d":"{c}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{c}","x":"{c}","y":"{c}"}}"#),
            format!(r#"{{"kty":"RSA","n":"{n}","e":"Aw"}}"#),
            format!(r#"{{"kty":"RSA","n":"{n}"}}"#),
            format!(r#"{{"kty":"RSA","crv":"P-256","n":"{n}","e":"AQAB"}}"#),
            format!(r#"{{"kty":"RSA","n":"{short}","e":"AQAB"}}"#),
            format!(r#"{{"kty":"RSA","n":"{long}","e":"AQAB"}}"#),
            format!(r#"{{"kty":"RSA","n":"{zero}","e":"AQAB"}}"#),
            "{}".to_owned(),
        ] {
            assert_eq!(of(&json), None, "{json}");
        }
    }
}
