//! Where a refusal leads on to, beyond what its code says: a stronger sign-in, the page that was asked for.

use super::demand::{Demand, Shortfall};

/// Where a refusal leads on to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Onward {
    /// What sign-in is demanded, where one is.
    pub demand: Option<Demand>,
    /// What the last sign-in lacked of it.
    pub lack: Option<Shortfall>,
    /// The `acr_values` that the issuer is asked for to meet it, spelled as that issuer spells them.
    pub acr_values: Vec<String>,
    /// The page on this host that the sign-in was for, and how to get there.
    pub back: Option<Back>,
    /// What becomes of the session cookie that was presented.
    pub cookie: CookieFate,
    /// Whether there are sealed accounts to sign in with while the provider is down.
    pub emergency: bool,
}

/// The way back to the page that a sign-in was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// The browser goes on to sign in again by itself.
    AtOnce(String),
    /// The page leads there.
    Link(String),
}

/// What becomes of a session cookie that opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CookieFate {
    /// It is cleared.
    #[default]
    Cleared,
    /// It stays: the browser has a newer one by now, which clearing would take away.
    Stays,
}
