//! A candidate bundle beside the one in force, for operators: set, taken away, reported, resumed after a restart.
//!
//! *Owns*: which candidate is in the shadow and until when (in the store, with its files).
//! *On failure*: there is no shadow; what is in force is not touched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::history::{self, HistoryError};
use super::{Calls, Permissions, Standing, short};
use crate::audit::trail::AuditError;
use crate::policy::bundle::Bundle;
use crate::policy::shadow::{Difference, Shadow, ShadowReport};
use crate::request::Event;
use crate::store::{NEVER, Store, Table};
use crate::telemetry::metrics as names;

/// The key in the table of upkeep.
const KEY: &str = "policy-shadow";
/// The longest that a candidate stays.
const LONGEST: Duration = Duration::from_hours(31 * 24);

/// What an operator asks about the shadow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ShadowAsk {
    /// Set the bundle in a directory in the shadow; the value is a [`ShadowReport`].
    Set {
        /// The directory, absolute.
        directory: PathBuf,
        /// For how long, in seconds.
        seconds: u64,
    },
    /// Take the candidate away; the value is its last [`ShadowReport`], if there was one.
    Off,
    /// What it would have changed; a [`ShadowReport`], if there is a candidate.
    Report,
}

/// Why there is no shadow.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// The candidate does not load.
    #[error("the candidate has problems, and is not set in the shadow:\n{0}")]
    Problems(String),
    /// It is what is in force.
    #[error("the candidate is the bundle in force; there is nothing to compare")]
    Same,
    /// It would stay for too long.
    #[error("a candidate stays in the shadow for a second to 31 days")]
    TooLong,
    /// The store.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The trail.
    #[error("what is not on record is not done: {0}")]
    Audit(#[from] AuditError),
    /// The work was cut off.
    #[error("the candidate could not be examined: {0}")]
    Cut(String),
}

/// What the store holds of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    sha256: String,
    until: Timestamp,
}

async fn read(store: &Store) -> Result<Option<Kept>, HistoryError> {
    history::read(store, KEY).await
}

/// The digest of the candidate whose files are kept.
pub(super) async fn kept(store: &Store) -> Result<Option<String>, HistoryError> {
    Ok(read(store).await?.map(|kept| kept.sha256))
}

impl Permissions {
    /// Sets the bundle in `directory` in the shadow.
    ///
    /// # Errors
    /// [`ShadowError`].
    pub async fn set_shadow(
        &self,
        operator: &str,
        directory: PathBuf,
        seconds: u64,
    ) -> Result<ShadowReport, ShadowError> {
        let _turn = self.shared.turn.lock().await;
        let span = Duration::from_secs(seconds);
        if span.is_zero() || span > LONGEST {
            return Err(ShadowError::TooLong);
        }
        let now = self.now();
        let until = now.checked_add(span).ok().ok_or(ShadowError::TooLong)?;
        let made = tokio::task::spawn_blocking(move || {
            let bundle = Bundle::load(&directory)?;
            Ok(Shadow::new(bundle, now, until))
        });
        let made: Result<_, crate::policy::problem::BundleError> = made
            .await
            .map_err(|error| ShadowError::Cut(error.to_string()))?;
        let shadow = Arc::new(made.map_err(|error| ShadowError::Problems(error.to_string()))?);
        let bundle = shadow.bundle();
        if bundle.digest() == self.policies().active().bundle().digest() {
            return Err(ShadowError::Same);
        }
        let store = &self.shared.grounds.store;
        let state = Kept {
            sha256: bundle.digest().to_owned(),
            until,
        };
        history::keep(store, bundle).await?;
        store
            .keep(Table::Upkeep, KEY, &state, NEVER)
            .await
            .map_err(HistoryError::from)?;
        self.record_shadow(&shadow, ("begun", operator)).await?;
        self.policies().set_shadow(Some(&shadow));
        Ok(shadow.report())
    }

    /// Takes the candidate away.
    ///
    /// # Errors
    /// [`ShadowError`].
    pub async fn end_shadow(&self, operator: &str) -> Result<Option<ShadowReport>, ShadowError> {
        let _turn = self.shared.turn.lock().await;
        let Some(shadow) = self.policies().shadow() else {
            return Ok(None);
        };
        self.policies().set_shadow(None);
        let store = &self.shared.grounds.store;
        let forgotten = store.delete(Table::Upkeep, KEY).await;
        forgotten.map_err(HistoryError::from)?;
        self.record_shadow(&shadow, ("ended", operator)).await?;
        Ok(Some(shadow.report()))
    }

    /// What the candidate would have changed, if there is one.
    #[must_use]
    pub fn shadow_report(&self) -> Option<ShadowReport> {
        self.policies().shadow().map(|shadow| shadow.report())
    }

    /// A candidate goes on over a restart, counted from zero; the differing decisions of before are on the trail.
    pub(super) async fn resume_shadow(&self) -> Result<(), HistoryError> {
        let store = &self.shared.grounds.store;
        let now = self.now();
        let Some(kept) = read(store).await?.filter(|kept| kept.until > now) else {
            return Ok(());
        };
        let texts = match history::kept(store, &kept.sha256).await {
            Ok(texts) => texts,
            Err(error) => {
                tracing::warn!(%error, "the candidate in the shadow is not resumed");
                return Ok(());
            }
        };
        match Bundle::of_texts(&self.shared.grounds.policy.directory, texts) {
            Ok(bundle) if bundle.digest() != self.policies().active().bundle().digest() => {
                let shadow = Arc::new(Shadow::new(bundle, now, kept.until));
                self.policies().set_shadow(Some(&shadow));
            }
            Ok(_in_force) => {}
            Err(error) => {
                let problems = error.problems().len();
                tracing::warn!(problems, "the candidate in the shadow is not resumed");
            }
        }
        Ok(())
    }

    async fn record_shadow(
        &self,
        shadow: &Shadow,
        (state, operator): (&str, &str),
    ) -> Result<(), AuditError> {
        let bundle = shadow.bundle();
        let mut detail = BTreeMap::from([
            ("state".to_owned(), state.to_owned()),
            ("operator".to_owned(), operator.to_owned()),
            ("name".to_owned(), bundle.name().to_owned()),
            ("version".to_owned(), bundle.version().to_owned()),
            ("sha256".to_owned(), bundle.digest().to_owned()),
            ("until".to_owned(), shadow.until().to_string()),
            ("compared".to_owned(), shadow.compared().to_string()),
        ]);
        for difference in Difference::ALL {
            let count = shadow.counted(*difference).to_string();
            detail.insert(difference.word().to_owned(), count);
        }
        let audit = &self.shared.grounds.audit;
        audit.event(Event::PolicyShadow, None, detail).await
    }

    /// The line of `chartgate status`, where there is a candidate.
    pub(super) fn shadow_standing(&self) -> Option<Standing> {
        let shadow = self.policies().shadow()?;
        let bundle = shadow.bundle();
        let named = format!(
            "{} {}, sha256 {}",
            bundle.name(),
            bundle.version(),
            short(bundle.digest())
        );
        let differing: Vec<_> = Difference::ALL
            .iter()
            .map(|one| format!("{} {}", shadow.counted(*one), one.word()))
            .collect();
        let is_over = self.now() >= shadow.until();
        let (calls, state) = if shadow.has_stopped() {
            (
                Calls::Somebody,
                "panicked, and is not asked any more".to_owned(),
            )
        } else if is_over {
            (
                Calls::Somebody,
                "its time is over; read it with `chartgate policy shadow --report`".to_owned(),
            )
        } else {
            (Calls::Nobody, format!("until {:.0}", shadow.until()))
        };
        Some(Standing {
            name: "policy-shadow",
            calls,
            detail: format!(
                "{named}, {state}: of {} decisions it would have {}",
                shadow.compared(),
                differing.join(", ")
            ),
        })
    }

    /// Keeps the counters of the shadow true.
    pub(super) fn measure_shadow(&self) {
        let Some(shadow) = self.policies().shadow() else {
            return;
        };
        metrics::counter!(names::SHADOW_COMPARED).absolute(shadow.compared());
        for difference in Difference::ALL {
            metrics::counter!(names::SHADOW_DIFFERING, "difference" => difference.word())
                .absolute(shadow.counted(*difference));
        }
    }
}
