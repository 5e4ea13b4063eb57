//! The provider's public keys (JWKS, RFC 7517), as far as they can verify a signature here.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

use super::jws::Jws;

/// Most keys that are kept of one set.
const MAX_KEYS: usize = 64;

/// A set of public keys.
#[derive(Debug, Default)]
pub(in crate::identity) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    verifies: Verifies,
    verifier: DecodingKey,
}

/// What kind of signature a key can verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verifies {
    /// Several algorithms.
    Rsa,
    /// The one of its curve.
    Only(Algorithm),
}

/// What verifying a signature came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::identity) enum Verdict {
    Genuine,
    /// A key that fits was tried and the signature is not its.
    Forged,
    /// No key fits: the set may be out of date.
    NoKey,
}

impl KeySet {
    /// Reads a JWKS. Keys that are not understood are passed over: providers publish keys for other purposes too.
    pub(in crate::identity) fn parse(bytes: &[u8]) -> Option<Self> {
        let set: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let keys = set.get("keys")?.as_array()?;
        Some(Self(
            keys.iter()
                .filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok())
                .filter_map(|jwk| Key::read(&jwk))
                .take(MAX_KEYS)
                .collect(),
        ))
    }

    /// Verifies a signature with the key that the token names, or with each that fits if it names none.
    pub(in crate::identity) fn verify(&self, jws: &Jws<'_>) -> Verdict {
        let mut verdict = Verdict::NoKey;
        for key in self.0.iter().filter(|key| key.fits(jws)) {
            match jsonwebtoken::crypto::verify(
                jws.signature,
                jws.signed.as_bytes(),
                &key.verifier,
                jws.algorithm,
            ) {
                Ok(true) => return Verdict::Genuine,
                Ok(false) | Err(_) => verdict = Verdict::Forged,
            }
        }
        // Without a name, the key that signed may be one that is not in the set yet.
        if jws.key_id.is_none() && verdict == Verdict::Forged {
            return Verdict::NoKey;
        }
        verdict
    }
}

impl Key {
    fn read(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let for_signatures = match &common.public_key_use {
            None | Some(PublicKeyUse::Signature) => true,
            Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)) => false,
        };
        let may_verify = common
            .key_operations
            .as_ref()
            .is_none_or(|ops| ops.contains(&KeyOperations::Verify));
        if !for_signatures || !may_verify {
            return None;
        }
        let verifies = verifies(&jwk.algorithm)?;
        Some(Self {
            id: common.key_id.clone(),
            algorithm: match common.key_algorithm {
                None => None,
                Some(named) => Some(Algorithm::try_from(named).ok()?),
            },
            verifies,
            verifier: DecodingKey::from_jwk(jwk).ok()?,
        })
    }

    fn fits(&self, jws: &Jws<'_>) -> bool {
        let named = jws
            .key_id
            .as_ref()
            .is_none_or(|id| self.id.as_ref() == Some(id));
        let algorithm = jws.algorithm;
        let family = match self.verifies {
            Verifies::Only(own) => own == algorithm,
            Verifies::Rsa => AlgorithmFamily::Rsa.algorithms().contains(&algorithm),
        };
        named && family && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

/// What the key can verify here, if anything.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "foreign and non-exhaustive; what is not listed verifies nothing"
)]
fn verifies(parameters: &AlgorithmParameters) -> Option<Verifies> {
    let curve = match parameters {
        AlgorithmParameters::RSA(_) => return Some(Verifies::Rsa),
        AlgorithmParameters::EllipticCurve(ec) => &ec.curve,
        AlgorithmParameters::OctetKeyPair(okp) => &okp.curve,
        // SECURITY: a symmetric key in a public set is known to everyone.
        _ => return None,
    };
    match curve {
        EllipticCurve::P256 => Some(Verifies::Only(Algorithm::ES256)),
        EllipticCurve::P384 => Some(Verifies::Only(Algorithm::ES384)),
        EllipticCurve::Ed25519 => Some(Verifies::Only(Algorithm::EdDSA)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::jws::Kind;
    use super::super::test_provider::{SigningKey, claims};
    use super::*;
    use serde_json::json;

    fn set(keys: &serde_json::Value) -> KeySet {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn verify(set: &KeySet, token: &str) -> Verdict {
        let jws = Jws::parse(token, Kind::Id, &[Algorithm::ES256]).unwrap();
        set.verify(&jws)
    }

    #[test]
    fn a_signature_is_verified_by_the_key_that_is_named() {
        let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
        let both = set(&json!([a.public(), b.public()]));
        assert_eq!(verify(&both, &a.sign(&claims())), Verdict::Genuine);
        assert_eq!(verify(&both, &b.sign(&claims())), Verdict::Genuine);
        let renamed = b.named("a");
        assert_eq!(verify(&both, &renamed.sign(&claims())), Verdict::Forged);
        let unknown = SigningKey::new("c");
        assert_eq!(verify(&both, &unknown.sign(&claims())), Verdict::NoKey);
    }

    #[test]
    fn keys_for_other_purposes_are_passed_over() {
        let key = SigningKey::new("a");
        let with = |name: &str, value: serde_json::Value| {
            let mut jwk = key.public();
            jwk[name] = value;
            jwk
        };
        let keys = json!([
            {"kty": "oct", "kid": "a", "k": "AAAA"},
            {"kty": "unheard-of", "kid": "a"},
            "not a key",
            with("use", json!("enc")),
            with("key_ops", json!(["sign"])),
            with("alg", json!("ES384")),
            with("alg", json!("RSA-OAEP")),
            with("crv", json!("P-521")),
        ]);
        let token = key.sign(&claims());
        assert_eq!(verify(&set(&keys), &token), Verdict::NoKey);
        let more = json!([with("use", json!("enc")), key.public()]);
        assert_eq!(verify(&set(&more), &token), Verdict::Genuine);
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for bytes in ["", "{}", "[]", r#"{"keys":{}}"#, "null"] {
            assert!(KeySet::parse(bytes.as_bytes()).is_none());
        }
        assert!(KeySet::parse(br#"{"keys":[]}"#).is_some());
    }
}
