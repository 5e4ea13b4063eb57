//! The bounded hand-over between the workers and the writer: slots, and the queue behind them.
//!
//! *Owns*: the count of slots and bytes in flight. A [`Slot`] is room for one record, taken before
//! the work begins, so that a record can be handed over later without waiting and without failing.
//! *Never*: grows past its bounds, or keeps a lock while anything blocks.
//! *On failure*: it says whether records are taken. That the disk failed it is told; that the disk does not answer,
//! the watchdog finds out here ([`Queue::look`]).

mod stall;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::courier::{Heard, Urgency};
use super::error::LogError;
use super::ledger::Mark;
use super::options::Limits;
use super::spell::Spell;
use super::status::Health;
use super::waiting::{Appending, Relay, Ticket, lock};
use super::walk::MAX_PAYLOAD;
use crate::clock::SharedClock;

/// What a slot is charged for before its record is known.
pub(super) const SLOT_BYTES: usize = 4096;

/// Which traffic a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Care and break-glass: may use what is kept in reserve.
    Care,
    /// Everything else.
    Routine,
}

/// A record's bytes, of a length that the log can hold, and what it does to what is open.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    bytes: Vec<u8>,
    mark: Mark,
}

/// The bytes are more than a record can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {0} bytes is longer than the {MAX_PAYLOAD} that the log can hold")]
pub struct TooLong(pub usize);

impl Payload {
    /// Checks the length.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, TooLong> {
        if bytes.len() > MAX_PAYLOAD {
            return Err(TooLong(bytes.len()));
        }
        Ok(Self {
            bytes,
            mark: Mark::Neither,
        })
    }

    /// The same with what it does to what is open.
    #[must_use]
    pub fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    pub(in crate::audit) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for Payload {
    /// Shows the length only: records name patients.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.bytes.len())
    }
}

/// A record on its way, with what it was charged for.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) payload: Payload,
    pub(super) ticket: Option<Ticket>,
    pub(super) charge: Charge,
}

/// Slots and bytes in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) slots: usize,
    pub(super) bytes: usize,
}

impl Entry {
    /// Whether somebody still waits for it. Who hung up waits no longer, and its outcome will be written: the record
    /// that it belongs to is kept.
    fn is_awaited(&self) -> bool {
        self.ticket.as_ref().is_some_and(Ticket::is_awaited)
    }
}

/// Takes out what somebody waits for.
pub(super) fn take_awaited(entries: &mut VecDeque<Entry>) -> VecDeque<Entry> {
    let (awaited, kept) = entries.drain(..).partition(Entry::is_awaited);
    *entries = kept;
    awaited
}

impl Charge {
    pub(super) const fn add(&mut self, other: Self) {
        self.slots = self.slots.saturating_add(other.slots);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    const fn subtract(&mut self, other: Self) {
        self.slots = self.slots.saturating_sub(other.slots);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// Whether records can be taken.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Closed,
    Failed(Arc<str>),
    Open,
}

impl Phase {
    fn check(&self) -> Result<(), LogError> {
        match self {
            Self::Closed => Err(LogError::Closed),
            Self::Failed(reason) => Err(LogError::Unavailable {
                reason: Arc::clone(reason),
            }),
            Self::Open => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Inner {
    entries: VecDeque<Entry>,
    phase: Phase,
    /// Since when the writer has been at the disk, by the watch.
    busy_since: Option<Duration>,
    /// The disk does not answer.
    stall: Option<Spell>,
    in_flight: Charge,
    /// The writer was told of what is queued. What it was not told of yet, a courier was.
    told: bool,
    /// The writer sleeps and has to be woken.
    parked: bool,
    writer: Life,
}

/// Where the writer is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It is gone.
    Ended,
    /// It takes records.
    Running,
    /// It is asked to finish.
    Stopping,
}

impl Inner {
    fn is_to_stop(&self) -> bool {
        self.writer != Life::Running
    }

    /// Whether records are taken.
    fn check(&self) -> Result<(), LogError> {
        self.phase.check()?;
        match &self.stall {
            Some(spell) => Err(LogError::Unavailable {
                reason: Arc::clone(&spell.why),
            }),
            None => Ok(()),
        }
    }

    /// Takes out what somebody waits for, and gives its room back.
    fn refuse_awaited(&mut self) -> VecDeque<Entry> {
        let refused = take_awaited(&mut self.entries);
        for entry in &refused {
            self.in_flight.subtract(entry.charge);
        }
        refused
    }
}

/// Why the writer was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The log is to be closed, and nothing is left to write.
    Stop,
    /// Time has passed.
    Tick,
    /// There are records.
    Work,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    work: Condvar,
    /// The writer ended, or its disk does not answer.
    changed: Condvar,
    low_space: AtomicBool,
    limits: Limits,
    /// How long the disk takes. Not the clock of the records: that one can be set.
    watch: SharedClock,
}

impl Queue {
    pub(super) fn new(limits: Limits, watch: SharedClock) -> Self {
        Self {
            inner: Mutex::new(Inner {
                entries: VecDeque::new(),
                phase: Phase::Open,
                busy_since: None,
                stall: None,
                in_flight: Charge::default(),
                told: false,
                parked: false,
                writer: Life::Running,
            }),
            work: Condvar::new(),
            changed: Condvar::new(),
            low_space: AtomicBool::new(false),
            limits,
            watch,
        }
    }

    /// Takes room for `N` records, all or none.
    pub(super) fn reserve<const N: usize>(
        self: &Arc<Self>,
        priority: Priority,
        relay: &Arc<Relay>,
    ) -> Result<[Slot; N], LogError> {
        let wanted = Charge {
            slots: N,
            bytes: SLOT_BYTES.saturating_mul(N),
        };
        let (kept_slots, kept_bytes) = match priority {
            Priority::Care => (0, 0),
            Priority::Routine => {
                let kept = self.limits.care_slots;
                (kept, kept.saturating_mul(SLOT_BYTES))
            }
        };
        let mut inner = lock(&self.inner);
        inner.check()?;
        if priority == Priority::Routine && self.low_space.load(Ordering::Relaxed) {
            return Err(LogError::LowSpace);
        }
        let mut after = inner.in_flight;
        after.add(wanted);
        if after.slots > self.limits.slots.saturating_sub(kept_slots)
            || after.bytes > self.limits.bytes.saturating_sub(kept_bytes)
        {
            return Err(LogError::Busy);
        }
        inner.in_flight = after;
        drop(inner);
        Ok(std::array::from_fn(|_| Slot {
            queue: Arc::clone(self),
            relay: Arc::clone(relay),
            charge: Charge {
                slots: 1,
                bytes: SLOT_BYTES,
            },
        }))
    }

    /// Gives room back.
    pub(super) fn release(&self, charge: Charge) {
        lock(&self.inner).in_flight.subtract(charge);
    }

    fn push(&self, mut entry: Entry, relay: &Relay) -> Result<(), LogError> {
        let urgency = match &entry.ticket {
            Some(_) => Urgency::Waited,
            None => Urgency::Unwaited,
        };
        let mut inner = lock(&self.inner);
        let refused = match (&inner.phase, &entry.ticket) {
            (Phase::Open | Phase::Failed(_), None) => Ok(()),
            (Phase::Open | Phase::Failed(_), Some(_)) | (Phase::Closed, _) => inner.check(),
        };
        if refused.is_err() {
            inner.in_flight.subtract(entry.charge);
            return refused;
        }
        // From here on the record is charged for what it is.
        let actual = Charge {
            slots: entry.charge.slots,
            bytes: entry.payload.bytes().len(),
        };
        inner.in_flight.subtract(entry.charge);
        inner.in_flight.add(actual);
        entry.charge = actual;
        inner.entries.push_back(entry);
        drop(inner);
        match relay.bell().ring(urgency) {
            Heard::ByCourier => {}
            Heard::ByNobody => self.tell(),
        }
        Ok(())
    }

    /// Tells the writer of what is queued.
    pub(super) fn tell(&self) {
        let mut inner = lock(&self.inner);
        inner.told |= !inner.entries.is_empty();
        let wake = inner.told && inner.parked && matches!(inner.phase, Phase::Open);
        // One wake for each sleep, however often it is told before it gets to run.
        inner.parked &= !wake;
        drop(inner);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits until there are records to be told of, and moves all that are queued to `batch`, which is empty.
    pub(super) fn wait(&self, batch: &mut VecDeque<Entry>, timeout: Option<Duration>) -> Turn {
        let mut inner = lock(&self.inner);
        loop {
            if (inner.told || inner.is_to_stop()) && !inner.entries.is_empty() {
                inner.told = false;
                std::mem::swap(&mut inner.entries, batch);
                return Turn::Work;
            }
            if inner.is_to_stop() {
                return Turn::Stop;
            }
            inner.parked = true;
            let timed_out;
            (inner, timed_out) = self.park(inner, timeout);
            inner.parked = false;
            if timed_out && !inner.told && !inner.is_to_stop() {
                return Turn::Tick;
            }
        }
    }

    /// Waits until it is time to try the disk again; says whether the log is to be closed.
    pub(super) fn back_off(&self, pause: Duration) -> bool {
        let inner = lock(&self.inner);
        if inner.is_to_stop() {
            return true;
        }
        self.park(inner, Some(pause)).0.is_to_stop()
    }

    fn park<'q>(
        &self,
        inner: std::sync::MutexGuard<'q, Inner>,
        timeout: Option<Duration>,
    ) -> (std::sync::MutexGuard<'q, Inner>, bool) {
        match timeout {
            None => {
                let woken = self.work.wait(inner);
                (woken.unwrap_or_else(PoisonError::into_inner), false)
            }
            Some(timeout) => {
                let woken = self.work.wait_timeout(inner, timeout);
                let (inner, result) = woken.unwrap_or_else(PoisonError::into_inner);
                (inner, result.timed_out())
            }
        }
    }

    /// Refuses everything that waits, now and until [`Self::reopen`]; what nobody waits for stays.
    pub(super) fn fail(&self, reason: &Arc<str>) -> VecDeque<Entry> {
        let mut inner = lock(&self.inner);
        inner.phase = Phase::Failed(Arc::clone(reason));
        inner.refuse_awaited()
    }

    /// Takes records again.
    pub(super) fn reopen(&self) {
        let mut inner = lock(&self.inner);
        inner.phase = Phase::Open;
        // What was kept while the disk failed is written whoever else rings.
        inner.told = !inner.entries.is_empty();
    }

    /// Takes no more records; what was not written is returned.
    pub(super) fn close(&self) -> VecDeque<Entry> {
        let mut inner = lock(&self.inner);
        inner.phase = Phase::Closed;
        std::mem::take(&mut inner.entries)
    }

    /// Asks the writer to finish.
    pub(super) fn stop(&self) {
        let mut inner = lock(&self.inner);
        if inner.writer == Life::Running {
            inner.writer = Life::Stopping;
        }
        drop(inner);
        self.work.notify_all();
    }

    pub(super) fn set_low_space(&self, low: bool) {
        self.low_space.store(low, Ordering::Relaxed);
    }

    pub(super) fn is_low_on_space(&self) -> bool {
        self.low_space.load(Ordering::Relaxed)
    }

    /// What is in flight, and how much of it is queued.
    pub(super) fn depth(&self) -> (Charge, usize) {
        let inner = lock(&self.inner);
        (inner.in_flight, inner.entries.len())
    }

    /// Whether records can be made durable.
    pub(super) fn health(&self) -> Health {
        let inner = lock(&self.inner);
        match (&inner.phase, &inner.stall) {
            (Phase::Closed, _) => Health::Closed,
            (Phase::Failed(reason), _) => Health::Failed {
                reason: reason.to_string(),
            },
            (Phase::Open, Some(spell)) => Health::Stalled {
                waited: self
                    .limits
                    .stall_after
                    .saturating_add(spell.lasted(self.time())),
            },
            (Phase::Open, None) if self.is_low_on_space() => Health::LowSpace,
            (Phase::Open, None) => Health::Healthy,
        }
    }
}

/// Room for one record. Dropping it unused gives the room back.
#[derive(Debug)]
#[must_use = "a slot that is dropped reserves nothing"]
pub struct Slot {
    queue: Arc<Queue>,
    relay: Arc<Relay>,
    charge: Charge,
}

impl Slot {
    /// Hands a record over and waits, as a future, until it is durable.
    pub fn append(mut self, payload: Payload) -> Appending {
        let (ticket, appending) = Appending::pair(&self.relay);
        let entry = Entry {
            payload,
            ticket: Some(ticket),
            charge: std::mem::take(&mut self.charge),
        };
        match self.queue.push(entry, &self.relay) {
            Ok(()) => appending,
            Err(error) => Appending::refused(error),
        }
    }

    /// Hands a record over and does not wait: callable from `Drop`. While the disk fails the
    /// record is kept and written when it recovers; after [`Log::shutdown`](super::Log::shutdown)
    /// it is lost, which is logged.
    pub fn append_unwaited(mut self, payload: Payload) {
        let entry = Entry {
            payload,
            ticket: None,
            charge: std::mem::take(&mut self.charge),
        };
        if let Err(error) = self.queue.push(entry, &self.relay) {
            tracing::error!(%error, "an audit record came after the log was closed and is lost");
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.charge != Charge::default() {
            self.queue.release(self.charge);
        }
    }
}
