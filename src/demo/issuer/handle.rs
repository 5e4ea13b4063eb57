//! Lets whoever started the provider act on it while it runs.

use std::sync::Arc;

use super::{IssuerError, Misbehave, Retired, backchannel, provider::Provider};

/// Tells the provider at run time to do things that no browser asks for.
#[derive(Debug, Clone)]
pub struct IssuerHandle {
    provider: Arc<Provider>,
}

impl IssuerHandle {
    pub(super) fn new(provider: Arc<Provider>) -> Self {
        Self { provider }
    }

    /// Does this wrong from now on, until told otherwise.
    pub fn misbehave(&self, how: Misbehave) {
        *self.provider.misbehaviour() = how;
    }

    /// Signs with a new key from now on.
    ///
    /// # Errors
    ///
    /// When the random source fails.
    pub fn rotate_keys(&self, retired: Retired) -> Result<(), IssuerError> {
        self.provider.keys().rotate(retired)
    }

    /// A token of this type (`typ`) that says these claims, signed like every other token of the provider.
    ///
    /// # Errors
    ///
    /// When it cannot be signed.
    pub fn sign(&self, kind: &str, claims: &serde_json::Value) -> Result<String, IssuerError> {
        self.provider.keys().current().sign(kind, claims)
    }

    /// Changes the groups of a user, as tokens state them from now on.
    pub fn change_groups(&self, user: &str, groups: &[&str]) {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.provider.change_groups(user, groups);
    }

    /// Takes back a user's refresh tokens, and tells nobody.
    pub fn revoke_refresh_tokens_of(&self, user: &str) {
        self.provider.families().revoke(user);
    }

    /// How often a refresh token was redeemed, and how often one was presented that had been redeemed before.
    #[must_use]
    pub fn refreshes(&self) -> (u64, u64) {
        self.provider.families().counts()
    }

    /// The `sid` of a user's sessions.
    #[must_use]
    pub fn sids_of(&self, user: &str) -> Vec<String> {
        self.provider.sids_of(user)
    }

    /// Ends all sessions of a user as an administrator would, and tells the clients.
    pub async fn end_sessions_of(&self, user: &str) {
        let ended = self
            .provider
            .end_sessions(|_, session| session.user == user);
        backchannel::announce(&self.provider, ended).await;
    }
}
