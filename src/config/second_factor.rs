//! `[identity.second_factor]`: the gateway's own second factor.

use std::time::Duration;

/// The own second factor, for users whose provider proves none. `[identity.second_factor]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFactor {
    /// Names of the issuers whose users get it.
    pub issuers: Vec<String>,
    /// What may be enrolled and used. Default: both.
    pub methods: Vec<FactorMethod>,
    /// What authenticators show as the site. Default `EMR`.
    pub rp_name: String,
    /// The domain that passkeys belong to (`WebAuthn`'s RP ID). Default: the host that they were enrolled on.
    pub rp_id: Option<String>,
    /// Who may enrol a first authenticator. Default: who was invited.
    pub enrolment: Enrolment,
    /// How long an enrolment code is good for. Default 72 h.
    pub invitation: Duration,
    /// Wrong tries of one account, of whatever kind, after which it is locked. Default 5.
    pub max_failures: u32,
    /// How long the first lock lasts; each further one without a success in between lasts twice as long, up to a day.
    /// Default 15 min.
    pub lockout: Duration,
    /// Most authenticators of one account. Default 10.
    pub max_authenticators: usize,
}

/// A kind of authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactorMethod {
    /// `WebAuthn`, with user verification.
    Passkey,
    /// Codes of an authenticator app (RFC 6238).
    Totp,
}

/// Who may enrol a first authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolment {
    /// Who holds an enrolment code that an operator made.
    Invited,
    /// Whoever signs in first with the account's password.
    FirstSignIn,
}
