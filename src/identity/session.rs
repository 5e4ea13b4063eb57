//! A gateway session: opaque to the browser, bound to one sign-in.

use std::fmt;

/// Fingerprint of a session: what stores, records and bindings use. Not the cookie, and not enough to forge one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

impl SessionId {
    /// The fingerprint, lower-case hex.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fingerprint for unit tests of other stages.
    #[cfg(test)]
    pub(crate) fn for_test(fingerprint: &str) -> Self {
        Self(fingerprint.to_owned())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
