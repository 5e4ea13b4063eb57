//! A DBSC proof: a JWT that a browser signs with the key of its device, in the field `Secure-Session-Response`.
//!
//! *Never*: an algorithm other than the two; a key from anywhere but the registration; more than one reading.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::key::{PublicKey, StatedKey};

/// The field that a proof comes in.
pub(super) const RESPONSE: HeaderName = HeaderName::from_static("secure-session-response");
/// The field that says which session is to be proven.
pub(super) const SESSION: HeaderName = HeaderName::from_static("sec-secure-session-id");

/// The longest proof that is read: one with an RSA key of 4096 bits takes two kilobytes.
const MAX_BYTES: usize = 8 * 1024;

/// Why something is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProofError {
    #[error("the field occurs twice, or is no string")]
    Field,
    #[error("it is no signed JWT in compact form, or too long")]
    Malformed,
    #[error("its algorithm is neither ES256 nor RS256")]
    Algorithm,
    #[error("it is a token of another type")]
    Type,
    #[error("it demands an extension")]
    Critical,
    #[error("its key is not one that is accepted")]
    Key,
    #[error("it states no key to register")]
    NoKey,
    #[error("it states a key where one is registered")]
    KeyStated,
    #[error("its signature is not that of the key")]
    Signature,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    jwk: Option<StatedKey>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Payload {
    jti: String,
}

/// A proof taken apart, its signature not verified yet.
#[derive(Debug)]
pub(super) struct Proof<'p> {
    algorithm: Algorithm,
    key: Option<PublicKey>,
    challenge: String,
    signed: &'p str,
    signature: &'p str,
}

impl<'p> Proof<'p> {
    /// The proof that a request brings; `None` if it brings none.
    pub(super) fn of(headers: &'p HeaderMap) -> Result<Option<Self>, ProofError> {
        string(headers, &RESPONSE)?.map(Self::parse).transpose()
    }

    pub(super) fn parse(token: &'p str) -> Result<Self, ProofError> {
        if token.len() > MAX_BYTES {
            return Err(ProofError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(ProofError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(ProofError::Malformed)?;
        let header: Header = read(header)?;
        // SECURITY: `none`, HMAC with the public key as secret, and all that is not offered (RFC 8725 §3.1).
        let algorithm = match header.alg.as_str() {
            "ES256" => Algorithm::ES256,
            "RS256" => Algorithm::RS256,
            _other => return Err(ProofError::Algorithm),
        };
        if header.typ != "dbsc+jwt" {
            return Err(ProofError::Type);
        }
        if header.crit.is_some() {
            return Err(ProofError::Critical);
        }
        let key = header
            .jwk
            .map(|stated| PublicKey::of(stated).ok_or(ProofError::Key))
            .transpose()?;
        let payload: Payload = read(payload)?;
        Ok(Self {
            algorithm,
            key,
            challenge: payload.jti,
            signed,
            signature,
        })
    }

    /// The challenge that it answers, by its own word.
    pub(super) fn challenge(&self) -> &str {
        &self.challenge
    }

    /// The key that it states and is signed with.
    pub(super) fn registers(self) -> Result<PublicKey, ProofError> {
        let Some(key) = &self.key else {
            return Err(ProofError::NoKey);
        };
        self.signed_by(key)?;
        self.key.ok_or(ProofError::NoKey)
    }

    /// Whether it is signed with the key that was registered.
    pub(super) fn proves(&self, key: &PublicKey) -> Result<(), ProofError> {
        if self.key.is_some() {
            return Err(ProofError::KeyStated);
        }
        self.signed_by(key)
    }

    fn signed_by(&self, key: &PublicKey) -> Result<(), ProofError> {
        if key.algorithm() != self.algorithm {
            return Err(ProofError::Algorithm);
        }
        let is_genuine = key.verifies(self.signed, self.signature);
        is_genuine.then_some(()).ok_or(ProofError::Signature)
    }
}

fn read<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, ProofError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or(ProofError::Malformed)
}

/// The text of a field that is a string (RFC 9651 §3.3.3), its parameters left aside. Browsers also send it without the
/// quotes; what may stand in it needs no escape.
pub(super) fn string<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, ProofError> {
    let mut fields = headers.get_all(name).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return Err(ProofError::Field);
    }
    let text = field.to_str().ok().ok_or(ProofError::Field)?.trim();
    let (text, is_whole) = match text.strip_prefix('"') {
        Some(quoted) => {
            let (text, rest) = quoted.split_once('"').ok_or(ProofError::Field)?;
            (text, rest.is_empty() || rest.starts_with(';'))
        }
        None => (text.split(';').next().unwrap_or(text), true),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !is_whole || text.is_empty() || !text.chars().all(is_plain) {
        return Err(ProofError::Field);
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::identity::test_device::Device;

    #[test]
    fn a_key_registers_itself_and_proves_itself() {
        for device in [Device::new(), Device::with_rsa()] {
            let token = device.registration("c1");
            let proof = Proof::parse(&token).unwrap();
            assert_eq!(proof.challenge(), "c1");
            let key = proof.registers().unwrap();
            let token = device.proof("c2");
            let proof = Proof::parse(&token).unwrap();
            assert_eq!(proof.proves(&key), Ok(()));
            // Nobody registers with what proves, or the other way round.
            assert_eq!(proof.registers(), Err(ProofError::NoKey));
            let token = device.registration("c3");
            let proof = Proof::parse(&token).unwrap();
            assert_eq!(proof.proves(&key), Err(ProofError::KeyStated));
        }
    }

    #[test]
    fn other_algorithms_are_not_taken() {
        let device = Device::new();
        for alg in [
            "none", "None", "", "HS256", "ES384", "PS256", "EdDSA", "es256",
        ] {
            let header = json!({ "alg": alg, "typ": "dbsc+jwt", "jwk": device.jwk() });
            let token = device.sign(&header, &json!({ "jti": "c" }));
            let refused = Proof::parse(&token).unwrap_err();
            assert_eq!(refused, ProofError::Algorithm, "{alg}");
        }
        // Unsigned, and signed by whoever knows the public key.
        let header = json!({ "alg": "none", "typ": "dbsc+jwt" });
        let token = device.sign(&header, &json!({ "jti": "c" }));
        let bare = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!(Proof::parse(&bare).unwrap_err(), ProofError::Algorithm);
        // The algorithm of one kind with a key of the other.
        let (ec, rsa) = (Device::new(), Device::with_rsa());
        for (says, key) in [(&ec, &rsa), (&rsa, &ec)] {
            let header = json!({ "alg": says.algorithm(), "typ": "dbsc+jwt", "jwk": key.jwk() });
            let token = says.sign(&header, &json!({ "jti": "c" }));
            let refused = Proof::parse(&token).unwrap().registers();
            assert_eq!(refused, Err(ProofError::Algorithm));
        }
    }

    #[test]
    fn a_signature_of_another_key_proves_nothing() {
        let (own, other) = (Device::new(), Device::new());
        let token = own.registration("c");
        let key = Proof::parse(&token).unwrap().registers().unwrap();
        let forged = other.proof("c");
        let proof = Proof::parse(&forged).unwrap();
        assert_eq!(proof.proves(&key), Err(ProofError::Signature));
        let header = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": own.jwk() });
        let forged = other.sign(&header, &json!({ "jti": "c" }));
        let refused = Proof::parse(&forged).unwrap().registers();
        assert_eq!(refused, Err(ProofError::Signature));
        // A byte of what was signed.
        let (head, rest) = token.split_once('.').unwrap();
        let payload = URL_SAFE_NO_PAD.encode(json!({ "jti": "d" }).to_string());
        let moved = format!("{head}.{payload}.{}", rest.split_once('.').unwrap().1);
        let refused = Proof::parse(&moved).unwrap().registers();
        assert_eq!(refused, Err(ProofError::Signature));
    }

    #[test]
    fn other_tokens_extensions_and_odd_forms_are_refused() {
        let device = Device::new();
        let jwk = device.jwk();
        let of = |header: serde_json::Value, payload: serde_json::Value| {
            let token = device.sign(&header, &payload);
            Proof::parse(&token).err()
        };
        let jti = json!({ "jti": "c" });
        for typ in ["JWT", "dpop+jwt", "application/dbsc+jwt", ""] {
            let header = json!({ "alg": "ES256", "typ": typ, "jwk": jwk });
            assert_eq!(of(header, jti.clone()), Some(ProofError::Type), "{typ}");
        }
        let critical = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk, "crit": ["b64"] });
        assert_eq!(of(critical, jti.clone()), Some(ProofError::Critical));
        let key = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": { "kty": "oct", "k": "AA" } });
        assert_eq!(of(key, jti.clone()), Some(ProofError::Key));
        let good = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk });
        for payload in [json!({}), json!({ "jti": 1 }), json!([]), json!("c")] {
            assert_eq!(of(good.clone(), payload), Some(ProofError::Malformed));
        }
        for token in ["", ".", "..", "a.b.c", "a.b.c.d", &"A".repeat(9_000)] {
            let refused = Proof::parse(token).err();
            assert_eq!(refused, Some(ProofError::Malformed), "{token:.20}");
        }
    }

    fn field(values: &[&str]) -> Result<Option<String>, ProofError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                SESSION,
                http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        string(&headers, &SESSION).map(|text| text.map(ToOwned::to_owned))
    }

    #[test]
    fn a_field_has_one_reading() {
        assert_eq!(field(&[]), Ok(None));
        for one in ["abc", "\"abc\"", " \"abc\" ", "\"abc\";a=b", "abc;a=b"] {
            assert_eq!(field(&[one]), Ok(Some("abc".to_owned())), "{one}");
        }
        for odd in [
            "",
            "\"\"",
            "\"abc",
            "\"abc\"x",
            "\"a\\\"b\"",
            "a b",
            "a, b",
            "ä",
            "\"a\", \"b\"",
        ] {
            assert_eq!(field(&[odd]), Err(ProofError::Field), "{odd}");
        }
        assert_eq!(field(&["a", "a"]), Err(ProofError::Field));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_refused(token in "\\PC{0,80}|[A-Za-z0-9_.-]{0,80}") {
            let _ = Proof::parse(&token);
            let _ = field(&[token.as_str()]);
        }
    }
}
