//! All sinks, and how they are.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::channel::{Channel, SendError, format};
use super::delivery::Receiver;
use super::sender::{FIRST_WAIT, Sender};
use crate::audit::follow::Place;
use crate::audit::minimise::Minimiser;
use crate::audit::shipped::Refused;
use crate::audit::trail::Audit;
use crate::clock::SharedClock;
use crate::config::sink::{Sink, SinkTarget};
use crate::outbound::HttpError;
use crate::outbound::syslog::SyslogError;
use crate::store::Store;

/// For how long what was refused asks for attention.
const LATELY: SignedDuration = SignedDuration::from_hours(24);

/// Why a sink cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// By HTTP.
    #[error("audit.sink: {0}")]
    Http(#[from] HttpError),
    /// By syslog.
    #[error("audit.sink: {0}")]
    Syslog(#[from] SyslogError),
}

/// How a sink is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// When something got there last.
    pub last: Option<Timestamp>,
    /// Why the last attempt failed, if it did.
    pub problem: Option<String>,
    /// What the receiver refused for good.
    pub refused: Refused,
    /// Whether that was within the last day.
    pub refused_lately: bool,
    /// Records that were removed from the trail before the receiver had them.
    pub missed: u64,
    /// Records that have not been sent.
    pub behind: u64,
}

/// What is known of a sink while it works.
#[derive(Debug, Default)]
pub(super) struct State(Mutex<Condition>);

impl State {
    /// How it is now.
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

    pub(super) fn fail(&self, sink: &str, problem: String) {
        tracing::warn!(sink, problem, "the trail did not get there");
        self.change(|condition| condition.problem = Some(problem));
    }

    /// What the receiver had refused.
    pub(super) fn know(&self, refused: &Refused) {
        self.change(|condition| condition.refused = refused.clone());
    }

    /// The receiver refuses more.
    pub(super) fn refuse(&self, sink: &str, refused: &Refused) {
        if let Some(newest) = &refused.newest {
            let (record, answer) = (newest.record, &newest.answer);
            tracing::error!(sink, record, answer, "the receiver refuses some records");
        }
        self.know(refused);
    }

    pub(super) fn miss(&self, sink: &str, many: u64) {
        if many > 0 {
            tracing::error!(
                sink,
                many,
                "records were removed before the receiver had them"
            );
            self.change(|condition| condition.missed = condition.missed.saturating_add(many));
        }
    }

    pub(super) fn set_behind(&self, behind: u64) {
        self.change(|condition| condition.behind = behind);
    }
}

/// What sinks stand on.
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

/// All sinks.
#[derive(Debug, Clone)]
pub struct Shipping {
    sinks: Vec<(Sink, Arc<State>)>,
    ground: Ground,
}

impl Shipping {
    /// Sinks as configured.
    ///
    /// # Errors
    /// [`ShipError`] for one that cannot be used.
    pub fn new(sinks: &[Sink], ground: Ground) -> Result<Self, ShipError> {
        for sink in sinks {
            // What cannot be used is found before anyone is served.
            drop(Channel::new(sink)?);
        }
        let sinks = sinks.iter().cloned().map(|sink| (sink, Arc::default()));
        Ok(Self {
            sinks: sinks.collect(),
            ground,
        })
    }

    /// Every sink, and how it is.
    pub fn sinks(&self) -> impl Iterator<Item = (&str, Condition)> {
        let now = self.ground.clock.now();
        self.sinks.iter().map(move |(sink, state)| {
            let mut condition = state.condition();
            let newest = condition.refused.newest.as_ref();
            condition.refused_lately =
                newest.is_some_and(|newest| now.duration_since(newest.at) < LATELY);
            (sink.name.as_str(), condition)
        })
    }

    /// Starts to send.
    pub fn start(&self, background: &mut JoinSet<()>, ending: &watch::Receiver<bool>) {
        for (sink, state) in &self.sinks {
            let channel = match Channel::new(sink) {
                Ok(channel) => channel,
                Err(error) => {
                    state.fail(&sink.name, error.to_string());
                    continue;
                }
            };
            let sender = Sender {
                format: format(sink),
                window: channel.window(),
                channel,
                ground: self.ground.clone(),
                state: Arc::clone(state),
                first_wait: FIRST_WAIT,
                wait: FIRST_WAIT,
                receiver: Receiver::default(),
                minimiser: Minimiser::new(&sink.patients),
                since: self.ground.clock.now(),
                failing: None,
                sink: sink.clone(),
            };
            background.spawn(sender.run(ending.clone()));
        }
    }
}

/// Tries whether a receiver can be reached and lets the gateway in, without sending it anything of the trail.
///
/// # Errors
/// For a person: what is in the way.
pub async fn probe(sink: &Sink) -> Result<(), String> {
    let mut channel = Channel::new(sink).map_err(|error| error.to_string())?;
    if let SinkTarget::Https(_) = &sink.target {
        // What an empty request would mean to the receiver is not known.
        return Ok(());
    }
    let sent: Result<_, SendError> = channel.send(&[]).await;
    sent.map_err(|error| error.to_string())?;
    channel.close().await;
    Ok(())
}
