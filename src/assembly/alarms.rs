//! Detection of misuse and alarms out, as rooms of this gateway.
//!
//! *Owns*: which part of containment answers a rule that fired.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::StartError;
use super::rooms::Foundations;
use crate::admin::health::{Check, Status};
use crate::audit::follow::Place;
use crate::config::alarm::Detection;
use crate::detect::{Alarm, Detector, Level, Responder, Response, RuleSet, State};
use crate::notify::{Ground, Notifier};
use crate::operate::By;
use crate::operate::cases::{self, Cases, Kind, Opening};
use crate::operate::containment::Containment;

/// A detector that is this far behind is amber.
const FAR_BEHIND: u64 = 10_000;

/// Detection and alarms out.
#[derive(Debug, Clone)]
pub(super) struct Alarms {
    rules: Arc<RuleSet>,
    config: Detection,
    ground: Ground,
    responder: Arc<dyn Responder>,
    state: Arc<State>,
    /// Receivers of alarms.
    pub(super) notifier: Notifier,
}

impl Alarms {
    /// Loads the rules and makes the receivers.
    ///
    /// # Errors
    /// [`StartError::Rules`] or [`StartError::Notify`].
    pub(super) fn open(
        foundations: &Foundations<'_>,
        cases: &Arc<Cases>,
        containment: &Arc<Containment>,
    ) -> Result<Self, StartError> {
        let config = foundations.config;
        let rules = if config.detection.enabled {
            RuleSet::load(&config.policy.directory)?
        } else {
            RuleSet::default()
        };
        let ground = Ground {
            audit: foundations.audit.clone(),
            place: Place {
                directory: foundations.trail.clone(),
                master: foundations.master.clone(),
            },
            store: foundations.store.clone(),
            clock: foundations.clock.clone(),
        };
        Ok(Self {
            rules: Arc::new(rules),
            config: config.detection.clone(),
            notifier: Notifier::new(&config.notify, ground.clone())?,
            ground,
            responder: Arc::new(Consequences {
                cases: cases.clone(),
                containment: containment.clone(),
            }),
            state: Arc::default(),
        })
    }

    /// The lines of `chartgate status`.
    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.detection()];
        for (name, condition) in self.notifier.receivers() {
            let last = condition.last.map_or_else(
                || "nothing sent since the start".to_owned(),
                |at| format!("last sent {}", at.strftime("%Y-%m-%d %H:%M:%SZ")),
            );
            let (status, detail) = match (condition.problem, condition.gave_up) {
                (Some(problem), gave_up) => (
                    Status::Amber,
                    format!("{last}; {gave_up} passed over; the last attempt failed: {problem}"),
                ),
                (None, 0) => (
                    Status::Green,
                    format!("{last}; {} records behind", condition.behind),
                ),
                (None, gave_up) => (
                    Status::Amber,
                    format!("{last}; {gave_up} alarms were passed over: read them on the trail"),
                ),
            };
            checks.push(Check::advisory(format!("notify:{name}"), status, detail));
        }
        checks
    }

    fn detection(&self) -> Check {
        let rules = self.rules.alarming().count();
        let newest = self.ground.audit.log().status().sequence;
        let behind = newest.saturating_sub(self.state.position());
        let (alarms, failed) = (self.state.alarms(), self.state.failed_responses());
        let (status, detail) = if !self.config.enabled {
            (
                Status::Amber,
                "switched off in the configuration".to_owned(),
            )
        } else if rules == 0 {
            (
                Status::Amber,
                "the policy bundle has no detection rules; add them in `detections/`".to_owned(),
            )
        } else if let Some(trouble) = self.state.trouble() {
            (Status::Amber, format!("{behind} records behind: {trouble}"))
        } else if failed > 0 {
            (
                Status::Amber,
                format!(
                    "{failed} responses could not be carried out; see the log, and act by hand"
                ),
            )
        } else if self.state.replaying() {
            (
                Status::Green,
                format!("{rules} rules; reading what was known before the restart"),
            )
        } else {
            let status = if behind > FAR_BEHIND {
                Status::Amber
            } else {
                Status::Green
            };
            (
                status,
                format!("{rules} rules, {behind} records behind, {alarms} alarms since the start"),
            )
        };
        Check::advisory("detection", status, detail)
    }

    /// How many records detection is behind; why it does not follow.
    pub(super) fn following(&self) -> Result<u64, String> {
        if !self.config.enabled {
            return Err("detection is switched off in the configuration".to_owned());
        }
        if let Some(trouble) = self.state.trouble() {
            return Err(trouble);
        }
        match self.state.failed_responses() {
            0 => {
                let newest = self.ground.audit.log().status().sequence;
                Ok(newest.saturating_sub(self.state.position()))
            }
            failed => Err(format!("{failed} responses could not be carried out")),
        }
    }

    /// Starts to follow the trail.
    pub(super) fn start(&self, background: &mut JoinSet<()>, ending: &watch::Receiver<bool>) {
        self.notifier.start(background, ending);
        if self.rules.rules().is_empty() {
            return;
        }
        let detector = Detector {
            rules: self.rules.clone(),
            config: self.config.clone(),
            audit: self.ground.audit.clone(),
            place: self.ground.place.clone(),
            store: self.ground.store.clone(),
            responder: self.responder.clone(),
            clock: self.ground.clock.clone(),
            state: self.state.clone(),
        };
        background.spawn(detector.run(ending.clone()));
    }
}

/// What answers a rule that fired.
#[derive(Debug)]
struct Consequences {
    cases: Arc<Cases>,
    containment: Arc<Containment>,
}

impl Responder for Consequences {
    fn case<'a>(&'a self, alarm: &'a Alarm) -> BoxFuture<'a, Result<Option<String>, String>> {
        Box::pin(async move {
            let opening = Opening {
                kind: Kind::Alarm,
                title: alarm.title.clone(),
                level: level(alarm.level),
                rule: Some(alarm.rule.clone()),
                user: alarm.user.clone().or_else(|| alarm.client.clone()),
                patient: alarm.patient.clone(),
                records: alarm.records.iter().map(ToString::to_string).collect(),
                by: format!("rule {}", alarm.rule),
            };
            let opened = self.cases.open(opening).await;
            let opened = opened.map_err(|error| error.to_string())?;
            Ok(Some(opened.number().to_string()))
        })
    }

    fn respond<'a>(
        &'a self,
        alarm: &'a Alarm,
        response: Response,
        case: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let user = alarm.user_id.as_deref().ok_or("the alarm names no user")?;
            let by = By::Rule {
                rule: alarm.rule.clone(),
                case: case.and_then(|case| case.parse().ok()),
            };
            let done = match response {
                Response::EndSession => {
                    self.containment
                        .end_sessions_of(user, &alarm.title, &by)
                        .await
                }
                Response::LockUser => {
                    self.containment
                        .lock_user(user, &alarm.title, None, by)
                        .await
                }
            };
            done.map(|_ended| ()).map_err(|error| error.to_string())
        })
    }
}

const fn level(level: Level) -> cases::Level {
    match level {
        Level::Informational | Level::Low => cases::Level::Low,
        Level::Medium => cases::Level::Medium,
        Level::High => cases::Level::High,
        Level::Critical => cases::Level::Critical,
    }
}
