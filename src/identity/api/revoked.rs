//! Which tokens and clients are not accepted any more, as every request asks it.
//!
//! The durable truth is the room above that revokes (`operate`), which states the whole list here whenever it changes.
//! *Never*: half a list; a wait on the path of a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Client;
use crate::identity::Identity;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "what", content = "value", rename_all = "snake_case")]
pub enum Mark {
    /// One token: its `jti`, or the fingerprint on record (that of a certificate, too).
    Token(String),
    /// All tokens of a client: its client id, or `api|client id`.
    Client(String),
    /// All tokens for a subject: `sub`, or `api|sub`.
    Subject(String),
}

impl Mark {
    /// The value.
    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Self::Token(value) | Self::Client(value) | Self::Subject(value) => value,
        }
    }

    /// The word for its kind.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Client(_) => "client",
            Self::Subject(_) => "subject",
        }
    }
}

/// What is revoked, and until when; nothing is for good.
pub type RevokedTokens = BTreeMap<Mark, Option<Timestamp>>;

/// The list in force.
#[derive(Debug, Default)]
pub(super) struct Revoked(ArcSwap<RevokedTokens>);

impl Revoked {
    /// Whether a client's credential is revoked at `now`.
    pub(super) fn holds(&self, client: &Client, now: Timestamp) -> bool {
        let revoked = self.0.load();
        if revoked.is_empty() {
            return false;
        }
        let Client {
            issuer,
            name,
            subject,
            credential,
            token_id,
            ..
        } = client;
        let subject = subject.as_ref().unwrap_or(name);
        let within = |name: &str| format!("{issuer}|{name}");
        let token = token_id.iter().chain([&credential.fingerprint]);
        let mut marks = token
            .map(|id| Mark::Token(id.clone()))
            .chain([name.clone(), within(name)].map(Mark::Client))
            .chain([subject.clone(), within(subject)].map(Mark::Subject));
        marks.any(|mark| {
            let until = revoked.get(&mark);
            until.is_some_and(|until| until.is_none_or(|until| now < until))
        })
    }

    pub(super) fn replace(&self, tokens: RevokedTokens) {
        self.0.store(Arc::new(tokens));
    }
}

impl Identity {
    /// Puts this list of revoked tokens in force, whole, for every following request.
    pub fn revoke_tokens(&self, tokens: RevokedTokens) {
        self.apis().revoke(tokens);
    }
}
