//! What was last done about the archive, kept in the store, and what follows from it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::ArchiveError;
use crate::store::{NEVER, Store, StoreError, Table};

const KEY: &str = "archive";
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
        let entry = store.get(Table::Upkeep, KEY).await?;
        // What a later version wrote and this one cannot read is done again: nothing of it is lost in the archive.
        let kept = entry.and_then(|entry| serde_json::from_slice(entry.value.expose()).ok());
        let kept = kept.filter(|state: &Self| state.target == target);
        Ok(kept.unwrap_or_else(|| Self {
            target: target.to_owned(),
            ..Self::default()
        }))
    }

    /// How long the archive has not had everything.
    pub(super) fn age(&self, started: Timestamp, now: Timestamp) -> Duration {
        now.duration_since(self.complete.unwrap_or(started))
            .try_into()
            .unwrap_or_default()
    }

    /// Whether it has not had everything for too long.
    pub(super) fn is_late(&self, every: Duration, (started, now): (Timestamp, Timestamp)) -> bool {
        self.age(started, now) > every.saturating_add(LATE)
    }

    /// Whether it should be brought up to date now.
    pub(super) fn is_due(&self, every: Duration, (started, now): (Timestamp, Timestamp)) -> bool {
        let since =
            |time: Timestamp| Duration::try_from(now.duration_since(time)).unwrap_or_default();
        if since(started) < FIRST {
            return false;
        }
        match (&self.failed, self.complete) {
            (Some(failed), _) => since(failed.time) >= AGAIN.min(every),
            (None, Some(complete)) => since(complete) >= every,
            (None, None) => true,
        }
    }

    /// The line of `chartgate status`.
    pub(super) fn standing(&self, every: Duration, at: (Timestamp, Timestamp)) -> Standing {
        let (started, now) = at;
        let ago = |time: Timestamp| {
            let span = now.duration_since(time).try_into().unwrap_or_default();
            shown(span)
        };
        let line = match self.complete {
            Some(complete) => format!(
                "{} segments, {} bytes at {}, complete {} ago",
                self.segments,
                self.bytes,
                self.target,
                ago(complete)
            ),
            None => format!("nothing was archived yet at {}", self.target),
        };
        if let Some(Outcome { time, problems }) = &self.verified
            && *problems > 0
        {
            let said = format!("verified {} ago: {problems} problems; {line}", ago(*time));
            return Standing::Bad(said);
        }
        let failed = self.failed.as_ref();
        let line = failed.map_or(line.clone(), |failed| {
            let reason = &failed.reason;
            format!("the run {} ago failed ({reason}); {line}", ago(failed.time))
        });
        if self.is_late(every, (started, now)) {
            Standing::Bad(line)
        } else if failed.is_some() || self.complete.is_none() {
            Standing::Look(line)
        } else {
            Standing::Fine(line)
        }
    }
}

/// The state in memory, and which alarms have been given.
#[derive(Debug)]
pub(super) struct Memory {
    state: Mutex<State>,
    loud: Mutex<BTreeSet<&'static str>>,
}

impl Memory {
    pub(super) async fn open(store: &Store, target: &str) -> Result<Self, StoreError> {
        Ok(Self {
            state: Mutex::new(State::of(store, target).await?),
            loud: Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> State {
        lock(&self.state).clone()
    }

    pub(super) async fn keep(&self, store: &Store, state: State) -> Result<(), ArchiveError> {
        store.keep(Table::Upkeep, KEY, &state, NEVER).await?;
        *lock(&self.state) = state;
        Ok(())
    }

    /// Whether this alarm is news.
    pub(super) fn loud(&self, rule: &'static str) -> bool {
        lock(&self.loud).insert(rule)
    }

    /// The reason of an alarm is gone.
    pub(super) fn quiet(&self, rule: &'static str) {
        lock(&self.loud).remove(rule);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A time span as a person reads it.
pub(super) fn shown(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
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
        let memory = Memory::open(&store, "/a").await.unwrap();
        let mut state = memory.state();
        state.segments = 7;
        memory.keep(&store, state).await.unwrap();
        assert_eq!(State::of(&store, "/a").await.unwrap().segments, 7);
        assert_eq!(State::of(&store, "/b").await.unwrap().segments, 0);
    }
}
