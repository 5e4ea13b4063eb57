//! Follows the trail and raises alarms.
//!
//! The order makes a crash harmless: an alarm is on record before its response, both before the position is saved.
//! After a crash the records behind the saved position are looked at again; an alarm of theirs that is on record
//! already is not recorded twice.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::alarm::{Alarm, Responder, TRIGGER};
use super::engine::Engine;
use super::flatten::Flattener;
use super::habits::Habits;
use super::memory::{Memory, Saved};
use super::rule::Response;
use super::ruleset::RuleSet;
use crate::audit::follow::{Follower, Place};
use crate::audit::show::{ShowError, Shown};
use crate::audit::trail::Audit;
use crate::clock::SharedClock;
use crate::config::alarm::Detection;
use crate::request::Event;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics as names;

#[cfg(test)]
#[path = "detector_tests.rs"]
mod tests;

/// How often the detector looks for new records.
const LOOK: Duration = Duration::from_millis(200);
/// How long it waits after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// How often a response is tried.
const TRIES: u32 = 3;
/// The position is saved at least every so many records, and after this long.
const SAVE_RECORDS: u64 = 5_000;
const SAVE_AFTER: Duration = Duration::from_secs(10);
/// Most records that a restart reads again to know what the windows held.
const MOST_REPLAYED: u64 = 500_000;
/// Records that a first start reads to know what users are known by.
const WARM_UP: u64 = 50_000;
/// Points in time that are remembered for [`Saved::replay_from`].
const MARKS: u32 = 64;
/// Most alarms that are remembered as recorded.
const MOST_RECORDED: usize = 10_000;
/// Most firings whose repetition is held back over a restart.
const MOST_FIRED: usize = 2_000;

/// How detection is, for status.
#[derive(Debug, Default)]
pub struct State {
    position: AtomicU64,
    alarms: AtomicU64,
    failed_responses: AtomicU64,
    replaying: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl State {
    /// The newest record that was looked at.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// How many alarms were raised since the start.
    #[must_use]
    pub fn alarms(&self) -> u64 {
        self.alarms.load(Ordering::Relaxed)
    }

    /// How many responses could not be carried out since the start.
    #[must_use]
    pub fn failed_responses(&self) -> u64 {
        self.failed_responses.load(Ordering::Relaxed)
    }

    /// Whether it still reads what it knew before the restart.
    #[must_use]
    pub fn replaying(&self) -> bool {
        self.replaying.load(Ordering::Relaxed)
    }

    /// What does not work at the moment.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        if let Some(trouble) = &trouble {
            tracing::error!(trouble, "detection falls behind");
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// What a detector is made from.
#[derive(Debug)]
pub struct Detector {
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// Working hours and time zone.
    pub config: Detection,
    /// The trail.
    pub audit: Audit,
    /// Where it lies.
    pub place: Place,
    /// Where the position is kept.
    pub store: Store,
    /// Who draws the consequences.
    pub responder: Arc<dyn Responder>,
    /// Time.
    pub clock: SharedClock,
    /// How it is.
    pub state: Arc<State>,
}

#[derive(Debug, thiserror::Error)]
enum DetectError {
    #[error(transparent)]
    Trail(#[from] ShowError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caught {
    /// To the end of what there was.
    Up,
    /// Not to the end of a record: the gateway ends.
    Left,
}

/// The state of a run.
struct Run {
    engine: Engine,
    flattener: Flattener,
    habits: Habits,
    follower: Follower,
    /// Up to here alarms are on record.
    settled: u64,
    /// Alarms behind that which are on record all the same.
    recorded: BTreeSet<(String, u64)>,
    marks: VecDeque<(Timestamp, u64)>,
    unsaved: u64,
    saved_at: Duration,
}

impl Detector {
    /// Works until the end.
    pub async fn run(self, mut ending: watch::Receiver<bool>) {
        let mut run = loop {
            match self.prepare().await {
                Ok(run) => break run,
                Err(error) => self.state.set_trouble(Some(error.to_string())),
            }
            if pause(&mut ending, RETRY).await {
                return;
            }
        };
        loop {
            let wait = match self.catch_up(&mut run, &mut ending).await {
                Ok(Caught::Up) => LOOK,
                // Not saved: an alarm is not on record yet.
                Ok(Caught::Left) => return,
                Err(error) => {
                    self.state.set_trouble(Some(error.to_string()));
                    RETRY
                }
            };
            if pause(&mut ending, wait).await {
                self.save(&mut run).await;
                return;
            }
        }
    }

    /// Looks at every record that is durable.
    async fn catch_up(
        &self,
        run: &mut Run,
        ending: &mut watch::Receiver<bool>,
    ) -> Result<Caught, ShowError> {
        loop {
            let batch = run.follower.step().await?;
            let last = batch.is_empty() || *ending.borrow();
            for shown in batch {
                if self.look(run, shown, ending).await == Caught::Left {
                    return Ok(Caught::Left);
                }
            }
            Self::measure(run);
            let waited = self.clock.monotonic().saturating_sub(run.saved_at);
            if run.unsaved >= SAVE_RECORDS || (run.unsaved > 0 && waited >= SAVE_AFTER) {
                self.save(run).await;
            }
            if last {
                return Ok(Caught::Up);
            }
        }
    }

    async fn prepare(&self) -> Result<Run, DetectError> {
        let memory = Memory(self.store.clone());
        let mut habits = Habits::new(self.config.clone());
        for known in memory.networks().await? {
            habits.remember(known);
        }
        let end = self.audit.log().status().sequence;
        let saved = memory.load().await?.unwrap_or_else(|| Saved {
            position: end,
            replay_from: end.saturating_sub(WARM_UP),
            fired: Vec::new(),
        });
        // A trail that was restored may end before the position.
        let settled = saved.position.min(end);
        let recorded = self.recorded(settled, end).await?;
        let mut engine = Engine::new(Arc::clone(&self.rules));
        for (rule, group, at) in &saved.fired {
            engine.remember(rule, group, *at);
        }
        self.state.position.store(settled, Ordering::Relaxed);
        let from = saved.replay_from.max(settled.saturating_sub(MOST_REPLAYED));
        self.state
            .replaying
            .store(from < settled, Ordering::Relaxed);
        Ok(Run {
            engine,
            flattener: Flattener::default(),
            habits,
            follower: Follower::new(self.audit.clone(), self.place.clone(), from),
            settled,
            recorded,
            marks: VecDeque::new(),
            unsaved: 0,
            saved_at: self.clock.monotonic(),
        })
    }

    /// The alarms behind a position that are on record.
    async fn recorded(&self, after: u64, end: u64) -> Result<BTreeSet<(String, u64)>, ShowError> {
        let from = after.saturating_add(1);
        let mut follower = Follower::new(self.audit.clone(), self.place.clone(), from);
        let mut recorded = BTreeSet::new();
        while follower.next() <= end {
            let batch = follower.step().await?;
            if batch.is_empty() {
                break;
            }
            for Shown { entry, .. } in batch {
                let rule = entry.detail.get("rule").cloned();
                let trigger = entry.detail.get(TRIGGER).and_then(|at| at.parse().ok());
                if entry.event == Some(Event::Alarm)
                    && recorded.len() < MOST_RECORDED
                    && let Some(alarm) = rule.zip(trigger)
                {
                    recorded.insert(alarm);
                }
            }
        }
        Ok(recorded)
    }

    /// Looks at a record.
    async fn look(
        &self,
        run: &mut Run,
        shown: Shown,
        ending: &mut watch::Receiver<bool>,
    ) -> Caught {
        let Shown { seq, entry } = shown;
        metrics::counter!(names::DETECT_EVENTS).increment(1);
        // Alarms raise no alarms.
        if entry.event != Some(Event::Alarm) {
            let mut fields = run.flattener.flatten(&entry);
            run.habits.add(entry.time, &mut fields);
            let firings = run.engine.feed(entry.time, entry.id, &fields);
            if seq > run.settled {
                for firing in firings {
                    let Some(rule) = self.rules.rules().get(firing.rule) else {
                        continue;
                    };
                    let alarm = Alarm::new(rule, firing, seq, &fields);
                    if self.raise(run, &alarm, ending).await == Caught::Left {
                        return Caught::Left;
                    }
                    run.unsaved = SAVE_RECORDS;
                }
            }
        }
        run.mark(entry.time, seq, self.rules.longest_window());
        run.settled = run.settled.max(seq);
        run.unsaved = run.unsaved.saturating_add(1);
        if seq >= run.settled {
            self.state.replaying.store(false, Ordering::Relaxed);
        }
        self.state.position.store(seq, Ordering::Relaxed);
        Caught::Up
    }

    async fn raise(&self, run: &Run, alarm: &Alarm, ending: &mut watch::Receiver<bool>) -> Caught {
        let case = match self.responder.case(alarm).await {
            Ok(case) => case,
            Err(error) => {
                tracing::error!(error, rule = alarm.rule, "no case could be opened");
                None
            }
        };
        let known = (alarm.rule.clone(), alarm.trigger);
        if !run.recorded.contains(&known) {
            let detail = alarm.detail(case.clone());
            while let Err(error) = self.audit.event(Event::Alarm, None, detail.clone()).await {
                self.state.set_trouble(Some(error.to_string()));
                if pause(ending, RETRY).await {
                    return Caught::Left;
                }
            }
            let level = alarm.level.name();
            metrics::counter!(names::ALARMS, "rule" => alarm.rule.clone(), "level" => level)
                .increment(1);
            self.state.alarms.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                rule = alarm.rule,
                level,
                trigger = alarm.trigger,
                "an alarm was raised"
            );
        }
        match alarm.response {
            Some(response) => self.respond(alarm, response, case.as_deref(), ending).await,
            None => Caught::Up,
        }
    }

    async fn respond(
        &self,
        alarm: &Alarm,
        response: Response,
        case: Option<&str>,
        ending: &mut watch::Receiver<bool>,
    ) -> Caught {
        for _ in 0..TRIES {
            match self.responder.respond(alarm, response, case).await {
                Ok(()) => return Caught::Up,
                Err(error) => {
                    let response = response.name();
                    tracing::error!(error, response, rule = alarm.rule, "a response failed");
                }
            }
            if pause(ending, RETRY).await {
                return Caught::Left;
            }
        }
        self.state.failed_responses.fetch_add(1, Ordering::Relaxed);
        Caught::Up
    }

    async fn save(&self, run: &mut Run) {
        let now = self.clock.now();
        let memory = Memory(self.store.clone());
        let mut fired: Vec<(String, String, Timestamp)> = run
            .engine
            .fired()
            .map(|(rule, group, at)| (rule.to_owned(), group.to_owned(), at))
            .collect();
        fired.sort_by_key(|(_, _, at)| std::cmp::Reverse(*at));
        fired.truncate(MOST_FIRED);
        let saved = Saved {
            position: run.settled,
            replay_from: run.marks.front().map_or(run.settled, |(_, seq)| *seq),
            fired,
        };
        let learnt = run.habits.learnt();
        let written = async {
            memory.learn(&learnt, now).await?;
            memory.save(&saved, now).await
        };
        run.saved_at = self.clock.monotonic();
        match written.await {
            Ok(()) => {
                run.unsaved = 0;
                self.state.set_trouble(None);
            }
            Err(error) => self.state.set_trouble(Some(error.to_string())),
        }
    }

    fn measure(run: &Run) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus numbers are floating point"
        )]
        metrics::gauge!(names::DETECT_LAG).set(run.follower.behind() as f64);
    }
}

impl Run {
    /// Remembers where the longest window begins.
    fn mark(&mut self, at: Timestamp, seq: u64, window: Duration) {
        let apart = window.checked_div(MARKS).unwrap_or_default();
        let far = |(last, _): &(Timestamp, u64)| at.duration_since(*last).unsigned_abs() >= apart;
        if self.marks.back().is_none_or(far) {
            self.marks.push_back((at, seq));
        }
        let since = at.checked_sub(window).unwrap_or(Timestamp::MIN);
        while self.marks.get(1).is_some_and(|(then, _)| *then <= since) {
            self.marks.pop_front();
        }
    }
}

/// Waits; `true` where the end came.
async fn pause(ending: &mut watch::Receiver<bool>, time: Duration) -> bool {
    if *ending.borrow() {
        return true;
    }
    tokio::select! {
        // An end that can no longer be told is an end.
        _ = ending.wait_for(|ended| *ended) => true,
        () = tokio::time::sleep(time) => false,
    }
}
