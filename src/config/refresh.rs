//! `[identity.issuer.refresh]` and `[identity.issuer.logout]`: how long what a provider said is believed, and which
//! sign-out notices are.

use std::time::Duration;

/// Reading roles, name and second factor again with the session's refresh token. `[identity.issuer.refresh]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// A reading that is older is read again before the next request is decided. Default 10 min.
    pub every: Duration,
    /// For so long after that a session goes on whose provider does not answer; then it ends. Default 30 min.
    pub grace: Duration,
}

/// What is tolerated in this provider's logout tokens. `[identity.issuer.logout]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogoutTolerance {
    /// Whether `typ` must be `logout+jwt` (OIDC Back-Channel Logout 1.0 §2.4 recommends it).
    pub typ: LogoutType,
    /// Whether a token without `exp` counts, as drafts before the final specification had it.
    pub expiry: LogoutExpiry,
}

/// `require_typ`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogoutType {
    /// `logout+jwt`, `JWT` or none. Default.
    #[default]
    Any,
    /// `logout+jwt` only.
    Stated,
}

/// `accept_missing_exp`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogoutExpiry {
    /// A token must state when it expires. Default.
    #[default]
    Stated,
    /// A token without `exp` counts for 2 minutes after `iat`.
    MayBeMissing,
}
