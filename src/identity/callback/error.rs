//! Why a callback gave no session, and what is said of it.

use crate::identity::arrival::ArrivalError;
use crate::identity::factor::FactorError;
use crate::identity::oidc::claims::ClaimsError;
use crate::identity::oidc::{ExchangeError, ProviderError, TokenError};
use crate::identity::person::PersonError;
use crate::identity::token::NoRandomness;
use crate::refusal::Refusal;
use crate::request::Throttle;
use crate::request::demand::Shortfall;
use crate::request::principal::User;
use crate::store::StoreError;

/// Why the provider's answer gave no session.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum CallbackError {
    #[error("method not accepted")]
    Method,
    #[error("a parameter of the callback occurs twice")]
    Duplicate,
    #[error("no sign-in with this state was started in this browser, or it is used or too old")]
    Unknown,
    #[error("the store does not answer: {0}")]
    Store(#[source] StoreError),
    #[error("the callback is from another issuer than the sign-in")]
    OtherIssuer,
    #[error("the provider answered with an error: {0:?}")]
    Denied(String),
    #[error("the callback holds no code")]
    NoCode,
    #[error("the issuer of this sign-in is not configured any more")]
    IssuerGone,
    #[error("the provider is not available: {0}")]
    Provider(#[source] ProviderError),
    #[error("{0}")]
    Exchange(#[source] ExchangeError),
    #[error("the ID token is not believed: {0}")]
    Token(#[source] TokenError),
    #[error("the ID token is refused: {0}")]
    Claims(#[source] ClaimsError),
    #[error("{0}")]
    Person(#[source] PersonError),
    #[error("{0}")]
    Factor(#[source] FactorError),
    #[error("no second factor is proven (acr {:?}, amr {:?})", .0.proof.acr, .0.proof.amr)]
    Mfa(Box<User>),
    #[error("the user is locked out, or not active")]
    KeptOut(Refusal, Box<User>),
    #[error("the session to confirm is over, or not this browser's")]
    StepUpSession,
    #[error("someone else confirmed than the one whose session it is")]
    StepUpUser,
    #[error("the sign-in does not meet what was demanded ({0:?}; acr {acr:?}, amr {amr:?})", acr = .1.proof.acr, amr = .1.proof.amr)]
    Unmet(Shortfall, Box<User>),
    #[error("the user has as many sessions as are allowed")]
    Full(Box<User>),
    #[error("someone else signed in at a locked screen, and has to read the notice first")]
    StartsClean,
    #[error("the account signs in too often")]
    TooOften(Throttle, Box<User>),
    #[error("the provider ended this sign-in's session before it was open")]
    Ended,
    #[error("{0}")]
    Randomness(#[source] NoRandomness),
    #[error("the answer cannot be expressed in a header")]
    Header,
}

impl CallbackError {
    pub(in crate::identity) fn refusal(&self) -> Refusal {
        match self {
            Self::Method => Refusal::MethodRefused,
            Self::Unknown => Refusal::LoginStateUnknown,
            Self::Store(_) => Refusal::StoreUnavailable,
            Self::Denied(_) => Refusal::ProviderDenied,
            Self::Provider(_)
            | Self::Exchange(ExchangeError::Unreachable(_))
            | Self::Token(TokenError::Provider(_)) => Refusal::ProviderUnavailable,
            Self::Person(error) => error.refusal(),
            Self::Factor(error) => error.refusal(),
            Self::Mfa(_) => Refusal::MfaRequired,
            Self::Unmet(..) => Refusal::StepUpUnmet,
            Self::TooOften(..) => Refusal::LoginRate,
            Self::KeptOut(refusal, _) => *refusal,
            Self::Full(_) => Refusal::TooManySessions,
            Self::Duplicate
            | Self::OtherIssuer
            | Self::NoCode
            | Self::IssuerGone
            | Self::Exchange(
                ExchangeError::Refused(_)
                | ExchangeError::Unproven(_)
                | ExchangeError::NotPushed(_)
                | ExchangeError::NoPushing
                | ExchangeError::Malformed(_)
                | ExchangeError::Address(_),
            )
            | Self::Token(TokenError::Form(_) | TokenError::Forged | TokenError::NoKey)
            | Self::Claims(_)
            | Self::StepUpSession
            | Self::StepUpUser
            | Self::StartsClean
            | Self::Ended => Refusal::LoginRefused,
            Self::Exchange(ExchangeError::Proof) | Self::Randomness(_) | Self::Header => {
                Refusal::Internal
            }
        }
    }

    /// Who the provider vouched for before it went wrong, and how long they have to wait.
    pub(super) fn vouched(self) -> (Option<Box<User>>, Option<Throttle>) {
        match self {
            Self::Mfa(user) | Self::KeptOut(_, user) | Self::Unmet(_, user) | Self::Full(user) => {
                (Some(user), None)
            }
            Self::TooOften(throttle, user) => (Some(user), Some(throttle)),
            Self::Method
            | Self::Duplicate
            | Self::Unknown
            | Self::Store(_)
            | Self::OtherIssuer
            | Self::Denied(_)
            | Self::NoCode
            | Self::IssuerGone
            | Self::Provider(_)
            | Self::Exchange(_)
            | Self::Token(_)
            | Self::Claims(_)
            | Self::StepUpSession
            | Self::StepUpUser
            | Self::StartsClean
            | Self::Ended
            | Self::Person(_)
            | Self::Factor(_)
            | Self::Randomness(_)
            | Self::Header => (None, None),
        }
    }

    /// What the sign-in lacked of what was demanded.
    pub(super) const fn lack(&self) -> Option<Shortfall> {
        if let Self::Unmet(lack, _) = self {
            Some(*lack)
        } else {
            None
        }
    }
}

impl From<ArrivalError> for CallbackError {
    fn from(error: ArrivalError) -> Self {
        match error {
            ArrivalError::Store(error) => Self::Store(error),
            ArrivalError::Full(user) => Self::Full(user),
            ArrivalError::Randomness(error) => Self::Randomness(error),
        }
    }
}
