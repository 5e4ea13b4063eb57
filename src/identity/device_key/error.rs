//! Why a device's key, or a proof of it, is not accepted.

use super::proof::ProofError;
use crate::identity::token::NoRandomness;
use crate::refusal::Refusal;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("method not accepted")]
    Method,
    #[error("there is no such session that could be bound, or is")]
    NoSession,
    #[error("there is no proof")]
    NoProof,
    #[error("the proof is not accepted: {0}")]
    Proof(#[from] ProofError),
    #[error("the challenge is not this session's, too old, or used")]
    Challenge,
    #[error("the session is bound to a key already")]
    Registered,
    #[error("the account is locked")]
    KeptOut(Refusal),
    #[error("the store does not answer: {0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Randomness(#[from] NoRandomness),
    #[error("the answer cannot be expressed")]
    Answer,
}

impl KeyError {
    pub(super) const fn refusal(&self) -> Refusal {
        match self {
            Self::Method => Refusal::MethodRefused,
            // 404: a browser forgets the key of a session that has ended.
            Self::NoSession => Refusal::NotFound,
            Self::NoProof | Self::Proof(_) | Self::Challenge | Self::Registered => {
                Refusal::BindingChanged
            }
            Self::KeptOut(refusal) => *refusal,
            Self::Store(_) => Refusal::StoreUnavailable,
            Self::Randomness(_) | Self::Answer => Refusal::Internal,
        }
    }
}
