//! The writer thread: takes what is queued, makes it durable as one batch, answers who waits.
//!
//! *Owns*: the open segment, and with it the chain and the keys.
//! *Never*: answers before the sync returned, syncs a file again whose sync failed, or holds
//! records back to gather more: a batch is what queued up while the last one was being synced.
//! *On failure*: refuses everyone who waits, keeps what nobody waits for, and begins a new segment
//! behind the last durable record as soon as the disk allows.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::checkpoint::Checkpoint;
use super::crypt;
use super::error::LogError;
use super::files::{Files, LockGuard};
use super::header::{AcceptedLoss, Draft, Opened, Previous};
use super::keys::MasterKey;
use super::notary::MailBox;
use super::options::{Limits, Observer, Truncation};
use super::queue::{Charge, Entry, Queue, Turn};
use super::recover::{self, End, Recovered};
use super::segment::Segment;
use super::status::Board;
use super::waiting::{Position, Relay};
use super::walk::BATCH_LIMIT;
use crate::clock::SharedClock;

/// How long a woken task may take to wake its neighbours before the writer does it.
const RELAY_PATIENCE: Duration = Duration::from_millis(3);
/// The same, in batches.
const RELAY_BATCHES: u32 = 8;

/// How segments are made.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) files: Arc<dyn Files>,
    pub(super) directory: PathBuf,
    pub(super) node: String,
    pub(super) master: Arc<MasterKey>,
    pub(super) clock: SharedClock,
    pub(super) limits: Limits,
}

impl Maker {
    /// Begins the segment that continues `end`.
    pub(super) fn continue_from(
        &self,
        end: End,
        opened: Opened,
        loss: Option<AcceptedLoss>,
    ) -> Result<Segment, LogError> {
        let gone = loss.as_ref().map_or(0, |loss| loss.to);
        let created = self.clock.now();
        let draft = Draft {
            segment: segment_id(created)?,
            number: end.number.saturating_add(1),
            node: &self.node,
            first: end.previous.sequence.max(gone).saturating_add(1),
            created,
            opened,
            previous: end.previous,
            cut: end.cut,
            accepted_loss: loss,
        };
        let step = self.limits.allocate_bytes;
        Segment::create(&*self.files, &self.directory, draft, &self.master, step)
    }
}

/// A UUID version 7 for a time.
fn segment_id(now: jiff::Timestamp) -> Result<Uuid, LogError> {
    let random = crypt::random::<10>().map_err(LogError::crypt("naming a segment"))?;
    let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) maker: Maker,
    pub(super) queue: Arc<Queue>,
    pub(super) board: Arc<Board>,
    pub(super) mail: Arc<MailBox>,
    pub(super) observer: Box<dyn Observer>,
    pub(super) segment: Segment,
    pub(super) batch: VecDeque<Entry>,
    /// Workers whose tasks were answered, and for how many batches they have not all been woken.
    pub(super) relays: Vec<(Arc<Relay>, u32)>,
    pub(super) unwitnessed: u64,
    pub(super) witnessed_at: Option<Duration>,
    /// The next pause after a failure; the first again once a batch is durable.
    pub(super) pause: Duration,
    /// The log is to be closed and the disk fails: one more attempt was made.
    pub(super) last_attempt: LastAttempt,
    /// The trail stays owned while this thread may write in it.
    pub(super) _lock: Arc<dyn LockGuard>,
}

/// Whether a failing log that is to be closed may try the disk once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastAttempt {
    Left,
    Made,
}

impl Writer {
    /// Runs until the log is closed. Says how many records could not be written.
    pub(super) fn run(mut self) -> usize {
        self.look_at_space();
        loop {
            let timeout = self.timeout();
            match self.queue.wait(&mut self.batch, timeout) {
                Turn::Stop => break,
                Turn::Tick => self.look_at_space(),
                Turn::Work => {}
            }
            self.wake_leftovers();
            while let Err(error) = self.write() {
                if !self.overcome(&error) {
                    return self.give_up();
                }
            }
            self.checkpoint_if_due();
        }
        self.close()
    }

    /// How long the writer may sleep.
    fn timeout(&self) -> Option<Duration> {
        if self.relays.iter().any(|(relay, _)| relay.is_waiting()) {
            return Some(RELAY_PATIENCE);
        }
        let interval = self.maker.limits.checkpoint_interval;
        if self.unwitnessed > 0 {
            let passed = self.since_checkpoint();
            return Some(
                interval
                    .saturating_sub(passed)
                    .max(Duration::from_millis(1)),
            );
        }
        self.queue.is_low_on_space().then_some(interval)
    }

    /// Makes the whole batch durable, in pieces where it is long.
    fn write(&mut self) -> Result<(), LogError> {
        while !self.batch.is_empty() {
            if self.segment.durable() >= self.maker.limits.segment_bytes {
                self.rotate()?;
            }
            let first = self.segment.last().saturating_add(1);
            let mut count = 0_usize;
            for entry in &self.batch {
                self.segment.push(entry.payload.bytes())?;
                count = count.saturating_add(1);
                if self.segment.pending_bytes() >= BATCH_LIMIT {
                    break;
                }
            }
            let began = self.maker.clock.monotonic();
            self.segment.commit()?;
            let took = self.maker.clock.monotonic().saturating_sub(began);
            self.acknowledge(first, count, took);
        }
        Ok(())
    }

    /// Answers the first `count` entries of the batch, which are durable.
    fn acknowledge(&mut self, first: u64, count: usize, took: Duration) {
        let segment = self.segment.header().segment;
        let records = count as u64;
        self.pause = self.maker.limits.retry_first;
        self.unwitnessed = self.unwitnessed.saturating_add(records);
        self.board
            .durable(self.segment.last(), self.segment.head(), records, took);
        let mut freed = Charge::default();
        for entry in self.batch.iter().take(count) {
            freed.add(entry.charge);
        }
        self.queue.release(freed);
        let mut sequence = first;
        let mut kick: Vec<Arc<Relay>> = Vec::new();
        for entry in self.batch.drain(..count) {
            let answered = entry
                .ticket
                .and_then(|ticket| ticket.answer(Ok(Position { sequence, segment })));
            if let Some(relay) = answered
                && !kick.iter().any(|known| Arc::ptr_eq(known, &relay))
            {
                kick.push(relay);
            }
            sequence = sequence.saturating_add(1);
        }
        for relay in kick {
            relay.kick();
            if relay.is_waiting()
                && !self
                    .relays
                    .iter()
                    .any(|(known, _)| Arc::ptr_eq(known, &relay))
            {
                self.relays.push((relay, 0));
            }
        }
    }

    /// Wakes tasks whose neighbours did not.
    fn wake_leftovers(&mut self) {
        let idle = self.batch.is_empty();
        self.relays.retain_mut(|(relay, age)| {
            *age = age.saturating_add(1);
            if idle || *age > RELAY_BATCHES {
                relay.pass_on();
            }
            relay.is_waiting()
        });
    }

    fn rotate(&mut self) -> Result<(), LogError> {
        self.segment.seal(self.maker.clock.now())?;
        let end = self.end();
        let next = self.maker.continue_from(end, Opened::Rotate, None)?;
        self.post_checkpoint();
        self.begin(next);
        self.look_at_space();
        Ok(())
    }

    /// The log's end as this thread knows it.
    fn end(&self) -> End {
        End {
            number: self.segment.header().number,
            previous: Previous {
                segment: self.segment.header().segment,
                sequence: self.segment.last(),
                head: self.segment.head(),
                tree: Some(self.segment.tree()),
            },
            cut: None,
        }
    }

    fn begin(&mut self, segment: Segment) {
        self.segment = segment;
        self.board.segment(
            self.segment.header().segment,
            self.segment.last(),
            self.segment.head(),
        );
    }

    /// Deals with a failure until the log goes on; says whether it does.
    fn overcome(&mut self, error: &LogError) -> bool {
        self.refuse(&error.to_string());
        loop {
            let stopping = self.queue.back_off(self.pause);
            if stopping && self.last_attempt == LastAttempt::Made {
                return false;
            }
            if stopping {
                self.last_attempt = LastAttempt::Made;
            }
            self.pause = self
                .pause
                .saturating_mul(2)
                .min(self.maker.limits.retry_longest);
            match self.reopen() {
                Ok(()) => return true,
                Err(error) => {
                    tracing::error!(%error, "the audit log is still unavailable");
                    self.refuse(&error.to_string());
                }
            }
        }
    }

    /// Refuses everyone who waits.
    fn refuse(&mut self, reason: &str) {
        tracing::error!(
            reason,
            "the audit log cannot be written; nothing is admitted"
        );
        let reason: Arc<str> = reason.into();
        let mut refused = self.queue.fail(&reason);
        let (waited, kept): (VecDeque<_>, VecDeque<_>) = self
            .batch
            .drain(..)
            .partition(|entry| entry.ticket.is_some());
        self.batch = kept;
        refused.extend(waited);
        self.observer.failed(&reason);
        let mut freed = Charge::default();
        for entry in &refused {
            freed.add(entry.charge);
        }
        self.queue.release(freed);
        for entry in refused {
            let answer = Err(LogError::Unavailable {
                reason: Arc::clone(&reason),
            });
            if let Some(relay) = entry.ticket.and_then(|ticket| ticket.answer(answer)) {
                relay.kick();
                relay.pass_on();
            }
        }
    }

    /// Begins a new segment behind the last durable record.
    fn reopen(&mut self) -> Result<(), LogError> {
        let Maker {
            files, directory, ..
        } = &self.maker;
        recover::sweep(&**files, directory)?;
        let known = recover::survey(&**files, directory)?;
        let durable = Some((self.segment.header().segment, self.segment.durable()));
        let end = recover::settle(&**files, directory, &known, durable, Truncation::Refuse)?;
        let (cut, previous) = (end.cut.clone(), end.previous.clone());
        let segment = self.maker.continue_from(end, Opened::Recover, None)?;
        self.begin(segment);
        let recovered = Recovered {
            cut,
            accepted_loss: None,
            last_seq: previous.sequence,
            head: previous.head,
            segment: self.segment.header().segment,
            silent_witnesses: Vec::new(),
        };
        for payload in self.observer.recovered(&recovered).into_iter().rev() {
            self.batch.push_front(Entry {
                payload,
                ticket: None,
                charge: Charge::default(),
            });
        }
        self.look_at_space();
        self.queue.reopen();
        Ok(())
    }

    fn look_at_space(&self) {
        let folder = self.maker.directory.as_path();
        match self.maker.files.free_space(folder) {
            Ok(free) => self
                .queue
                .set_low_space(free < self.maker.limits.min_free_bytes),
            Err(error) => tracing::warn!(%error, "the free space of the audit log is not known"),
        }
    }

    fn checkpoint_if_due(&mut self) {
        let limits = &self.maker.limits;
        let due = self.unwitnessed >= limits.checkpoint_records
            || (self.unwitnessed > 0 && self.since_checkpoint() >= limits.checkpoint_interval);
        if due {
            self.look_at_space();
            self.post_checkpoint();
        }
    }

    /// The first batch of a run is due at once: a crash soon after the start must not leave it unwitnessed.
    fn since_checkpoint(&self) -> Duration {
        self.witnessed_at.map_or(Duration::MAX, |at| {
            self.maker.clock.monotonic().saturating_sub(at)
        })
    }

    fn post_checkpoint(&mut self) {
        self.unwitnessed = 0;
        self.witnessed_at = Some(self.maker.clock.monotonic());
        self.mail.post(Checkpoint {
            sequence: self.segment.last(),
            head: self.segment.head(),
            segment: self.segment.header().segment,
            time: self.maker.clock.now(),
            previous: 0,
            clock: self.board.read().clock,
            tree: Some(self.segment.tree()),
        });
    }

    /// Closes the log in order.
    fn close(mut self) -> usize {
        let left = self.queue.close();
        self.batch.extend(left);
        let written = self
            .write()
            .and_then(|()| self.segment.seal(self.maker.clock.now()));
        match written {
            Ok(()) => self.post_checkpoint(),
            Err(error) => tracing::error!(%error, "the audit log could not be sealed"),
        }
        self.give_up()
    }

    /// Refuses what is left.
    fn give_up(mut self) -> usize {
        self.batch.extend(self.queue.close());
        let lost = self.batch.len();
        if lost > 0 {
            tracing::error!(
                records = lost,
                "audit records could not be written before the end"
            );
        }
        lost
    }
}
