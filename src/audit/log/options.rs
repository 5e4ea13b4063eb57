//! What the log is opened with, and its bounds.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::error::LogError;
use super::keys::MasterKey;
use super::note::SigningKey;
use super::queue::{Payload, SLOT_BYTES};
use super::recover::Recovered;
use super::spell::Spell;
use super::walk::BATCH_LIMIT;
use super::witness::Witness;
use crate::clock::SharedClock;

/// Bounds and intervals; the default suits a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A segment is closed when it is this long (64 MiB).
    pub segment_bytes: u64,
    /// Space is reserved and zeroed in steps of this many bytes (1 MiB): more at once stalls the
    /// records behind it for longer.
    pub allocate_bytes: u64,
    /// A checkpoint is made after this many records (1000) ...
    pub checkpoint_records: u64,
    /// ... or after this time, where there are new records (10 s).
    pub checkpoint_interval: Duration,
    /// The most records in flight (8192).
    pub slots: usize,
    /// How many of the slots only care may use (1024).
    pub care_slots: usize,
    /// The most bytes in flight (64 MiB).
    pub bytes: usize,
    /// With less free space than this only care is admitted (256 MiB).
    pub min_free_bytes: u64,
    /// The first pause before the disk is tried again after a failure (50 ms) ...
    pub retry_first: Duration,
    /// ... doubled up to this (5 s).
    pub retry_longest: Duration,
    /// A disk that has not answered for this long is not waited for: everything is refused until it does (5 s).
    pub stall_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            allocate_bytes: 1024 * 1024,
            checkpoint_records: 1000,
            checkpoint_interval: Duration::from_secs(10),
            slots: 8192,
            care_slots: 1024,
            bytes: 64 * 1024 * 1024,
            min_free_bytes: 256 * 1024 * 1024,
            retry_first: Duration::from_millis(50),
            retry_longest: Duration::from_secs(5),
            stall_after: Duration::from_secs(5),
        }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), LogError> {
        let problem = |name, problem| Err(LogError::Option { name, problem });
        if self.segment_bytes < 4096 {
            return problem("segment_bytes", "must be at least 4096");
        }
        if self.allocate_bytes == 0 || self.allocate_bytes > self.segment_bytes {
            return problem("allocate_bytes", "must be between 1 and segment_bytes");
        }
        if self.checkpoint_records == 0 {
            return problem("checkpoint_records", "must be at least 1");
        }
        if self.checkpoint_interval.is_zero() || self.retry_first.is_zero() {
            return problem("checkpoint_interval, retry_first", "must not be zero");
        }
        if self.stall_after.is_zero() {
            return problem("stall_after", "must not be zero");
        }
        if self.care_slots >= self.slots {
            return problem("care_slots", "must be less than slots");
        }
        if self.bytes
            < BATCH_LIMIT.max(self.care_slots.saturating_mul(SLOT_BYTES.saturating_mul(2)))
        {
            return problem(
                "bytes",
                "must be at least 4 MiB, and 8 KiB for each of care_slots",
            );
        }
        Ok(())
    }
}

/// What to do where a checkpoint proves that records were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// An operator accepted the loss: go on behind the lost sequence numbers, and put the loss
    /// in the next segment's header.
    Accept,
    /// Do not open the log.
    Refuse,
}

/// Hears from the writer what happens between openings. Called on the writer's thread: MUST NOT
/// block, and MUST NOT wait for an append.
pub trait Observer: Send + std::fmt::Debug {
    /// Nothing can be made durable; everything is refused until [`Self::recovered`]. Called again
    /// for every attempt to recover that failed.
    fn failed(&mut self, reason: &str);

    /// The log goes on in a new segment; the returned records become its first.
    fn recovered(&mut self, recovered: &Recovered) -> Vec<Payload>;

    /// A segment was begun behind records of this run, behind which this is open. The returned records are its first but
    /// for those of a recovery.
    fn carried(&mut self, _open: &BTreeSet<Uuid>) -> Vec<Payload> {
        Vec::new()
    }

    /// Something keeps the log from taking every record. Told as soon as a record can say so: at once where some are
    /// still taken, and where none are, when it is over. The returned records are written next.
    fn degraded(&mut self, _spell: &Spell) -> Vec<Payload> {
        Vec::new()
    }

    /// It is over, after `lasted`. The returned records are written next.
    fn restored(&mut self, _spell: &Spell, _lasted: Duration) -> Vec<Payload> {
        Vec::new()
    }
}

/// What a log is opened with.
#[derive(Debug)]
pub struct LogOptions {
    /// The trail's directory.
    pub directory: PathBuf,
    /// This gateway's name, in every segment's header.
    pub node: String,
    /// Wraps the segments' keys.
    pub master: Arc<MasterKey>,
    /// Signs checkpoints.
    pub signer: SigningKey,
    /// Where checkpoints go.
    pub witnesses: Vec<Box<dyn Witness>>,
    /// Hears of failure and recovery.
    pub observer: Box<dyn Observer>,
    /// Bounds and intervals.
    pub limits: Limits,
    /// What the disk is timed with; only its monotonic time is read. Not the clock of the records: that one can be
    /// set, and a test moves it by hours.
    pub watch: SharedClock,
    /// Whether a proven loss is accepted.
    pub truncation: Truncation,
}
