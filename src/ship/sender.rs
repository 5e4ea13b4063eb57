//! One sink: follows the trail from where its receiver is, and sends what it wants.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::channel::{Channel, LONGEST_WAIT, SendError};
use super::delivery::{Delivery, MOST_MESSAGES, Receiver, Step};
use super::join::Join;
use super::position::Marks;
use super::room::{Ground, State};
use crate::audit::entry::{Entry, Phase};
use crate::audit::export::Format;
use crate::audit::export::message::{Message, messages};
use crate::audit::follow::Follower;
use crate::audit::minimise::Minimiser;
use crate::audit::shipped::{Position, Refused, key, position};
use crate::audit::show::Shown;
use crate::config::sink::{Beginning, Included, Sink};
use crate::store::{Durability, NEVER, StoreError, Table};
use crate::telemetry::metrics as names;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the sizes of these tests are small"
)]
#[path = "sender_tests.rs"]
pub(super) mod tests;

/// How often a sender looks for new records.
const LOOK: Duration = Duration::from_millis(500);
/// How long it waits after a first failure; twice as long after each further one.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Most bytes of messages that are sent at once.
const MOST_BYTES: usize = 1 << 20;

/// A sink at work.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) sink: Sink,
    pub(super) format: Format,
    pub(super) channel: Channel,
    pub(super) ground: Ground,
    pub(super) state: Arc<State>,
    /// For how long what was sent may be lost.
    pub(super) window: Duration,
    /// [`FIRST_WAIT`]; less in tests.
    pub(super) first_wait: Duration,
    /// How long it waits after the next failure.
    pub(super) wait: Duration,
    /// What it learns of patients.
    pub(super) minimiser: Minimiser,
    /// What is known of the receiver.
    pub(super) receiver: Receiver,
    /// When the sender started: what is older was waiting then.
    pub(super) since: Timestamp,
    /// Since when nothing gets there.
    pub(super) failing: Option<Timestamp>,
}

/// The trail as it goes by, from one position on.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) follower: Follower,
    join: Join,
    marks: Marks,
    /// What is in the store.
    saved: Position,
    pub(super) behind: bool,
    pub(super) refused: Refused,
    /// The record that should come first, until one came.
    first: Option<u64>,
}

impl Stream {
    pub(super) fn position(&self) -> Position {
        Position {
            next: self.join.next(self.follower.next()),
            open: self.join.open(),
            behind: self.behind,
            refused: self.refused.clone(),
        }
    }
}

/// What became of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// What was there has been sent.
    Sent,
    /// There was nothing.
    Idle,
    /// What was sent may be lost.
    Back,
    /// The end came first.
    Left,
}

impl Sender {
    /// Works until the end.
    pub(super) async fn run(mut self, mut ending: watch::Receiver<bool>) {
        let mut stream = loop {
            match self.begin().await {
                Ok(position) => break self.stream(position),
                Err(error) => self.fail(error.to_string()),
            }
            if pause(&mut ending, FIRST_WAIT).await {
                return;
            }
        };
        while !*ending.borrow() {
            match self.turn(&mut stream, &mut ending).await {
                Fate::Sent => {}
                Fate::Back => stream = self.again(&stream),
                Fate::Idle => {
                    pause(&mut ending, LOOK).await;
                }
                Fate::Left => break,
            }
        }
        self.end(&mut stream).await;
    }

    /// Ends in good order: what the receiver has for sure need not be sent again.
    pub(super) async fn end(&mut self, stream: &mut Stream) {
        if self.channel.close().await {
            // Of a batch that was being sent nothing counts: the position is that of before.
            stream.marks.settle();
        }
        self.save(stream, Durability::Immediate).await;
    }

    /// Where the receiver was; where a new one begins.
    pub(super) async fn begin(&self) -> Result<Position, StoreError> {
        let end = self.ground.audit.log().status().sequence.saturating_add(1);
        let known = position(&self.ground.store, &self.sink.name).await?;
        if let Some(known) = known {
            // A trail that was restored may end before the position.
            return Ok(if known.next <= end {
                known
            } else {
                Position {
                    next: end,
                    open: Vec::new(),
                    ..known
                }
            });
        }
        let new = Position {
            next: match self.sink.from {
                Beginning::Now => end,
                Beginning::Oldest => 0,
            },
            ..Position::default()
        };
        let (store, key) = (&self.ground.store, key(&self.sink.name));
        store.keep(Table::Upkeep, &key, &new, NEVER).await?;
        Ok(new)
    }

    pub(super) fn stream(&self, from: Position) -> Stream {
        let Ground { audit, place, .. } = &self.ground;
        self.state.know(&from.refused);
        Stream {
            follower: Follower::new(audit.clone(), place.clone(), from.first()),
            join: Join::new(&from),
            behind: from.behind,
            refused: from.refused.clone(),
            first: (from.next > 0).then_some(from.first()),
            saved: from.clone(),
            marks: Marks::new(self.window, from),
        }
    }

    /// From the last position that can be relied on.
    pub(super) fn again(&self, stream: &Stream) -> Stream {
        let mut position = stream.marks.relied_on().cloned().unwrap_or_default();
        position.behind = stream.behind;
        position.refused = stream.refused.clone();
        let saved = stream.saved.clone();
        Stream {
            saved,
            ..self.stream(position)
        }
    }

    /// Sends what has become durable, up to a step of the follower.
    pub(super) async fn turn(
        &mut self,
        stream: &mut Stream,
        ending: &mut watch::Receiver<bool>,
    ) -> Fate {
        let batch = match stream.follower.step().await {
            Ok(batch) => batch,
            Err(error) => {
                self.fail(error.to_string());
                // What cannot be read gets nowhere either.
                let since = *self.failing.get_or_insert(self.ground.clock.now());
                self.judge(stream, since).await;
                self.measure(stream);
                return Fate::Idle;
            }
        };
        let idle = batch.is_empty();
        if let Some(first) = batch.first() {
            self.see_gap(stream, first);
        }
        let mut pending = Pending::default();
        for shown in batch {
            let at = shown.entry.time;
            pending.add(self.messages(&mut stream.join, shown), at);
            while pending.is_full() {
                let fate = self.deliver(stream, pending.take(), ending).await;
                if fate != Fate::Sent {
                    return fate;
                }
            }
        }
        while !pending.is_empty() {
            let fate = self.deliver(stream, pending.take(), ending).await;
            if fate != Fate::Sent {
                return fate;
            }
        }
        stream.marks.sent(Instant::now(), stream.position());
        self.measure(stream);
        if idle && !self.channel.stands() {
            return Fate::Back;
        }
        if idle {
            self.failing = None;
            self.caught_up(stream).await;
        }
        self.save(
            stream,
            if idle {
                Durability::Immediate
            } else {
                Durability::Relaxed
            },
        )
        .await;
        if idle { Fate::Idle } else { Fate::Sent }
    }

    /// What the sink gets of a record, or of the request that it completes.
    fn messages(&self, join: &mut Join, shown: Shown) -> Vec<Message> {
        if self.format == Format::Jsonl {
            let wanted = self.wants(&shown.entry);
            if !wanted {
                return Vec::new();
            }
            // Nothing is joined, so nothing is open.
            let shown = Shown {
                entry: self.minimiser.entry(shown.entry),
                ..shown
            };
            return Message::single(&shown).into_iter().collect();
        }
        let joined = join.push(shown).filter(|joined| self.wants(&joined.entry));
        joined.map_or_else(Vec::new, |joined| {
            messages(self.format, &self.minimiser.joined(joined))
        })
    }

    fn wants(&self, entry: &Entry) -> bool {
        self.sink.include.contains(&match entry.phase {
            Phase::Admit | Phase::Outcome => Included::Requests,
            Phase::Refuse => Included::Refusals,
            Phase::Event => Included::Events,
        })
    }

    /// Sends a batch, again and again where that is needed.
    async fn deliver(
        &mut self,
        stream: &mut Stream,
        (batch, at): (Vec<Message>, Timestamp),
        ending: &mut watch::Receiver<bool>,
    ) -> Fate {
        let mut delivery = Delivery::new(batch);
        loop {
            let step = tokio::select! {
                step = delivery.step(&mut self.channel, &mut self.receiver) => step,
                () = over(ending) => return Fate::Left,
            };
            let (problem, wait, starts_anew) = match step {
                Ok(Step::Going) => continue,
                Ok(Step::Lost) => return Fate::Back,
                // What was refused is on record before anything moves on.
                Ok(Step::Done) => match self.give_up(stream, delivery.refusals()).await {
                    Ok(()) => {
                        self.count(&delivery);
                        self.delivered(stream, at).await;
                        return Fate::Sent;
                    }
                    Err(error) => (error.to_string(), None, false),
                },
                Err(error) => {
                    let anew = matches!(error, SendError::Everything);
                    (error.to_string(), error.wait(), anew)
                }
            };
            metrics::counter!(names::SINK_FAILURES, "sink" => self.sink.name.clone()).increment(1);
            self.fail(problem);
            self.failing.get_or_insert(self.ground.clock.now());
            self.judge(stream, at).await;
            self.measure(stream);
            if pause(ending, self.wait.max(wait.unwrap_or_default())).await {
                return Fate::Left;
            }
            self.wait = self.wait.saturating_mul(2).min(LONGEST_WAIT);
            if starts_anew {
                // With what was recorded meanwhile: the receiver may take some of it.
                return Fate::Back;
            }
        }
    }

    fn count(&self, delivery: &Delivery) {
        let rejected = delivery.refusals().iter().map(|refusal| refusal.count);
        let rejected = rejected.fold(0, u64::saturating_add);
        for (result, many) in [
            ("ok", delivery.len().saturating_sub(rejected)),
            ("rejected", rejected),
        ] {
            metrics::counter!(names::SINK_MESSAGES, "sink" => self.sink.name.clone(), "result" => result)
                .increment(many);
        }
    }

    async fn delivered(&mut self, stream: &mut Stream, at: Timestamp) {
        self.failing = None;
        self.wait = self.first_wait;
        self.state.delivered(self.ground.clock.now());
        self.judge(stream, at).await;
    }

    /// Records that were removed before the receiver had them.
    fn see_gap(&self, stream: &mut Stream, first: &Shown) {
        if let Some(expected) = stream.first.take() {
            self.state
                .miss(&self.sink.name, first.seq.saturating_sub(expected));
        }
    }

    fn fail(&self, problem: String) {
        self.state.fail(&self.sink.name, problem);
    }

    fn measure(&self, stream: &Stream) {
        let behind = stream.follower.behind();
        self.state.set_behind(behind);
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        let behind = behind as f64;
        metrics::gauge!(names::SINK_LAG, "sink" => self.sink.name.clone()).set(behind);
    }

    /// Keeps what can be relied on. A crash that loses a relaxed write makes the receiver get some messages twice.
    async fn save(&self, stream: &mut Stream, durability: Durability) {
        let Some(position) = stream.marks.relied_on() else {
            return;
        };
        let position = Position {
            behind: stream.behind,
            refused: stream.refused.clone(),
            ..position.clone()
        };
        if position == stream.saved {
            return;
        }
        let Ok(value) = serde_json::to_vec(&position) else {
            return;
        };
        let (store, key) = (&self.ground.store, key(&self.sink.name));
        let put = store.put(Table::Upkeep, &key, &value, NEVER, durability);
        match put.await {
            Ok(()) => stream.saved = position,
            Err(error) => self.fail(error.to_string()),
        }
    }
}

/// Messages that wait to be sent.
#[derive(Debug, Default)]
struct Pending {
    messages: Vec<Message>,
    bytes: usize,
    /// When the record was written that completed the first.
    oldest: Option<Timestamp>,
}

impl Pending {
    fn add(&mut self, messages: Vec<Message>, at: Timestamp) {
        for message in messages {
            self.bytes = self.bytes.saturating_add(message.text.len());
            self.messages.push(message);
            self.oldest.get_or_insert(at);
        }
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= MOST_MESSAGES || self.bytes >= MOST_BYTES
    }

    /// The first messages: at least one, and no more than may be sent at once.
    fn take(&mut self) -> (Vec<Message>, Timestamp) {
        let (mut count, mut bytes) = (0_usize, 0_usize);
        for message in self.messages.iter().take(MOST_MESSAGES) {
            bytes = bytes.saturating_add(message.text.len());
            if count > 0 && bytes > MOST_BYTES {
                break;
            }
            count = count.saturating_add(1);
        }
        let taken: Vec<Message> = self.messages.drain(..count).collect();
        let size: usize = taken.iter().map(|message| message.text.len()).sum();
        self.bytes = self.bytes.saturating_sub(size);
        let oldest = self.oldest.unwrap_or(Timestamp::MAX);
        if self.messages.is_empty() {
            self.oldest = None;
        }
        (taken, oldest)
    }
}

/// Waits; whether the end came first.
async fn pause(ending: &mut watch::Receiver<bool>, wait: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        () = over(ending) => true,
    }
}

/// Returns at the end.
async fn over(ending: &mut watch::Receiver<bool>) {
    // Whoever would say that it ends is gone: it has ended.
    drop(ending.wait_for(|ended| *ended).await);
}
