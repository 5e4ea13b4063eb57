//! Why a visit to the second factor ends in a refusal.

use std::time::Duration;

use jiff::Timestamp;
use webauthn_rs::prelude::WebauthnError;

use crate::identity::callback::CallbackError;
use crate::identity::token::NoRandomness;
use crate::refusal::Refusal;
use crate::request::demand::Shortfall;
use crate::request::{BodyError, Demand, Onward};
use crate::store::StoreError;

/// Why.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum FactorError {
    #[error("method not accepted")]
    Method,
    #[error("no own second factor is configured for this issuer")]
    Off,
    #[error("no sign-in waits for a second factor in this browser, or it took too long")]
    Unknown,
    #[error("the form cannot be read: {0}")]
    Form(#[source] BodyError),
    #[error("the form is not one of these pages")]
    Malformed,
    #[error("a field of the form, or of the address, occurs twice")]
    Twice,
    #[error("the account's second factor is locked until {0}")]
    Locked(Timestamp),
    #[error("the user is kept out, or the screen is locked or used from elsewhere")]
    KeptOut(Refusal),
    #[error("nobody is signed in")]
    NoSession,
    #[error("the second factor does not meet what was demanded ({0:?})")]
    Unmet(Shortfall, Demand),
    #[error("the sign-in is too old to enrol a first authenticator")]
    Stale(Demand),
    #[error("the session to confirm is over, or not this browser's")]
    StepUpSession,
    #[error("what was proven belongs to an account that was reset since")]
    Reset,
    #[error("{0}")]
    Open(#[source] Box<CallbackError>),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Randomness(#[from] NoRandomness),
    #[error("passkeys cannot be used here: {0}")]
    Site(#[from] WebauthnError),
    #[error("the page cannot be made: {0}")]
    Page(#[from] askama::Error),
    #[error("what a page needs cannot be encoded")]
    Encoding,
    #[error("the answer cannot be expressed in a header")]
    Header,
}

impl FactorError {
    pub(in crate::identity) fn refusal(&self) -> Refusal {
        match self {
            Self::Method => Refusal::MethodRefused,
            Self::Off => Refusal::NotFound,
            Self::Unknown => Refusal::LoginStateUnknown,
            Self::Form(error) => error.refusal(),
            Self::Malformed => Refusal::MalformedBody,
            Self::Twice => Refusal::AmbiguousField,
            Self::Locked(_) => Refusal::SecondFactorLocked,
            Self::KeptOut(refusal) => *refusal,
            Self::NoSession => Refusal::LoginRequired,
            Self::Unmet(..) => Refusal::StepUpUnmet,
            Self::Stale(_) => Refusal::StepUpRequired,
            Self::StepUpSession | Self::Reset => Refusal::LoginRefused,
            Self::Open(error) => error.refusal(),
            Self::Store(_) => Refusal::StoreUnavailable,
            Self::Randomness(_) | Self::Site(_) | Self::Page(_) | Self::Encoding | Self::Header => {
                Refusal::Internal
            }
        }
    }

    /// Where the refusal leads on to.
    pub(super) fn onward(&self) -> Onward {
        let (demand, lack) = if let Self::Unmet(lack, demand) = self {
            (Some(*demand), Some(*lack))
        } else if let Self::Stale(demand) = self {
            (Some(*demand), None)
        } else {
            (None, None)
        };
        Onward {
            demand,
            lack,
            ..Onward::default()
        }
    }

    /// How long to wait, where that is why.
    pub(super) fn wait(&self, now: Timestamp) -> Option<Duration> {
        if let Self::Locked(until) = self {
            Some(until.duration_since(now).unsigned_abs())
        } else {
            None
        }
    }
}
