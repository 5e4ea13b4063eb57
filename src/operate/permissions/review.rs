//! The review of permissions that the law asks for: who signed which bundle off, and when the next one is due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::history::HistoryError;
use super::trust::TrustError;
use super::{Calls, Permissions, Standing, short};
use crate::audit::trail::AuditError;
use crate::request::Event;
use crate::store::{Durability, Store, StoreError, Table};
use crate::telemetry::metrics as names;

/// The key in the table of upkeep.
const KEY: &str = "permission-review";
/// How long the last review is remembered: longer than anything is retained.
const REMEMBERED: Duration = Duration::from_hours(10 * 366 * 24);
/// A review that is due within this is announced.
const SOON: Duration = Duration::from_hours(14 * 24);
/// Longest note of a reviewer.
const MOST_NOTE: usize = 500;

/// What a reviewer signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOff {
    /// The digest of the bundle that was reviewed; it must be the one in force.
    pub bundle: String,
    /// SHA-256 of the table that was reviewed, as `--csv` writes it.
    pub report: String,
    /// How many rows it has.
    pub rows: usize,
    /// What the reviewer has to say.
    #[serde(default)]
    pub note: String,
}

/// A review that was signed off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub reviewer: String,
    /// Which bundle: name and version.
    pub bundle: String,
    /// Its digest.
    pub sha256: String,
}

/// Why a review is not known, or not signed off.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The bundles that were in force.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A key of the configuration.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What the store holds is no review.
    #[error("the date of the last review cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another bundle was reviewed than is in force.
    #[error(
        "the bundle {reviewed} was reviewed, but {in_force} is in force; review that one, or activate this one first"
    )]
    OtherBundle {
        /// The beginning of its digest.
        reviewed: String,
        /// The beginning of the digest in force.
        in_force: String,
    },
}

impl Review {
    /// The last one, if there was any.
    ///
    /// # Errors
    /// [`ReviewError`], where the store does not answer or holds no review.
    pub async fn last(store: &Store) -> Result<Option<Self>, ReviewError> {
        let entry = store.get(Table::Upkeep, KEY).await?;
        Ok(entry
            .map(|entry| serde_json::from_slice(entry.value.expose()))
            .transpose()?)
    }
}

impl Permissions {
    /// Signs a review off: on record with the reviewer, then remembered.
    ///
    /// # Errors
    /// [`ReviewError`]; nothing is signed off then.
    pub async fn sign_off(&self, reviewer: &str, signed: SignOff) -> Result<Review, ReviewError> {
        let in_force = self.policies().in_force();
        let bundle = in_force.active().bundle();
        if signed.bundle != bundle.digest() {
            return Err(ReviewError::OtherBundle {
                reviewed: short(&signed.bundle).to_owned(),
                in_force: short(bundle.digest()).to_owned(),
            });
        }
        let review = Review {
            at: self.now(),
            reviewer: reviewer.to_owned(),
            bundle: format!("{} {}", bundle.name(), bundle.version()),
            sha256: bundle.digest().to_owned(),
        };
        let mut detail = BTreeMap::from([
            ("operator".to_owned(), reviewer.to_owned()),
            ("name".to_owned(), bundle.name().to_owned()),
            ("version".to_owned(), bundle.version().to_owned()),
            ("sha256".to_owned(), bundle.digest().to_owned()),
            ("generation".to_owned(), in_force.generation().to_string()),
            ("report_sha256".to_owned(), signed.report),
            ("report_rows".to_owned(), signed.rows.to_string()),
        ]);
        let note: String = signed.note.chars().take(MOST_NOTE).collect();
        if !note.is_empty() {
            detail.insert("note".to_owned(), note);
        }
        let grounds = &self.shared.grounds;
        grounds
            .audit
            .event(Event::PermissionsReviewed, None, detail)
            .await?;
        let value = serde_json::to_vec(&review)?;
        let until = review.at.checked_add(REMEMBERED).unwrap_or(Timestamp::MAX);
        grounds
            .store
            .put(Table::Upkeep, KEY, &value, until, Durability::Immediate)
            .await?;
        self.shared.reviewed.store(Some(Arc::new(review.clone())));
        self.measure();
        Ok(review)
    }

    /// The last review, if there was any.
    #[must_use]
    pub fn reviewed(&self) -> Option<Review> {
        self.shared.reviewed.load_full().map(Arc::unwrap_or_clone)
    }

    /// When the next review is due; nothing where none was signed off yet.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let last = self.shared.reviewed.load_full()?;
        last.at.checked_add(self.review_interval()).ok()
    }

    /// Sets the gauges of this room. Run it regularly.
    pub fn measure(&self) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus numbers are floating point"
        )]
        metrics::gauge!(names::POLICY_GENERATION).set(self.policies().generation() as f64);
        let left = self
            .due()
            .map_or(0.0, |due| due.duration_since(self.now()).as_secs_f64());
        metrics::gauge!(names::REVIEW_DUE).set(left);
        self.measure_shadow();
    }

    pub(super) fn review_standing(&self) -> Standing {
        let how = "run `chartgate policy review --sign-off`";
        let reviewed = self.shared.reviewed.load_full();
        let (calls, detail) = match reviewed.zip(self.due()) {
            None => (Calls::Somebody, format!("never signed off; {how}")),
            Some((last, due)) => {
                let signed = format!(
                    "signed off {} by {} ({}, sha256 {})",
                    last.at.strftime("%Y-%m-%d"),
                    last.reviewer,
                    last.bundle,
                    short(&last.sha256)
                );
                let day = due.strftime("%Y-%m-%d");
                let left = due.duration_since(self.now());
                if left.is_negative() {
                    (Calls::Somebody, format!("{signed}; was due {day}; {how}"))
                } else if left.unsigned_abs() < SOON {
                    (Calls::Somebody, format!("{signed}; due {day}; {how}"))
                } else {
                    (Calls::Nobody, format!("{signed}; next due {day}"))
                }
            }
        };
        Standing {
            name: "permission-review",
            calls,
            detail,
        }
    }
}
