//! `[identity.emergency]`: sealed accounts for when the identity provider is down.

use std::time::Duration;

use ipnet::IpNet;

/// The name that stands for the issuer of their users. No identity provider may have it.
pub const ISSUER: &str = "emergency";

/// Sealed accounts. `[identity.emergency]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emergency {
    /// The networks from which they may be used. Default: all.
    pub networks: Vec<IpNet>,
    /// How long a session lasts at most. Default 4 h.
    pub lasts: Duration,
    /// How long an account can be used after its envelopes were opened; then it is sealed anew. Default 24 h.
    pub usable_for: Duration,
    /// How often each account is tested. Default 183 d.
    pub test_every: Duration,
}

impl Default for Emergency {
    fn default() -> Self {
        Self {
            networks: Vec::new(),
            lasts: Duration::from_hours(4),
            usable_for: Duration::from_hours(24),
            test_every: Duration::from_hours(183 * 24),
        }
    }
}
