//! What was last done about the archive, kept in the store, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::hold::Hold;
use crate::clock::{since, spoken};
use crate::counted::counted;
use crate::store::{Store, StoreError, remembered};

pub(super) const KEY: &str = "archive";
/// The first run of a gateway comes this long after its start.
const FIRST: Duration = Duration::from_mins(1);
/// After a failure the next attempt comes after this, or sooner where runs are made more often.
const AGAIN: Duration = Duration::from_mins(15);
/// An archive that has not had everything for longer than this, and the time between two runs, is an alarm.
const LATE: Duration = Duration::from_hours(24);

/// What was last done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where.
    pub target: String,
    /// When the archive last had every ended segment.
    pub complete: Option<Timestamp>,
    /// The newest attempt, where it failed.
    pub failed: Option<Failed>,
    /// Segments that the archive held then.
    pub segments: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The newest checkpoint that was archived.
    pub checkpoint: u64,
    /// The last segment, by its place in the log, whose last checkpoint was archived.
    pub noted: u64,
    /// The last segment that was removed from the log and whose note was archived.
    pub retired: u64,
    /// The holds that every archived segment was compared with.
    pub sieved: BTreeSet<u64>,
    /// The newest verification.
    pub verified: Option<Outcome>,
    /// How many further identifiers of their patients these holds covered then. They only grow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub covered: BTreeMap<u64, usize>,
}

impl State {
    /// Whether every archived segment was compared with a hold, and with all that it covers.
    pub(super) fn has_sieved(&self, hold: &Hold) -> bool {
        let covered = self.covered.get(&hold.id).copied().unwrap_or_default();
        self.sieved.contains(&hold.id) && covered >= hold.aliases.len()
    }

    /// Every archived segment was compared with these.
    pub(super) fn sieved_by<'h>(&mut self, holds: impl Iterator<Item = &'h Hold> + Clone) {
        self.sieved = holds.clone().map(|hold| hold.id).collect();
        let covering = holds.filter(|hold| !hold.aliases.is_empty());
        self.covered = covering.map(|hold| (hold.id, hold.aliases.len())).collect();
    }
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub time: Timestamp,
    /// Why.
    pub reason: String,
}

/// A verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When.
    pub time: Timestamp,
    /// How much was wrong.
    pub problems: usize,
}

/// How the archive is: a line of `chartgate status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// In order.
    Fine(String),
    /// Somebody should look.
    Look(String),
    /// What should be in it is not, and has not been for long.
    Bad(String),
}

impl State {
    /// The state that the store keeps of the archive at `target`.
    ///
    /// # Errors
    /// [`StoreError`] where it does not answer.
    pub async fn of(store: &Store, target: &str) -> Result<Self, StoreError> {
        // What is not known is done again: nothing of it is lost in the archive.
        let kept: Option<Self> = remembered::read(store, KEY).await?;
        let kept = kept.filter(|state| state.target == target);
        Ok(kept.unwrap_or_else(|| Self {
            target: target.to_owned(),
            ..Self::default()
        }))
    }

    /// How long the archive has not had everything. A time that lies ahead was taken from a clock that was wrong: it
    /// says nothing.
    pub(super) fn age(&self, started: Timestamp, now: Timestamp) -> Duration {
        let complete = self.complete.and_then(|complete| since(complete, now));
        complete.or_else(|| since(started, now)).unwrap_or_default()
    }

    /// Whether it has not had everything for too long.
    pub(super) fn is_late(&self, every: Duration, (started, now): (Timestamp, Timestamp)) -> bool {
        self.age(started, now) > every.saturating_add(LATE)
    }

    /// Whether it should be brought up to date now.
    pub(super) fn is_due(&self, every: Duration, (started, now): (Timestamp, Timestamp)) -> bool {
        if since(started, now).is_some_and(|running| running < FIRST) {
            return false;
        }
        let (last, pause) = match &self.failed {
            Some(failed) => (Some(failed.time), AGAIN.min(every)),
            None => (self.complete, every),
        };
        let passed = last.and_then(|last| since(last, now));
        passed.is_none_or(|passed| passed >= pause)
    }

    /// The line of `chartgate status`.
    pub(super) fn standing(&self, every: Duration, at: (Timestamp, Timestamp)) -> Standing {
        let (started, now) = at;
        let ago = |time: Timestamp| ago(time, now);
        let line = match self.complete {
            Some(complete) => format!(
                "{}, {} at {}, complete {}",
                counted(self.segments, "segment"),
                counted(self.bytes, "byte"),
                self.target,
                ago(complete)
            ),
            None => format!("nothing was archived yet at {}", self.target),
        };
        if let Some(Outcome { time, problems }) = &self.verified
            && *problems > 0
        {
            let said = format!(
                "verified {}: {}; {line}",
                ago(*time),
                counted(*problems, "problem")
            );
            return Standing::Bad(said);
        }
        let failed = self.failed.as_ref();
        let line = failed.map_or(line.clone(), |failed| {
            let reason = &failed.reason;
            format!("the run {} failed ({reason}); {line}", ago(failed.time))
        });
        let done = self.complete.and_then(|complete| since(complete, now));
        if self.is_late(every, (started, now)) {
            Standing::Bad(line)
        } else if failed.is_some() || done.is_none() {
            Standing::Look(line)
        } else {
            Standing::Fine(line)
        }
    }
}

/// How long ago something was, as a person reads it.
fn ago(time: Timestamp, now: Timestamp) -> String {
    since(time, now).map_or_else(
        || format!("at {time:.0}, which lies ahead: the clock was wrong then, or is wrong now"),
        |span| format!("{} ago", spoken(span)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn start() -> Timestamp {
        "2026-11-25T00:00:00Z".parse().unwrap()
    }

    fn at(span: Duration) -> (Timestamp, Timestamp) {
        (start(), start().checked_add(span).unwrap())
    }

    #[test]
    fn a_run_is_due_by_schedule_and_soon_again_after_a_failure() {
        let mut state = State::default();
        assert!(!state.is_due(HOUR, at(Duration::from_secs(59))));
        assert!(state.is_due(HOUR, at(FIRST)));
        state.complete = Some(start());
        assert!(!state.is_due(HOUR, at(HOUR.saturating_sub(Duration::from_secs(1)))));
        assert!(state.is_due(HOUR, at(HOUR)));
        state.failed = Some(Failed {
            time: at(HOUR).1,
            reason: "full".to_owned(),
        });
        assert!(!state.is_due(
            HOUR,
            at((HOUR + AGAIN).saturating_sub(Duration::from_secs(1)))
        ));
        assert!(state.is_due(HOUR, at(HOUR + AGAIN)));
        let minute = Duration::from_mins(1);
        assert!(state.is_due(minute, at(HOUR + minute)));
    }

    #[test]
    fn a_hold_that_covers_more_than_before_is_compared_again() {
        let mut hold: Hold = serde_json::from_value(serde_json::json!({
            "id": 1, "matter": "m", "scope": { "patient": "4" }, "reason": "r", "by": "alice",
            "at": "2026-11-25T00:00:00Z",
        }))
        .unwrap();
        let mut state = State::default();
        assert!(!state.has_sieved(&hold));
        state.sieved_by([&hold].into_iter());
        assert!(state.has_sieved(&hold));
        hold.aliases.insert("lab|77".to_owned());
        assert!(!state.has_sieved(&hold));
        state.sieved_by([&hold].into_iter());
        assert!(state.has_sieved(&hold));
        // As an older gateway kept it.
        let kept = serde_json::to_string(&State::default()).unwrap();
        assert!(!kept.contains("covered"));
        assert_eq!(
            serde_json::from_str::<State>(&kept).unwrap(),
            State::default()
        );
    }

    #[test]
    fn what_was_done_by_a_clock_that_was_wrong_is_not_done() {
        let ahead = at(Duration::from_hours(24 * 365)).1;
        let mut state = State {
            complete: Some(ahead),
            ..State::default()
        };
        assert!(state.is_due(HOUR, at(HOUR)));
        assert!(!state.is_late(HOUR, at(25 * HOUR)));
        assert!(state.is_late(HOUR, at(25 * HOUR + Duration::from_secs(1))));
        let line = |state: &State, span| state.standing(HOUR, at(span));
        assert!(matches!(line(&state, HOUR), Standing::Look(text) if text.contains("lies ahead")));
        assert!(matches!(line(&state, 26 * HOUR), Standing::Bad(_)));
        state.failed = Some(Failed {
            time: ahead,
            reason: "full".to_owned(),
        });
        assert!(state.is_due(HOUR, at(HOUR)));
        // A gateway that was started then has run for as long as anybody knows.
        assert!(state.is_due(HOUR, (ahead, start())));
    }

    #[test]
    fn the_line_says_what_is_wrong() {
        let mut state = State {
            target: "/srv/archive".to_owned(),
            ..State::default()
        };
        let line = |state: &State, span| state.standing(HOUR, at(span));
        assert!(matches!(line(&state, HOUR), Standing::Look(text) if text.contains("nothing")));
        assert!(matches!(line(&state, 26 * HOUR), Standing::Bad(_)));
        state.complete = Some(at(26 * HOUR).1);
        assert!(matches!(line(&state, 27 * HOUR), Standing::Fine(_)));
        state.failed = Some(Failed {
            time: at(27 * HOUR).1,
            reason: "full".to_owned(),
        });
        assert!(matches!(line(&state, 28 * HOUR), Standing::Look(text) if text.contains("full")));
        assert!(matches!(line(&state, 52 * HOUR), Standing::Bad(text) if text.contains("full")));
        state.failed = None;
        state.verified = Some(Outcome {
            time: at(27 * HOUR).1,
            problems: 2,
        });
        assert!(
            matches!(line(&state, 28 * HOUR), Standing::Bad(text) if text.contains("2 problems"))
        );
    }

    #[tokio::test]
    async fn another_target_begins_anew() {
        let clock = crate::clock::SystemClock::shared();
        let store = crate::audit::fixture::store(clock).await;
        let mut state = State::of(&store, "/a").await.unwrap();
        state.segments = 7;
        let memory = remembered::Remembered::new(KEY, State::default());
        memory.keep(&store, state).await.unwrap();
        assert_eq!(State::of(&store, "/a").await.unwrap().segments, 7);
        assert_eq!(State::of(&store, "/b").await.unwrap().segments, 0);
    }
}
