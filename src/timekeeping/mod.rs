//! What time it is, as others say, and that nobody moved this machine's clock.
//!
//! Time servers are asked, and what they say goes onto every checkpoint; a jump of the clock, and one that is too far
//! off, go on record and raise an alarm. The clock itself is set by the machine's own time service, never here.
//!
//! *Owns*: what is known of the clock.
//! *Never*: sets the clock, or lets one server among three decide what time it is.
//! *On failure*: where nobody answers, the state says so; what could not be recorded is recorded later.

mod kept;
mod sntp;
mod step;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the spans of these tests are small"
)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use kept::{Compared, Kept};
pub use sntp::{Kiss, Sample, SntpError};

use self::kept::seconds;
use self::step::{Step, Steps};
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::config::timekeeping::Timekeeping as Section;
use crate::request::Event;
use crate::telemetry::metrics as names;

/// How often both clocks are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Jumps that wait to be recorded; a trail that fails for longer has other troubles.
const MOST_WAITING: usize = 16;
/// A server that wants to be asked less is left out of so many rounds.
const LEFT_OUT: u32 = 15;

/// How the clock is: a line of `chartgate status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is right.
    Fine(String),
    /// Somebody should look.
    Look(String),
}

/// The room; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Timekeeping {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    section: Section,
    audit: Audit,
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    kept: Kept,
    steps: Steps,
    /// Jumps that are not on record yet.
    waiting: VecDeque<Step>,
    last_step: Option<Step>,
    /// An alarm says that the clock is off.
    loud: bool,
    /// Rounds that each server is left out of.
    left_out: Vec<u32>,
}

impl Timekeeping {
    /// Opens the room; until servers answered, checkpoints say that they did not.
    #[must_use]
    pub fn open(section: &Section, audit: Audit, clock: SharedClock) -> Self {
        let kept = if section.servers.is_empty() {
            kept::by_this_machine()
        } else {
            Kept::Silent {
                asked: 0,
                reason: "not asked yet".to_owned(),
            }
        };
        audit.log().set_clock_state(&kept.to_string());
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(State {
                    kept,
                    steps: Steps::default(),
                    waiting: VecDeque::new(),
                    last_step: None,
                    loud: false,
                    left_out: vec![0; section.servers.len()],
                }),
                section: section.clone(),
                audit,
                clock,
            }),
        }
    }

    /// Looks at the clock and asks the servers until `end`.
    pub async fn keep(self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        let mut due = Duration::ZERO;
        loop {
            let round = async {
                self.look().await;
                let now = self.inner.clock.monotonic();
                if now >= due {
                    due = now.saturating_add(self.inner.section.poll);
                    self.poll().await;
                }
                tokio::time::sleep(LOOK).await;
            };
            tokio::select! {
                () = &mut end => return,
                () = round => {}
            }
        }
    }

    /// Compares both clocks, and puts on record what is due.
    async fn look(&self) {
        let inner = &*self.inner;
        let (wall, monotonic) = (inner.clock.now(), inner.clock.monotonic());
        {
            let mut state = self.state();
            if let Some(step) = state.steps.look(wall, monotonic) {
                tracing::warn!(by = seconds(step.by), "the clock jumped");
                metrics::counter!(names::CLOCK_STEPS).increment(1);
                state.last_step = Some(step);
                state.waiting.truncate(MOST_WAITING.saturating_sub(1));
                state.waiting.push_back(step);
            }
        }
        loop {
            let Some(step) = self.state().waiting.front().copied() else {
                return;
            };
            if let Err(error) = self.stepped(&step).await {
                tracing::error!(%error, "a jump of the clock is to be recorded later");
                return;
            }
            self.state().waiting.pop_front();
        }
    }

    async fn stepped(&self, step: &Step) -> Result<(), AuditError> {
        let by = seconds(step.by);
        let title = format!("the clock of this machine jumped by {by}");
        let detail = BTreeMap::from([
            ("by".to_owned(), by),
            ("before".to_owned(), step.before.to_string()),
            ("after".to_owned(), step.after.to_string()),
        ]);
        let audit = &self.inner.audit;
        audit.event(Event::ClockStepped, None, detail).await?;
        self.alarm("clock-stepped", title).await
    }

    /// Asks everybody once.
    async fn poll(&self) {
        let inner = &*self.inner;
        let kept = if inner.section.servers.is_empty() {
            kept::by_this_machine()
        } else {
            self.ask().await
        };
        inner.audit.log().set_clock_state(&kept.to_string());
        self.measure(&kept);
        let compared = match &kept {
            Kept::Ntp(compared) => Some(compared.median),
            Kept::Silent { .. } | Kept::Timesyncd | Kept::TimesyncdWaits | Kept::Unknown => None,
        };
        let was_loud = {
            let mut state = self.state();
            state.kept = kept;
            state.loud
        };
        // An alarm is over when the clock was seen to be right, not when nobody answers.
        let Some(median) = compared else { return };
        if median.offset.unsigned_abs() <= inner.section.most_offset {
            self.state().loud = false;
        } else if !was_loud {
            let title = format!(
                "the clock of this machine is {} off (says {})",
                seconds(median.offset),
                median.server
            );
            match self.alarm("clock-offset", title).await {
                Ok(()) => self.state().loud = true,
                Err(error) => tracing::error!(%error, "an alarm could not be recorded"),
            }
        }
    }

    async fn ask(&self) -> Kept {
        let inner = &*self.inner;
        let servers = &inner.section.servers;
        let due = self.due();
        let questions = servers.iter().enumerate().zip(due);
        let questions = questions.filter(|(_, is_due)| *is_due).map(|(asked, _)| {
            let (index, server) = asked;
            async move { (index, server, sntp::ask(server, &inner.clock).await) }
        });
        let mut samples = Vec::new();
        let mut reason = "every server wants to be left alone".to_owned();
        for (index, server, answer) in futures_util::future::join_all(questions).await {
            match answer {
                Ok(sample) => samples.push(sample),
                Err(error) => {
                    reason = format!("{server}: {error}");
                    tracing::debug!(reason, "a time server told no time");
                    self.left_alone(index, &error);
                }
            }
        }
        let asked = servers.len();
        match Compared::of(samples, asked, inner.clock.now()) {
            Some(compared) => Kept::Ntp(compared),
            None => Kept::Silent { asked, reason },
        }
    }

    /// Which servers are asked in this round.
    fn due(&self) -> Vec<bool> {
        let mut state = self.state();
        let due = |rounds: &mut u32| {
            let is_due = *rounds == 0;
            if *rounds < u32::MAX {
                *rounds = rounds.saturating_sub(1);
            }
            is_due
        };
        state.left_out.iter_mut().map(due).collect()
    }

    /// What a server that wants to be left alone gets (RFC 5905 §7.4).
    fn left_alone(&self, index: usize, error: &SntpError) {
        let rounds = match error {
            SntpError::Kiss(Kiss::Deny) => u32::MAX,
            SntpError::Kiss(Kiss::Rate) => LEFT_OUT,
            SntpError::Kiss(Kiss::Other)
            | SntpError::Name(_)
            | SntpError::Reach(_)
            | SntpError::Random
            | SntpError::Silent
            | SntpError::Unfit(_) => return,
        };
        if let Some(left_out) = self.state().left_out.get_mut(index) {
            *left_out = rounds;
        }
    }

    fn measure(&self, kept: &Kept) {
        let is_known = match kept {
            Kept::Ntp(compared) => {
                metrics::gauge!(names::CLOCK_OFFSET).set(compared.median.offset.as_secs_f64());
                compared.median.offset.unsigned_abs() <= self.inner.section.most_offset
            }
            Kept::Timesyncd => true,
            Kept::Silent { .. } | Kept::TimesyncdWaits | Kept::Unknown => false,
        };
        metrics::gauge!(names::CLOCK_SYNCHRONISED).set(if is_known { 1.0 } else { 0.0 });
    }

    async fn alarm(&self, rule: &str, title: String) -> Result<(), AuditError> {
        let detail = BTreeMap::from([
            ("rule".to_owned(), rule.to_owned()),
            ("level".to_owned(), "high".to_owned()),
            ("title".to_owned(), title),
        ]);
        self.inner.audit.event(Event::Alarm, None, detail).await
    }

    /// How the clock is.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let state = self.state();
        let most = self.inner.section.most_offset;
        let said = match &state.last_step {
            None => state.kept.to_string(),
            Some(step) => format!(
                "{}; jumped by {} at {}",
                state.kept,
                seconds(step.by),
                step.after.strftime("%Y-%m-%d %H:%M:%SZ")
            ),
        };
        match &state.kept {
            Kept::Ntp(compared) if compared.median.offset.unsigned_abs() > most => {
                Standing::Look(format!("off by more than is allowed: {said}"))
            }
            Kept::Ntp(compared) if compared.spread > most => Standing::Look(format!(
                "the time servers are {:.3} s apart: {said}",
                compared.spread.as_secs_f64()
            )),
            Kept::Ntp(_) | Kept::Timesyncd => Standing::Fine(said),
            Kept::Silent { reason, .. } => Standing::Look(format!("{said} ({reason})")),
            Kept::TimesyncdWaits => Standing::Look(format!(
                "{said}: have it reach its servers (`timedatectl status`)"
            )),
            Kept::Unknown => Standing::Look(format!(
                "nobody says whether this clock is right: name `servers` in [clock] ({said})"
            )),
        }
    }

    /// How it is, for an assessment; nothing where no time servers are configured.
    #[must_use]
    pub fn compared(&self) -> Option<Standing> {
        (!self.inner.section.servers.is_empty()).then(|| self.standing())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
