//! Why a sign-in was not started, and what is said of it.

use super::{again, count_step_up};
use crate::identity::ReturnTo;
use crate::identity::attempts::StartError;
use crate::identity::oidc::{ExchangeError, ProviderError};
use crate::identity::token::NoRandomness;
use crate::identity::turns::{Circle, Round};
use crate::refusal::Refusal;
use crate::request::demand::Shortfall;
use crate::request::onward::{Back, CookieFate};
use crate::request::{BodyError, Demand, Onward};
use crate::store::StoreError;

/// Why a sign-in could not be started.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum LoginError {
    #[error("method not accepted")]
    Method,
    #[error("the form cannot be read: {0}")]
    Form(#[source] BodyError),
    #[error("the page cannot be made: {0}")]
    Page(#[source] askama::Error),
    #[error("the session could not be looked up: {0}")]
    Sessions(#[source] StoreError),
    #[error("the identity provider is not available: {0}")]
    Provider(#[source] ProviderError),
    #[error("the authorization request cannot be made: {0}")]
    Request(#[source] ExchangeError),
    #[error("no identity provider is for this host or e-mail domain")]
    NoProvider,
    #[error("{0}")]
    Start(#[source] StartError),
    #[error("{0}")]
    Randomness(#[source] NoRandomness),
    #[error("the answer cannot be expressed in a header")]
    Header,
    #[error("nothing is configured that would prove what is demanded: {}", .0.as_recorded().join(" "))]
    Unprovable(Demand),
    #[error("{2}")]
    Circle(ReturnTo, Round, #[source] Circle),
}

impl LoginError {
    pub(super) const fn refusal(&self) -> Refusal {
        match self {
            Self::Method => Refusal::MethodRefused,
            Self::Sessions(_) | Self::Start(StartError::Store(_)) => Refusal::StoreUnavailable,
            Self::Provider(_) | Self::Request(ExchangeError::Unreachable(_)) => {
                Refusal::ProviderUnavailable
            }
            Self::NoProvider => Refusal::NoProvider,
            Self::Request(
                ExchangeError::Refused(_)
                | ExchangeError::Unproven(_)
                | ExchangeError::NotPushed(_)
                | ExchangeError::NoPushing
                | ExchangeError::Malformed(_),
            ) => Refusal::LoginRefused,
            Self::Start(StartError::Busy) => Refusal::Busy,
            Self::Unprovable(_) => Refusal::StepUpUnmet,
            Self::Circle(..) => Refusal::SignInCircle,
            Self::Form(error) => error.refusal(),
            Self::Page(_)
            | Self::Request(ExchangeError::Address(_) | ExchangeError::Proof)
            | Self::Start(StartError::Encoding)
            | Self::Randomness(_)
            | Self::Header => Refusal::Internal,
        }
    }

    /// Where it leads on to.
    pub(super) fn onward(self) -> Onward {
        let mut onward = Onward::default();
        match self {
            Self::Unprovable(demand) => {
                count_step_up(Shortfall::NotConfigured.word());
                onward.demand = Some(demand);
                onward.lack = Some(Shortfall::NotConfigured);
            }
            Self::Circle(return_to, round, Circle) => {
                onward.back = Some(Back::Link(again(&return_to)));
                onward.cookie = match round {
                    Round::SignIn => CookieFate::Cleared,
                    Round::StepUp => CookieFate::Stays,
                };
            }
            Self::Method
            | Self::Form(_)
            | Self::Page(_)
            | Self::Sessions(_)
            | Self::Provider(_)
            | Self::Request(_)
            | Self::NoProvider
            | Self::Start(_)
            | Self::Randomness(_)
            | Self::Header => {}
        }
        onward
    }
}
