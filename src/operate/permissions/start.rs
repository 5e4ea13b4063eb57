//! Which bundle a gateway starts with: the one on disk, or the one that a rollback put in its place.
//!
//! A rollback holds over a restart for as long as the files on disk are what they were: a crash, or a restart in the middle
//! of a bad night, must not bring the bundle back that somebody went back from. Whoever changes the files, or activates
//! them, ends it.

use super::history::{self, HistoryError, Hold};
use super::short;
use super::trust::{Trust, TrustError};
use crate::config;
use crate::policy::bundle::Bundle;
use crate::policy::problem::BundleError;
use crate::store::Store;

/// The bundle to start with.
#[derive(Debug)]
pub struct Start {
    /// It.
    pub bundle: Bundle,
}

/// Why there is no bundle to start with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It has problems.
    #[error("{0}")]
    Bundle(#[from] BundleError),
    /// It is not signed as the configuration demands.
    #[error("the policy bundle in {directory} is not used: {error}")]
    Trust {
        /// Where it lies.
        directory: String,
        /// Why.
        error: TrustError,
    },
    /// The store.
    #[error("the bundle that a rollback put in force: {0}")]
    History(#[from] HistoryError),
}

impl Start {
    /// Finds and checks it.
    ///
    /// # Errors
    /// [`StartError`]; the gateway does not start then.
    pub async fn find(policy: &config::Policy, store: &Store) -> Result<Self, StartError> {
        let directory = &policy.directory;
        let untrusted = |error| StartError::Trust {
            directory: directory.display().to_string(),
            error,
        };
        let trust = Trust::of(policy).map_err(untrusted)?;
        let hold = Hold::read(store).await?;
        let hold = hold.filter(|hold| hold.on_disk == Bundle::digest_of(directory));
        let bundle = match hold {
            Some(hold) => {
                let texts = history::kept(store, &hold.in_force).await?;
                let bundle = Bundle::of_texts(directory, texts)?;
                if bundle.digest() != hold.in_force {
                    let named = short(&hold.in_force).to_owned();
                    return Err(HistoryError::Damaged(named).into());
                }
                tracing::warn!(
                    name = bundle.name(),
                    version = bundle.version(),
                    "a rollback holds: the bundle on disk is not in force"
                );
                bundle
            }
            None => Bundle::load(directory)?,
        };
        trust.examine(&bundle).map_err(untrusted)?;
        Ok(Self { bundle })
    }
}
