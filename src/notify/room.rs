//! All receivers, how they are, and the test that an operator may ask for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::ask::Answer;
use super::mail::MailChannel;
use super::message::{NONCE, TEST_RULE};
use super::sender::{Channel, FIRST_WAIT, Sender};
use super::webhook::WebhookChannel;
use crate::audit::follow::Place;
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::config::alarm::{Level, Notify, Selection};
use crate::outbound::HttpError;
use crate::request::Event;
use crate::store::Store;

/// How long a test waits for the receivers.
const TEST_PATIENCE: Duration = Duration::from_secs(30);
const TEST_LOOK: Duration = Duration::from_millis(50);
/// Most results of tests that are kept.
const MOST_RESULTS: usize = 256;

/// Why alarms cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// A client cannot be made.
    #[error("notify: {0}")]
    Http(#[from] HttpError),
    /// A mail receiver cannot be used.
    #[error("notify `{name}`: {problem}")]
    Mail {
        /// Which.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The test is not on record.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// There is nobody to send to.
    #[error("no receiver of alarms is configured; add [[notify.webhook]] or [[notify.smtp]]")]
    Nobody,
}

/// Why an alarm did not get there.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{0}")]
    Mail(String),
}

/// How a receiver is.
#[derive(Debug, Default)]
pub(super) struct State(Mutex<Condition>);

/// How a receiver is, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// When an alarm got there last.
    pub last: Option<Timestamp>,
    /// Why the last attempt failed, if it did.
    pub problem: Option<String>,
    /// Alarms that were passed over since the start.
    pub gave_up: u64,
    /// Records that have not been looked at.
    pub behind: u64,
}

impl State {
    /// How it is now.
    #[must_use]
    pub(super) fn condition(&self) -> Condition {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn delivered(&self, now: Timestamp) {
        self.change(|condition| {
            condition.last = Some(now);
            condition.problem = None;
        });
    }

    pub(super) fn fail(&self, receiver: &str, problem: String) {
        tracing::warn!(receiver, problem, "an alarm did not get there");
        self.change(|condition| condition.problem = Some(problem));
    }

    pub(super) fn gave_up(&self) {
        self.change(|condition| condition.gave_up = condition.gave_up.saturating_add(1));
    }

    pub(super) fn set_behind(&self, behind: u64) {
        self.change(|condition| condition.behind = behind);
    }
}

/// What came of tests.
#[derive(Debug, Default)]
pub(super) struct Tests(Mutex<VecDeque<(String, Answer)>>);

impl Tests {
    pub(super) fn report(&self, nonce: &str, receiver: &str, problem: Option<String>) {
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if results.len() >= MOST_RESULTS {
            results.pop_front();
        }
        let receiver = receiver.to_owned();
        results.push_back((nonce.to_owned(), Answer { receiver, problem }));
    }

    fn of(&self, nonce: &str) -> Vec<Answer> {
        let results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        results
            .iter()
            .filter(|(of, _)| of == nonce)
            .map(|(_, answer)| answer.clone())
            .collect()
    }
}

/// What the notifier stands on.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The trail.
    pub audit: Audit,
    /// Where it lies.
    pub place: Place,
    /// Where positions are kept.
    pub store: Store,
    /// Time.
    pub clock: SharedClock,
}

/// All receivers.
#[derive(Debug, Clone)]
pub struct Notifier {
    config: Notify,
    ground: Ground,
    receivers: Vec<(String, Arc<State>)>,
    tests: Arc<Tests>,
}

impl Notifier {
    /// Receivers as configured.
    ///
    /// # Errors
    /// [`NotifyError`] for one that cannot be used.
    pub fn new(config: &Notify, ground: Ground) -> Result<Self, NotifyError> {
        let notifier = Self {
            receivers: selections(config)
                .map(|selection| (selection.name.clone(), Arc::default()))
                .collect(),
            config: config.clone(),
            ground,
            tests: Arc::default(),
        };
        // What cannot be used is found before anyone is served.
        drop(notifier.senders()?);
        Ok(notifier)
    }

    /// Every receiver, and how it is.
    pub fn receivers(&self) -> impl Iterator<Item = (&str, Condition)> {
        self.receivers
            .iter()
            .map(|(name, state)| (name.as_str(), state.condition()))
    }

    /// Starts to send.
    pub fn start(&self, background: &mut JoinSet<()>, ending: &watch::Receiver<bool>) {
        match self.senders() {
            Ok(senders) => {
                for sender in senders {
                    background.spawn(sender.run(ending.clone()));
                }
            }
            Err(error) => tracing::error!(%error, "alarms are not sent"),
        }
    }

    fn senders(&self) -> Result<Vec<Sender>, NotifyError> {
        let mut channels = Vec::new();
        for webhook in &self.config.webhooks {
            let channel = WebhookChannel::new(webhook.clone(), self.ground.clock.clone())?;
            channels.push((
                webhook.selection.clone(),
                Channel::Webhook(Box::new(channel)),
            ));
        }
        for mail in &self.config.mails {
            let channel = MailChannel::new(mail.clone())?;
            channels.push((mail.selection.clone(), Channel::Mail(Box::new(channel))));
        }
        let senders = channels.into_iter().zip(&self.receivers);
        Ok(senders
            .map(|((selection, channel), (_, state))| Sender {
                selection,
                channel,
                audit: self.ground.audit.clone(),
                place: self.ground.place.clone(),
                store: self.ground.store.clone(),
                clock: self.ground.clock.clone(),
                state: Arc::clone(state),
                tests: Arc::clone(&self.tests),
                first_wait: FIRST_WAIT,
            })
            .collect())
    }

    /// Raises a test alarm, and waits for what comes of it at every receiver.
    ///
    /// # Errors
    /// [`NotifyError`], where there is no receiver or the test is not on record.
    pub async fn test(&self, operator: &str) -> Result<Vec<Answer>, NotifyError> {
        if self.receivers.is_empty() {
            return Err(NotifyError::Nobody);
        }
        let nonce = Uuid::now_v7().to_string();
        let detail = BTreeMap::from(
            [
                ("rule", TEST_RULE),
                ("title", "Test of the way that alarms take"),
                ("level", Level::Low.name()),
                ("operator", operator),
                (NONCE, nonce.as_str()),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        self.ground.audit.event(Event::Alarm, None, detail).await?;
        let asked = async {
            while self.tests.of(&nonce).len() < self.receivers.len() {
                tokio::time::sleep(TEST_LOOK).await;
            }
        };
        // Who has not answered by then is reported as such.
        drop(tokio::time::timeout(TEST_PATIENCE, asked).await);
        let mut answers = self.tests.of(&nonce);
        for (name, _) in &self.receivers {
            if !answers.iter().any(|answer| answer.receiver == *name) {
                let seconds = TEST_PATIENCE.as_secs();
                answers.push(Answer {
                    receiver: name.clone(),
                    problem: Some(format!(
                        "no result within {seconds} s; earlier alarms may be waiting"
                    )),
                });
            }
        }
        Ok(answers)
    }
}

fn selections(config: &Notify) -> impl Iterator<Item = &Selection> {
    let webhooks = config.webhooks.iter().map(|webhook| &webhook.selection);
    webhooks.chain(config.mails.iter().map(|mail| &mail.selection))
}
