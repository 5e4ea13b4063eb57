//! A user on the way through the second factor: kept in the store, bound to one browser, for a bounded time.
//!
//! *Never*: a flow that is found in another browser, on another host, or after it opened its session.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use webauthn_rs::prelude::{PasskeyAuthentication, PasskeyRegistration};

use super::codes::Fingerprint;
use super::totp::TotpKey;
use crate::identity::attempts::Attempt;
use crate::identity::origin::{Origin, Used};
use crate::identity::session::{Opening, SessionId};
use crate::identity::token::Token;
use crate::request::principal::{Proof, User};
use crate::secret::Secret;
use crate::store::{Durability, Replacement, Store, StoreError, Table};

/// What the gateway adds to `amr`: it verified a factor itself.
pub(in crate::identity) const MARK: &str = "chartgate";

/// The method that says so (OpenID EAP ACR Values, `phr`): only the gateway's own passkeys state it here.
pub(super) const PHISHING_RESISTANT: &str = "phr";

/// A user who is asked for the second factor.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Flow {
    /// Who the provider says it is.
    pub(super) user: User,
    /// The host and port that it takes place on.
    pub(super) authority: String,
    pub(super) expires: Timestamp,
    pub(super) aim: Aim,
    /// What was proven, once something was.
    pub(super) proven: Option<Proven>,
    /// The enrolment code that was shown: for whom, and what is kept of it.
    pub(super) invited: Option<(String, Fingerprint)>,
}

/// What follows from the second factor.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Aim {
    /// A session.
    SignIn(Box<Waiting>),
    /// The page of one's own authenticators, in the session of this id.
    Manage(String),
}

/// A sign-in that only lacks the second factor.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) attempt: Attempt,
    role_values: Vec<String>,
    issuer_session: Option<String>,
    id_token: String,
    refresh_token: Option<String>,
    stated: Proof,
    /// The session that a step-up continues.
    pub(super) continues: Option<String>,
    /// The issuer's `sub`, where its configuration identifies users by another claim.
    #[serde(default)]
    sub: Option<String>,
}

/// A second factor that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proven {
    /// For the record: `passkey`, `totp`, `recovery`.
    pub(super) method: String,
    /// For `amr`.
    pub(super) amr: Vec<String>,
    pub(super) at: Timestamp,
    /// The account's handle: after a reset there is another, and this does not count any more.
    pub(super) handle: Uuid,
}

/// One exchange with an authenticator.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ceremony {
    Assert(Box<PasskeyAuthentication>),
    Register {
        handle: Uuid,
        state: Box<PasskeyRegistration>,
    },
    Totp(TotpKey),
}

impl Waiting {
    pub(super) fn new(attempt: Attempt, opening: Opening) -> (User, Self) {
        let waiting = Self {
            attempt,
            role_values: opening.role_values,
            issuer_session: opening.issuer_session,
            id_token: opening.id_token.expose().clone(),
            refresh_token: opening.refresh_token.map(|token| token.expose().clone()),
            stated: opening.stated,
            continues: opening.continues.map(|id| id.to_string()),
            sub: opening.sub,
        };
        (opening.user, waiting)
    }

    /// What opens the session, in the name of `user`.
    pub(super) fn opening(self, user: User, continues: Option<SessionId>) -> (Attempt, Opening) {
        let opening = Opening {
            user,
            role_values: self.role_values,
            issuer_session: self.issuer_session,
            id_token: Secret::new(self.id_token),
            continues,
            sub: self.sub,
            origin: Origin::default(),
            used: Used::default(),
            ends: None,
            refresh_token: self.refresh_token.map(Secret::new),
            issued: None,
            stated: self.stated,
            nonce: self.attempt.nonce.clone(),
        };
        (self.attempt, opening)
    }
}

impl Flow {
    /// The user with what was proven added to what the provider stated.
    pub(super) fn user_with(&self, proven: &Proven) -> User {
        let mut user = self.user.clone();
        let proof = &mut user.proof;
        for method in proven.amr.iter().chain([&MARK.to_owned()]) {
            if !proof.amr.contains(method) {
                proof.amr.push(method.clone());
            }
        }
        proof.mfa = true;
        // SECURITY: of what the gateway itself saw, not of what the provider stated.
        proof.phishing_resistant |= proven.amr.iter().any(|method| method == PHISHING_RESISTANT);
        proof.auth_time = Some(proven.at);
        user
    }
}

/// The flows of a store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flows<'s>(pub(super) &'s Store);

impl Flows<'_> {
    pub(super) async fn start(
        self,
        (token, browser): (&Token, &Token),
        flow: &Flow,
    ) -> Result<(), StoreError> {
        let value = encode(flow)?;
        let key = flow_key(token, browser);
        // Relaxed: a crash in the middle of a sign-in costs a fresh sign-in.
        let relaxed = Durability::Relaxed;
        self.0
            .put(Table::Logins, &key, value.expose(), flow.expires, relaxed)
            .await
    }

    pub(super) async fn find(
        self,
        (token, browser): (&Token, &Token),
    ) -> Result<Option<Flow>, StoreError> {
        decode(self.0.get(Table::Logins, &flow_key(token, browser)).await)
    }

    /// Takes a flow out, once.
    pub(super) async fn take(
        self,
        (token, browser): (&Token, &Token),
    ) -> Result<Option<Flow>, StoreError> {
        decode(self.0.take(Table::Logins, &flow_key(token, browser)).await)
    }

    /// Changes a flow that is there still; says whether it was.
    pub(super) async fn change(
        self,
        (token, browser): (&Token, &Token),
        flow: &Flow,
    ) -> Result<bool, StoreError> {
        let value = encode(flow)?;
        let key = flow_key(token, browser);
        let relaxed = Durability::Relaxed;
        let replaced = self
            .0
            .replace(Table::Logins, &key, value.expose(), flow.expires, relaxed);
        Ok(match replaced.await? {
            Replacement::Replaced => true,
            Replacement::Absent => false,
        })
    }

    /// Keeps the gateway's side of a ceremony.
    pub(super) async fn begin(
        self,
        (ceremony, token, browser): (&Token, &Token, &Token),
        state: &Ceremony,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        let value = encode(state)?;
        let key = ceremony_key(ceremony, token, browser);
        let relaxed = Durability::Relaxed;
        self.0
            .put(Table::Logins, &key, value.expose(), expires, relaxed)
            .await
    }

    /// Takes a ceremony out, once: an answer that is sent again finds nothing to be judged by.
    pub(super) async fn end(
        self,
        (ceremony, token, browser): (&Token, &Token, &Token),
    ) -> Result<Option<Ceremony>, StoreError> {
        let key = ceremony_key(ceremony, token, browser);
        decode(self.0.take(Table::Logins, &key).await)
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Secret<Vec<u8>>, StoreError> {
    serde_json::to_vec(value)
        .map(Secret::new)
        .map_err(|error| StoreError::Unavailable(format!("a value cannot be encoded: {error}")))
}

fn decode<T: for<'de> Deserialize<'de>>(
    found: Result<Option<crate::store::Entry>, StoreError>,
) -> Result<Option<T>, StoreError> {
    match found {
        Ok(entry) => Ok(entry.and_then(|entry| serde_json::from_slice(entry.value.expose()).ok())),
        Err(error @ StoreError::Sealed { .. }) => {
            tracing::error!(%error, "a stored sign-in was passed over");
            Ok(None)
        }
        Err(error @ StoreError::Unavailable(_)) => Err(error),
    }
}

/// SECURITY: the browser is part of the key, as in `attempts`: an address that is carried to another browser opens
/// nothing there.
fn flow_key(token: &Token, browser: &Token) -> String {
    hex::encode(token.digest("second-factor", &[browser.bytes()]))
}

fn ceremony_key(ceremony: &Token, flow: &Token, browser: &Token) -> String {
    let bound: [&[u8]; 2] = [flow.bytes(), browser.bytes()];
    hex::encode(ceremony.digest("second-factor-ceremony", &bound))
}
