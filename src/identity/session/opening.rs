//! What a session is opened with.

use jiff::Timestamp;

use super::SessionId;
use crate::identity::origin::{Origin, Used};
use crate::request::principal::{Proof, User};
use crate::secret::Secret;

/// What is known of a session when it is opened.
#[derive(Debug, Clone)]
pub(in crate::identity) struct Opening {
    /// Who signed in. `roles` is empty: roles are mapped from `role_values` whenever the session is used.
    pub(in crate::identity) user: User,
    /// The values of the issuer's role claim.
    pub(in crate::identity) role_values: Vec<String>,
    /// The issuer's own session (`sid`), if it named one.
    pub(in crate::identity) issuer_session: Option<String>,
    /// The ID token, for `id_token_hint` at sign-out.
    pub(in crate::identity) id_token: Secret<String>,
    /// The session that a step-up continues.
    pub(in crate::identity) continues: Option<SessionId>,
    /// Where it is opened.
    pub(in crate::identity) origin: Origin,
    /// What the session that a step-up continues was used for.
    pub(in crate::identity) used: Used,
    /// When it ends at the latest, where that is not the longest duration from now.
    pub(in crate::identity) ends: Option<Timestamp>,
    /// The issuer's `sub`, where its configuration identifies users by another claim.
    pub(in crate::identity) sub: Option<String>,
    /// When the provider issued its token, by the provider's own clock.
    pub(in crate::identity) issued: Option<Timestamp>,
    /// What the provider itself stated of this sign-in; `user.proof` is what counts.
    pub(in crate::identity) stated: Proof,
    /// What renews the tokens, if the provider gave it.
    pub(in crate::identity) refresh_token: Option<Secret<String>>,
    /// The nonce of the sign-in, which a renewed ID token may repeat.
    pub(in crate::identity) nonce: String,
}
