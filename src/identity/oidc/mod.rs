//! OpenID Connect as a relying party: the provider, its keys, and what its tokens prove.
//!
//! The code flow (authorization request, PKCE, token request) goes through `openidconnect`. Its typed ID token is not
//! used: it refuses a whole sign-in for one standard claim of an unexpected type (`email_verified` as a string),
//! checks neither `azp` nor leeway, knows no logout tokens, and verifies outside the one crypto library of this
//! program. Tokens are verified in [`jws`] and judged in [`claims`], by one piece of code for both kinds.

mod acr;
mod channel;
pub mod claims;
mod exchange;
mod groups;
pub mod jws;
pub(in crate::identity) mod keys;
mod metadata;
pub mod mfa;
pub mod person;
mod provider;
pub(super) mod refreshed;
pub mod training;
mod userinfo;

#[cfg(test)]
pub(super) mod test_provider;
#[cfg(test)]
pub(super) mod test_refresh;

pub(super) use acr::{acr_values, can_prove};
pub(super) use exchange::{Challenge, ExchangeError, RenewedTokens, Tokens};
pub(super) use groups::GroupsError;
pub(super) use metadata::Metadata;
pub(super) use provider::{Provider, ProviderError, TokenError};
pub(super) use userinfo::UserInfoError;
