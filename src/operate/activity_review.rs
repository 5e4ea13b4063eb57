//! The review of activity that 45 CFR 164.308(a)(1)(ii)(D) asks for: who looked at which period, and when the next one
//! is due.
//!
//! *Owns*: the last review (in the store). *Never*: one that is remembered and not on record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::request::Event;
use crate::store::{Durability, Store, StoreError, Table};
use crate::telemetry::metrics as names;

/// The key in the table of upkeep.
const KEY: &str = "activity-review";
/// How long the last review is remembered: longer than anything is retained.
const REMEMBERED: Duration = Duration::from_hours(10 * 366 * 24);
/// Longest note of a reviewer, in characters.
const MOST_NOTE: usize = 500;
/// How far the clock of a command may be ahead of the gateway's.
const LEEWAY: SignedDuration = SignedDuration::from_mins(1);

/// How far ahead the end of the last review may lie for a clock that is set a little.
const AHEAD: SignedDuration = SignedDuration::from_hours(25);

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Sign a review off.
    SignOff(SignOff),
}

/// What a reviewer signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOff {
    /// The beginning of the period that was shown.
    pub since: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// SHA-256 of the report that was shown, as `--format csv` writes it, in hexadecimal.
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
    /// The beginning of the period.
    pub since: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// SHA-256 of the report.
    pub report: String,
    /// Between the period that was reviewed before and this one: what nobody looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<(Timestamp, Timestamp)>,
}

/// Why a review is not known, or not signed off.
#[derive(Debug, thiserror::Error)]
pub enum ActivityError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// What the store holds is no review.
    #[error("the date of the last review of activity cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Not a period that can have been reviewed.
    #[error("the period ends before it begins, or has not passed yet")]
    Period,
    /// Not a digest.
    #[error("what was shown is not named by a SHA-256")]
    Digest,
}

/// How the review stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has to do anything.
    Fine(String),
    /// Somebody has to review.
    Due(String),
}

/// The room.
#[derive(Debug, Clone)]
pub struct ActivityReviews {
    store: Store,
    audit: Audit,
    interval: Duration,
    clock: SharedClock,
    last: Arc<ArcSwapOption<Review>>,
}

impl Review {
    /// The last one, if there was any.
    ///
    /// # Errors
    /// [`ActivityError`], where the store does not answer or holds no review.
    pub async fn last(store: &Store) -> Result<Option<Self>, ActivityError> {
        let entry = store.get(Table::Upkeep, KEY).await?;
        Ok(entry
            .map(|entry| serde_json::from_slice(entry.value.expose()))
            .transpose()?)
    }
}

impl ActivityReviews {
    /// Opens the room; the last review is read. `interval` is how often activity is reviewed.
    ///
    /// # Errors
    /// [`ActivityError`].
    pub async fn open(
        store: Store,
        audit: Audit,
        interval: Duration,
        clock: SharedClock,
    ) -> Result<Self, ActivityError> {
        let last = Review::last(&store).await?;
        Ok(Self {
            store,
            audit,
            interval,
            clock,
            last: Arc::new(ArcSwapOption::new(last.map(Arc::new))),
        })
    }

    /// Answers an operator.
    ///
    /// # Errors
    /// [`ActivityError`]; nothing is signed off then.
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Review, ActivityError> {
        match ask {
            Ask::SignOff(signed) => self.sign_off(operator, signed).await,
        }
    }

    /// Signs a review off: on record with the reviewer, then remembered.
    async fn sign_off(&self, reviewer: &str, signed: SignOff) -> Result<Review, ActivityError> {
        let now = self.clock.now();
        let latest = now.checked_add(LEEWAY).unwrap_or(now);
        if signed.since >= signed.until || signed.until > latest {
            return Err(ActivityError::Period);
        }
        let is_digest = signed.report.len() == 64
            && signed
                .report
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
        if !is_digest {
            return Err(ActivityError::Digest);
        }
        let last = self.last.load_full();
        let gap = last
            .filter(|last| last.until < signed.since)
            .map(|last| (last.until, signed.since));
        let review = Review {
            at: now,
            reviewer: reviewer.to_owned(),
            since: signed.since,
            until: signed.until,
            report: signed.report,
            gap,
        };
        let mut detail = BTreeMap::from([
            ("operator".to_owned(), reviewer.to_owned()),
            ("since".to_owned(), review.since.to_string()),
            ("until".to_owned(), review.until.to_string()),
            ("report_sha256".to_owned(), review.report.clone()),
            ("report_rows".to_owned(), signed.rows.to_string()),
        ]);
        if let Some((from, to)) = gap {
            detail.insert("not_reviewed".to_owned(), format!("{from} to {to}"));
        }
        let note: String = signed.note.chars().take(MOST_NOTE).collect();
        if !note.is_empty() {
            detail.insert("note".to_owned(), note);
        }
        self.audit
            .event(Event::ActivityReviewed, None, detail)
            .await?;
        let value = serde_json::to_vec(&review)?;
        let until = now.checked_add(REMEMBERED).unwrap_or(Timestamp::MAX);
        self.store
            .put(Table::Upkeep, KEY, &value, until, Durability::Immediate)
            .await?;
        self.last.store(Some(Arc::new(review.clone())));
        self.measure();
        Ok(review)
    }

    /// The last review, if there was any.
    #[must_use]
    pub fn last(&self) -> Option<Review> {
        self.last.load_full().map(Arc::unwrap_or_clone)
    }

    /// When the next one is due: so long after the end of what was reviewed. Nothing where none was signed off yet.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let last = self.last.load_full()?;
        last.until.checked_add(self.interval).ok()
    }

    /// Sets the gauge of this room.
    pub fn measure(&self) {
        let now = self.clock.now();
        let left = self
            .due()
            .map_or(0.0, |due| due.duration_since(now).as_secs_f64());
        metrics::gauge!(names::ACTIVITY_REVIEW_DUE).set(left);
    }

    /// How the review stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let how = "run `chartgate report activity --since 7d --sign-off`";
        let Some((last, due)) = self.last().zip(self.due()) else {
            return Standing::Due(format!("never signed off; {how}"));
        };
        let signed = format!(
            "activity through {} signed off by {}",
            last.until.strftime("%Y-%m-%d"),
            last.reviewer
        );
        let day = due.strftime("%Y-%m-%d");
        let now = self.clock.now();
        if last.until.duration_since(now) > AHEAD {
            Standing::Due(format!(
                "{signed}, which lies ahead: the clock was wrong then, or is wrong now; {how}"
            ))
        } else if due < now {
            Standing::Due(format!("{signed}; was due {day}; {how}"))
        } else {
            Standing::Fine(format!("{signed}; next due {day}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::testing::Ground;

    const WEEK: Duration = Duration::from_hours(7 * 24);

    async fn room(ground: &Ground) -> ActivityReviews {
        let (store, audit) = (ground.store.clone(), ground.audit.clone());
        ActivityReviews::open(store, audit, WEEK, ground.shared_clock())
            .await
            .unwrap()
    }

    fn signed(since: &str, until: &str) -> Ask {
        Ask::SignOff(SignOff {
            since: since.parse().unwrap(),
            until: until.parse().unwrap(),
            report: "0f".repeat(32),
            rows: 12,
            note: "n".repeat(600),
        })
    }

    #[tokio::test]
    async fn a_review_is_on_record_then_remembered_and_due_again() {
        let ground = Ground::new().await;
        let room_of = room(&ground).await;
        assert!(matches!(room_of.standing(), Standing::Due(said) if said.starts_with("never")));
        let ask = signed("2026-11-18T08:00:00Z", "2026-11-25T08:00:00Z");
        room_of.answer("alice", ask).await.unwrap();
        let detail = &ground.recorded(Event::ActivityReviewed)[0];
        assert_eq!(detail["operator"], "alice");
        assert_eq!(detail["report_sha256"], "0f".repeat(32));
        assert_eq!(detail["report_rows"], "12");
        assert_eq!(detail["since"], "2026-11-18T08:00:00Z");
        assert_eq!(detail["note"].len(), MOST_NOTE);
        assert!(!detail.contains_key("not_reviewed"));
        let again = room(&ground).await;
        assert_eq!(again.last(), room_of.last());
        assert!(
            matches!(again.standing(), Standing::Fine(said) if said.contains("next due 2026-12-02"))
        );
        ground.clock.advance(WEEK + Duration::from_secs(1));
        assert!(
            matches!(again.standing(), Standing::Due(said) if said.contains("was due 2026-12-02"))
        );
    }

    #[tokio::test]
    async fn what_nobody_looked_at_in_between_is_on_record() {
        let ground = Ground::new().await;
        let room = room(&ground).await;
        room.answer(
            "alice",
            signed("2026-11-01T00:00:00Z", "2026-11-08T00:00:00Z"),
        )
        .await
        .unwrap();
        let next = room
            .answer(
                "alice",
                signed("2026-11-10T00:00:00Z", "2026-11-17T00:00:00Z"),
            )
            .await
            .unwrap();
        assert!(next.gap.is_some());
        let records = ground.recorded(Event::ActivityReviewed);
        let gap = &records[1]["not_reviewed"];
        assert_eq!(gap, "2026-11-08T00:00:00Z to 2026-11-10T00:00:00Z");
    }

    #[tokio::test]
    async fn a_period_that_is_not_over_and_a_digest_that_is_none_are_refused() {
        let ground = Ground::new().await;
        let room = room(&ground).await;
        for (since, until) in [
            ("2026-11-25T08:00:00Z", "2026-11-18T08:00:00Z"),
            ("2026-11-18T08:00:00Z", "2026-11-26T08:00:00Z"),
        ] {
            let refused = room.answer("alice", signed(since, until)).await;
            assert!(matches!(refused, Err(ActivityError::Period)), "{since}");
        }
        let Ask::SignOff(mut sign) = signed("2026-11-18T08:00:00Z", "2026-11-25T08:00:00Z");
        "x".clone_into(&mut sign.report);
        let refused = room.answer("alice", Ask::SignOff(sign)).await;
        assert!(matches!(refused, Err(ActivityError::Digest)));
        assert!(ground.recorded(Event::ActivityReviewed).is_empty());
        assert_eq!(room.last(), None);
    }
}
