//! Signed access tokens (RFC 9068).
//!
//! *Never*: a claim that is looked at, but for choosing who judges, before the signature was verified.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::ApiError;
use super::claims::{Expected, Form, Granted, granted};
use super::issuer::{IssuerKeys, KeysError};
use crate::clock::SharedClock;
use crate::config::api::{Api, ApiClaims, JwtApi};
use crate::identity::oidc::jws::{self, Algorithm, Jws, Kind};
use crate::request::principal::CredentialKind;

/// Judges the tokens of one issuer.
#[derive(Debug)]
pub(super) struct Jwt {
    keys: IssuerKeys,
    algorithms: Vec<Algorithm>,
    kind: Kind,
    audience: String,
    claims: ApiClaims,
    max_age: Duration,
    leeway: Duration,
    clock: SharedClock,
}

const KIND: Option<CredentialKind> = Some(CredentialKind::Jwt);

impl Jwt {
    pub(super) fn new(
        settings: &JwtApi,
        api: &Api,
        leeway: Duration,
        clock: &SharedClock,
    ) -> Result<Self, String> {
        let algorithms: Vec<Algorithm> = settings
            .algorithms
            .iter()
            .map(|name| {
                let forgeable = || format!("tokens must not be signed with `{name}`");
                jws::algorithm(name).ok_or_else(forgeable)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            keys: IssuerKeys::new(settings, api.ca.as_deref(), clock.clone())?,
            algorithms,
            kind: if settings.accept_plain_typ {
                Kind::PlainAccess
            } else {
                Kind::Access
            },
            audience: api.audience.clone(),
            claims: api.claims.clone(),
            max_age: settings.max_age,
            leeway,
            clock: clock.clone(),
        })
    }

    /// Whether this is the issuer that a token names.
    pub(super) fn is_of(&self, named: &str) -> bool {
        self.keys.is_named(named)
    }

    /// Keeps the keys fresh; never ends.
    pub(super) async fn keep_fresh(&self, api: &str) {
        self.keys.keep_fresh(api).await;
    }

    /// Judges a token.
    pub(super) async fn judge(&self, token: &str) -> Result<Granted, ApiError> {
        let refused = |why| ApiError::Refused(KIND, why);
        let jws = Jws::parse(token, self.kind, &self.algorithms).map_err(|error| {
            tracing::debug!(%error, "an access token cannot be read");
            refused("the token's form, type or algorithm is not accepted")
        })?;
        let issuer = self.keys.verify(&jws).await.map_err(|error| match error {
            KeysError::Forged => refused("the signature is not the issuer's"),
            KeysError::NoKey => refused("no published key fits the token"),
            KeysError::Unavailable => {
                ApiError::Unavailable(KIND, "the issuer's keys cannot be read")
            }
        })?;
        let claims: Value = serde_json::from_slice(&jws.payload)
            .ok()
            .ok_or(refused("the claims are no JSON"))?;
        let named = claims.get("iss").and_then(Value::as_str);
        if !named.is_some_and(|named| issuer.is(named)) {
            return Err(refused("the token is from another issuer"));
        }
        let expected = Expected {
            audience: &self.audience,
            claims: &self.claims,
            now: self.clock.now(),
            leeway: self.leeway,
            form: Form::Signed {
                max_age: self.max_age,
                is_plain: self.kind == Kind::PlainAccess,
            },
        };
        granted(&claims, &expected).map_err(refused)
    }
}

/// The issuer that a token names. It proves nothing: anyone can name any.
pub(super) fn named_issuer(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_header, payload) = (parts.next()?, parts.next()?);
    let (_signature, None) = (parts.next()?, parts.next()) else {
        return None;
    };
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}
