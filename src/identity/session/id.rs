//! What a session is called.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

use crate::identity::token::Token;

/// Fingerprint of a session: what stores, records and bindings use. Not the cookie, and not enough to forge one.
///
/// It stays the same when a step-up gives the session a new token, so that what belongs to the session goes on
/// belonging to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

impl SessionId {
    /// The fingerprint, lower-case hex.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The fingerprint of the session that starts with `token`.
    pub(in crate::identity) fn of(token: &Token) -> Self {
        let digest = token.digest("session-id", &[]);
        let (half, _) = digest.split_at_checked(16).unwrap_or((&[], &[]));
        Self(hex::encode(half))
    }

    /// A fingerprint that was kept beside an EMR session.
    pub(in crate::identity) fn known(fingerprint: &str) -> Self {
        Self(fingerprint.to_owned())
    }

    /// What stands for a session where an API client has none: the same for all its requests, so that what belongs to
    /// the client goes on belonging to it.
    pub(in crate::identity) fn of_client(api: &str, client: &str, subject: Option<&str>) -> Self {
        let mut context = Context::new(&SHA256);
        for part in ["client-session", api, client, subject.unwrap_or_default()] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part.as_bytes());
        }
        let digest = context.finish();
        let (half, _) = digest.as_ref().split_at_checked(16).unwrap_or((&[], &[]));
        Self(hex::encode(half))
    }

    /// A fingerprint for unit tests of other stages.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn for_test(fingerprint: &str) -> Self {
        Self(fingerprint.to_owned())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
