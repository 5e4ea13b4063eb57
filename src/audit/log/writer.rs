//! The writer thread: takes what is queued, makes it durable as one batch, answers who waits.
//!
//! *Owns*: the open segment, and with it the chain and the keys.
//! *Never*: answers before the sync returned, syncs a file again whose sync failed, or holds
//! records back to gather more: a batch is what queued up while the last one was being synced.
//! *On failure*: refuses everyone who waits, keeps what nobody waits for, and begins a new segment
//! behind the last durable record as soon as the disk allows ([`outage`]). What went wrong is the
//! next record.

mod outage;

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
use super::ledger::{Ledger, Mark};
use super::notary::MailBox;
use super::options::{Limits, Observer};
use super::queue::{Charge, Entry, Payload, Queue, Turn};
use super::recover::End;
use super::segment::Segment;
use super::spell::Spell;
use super::status::Board;
use super::waiting::{Position, Relay};
use super::walk::BATCH_LIMIT;
use super::watchdog::Hand;
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
    /// What is being made durable. The watchdog finds there who waits for it.
    pub(super) hand: Arc<Hand>,
    /// Records of the log's own that are to be written next.
    pub(super) announced: VecDeque<Payload>,
    /// What is over as soon as a batch is durable, one of a kind.
    pub(super) troubles: Vec<Spell>,
    /// The disk is nearly full.
    pub(super) scarce: Option<Spell>,
    /// What is open behind the last durable record.
    pub(super) ledger: Ledger,
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
        let _ended = Ended(Arc::clone(&self.queue));
        self.look_at_space();
        let mut taken = VecDeque::new();
        loop {
            if !self.make_durable() {
                return self.give_up();
            }
            let timeout = self.timeout();
            match self.queue.wait(&mut taken, timeout) {
                Turn::Stop => break,
                Turn::Tick => self.look_at_space(),
                Turn::Work => self.hand.records().append(&mut taken),
            }
            self.wake_leftovers();
        }
        self.close()
    }

    /// Writes what is in hand and what there is to say, whatever it takes; says whether that could be done.
    fn make_durable(&mut self) -> bool {
        loop {
            while let Err(error) = self.write() {
                if !self.overcome(&error) {
                    return false;
                }
            }
            self.checkpoint_if_due();
            self.note_end_of_troubles();
            if self.announced.is_empty() {
                return true;
            }
            self.announce();
        }
    }

    /// Puts what there is to say before what is in hand.
    fn announce(&mut self) {
        let mut records = self.hand.records();
        if records.len() > self.maker.limits.slots.saturating_mul(2) {
            // A disk that lets segments begin and takes no record, for days: enough was said of it.
            self.announced.clear();
        }
        for payload in self.announced.drain(..).rev() {
            records.push_front(Entry::of_the_log(payload));
        }
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
        while !self.hand.records().is_empty() {
            self.queue.begins();
            if self.segment.durable() >= self.maker.limits.segment_bytes {
                self.rotate()?;
            }
            let first = self.segment.last().saturating_add(1);
            let count = self.fill()?;
            let began = self.queue.time();
            self.segment.commit()?;
            let took = self.queue.time().saturating_sub(began);
            self.acknowledge(first, count, took);
        }
        Ok(())
    }

    /// Builds the frames of as many records as are written at once.
    fn fill(&mut self) -> Result<usize, LogError> {
        let mut count = 0_usize;
        for entry in self.hand.records().iter() {
            self.segment.push(entry.payload.bytes())?;
            count = count.saturating_add(1);
            if self.segment.pending_bytes() >= BATCH_LIMIT {
                break;
            }
        }
        Ok(count)
    }

    /// Answers the first `count` records in hand, which are durable.
    fn acknowledge(&mut self, first: u64, count: usize, took: Duration) {
        let segment = self.segment.header().segment;
        let records = count as u64;
        self.pause = self.maker.limits.retry_first;
        self.unwitnessed = self.unwitnessed.saturating_add(records);
        self.board
            .durable(self.segment.last(), self.segment.head(), records, took);
        let mut freed = Charge::default();
        let mut sequence = first;
        let mut kick: Vec<Arc<Relay>> = Vec::new();
        // Out of the hand first: a task that is woken may have something to say to the queue.
        let done: Vec<Entry> = self.hand.records().drain(..count).collect();
        for entry in done {
            freed.add(entry.charge);
            self.ledger.note(entry.payload.mark());
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
        self.queue.release(freed);
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
        let idle = self.hand.records().is_empty();
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
        // Ahead of what is in hand: it is true behind the record before it.
        self.carry_over();
        Ok(())
    }

    /// Has the new segment begin with what is open.
    fn carry_over(&mut self) {
        let Some(open) = self.ledger.open() else {
            return;
        };
        let mut records = self.hand.records();
        // Of a segment that was begun and could not be written.
        records.retain(|entry| entry.payload.mark() != Mark::Carries);
        for payload in self.observer.carried(open).into_iter().rev() {
            records.push_front(Entry::of_the_log(payload.marked(Mark::Carries)));
        }
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
        let mut left = self.queue.close();
        self.hand.records().append(&mut left);
        self.queue.begins();
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
    fn give_up(self) -> usize {
        let mut left = self.queue.close();
        left.append(&mut self.hand.records());
        let lost = left.len();
        if lost > 0 {
            tracing::error!(
                records = lost,
                "audit records could not be written before the end"
            );
        }
        lost
    }
}

/// Tells that the writer is gone, however it ended.
struct Ended(Arc<Queue>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended();
    }
}
