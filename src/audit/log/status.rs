//! How the log is: the board that both threads write and everyone may read.

use std::sync::Mutex;
use std::time::Duration;

use uuid::Uuid;

use super::crypt::Head;
use super::waiting::lock;

/// Whether records can be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The log was shut down.
    Closed,
    /// Nothing can be made durable; everything is refused.
    Failed {
        /// Why.
        reason: String,
    },
    /// All is well.
    Healthy,
    /// The disk is nearly full; only care is admitted.
    LowSpace,
    /// The disk neither fails nor answers; everything is refused.
    Stalled {
        /// For how long.
        waited: Duration,
    },
}

/// How one witness is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessStatus {
    /// Its name.
    pub name: String,
    /// The newest checkpoint that it took from this run.
    pub newest: Option<u64>,
    /// Why it did not take the newest, where it did not.
    pub error: Option<String>,
    /// A checkpoint that it holds and this log does not have, where that is why: the log was rolled back.
    pub holds: Option<u64>,
    /// Nothing was heard from it when the log was opened.
    pub was_unheard: bool,
}

impl WitnessStatus {
    /// A witness that has not been given anything yet.
    pub(super) fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            newest: None,
            error: None,
            holds: None,
            was_unheard: false,
        }
    }
}

/// How the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// Whether records can be made durable.
    pub health: Health,
    /// The newest durable record.
    pub sequence: u64,
    /// The chain value behind it.
    pub head: Head,
    /// The segment being written.
    pub segment: Uuid,
    /// How long the newest write and sync took.
    pub last_sync: Duration,
    /// Batches made durable by this run.
    pub batches: u64,
    /// Records made durable by this run.
    pub records: u64,
    /// Records that wait to be written.
    pub queued: usize,
    /// Slots taken.
    pub slots: usize,
    /// Bytes in flight.
    pub bytes: usize,
    /// Sequence number and time of the newest checkpoint of this run.
    pub checkpoint: Option<(u64, jiff::Timestamp)>,
    /// Why the newest checkpoint could not be kept in the trail's directory.
    pub checkpoint_error: Option<String>,
    /// The witnesses.
    pub witnesses: Vec<WitnessStatus>,
}

/// What the threads report.
#[derive(Clone, Debug, Default)]
pub(super) struct Posted {
    pub(super) sequence: u64,
    pub(super) head: Head,
    pub(super) segment: Uuid,
    pub(super) last_sync: Duration,
    pub(super) batches: u64,
    pub(super) records: u64,
    pub(super) checkpoint: Option<(u64, jiff::Timestamp)>,
    pub(super) checkpoint_error: Option<String>,
    pub(super) witnesses: Vec<WitnessStatus>,
    pub(super) clock: String,
}

/// The board.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Posted>);

impl Board {
    /// A batch of `records` became durable.
    pub(super) fn durable(&self, sequence: u64, head: Head, records: u64, took: Duration) {
        let mut posted = lock(&self.0);
        posted.sequence = sequence;
        posted.head = head;
        posted.last_sync = took;
        posted.batches = posted.batches.saturating_add(1);
        posted.records = posted.records.saturating_add(records);
    }

    /// A segment was begun.
    pub(super) fn segment(&self, segment: Uuid, sequence: u64, head: Head) {
        let mut posted = lock(&self.0);
        posted.segment = segment;
        posted.sequence = sequence;
        posted.head = head;
    }

    pub(super) fn checkpoint(&self, sequence: u64, time: jiff::Timestamp, error: Option<String>) {
        let mut posted = lock(&self.0);
        posted.checkpoint = Some((sequence, time));
        posted.checkpoint_error = error;
    }

    pub(super) fn witnesses(&self, witnesses: Vec<WitnessStatus>) {
        lock(&self.0).witnesses = witnesses;
    }

    /// How one of them is.
    pub(super) fn witness(&self, index: usize, status: WitnessStatus) {
        if let Some(place) = lock(&self.0).witnesses.get_mut(index) {
            let was_unheard = place.was_unheard;
            *place = WitnessStatus {
                was_unheard,
                ..status
            };
        }
    }

    /// Nothing was heard from this one when the log was opened.
    pub(super) fn unheard(&self, name: &str) {
        for witness in &mut lock(&self.0).witnesses {
            witness.was_unheard |= witness.name == name;
        }
    }

    /// What the next checkpoint says of the clock.
    pub(super) fn set_clock(&self, state: String) {
        lock(&self.0).clock = state;
    }

    pub(super) fn read(&self) -> Posted {
        lock(&self.0).clone()
    }
}
