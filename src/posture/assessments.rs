//! Assessments on record: what the newest one came to, kept over restarts.
//!
//! *Owns*: the newest assessment, in the store's table of upkeep.
//! *Never*: words of the command line on record; only counts, and names of checks that there are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::checks;
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::request::Event;
use crate::store::{Durability, NEVER, Store, StoreError, Table};
use crate::telemetry::metrics as names;

const KEY: &str = "posture";
/// An assessment that is older says little about today.
const OLD: Duration = Duration::from_hours(90 * 24);
/// How far ahead its day may lie for a clock that is set a little.
const AHEAD: SignedDuration = SignedDuration::from_hours(25);

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// One value: the gateway as [`super::running::Running`].
    Facts,
    /// Puts an assessment on record; one value: the [`Assessed`].
    Record(Summary),
}

/// What an assessment came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Checks that were made.
    pub checks: usize,
    /// As they must be.
    pub passed: usize,
    /// Not as they must be.
    pub failed: usize,
    /// Somebody should look.
    pub warned: usize,
    /// Nothing could be learnt.
    pub unknown: usize,
    /// Nothing to check.
    pub not_applicable: usize,
    /// Those that failed.
    pub failing: Vec<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} checks: {} passed, {} failed, {} to look at, {} unknown, {} not applicable",
            self.checks, self.passed, self.failed, self.warned, self.unknown, self.not_applicable
        )
    }
}

/// An assessment that is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessed {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// What it came to.
    pub summary: Summary,
}

/// Why an assessment is not known, or not on record.
#[derive(Debug, thiserror::Error)]
pub enum AssessmentError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// It cannot be written down.
    #[error("the assessment cannot be kept: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is none of this version's.
    #[error(
        "this is no assessment of this version; use the `chartgate` binary that the gateway runs"
    )]
    Foreign,
}

/// How the newest assessment stands, for the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing failed.
    Fine(String),
    /// Something failed, or nobody looked for long.
    Look(String),
}

/// The room.
#[derive(Debug)]
pub struct Assessments {
    store: Store,
    audit: Audit,
    clock: SharedClock,
    newest: ArcSwapOption<Assessed>,
}

impl Assessments {
    /// Opens the room.
    ///
    /// # Errors
    /// [`AssessmentError::Store`], where it does not answer.
    pub async fn open(
        store: Store,
        audit: Audit,
        clock: SharedClock,
    ) -> Result<Arc<Self>, AssessmentError> {
        let entry = store.get(Table::Upkeep, KEY).await?;
        // What a later version wrote and this one cannot read is not known here.
        let newest: Option<Assessed> =
            entry.and_then(|entry| serde_json::from_slice(entry.value.expose()).ok());
        let room = Self {
            store,
            audit,
            clock,
            newest: ArcSwapOption::new(newest.map(Arc::new)),
        };
        room.measure();
        Ok(Arc::new(room))
    }

    /// Puts an assessment on record, then keeps it.
    ///
    /// # Errors
    /// [`AssessmentError`]; it is not kept then.
    pub async fn record(&self, by: &str, summary: Summary) -> Result<Assessed, AssessmentError> {
        if !is_ours(&summary) {
            return Err(AssessmentError::Foreign);
        }
        let detail = BTreeMap::from([
            ("operator".to_owned(), by.to_owned()),
            ("checks".to_owned(), summary.checks.to_string()),
            ("passed".to_owned(), summary.passed.to_string()),
            ("failed".to_owned(), summary.failed.to_string()),
            ("warned".to_owned(), summary.warned.to_string()),
            ("unknown".to_owned(), summary.unknown.to_string()),
            ("failing".to_owned(), summary.failing.join(", ")),
        ]);
        self.audit
            .event(Event::PostureAssessed, None, detail)
            .await?;
        let assessed = Assessed {
            at: self.clock.now(),
            by: by.to_owned(),
            summary,
        };
        let value = serde_json::to_vec(&assessed)?;
        self.store
            .put(Table::Upkeep, KEY, &value, NEVER, Durability::Immediate)
            .await?;
        self.newest.store(Some(Arc::new(assessed.clone())));
        self.measure();
        Ok(assessed)
    }

    /// How the newest assessment stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let how = "run `chartgate posture`";
        let Some(newest) = self.newest.load_full() else {
            return Standing::Look(format!("never assessed; {how}"));
        };
        let day = newest.at.strftime("%Y-%m-%d");
        let Assessed { by, summary, .. } = &*newest;
        let line = format!("assessed {day} by {by}: {summary}");
        let age = self.clock.now().duration_since(newest.at);
        if summary.failed > 0 {
            let failing: Vec<&str> = summary.failing.iter().take(5).map(String::as_str).collect();
            Standing::Look(format!("{line} ({}); {how}", failing.join(", ")))
        } else if newest.at.duration_since(self.clock.now()) > AHEAD {
            // A clock that was wrong wrote it.
            Standing::Look(format!("{line}; that day lies ahead, {how}"))
        } else if Duration::try_from(age).unwrap_or_default() > OLD {
            Standing::Look(format!("{line}; that is long ago, {how}"))
        } else {
            Standing::Fine(line)
        }
    }

    fn measure(&self) {
        let newest = self.newest.load_full();
        let failed = newest.map_or(0, |newest| newest.summary.failed);
        let failed = u32::try_from(failed).unwrap_or(u32::MAX);
        metrics::gauge!(names::POSTURE_FAILED).set(f64::from(failed));
    }
}

/// Whether it can have come from the checks of this version.
fn is_ours(summary: &Summary) -> bool {
    let known = |id: &String| checks::all().any(|check| check.id == id);
    let counts = [
        summary.passed,
        summary.failed,
        summary.warned,
        summary.unknown,
        summary.not_applicable,
    ];
    let sum = counts.into_iter().fold(0_usize, usize::saturating_add);
    summary.checks == checks::all().count()
        && sum == summary.checks
        && summary.failing.len() == summary.failed
        && summary.failing.iter().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::testing::Ground;

    fn summary(failing: &[&str]) -> Summary {
        let checks = checks::all().count();
        Summary {
            checks,
            passed: checks.saturating_sub(failing.len()),
            failed: failing.len(),
            failing: failing.iter().map(|id| (*id).to_owned()).collect(),
            ..Summary::default()
        }
    }

    async fn room(ground: &Ground) -> Arc<Assessments> {
        let (store, audit) = (ground.store.clone(), ground.audit.clone());
        Assessments::open(store, audit, ground.shared_clock())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn an_assessment_is_on_record_and_outlasts_a_restart() {
        let ground = Ground::new().await;
        let first = room(&ground).await;
        assert!(matches!(first.standing(), Standing::Look(text) if text.starts_with("never")));
        first.record("alice", summary(&["hsts"])).await.unwrap();
        let recorded = ground.recorded(Event::PostureAssessed);
        assert_eq!(recorded.len(), 1);
        assert_eq!(recorded[0]["operator"], "alice");
        assert_eq!(recorded[0]["failed"], "1");
        assert_eq!(recorded[0]["failing"], "hsts");

        let again = room(&ground).await;
        assert!(
            matches!(again.standing(), Standing::Look(text) if text.contains("by alice") && text.contains("(hsts)"))
        );
        again.record("bob", summary(&[])).await.unwrap();
        assert!(matches!(again.standing(), Standing::Fine(text) if text.contains("0 failed")));
        ground.clock.advance(OLD + Duration::from_secs(1));
        assert!(matches!(again.standing(), Standing::Look(text) if text.contains("long ago")));
    }

    #[tokio::test]
    async fn what_no_check_says_is_not_put_on_record() {
        let ground = Ground::new().await;
        let room = room(&ground).await;
        let mut invented = summary(&["hsts"]);
        invented.failing = vec!["patient Jane Doe".to_owned()];
        let mut miscounted = summary(&[]);
        miscounted.passed = 1;
        let mut hidden = summary(&["hsts"]);
        hidden.failing.clear();
        for foreign in [invented, miscounted, hidden] {
            let refused = room.record("alice", foreign).await;
            assert!(matches!(refused, Err(AssessmentError::Foreign)));
        }
        assert!(ground.recorded(Event::PostureAssessed).is_empty());
    }
}
