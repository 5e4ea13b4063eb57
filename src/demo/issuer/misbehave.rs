//! Lists the ways in which the provider can be told to do wrong, so that relying parties can be tested.

use std::time::Duration;

/// What the provider does wrong from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Misbehave {
    /// The ID token has algorithm `none` and no signature.
    AlgorithmNone,
    /// `auth_time` is zero.
    AuthTimeZero,
    /// These members of a JSON object take the place of the ID token's claims; `null` removes one.
    Claims(&'static str),
    /// The ID token is encrypted, and unfolds to many times its size where somebody decrypts it.
    Encrypted,
    /// The ID token expired an hour ago.
    ExpiredToken,
    /// `iat`, `exp` and `auth_time` have a fraction. Such a token is valid.
    FractionalTimes,
    /// The ID token is signed by HS256 with the client's secret.
    HmacWithClientSecret,
    /// There is no nonce.
    MissingNonce,
    /// Nothing wrong.
    #[default]
    Nothing,
    /// The token endpoint answers 500.
    TokenEndpointFails,
    /// The token endpoint answers this much later. What it then answers is valid.
    TokenEndpointSlow(Duration),
    /// There are two audiences, and no `azp` says which one is meant.
    TwoAudiencesWithoutAzp,
    /// The ID token is signed with a key that was never published.
    UnknownKey,
    /// The audience is another client.
    WrongAudience,
    /// There are two audiences, and `azp` is the other one.
    WrongAzp,
    /// The issuer is another one.
    WrongIssuer,
    /// The nonce is another one.
    WrongNonce,
}

impl Misbehave {
    /// Every way to do wrong that makes an ID token one to be refused.
    pub const BAD_TOKENS: [Self; 12] = [
        Self::AlgorithmNone,
        Self::AuthTimeZero,
        Self::Encrypted,
        Self::ExpiredToken,
        Self::HmacWithClientSecret,
        Self::MissingNonce,
        Self::TwoAudiencesWithoutAzp,
        Self::UnknownKey,
        Self::WrongAudience,
        Self::WrongAzp,
        Self::WrongIssuer,
        Self::WrongNonce,
    ];
}
