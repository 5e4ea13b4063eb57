//! What was last backed up and practised, kept in the store, and what follows from it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::drill::Drilled;
use super::error::BackupError;
use super::make;
use super::manifest::Link;
use super::{AGAIN, FIRST, Standing};
use crate::clock::{since, spoken};
use crate::config::Backup;
use crate::store::{Store, remembered};

pub(super) const KEY: &str = "backup";

/// What was last done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The newest backup.
    pub newest: Option<Made>,
    /// The newest attempt, where it failed or something was left out.
    pub failed: Option<Failed>,
    /// The newest drill.
    pub drilled: Option<Drilled>,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its name.
    pub id: String,
    /// SHA-256 of its signed manifest, hex.
    pub digest: String,
    /// Where it lies.
    pub target: String,
    /// When it was begun.
    pub time: Timestamp,
    /// The newest record in it.
    pub sequence: u64,
    /// Files in it.
    pub files: u64,
    /// Bytes of them, in clear.
    pub bytes: u64,
    /// Bytes that had to be stored for it.
    pub stored: u64,
    /// How long it took.
    pub millis: u64,
    /// What was left out.
    pub problems: Vec<String>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub time: Timestamp,
    /// Why.
    pub reason: String,
}

impl Made {
    pub(super) fn new(made: &make::Made, target: String, took: Duration) -> Self {
        let manifest = &made.kept.manifest;
        Self {
            id: manifest.id.clone(),
            digest: made.kept.digest.clone(),
            target,
            time: manifest.time,
            sequence: manifest.trail.sequence,
            files: u64::try_from(manifest.files.len()).unwrap_or(u64::MAX),
            bytes: manifest.bytes(),
            stored: made.stored,
            millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            problems: manifest.problems.clone(),
        }
    }
}

impl State {
    /// The state that the store keeps.
    ///
    /// # Errors
    /// [`BackupError::Store`] where it does not answer.
    pub async fn of(store: &Store) -> Result<Self, BackupError> {
        Ok(remembered::read(store, KEY).await?.unwrap_or_default())
    }

    /// The backup that must be the newest at `target`.
    #[must_use]
    pub fn link_at(&self, target: &str) -> Option<Link> {
        let newest = self.newest.as_ref().filter(|made| made.target == target)?;
        Some(Link {
            id: newest.id.clone(),
            digest: newest.digest.clone(),
        })
    }

    /// How old the newest backup is; of a gateway that made none, how long it has been running. A time that lies ahead
    /// was taken from a clock that was wrong: it says nothing.
    pub(super) fn age(&self, started: Timestamp, now: Timestamp) -> Duration {
        let newest = self.newest.as_ref().and_then(|made| since(made.time, now));
        newest.or_else(|| since(started, now)).unwrap_or_default()
    }

    /// Whether a backup should be made now.
    pub(super) fn is_due(&self, schedule: Duration, started: Timestamp, now: Timestamp) -> bool {
        let failed = self
            .failed
            .as_ref()
            .and_then(|failed| since(failed.time, now));
        if failed.is_some_and(|ago| ago < AGAIN) {
            return false;
        }
        match self.newest.as_ref().and_then(|made| since(made.time, now)) {
            Some(age) => age >= schedule || self.failed.is_some(),
            None => since(started, now).is_none_or(|running| running >= FIRST.min(schedule)),
        }
    }
}

/// The line of `chartgate status`.
pub(super) fn standing(
    state: &State,
    backup: &Backup,
    started: Timestamp,
    now: Timestamp,
) -> Standing {
    let since = |time: Timestamp| {
        let span = since(time, now);
        span.map_or_else(|| "an unknown time".to_owned(), spoken)
    };
    let drill = match &state.drilled {
        Some(drilled) if drilled.problems.is_empty() => format!(
            "drilled {} ago, RPO {} s, RTO {} ms",
            since(drilled.time),
            drilled.rpo_seconds,
            drilled.rto_millis
        ),
        Some(drilled) => format!("the drill {} ago FAILED", since(drilled.time)),
        None => "never drilled: `chartgate backup drill`".to_owned(),
    };
    let Some(newest) = &state.newest else {
        let none = "there is no backup yet: `chartgate backup run`".to_owned();
        return if state.age(started, now) > backup.max_age {
            Standing::Bad(none)
        } else {
            Standing::Look(none)
        };
    };
    let line = format!("{} is {} old; {drill}", newest.id, since(newest.time));
    if state.age(started, now) > backup.max_age {
        return Standing::Bad(format!("too old: {line}"));
    }
    if newest.time > now {
        let said = "the newest backup is of a time that lies ahead: the clock was wrong then, or is wrong now";
        return Standing::Look(format!("{said}; {line}"));
    }
    let failed_drill = state
        .drilled
        .as_ref()
        .is_none_or(|drilled| !drilled.problems.is_empty());
    match &state.failed {
        Some(failed) => {
            let (ago, reason) = (since(failed.time), &failed.reason);
            Standing::Look(format!("the attempt {ago} ago failed ({reason}); {line}"))
        }
        None if failed_drill => Standing::Look(line),
        None => Standing::Fine(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BackupTarget;

    const HOUR: Duration = Duration::from_hours(1);

    fn made(time: Timestamp) -> Made {
        Made {
            id: "b".to_owned(),
            digest: "d".to_owned(),
            target: "/backups".to_owned(),
            time,
            sequence: 1,
            files: 1,
            bytes: 1,
            stored: 1,
            millis: 1,
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_backup_is_due_by_schedule_and_soon_again_after_a_failure() {
        let start: Timestamp = "2026-11-25T00:00:00Z".parse().unwrap();
        let at = |span: Duration| start.checked_add(span).unwrap();
        let mut state = State::default();
        let due = |state: &State, span| state.is_due(24 * HOUR, start, at(span));
        assert!(!due(&state, Duration::from_mins(9)));
        assert!(due(&state, Duration::from_mins(10)));
        state.failed = Some(Failed {
            time: at(HOUR),
            reason: "full".to_owned(),
        });
        assert!(!due(&state, HOUR + Duration::from_mins(14)));
        assert!(due(&state, HOUR + Duration::from_mins(15)));
        state.newest = Some(made(at(HOUR)));
        assert!(
            due(&state, 2 * HOUR),
            "one that was not whole is made again"
        );
        state.failed = None;
        assert!(!due(&state, 24 * HOUR));
        assert!(due(&state, 25 * HOUR));
    }

    #[test]
    fn a_backup_of_a_clock_that_was_wrong_does_not_put_the_next_one_off() {
        let start: Timestamp = "2026-11-25T00:00:00Z".parse().unwrap();
        let at = |span: Duration| start.checked_add(span).unwrap();
        let mut state = State {
            newest: Some(made(at(9_000 * HOUR))),
            ..State::default()
        };
        let due = |state: &State, span| state.is_due(24 * HOUR, start, at(span));
        assert!(!due(&state, Duration::from_mins(9)));
        assert!(due(&state, Duration::from_mins(10)));
        assert_eq!(state.age(start, at(37 * HOUR)), 37 * HOUR);
        state.failed = Some(Failed {
            time: at(9_000 * HOUR),
            reason: "full".to_owned(),
        });
        assert!(due(&state, HOUR));
    }

    #[test]
    fn the_line_says_what_is_wrong() {
        let start: Timestamp = "2026-11-25T00:00:00Z".parse().unwrap();
        let backup = Backup {
            configuration: "chartgate.toml".into(),
            target: BackupTarget::Directory("/backups".into()),
            key: "backup.key".into(),
            schedule: 24 * HOUR,
            max_age: 36 * HOUR,
            sources: Vec::new(),
        };
        let at = |span: Duration| start.checked_add(span).unwrap();
        let mut state = State::default();
        let line = |state: &State, span| standing(state, &backup, start, at(span));
        assert!(matches!(line(&state, HOUR), Standing::Look(_)));
        assert!(matches!(line(&state, 37 * HOUR), Standing::Bad(_)));
        state.newest = Some(made(start));
        assert!(
            matches!(line(&state, HOUR), Standing::Look(text) if text.contains("never drilled"))
        );
        state.drilled = Some(Drilled {
            backup: "b".to_owned(),
            time: start,
            rpo_seconds: 3,
            rto_millis: 4,
            records: 5,
            witnessed: Some(5),
            values: 6,
            problems: Vec::new(),
        });
        assert!(matches!(line(&state, HOUR), Standing::Fine(text) if text.contains("RPO 3 s")));
        assert!(
            matches!(line(&state, 37 * HOUR), Standing::Bad(text) if text.starts_with("too old"))
        );
        state.failed = Some(Failed {
            time: start,
            reason: "full".to_owned(),
        });
        assert!(matches!(line(&state, HOUR), Standing::Look(text) if text.contains("full")));
        assert_eq!(state.link_at("/elsewhere"), None);
        assert_eq!(state.link_at("/backups").unwrap().id, "b");
    }
}
