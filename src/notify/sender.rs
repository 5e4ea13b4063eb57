//! One receiver: follows the trail from where it was, and sends what is for it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::mail::MailChannel;
use super::message::{Message, TEST_RULE};
use super::room::{SendError, State, Tests};
use super::webhook::WebhookChannel;
use crate::audit::follow::{Follower, Place};
use crate::audit::show::ShowError;
use crate::audit::trail::Audit;
use crate::clock::SharedClock;
use crate::config::alarm::Selection;
use crate::store::{Durability, Store, StoreError, Table};
use crate::telemetry::metrics as names;

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;

/// How often a sender looks for new alarms.
const LOOK: Duration = Duration::from_millis(500);
/// How long it waits after a first failure; twice as long after each further one.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// How long an alarm is tried.
const GIVE_UP: SignedDuration = SignedDuration::from_hours(24);
/// The position is saved at least every so many records that were no alarms.
const SAVE_RECORDS: u64 = 10_000;
/// Expiry of the position: it is written again and again.
const KEEP: SignedDuration = SignedDuration::from_hours(24 * 365 * 10);

/// How alarms get there.
#[derive(Debug)]
pub(super) enum Channel {
    Webhook(Box<WebhookChannel>),
    Mail(Box<MailChannel>),
}

impl Channel {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        match self {
            Self::Webhook(channel) => channel.send(message).await,
            Self::Mail(channel) => channel.send(message).await,
        }
    }
}

#[derive(Debug)]
pub(super) struct Sender {
    pub(super) selection: Selection,
    pub(super) channel: Channel,
    pub(super) audit: Audit,
    pub(super) place: Place,
    pub(super) store: Store,
    pub(super) clock: SharedClock,
    pub(super) state: Arc<State>,
    pub(super) tests: Arc<Tests>,
    /// [`FIRST_WAIT`]; less in tests.
    pub(super) first_wait: Duration,
}

/// What became of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It need not be tried again.
    Settled,
    /// The end came first.
    Left,
}

impl Sender {
    /// Works until the end.
    pub(super) async fn run(self, mut ending: watch::Receiver<bool>) {
        let mut follower = loop {
            match self.follow().await {
                Ok(follower) => break follower,
                Err(error) => self.state.fail(&self.selection.name, error.to_string()),
            }
            if pause(&mut ending, FIRST_WAIT).await {
                return;
            }
        };
        let mut saved = follower.next();
        loop {
            match self.catch_up(&mut follower, &mut saved, &mut ending).await {
                Ok(Fate::Settled) => {}
                Ok(Fate::Left) => return,
                Err(error) => self.state.fail(&self.selection.name, error.to_string()),
            }
            if pause(&mut ending, LOOK).await {
                self.save(follower.next()).await;
                return;
            }
        }
    }

    /// Goes on where the receiver was; at the end of the trail for one that is new.
    async fn follow(&self) -> Result<Follower, StoreError> {
        let begin = self.audit.log().status().sequence.saturating_add(1);
        // A trail that was restored may end before the position.
        let next = self.load().await?.unwrap_or(begin).min(begin);
        Ok(Follower::new(self.audit.clone(), self.place.clone(), next))
    }

    /// Sends every alarm that is durable.
    async fn catch_up(
        &self,
        follower: &mut Follower,
        saved: &mut u64,
        ending: &mut watch::Receiver<bool>,
    ) -> Result<Fate, ShowError> {
        loop {
            let batch = follower.step().await?;
            let last = batch.is_empty() || *ending.borrow();
            for shown in batch {
                let message = Message::of(&shown);
                let Some(message) = message.filter(|message| message.is_for(&self.selection))
                else {
                    continue;
                };
                match self.deliver(&message, ending).await {
                    Fate::Settled => {
                        *saved = shown.seq.saturating_add(1);
                        self.save(*saved).await;
                    }
                    Fate::Left => return Ok(Fate::Left),
                }
            }
            self.measure(follower);
            if follower.next().saturating_sub(*saved) >= SAVE_RECORDS {
                *saved = follower.next();
                self.save(*saved).await;
            }
            if last {
                return Ok(Fate::Settled);
            }
        }
    }

    /// Sends an alarm, again and again where that is needed.
    async fn deliver(&self, message: &Message, ending: &mut watch::Receiver<bool>) -> Fate {
        let name = &self.selection.name;
        let mut wait = self.first_wait;
        loop {
            let sent = self.channel.send(message).await;
            let result = if sent.is_ok() { "ok" } else { "failed" };
            metrics::counter!(names::DELIVERIES, "receiver" => name.clone(), "result" => result)
                .increment(1);
            if let Some(nonce) = &message.nonce
                && message.rule == TEST_RULE
            {
                let problem = sent.as_ref().err().map(ToString::to_string);
                self.tests.report(nonce, name, problem);
            }
            let error = match sent {
                Ok(()) => {
                    self.state.delivered(self.clock.now());
                    return Fate::Settled;
                }
                Err(error) => error,
            };
            self.state.fail(name, error.to_string());
            let age = self.clock.now().duration_since(message.time);
            if message.rule == TEST_RULE {
                // Whoever asked for it was told; nobody waits for it, and no alarm is missing.
                return Fate::Settled;
            }
            if age > GIVE_UP {
                self.state.gave_up();
                tracing::error!(
                    receiver = name,
                    alarm = message.id,
                    "an alarm was passed over"
                );
                return Fate::Settled;
            }
            if pause(ending, wait).await {
                return Fate::Left;
            }
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
    }

    fn key(&self) -> String {
        format!("notify.{}", self.selection.name)
    }

    async fn load(&self) -> Result<Option<u64>, StoreError> {
        let found = self.store.get(Table::Upkeep, &self.key()).await?;
        let bytes =
            found.and_then(|entry| <[u8; 8]>::try_from(entry.value.expose().as_slice()).ok());
        Ok(bytes.map(u64::from_be_bytes))
    }

    async fn save(&self, next: u64) {
        let now = self.clock.now();
        let expires = now.checked_add(KEEP).unwrap_or(Timestamp::MAX);
        let value = next.to_be_bytes();
        let key = self.key();
        let put = self
            .store
            .put(Table::Upkeep, &key, &value, expires, Durability::Immediate);
        if let Err(error) = put.await {
            // After a restart the receiver gets these alarms again: at least once, not at most.
            self.state.fail(&self.selection.name, error.to_string());
        }
    }

    fn measure(&self, follower: &Follower) {
        self.state.set_behind(follower.behind());
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus numbers are floating point"
        )]
        let behind = follower.behind() as f64;
        metrics::gauge!(names::NOTIFY_LAG, "receiver" => self.selection.name.clone()).set(behind);
    }
}

/// Waits; `true` where the end came.
async fn pause(ending: &mut watch::Receiver<bool>, time: Duration) -> bool {
    tokio::select! {
        // An end that can no longer be told is an end.
        _ = ending.wait_for(|ended| *ended) => true,
        () = tokio::time::sleep(time) => false,
    }
}
