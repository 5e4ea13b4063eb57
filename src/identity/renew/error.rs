//! Why a session was not renewed, and whether it ends with that.

use crate::identity::ending::Cause;
use crate::identity::oidc::claims::ClaimsError;
use crate::identity::oidc::{ExchangeError, GroupsError, TokenError, UserInfoError};
use crate::identity::person::PersonError;
use crate::store::StoreError;

/// Why the tokens were not renewed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenewError {
    #[error("the issuer of the session is not configured any more, or is not reachable")]
    Provider,
    #[error("{0}")]
    Exchange(#[source] ExchangeError),
    #[error("the provider denies it: {0}")]
    Denied(String),
    #[error("the store does not answer: {0}")]
    Store(#[source] StoreError),
    #[error("the renewed token cannot be verified now: {0}")]
    Unverified(#[source] TokenError),
    #[error("the renewed token is not believed: {0}")]
    Forged(#[source] TokenError),
    #[error("the renewed token is not this session's: {0}")]
    Claims(#[source] ClaimsError),
    #[error("the renewed token proves no second factor")]
    SecondFactor,
    #[error("the provider sends neither an ID token nor user information")]
    NoNews,
    #[error("{0}")]
    Groups(#[source] GroupsError),
    #[error("the session ended meanwhile")]
    Gone,
}

impl From<PersonError> for RenewError {
    fn from(error: PersonError) -> Self {
        match error {
            PersonError::Claims(error) => Self::Claims(error),
            PersonError::Groups(error) => Self::Groups(error),
            PersonError::UserInfo(error) => error.into(),
        }
    }
}

impl From<UserInfoError> for RenewError {
    fn from(error: UserInfoError) -> Self {
        match error {
            UserInfoError::Http(error) => Self::Exchange(ExchangeError::Unreachable(error)),
            UserInfoError::OtherSubject => Self::Claims(ClaimsError::Subject),
            // What is no object names no user.
            UserInfoError::Malformed => Self::Claims(ClaimsError::Malformed),
            UserInfoError::NoEndpoint => Self::NoNews,
        }
    }
}

impl RenewError {
    /// Why the session ends with it, if it does.
    pub(super) const fn ends(&self) -> Option<Cause> {
        match self {
            Self::Denied(_) => Some(Cause::RenewalDenied),
            Self::Forged(_) | Self::Claims(_) => Some(Cause::RenewalRefused),
            Self::SecondFactor => Some(Cause::SecondFactorGone),
            Self::Provider
            | Self::Exchange(_)
            | Self::Store(_)
            | Self::Unverified(_)
            | Self::NoNews
            | Self::Groups(_)
            | Self::Gone => None,
        }
    }

    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Forged(_) | Self::Claims(_) | Self::SecondFactor => "refused",
            Self::Provider | Self::Exchange(ExchangeError::Unreachable(_)) => "unreachable",
            Self::Exchange(
                ExchangeError::Refused(_)
                | ExchangeError::Unproven(_)
                | ExchangeError::NotPushed(_)
                | ExchangeError::NoPushing
                | ExchangeError::Proof
                | ExchangeError::Malformed(_)
                | ExchangeError::Address(_),
            )
            | Self::Store(_)
            | Self::Unverified(_)
            | Self::NoNews
            | Self::Groups(_)
            | Self::Gone => "failed",
        }
    }
}
