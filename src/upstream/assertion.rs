//! A signed, short-lived statement of who the user is, for EMRs that can check one (JWT, ES256).
//!
//! *Owns*: the signing key; each worker keeps the assertions that it may use again for a few seconds.
//! *Never*: an assertion that outlives its session's facts: another role, host or sign-in is another assertion.
//! *On failure*: at load [`AssertionError`]; afterwards the request is refused, never forwarded without one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use jiff::Timestamp;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::config;
use crate::identity::session::SessionId;
use crate::request::{Principal, RequestId, Role};

/// Why assertions cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    /// The key file cannot be read.
    #[error("{file}: {source}; name a readable PKCS#8 PEM file with a P-256 key")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The key is not one that ES256 can sign with.
    #[error(
        "{file}: {source}; make a P-256 key: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
    )]
    Key {
        /// The file.
        file: PathBuf,
        /// What went wrong.
        source: jsonwebtoken::errors::Error,
    },
}

/// Signs assertions for one EMR. Shared by all workers.
pub struct Signer {
    key: EncodingKey,
    header: Header,
    public: Jwk,
    audience: String,
    lifetime: Duration,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("kid", &self.header.kid)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Serialize)]
struct Claims<'a> {
    iss: String,
    sub: String,
    name: &'a str,
    roles: Vec<&'a str>,
    amr: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
}

impl Signer {
    /// Reads the key.
    ///
    /// # Errors
    /// [`AssertionError`] when the key cannot be read or used.
    pub fn load(config: &config::Assertion) -> Result<Self, AssertionError> {
        let pem = std::fs::read(&config.key)
            .map(Zeroizing::new)
            .map_err(|source| AssertionError::Unreadable {
                file: config.key.clone(),
                source,
            })?;
        let unusable = |source| AssertionError::Key {
            file: config.key.clone(),
            source,
        };
        let key = EncodingKey::from_ec_pem(&pem).map_err(unusable)?;
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(unusable)?;
        let kid = public
            .thumbprint(ThumbprintHash::SHA256)
            .map_err(unusable)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(kid);
        Ok(Self {
            key,
            header,
            public,
            audience: config.audience.clone(),
            lifetime: config.lifetime,
        })
    }

    /// The public key, for the JWKS document.
    #[must_use]
    pub const fn public(&self) -> &Jwk {
        &self.public
    }

    /// States who `principal` is, as `https://{authority}`.
    ///
    /// # Errors
    /// When the key cannot sign.
    fn sign(
        &self,
        principal: &Principal,
        authority: &str,
        id: RequestId,
        now: Timestamp,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let proof = principal.proof();
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let claims = Claims {
            iss: format!("https://{authority}"),
            sub: principal.id(),
            name: principal.account().unwrap_or_default(),
            roles: principal.roles().iter().map(Role::as_str).collect(),
            amr: &proof.amr,
            acr: proof.acr.as_deref(),
            auth_time: proof.auth_time.map(Timestamp::as_second),
            client_id: match principal {
                Principal::User(_) => None,
                Principal::Service(service) => Some(&service.client),
            },
            aud: &self.audience,
            iat: now.as_second(),
            exp: now.as_second().saturating_add(lifetime),
            jti: id.to_string(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key)
    }
}

/// The assertions that a worker has made and may send again: signing one costs as much as the rest of a request.
#[derive(Debug, Default)]
pub struct Recent(RefCell<HashMap<SessionId, Made>>);

#[derive(Debug)]
struct Made {
    at: Timestamp,
    principal: Principal,
    authority: String,
    value: HeaderValue,
}

impl Recent {
    /// Most sessions that are remembered.
    const MOST: usize = 4096;

    /// An assertion that is at most a sixth of its lifetime old.
    pub fn assertion(
        &self,
        signer: &Signer,
        (session, principal): (&SessionId, &Principal),
        authority: &str,
        id: RequestId,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let fresh = signer.lifetime.checked_div(6).unwrap_or_default();
        let mut recent = self.0.borrow_mut();
        if let Some(made) = recent.get(session) {
            let age = now.duration_since(made.at).unsigned_abs();
            if age < fresh && made.principal == *principal && made.authority == authority {
                return Some(made.value.clone());
            }
        }
        let token = signer.sign(principal, authority, id, now);
        let mut value = match token.map(HeaderValue::try_from) {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                tracing::error!(%error, "assertion is no header value");
                return None;
            }
            Err(error) => {
                tracing::error!(%error, "assertion cannot be signed");
                return None;
            }
        };
        value.set_sensitive(true);
        if recent.len() >= Self::MOST {
            recent.clear();
        }
        recent.insert(
            session.clone(),
            Made {
                at: now,
                principal: principal.clone(),
                authority: authority.to_owned(),
                value: value.clone(),
            },
        );
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::user;
    use jsonwebtoken::{DecodingKey, Validation};

    fn signer() -> (Signer, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("assertion.key");
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        let signer = Signer::load(&config::Assertion {
            header: http::HeaderName::from_static("x-chartgate-assertion"),
            audience: "emr".to_owned(),
            lifetime: Duration::from_mins(1),
            key,
        });
        (signer.unwrap(), directory)
    }

    #[test]
    fn an_assertion_verifies_against_the_published_key() {
        let (signer, _directory) = signer();
        let now = Timestamp::from_second(1_900_000_000).unwrap();
        let token = signer
            .sign(&user("Zoë Ärztin"), "emr.example", RequestId::new(), now)
            .unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["emr"]);
        validation.validate_exp = false;
        let key = DecodingKey::from_jwk(signer.public()).unwrap();
        let decoded = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).unwrap();
        assert_eq!(decoded.header.kid, signer.public().common.key_id);
        assert_eq!(decoded.claims["iss"], "https://emr.example");
        assert_eq!(decoded.claims["name"], "Zoë Ärztin");
        assert_eq!(decoded.claims["roles"][0], "physician");
        assert_eq!(decoded.claims["exp"], 1_900_000_060);
        assert_eq!(decoded.claims["acr"], "mfa");
    }

    #[test]
    fn an_assertion_is_sent_again_only_while_it_is_fresh_and_true() {
        let (signer, _directory) = signer();
        let recent = Recent::default();
        let session = SessionId::for_test("a1");
        let start = Timestamp::from_second(1_900_000_000).unwrap();
        let make = |name: &str, host: &str, after: i64| {
            let now = start + jiff::SignedDuration::from_secs(after);
            recent
                .assertion(
                    &signer,
                    (&session, &user(name)),
                    host,
                    RequestId::new(),
                    now,
                )
                .unwrap()
        };
        let first = make("a", "emr.example", 0);
        assert_eq!(make("a", "emr.example", 9), first);
        assert_ne!(make("a", "emr.example", 10), first);
        let again = make("a", "emr.example", 11);
        assert_ne!(make("b", "emr.example", 11), again);
        assert_ne!(make("b", "other.example", 11), again);
    }

    #[test]
    fn a_key_of_the_wrong_kind_names_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("wrong.key");
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        let config = config::Assertion {
            header: http::HeaderName::from_static("x-a"),
            audience: String::new(),
            lifetime: Duration::from_mins(1),
            key,
        };
        assert!(
            Signer::load(&config)
                .unwrap_err()
                .to_string()
                .contains("wrong.key")
        );
    }
}
