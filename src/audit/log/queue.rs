//! The bounded hand-over between the workers and the writer: slots, and the queue behind them.
//!
//! *Owns*: the count of slots and bytes in flight. A [`Slot`] is room for one record, taken before
//! the work begins, so that a record can be handed over later without waiting and without failing.
//! *Never*: grows past its bounds, or keeps a lock while anything blocks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::courier::{Heard, Urgency};
use super::error::LogError;
use super::options::Limits;
use super::waiting::{Appending, Relay, Ticket, lock};
use super::walk::MAX_PAYLOAD;

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

/// A record's bytes, of a length that the log can hold.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Vec<u8>);

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
        Ok(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Payload {
    /// Shows the length only: records name patients.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
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
    in_flight: Charge,
    /// The writer was told of what is queued. What it was not told of yet, a courier was.
    told: bool,
    /// The writer sleeps and has to be woken.
    parked: bool,
    stop: bool,
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
    low_space: AtomicBool,
    limits: Limits,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            inner: Mutex::new(Inner {
                entries: VecDeque::new(),
                phase: Phase::Open,
                in_flight: Charge::default(),
                told: false,
                parked: false,
                stop: false,
            }),
            work: Condvar::new(),
            low_space: AtomicBool::new(false),
            limits,
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
                if self.low_space.load(Ordering::Relaxed) {
                    return Err(LogError::LowSpace);
                }
                let kept = self.limits.care_slots;
                (kept, kept.saturating_mul(SLOT_BYTES))
            }
        };
        let mut inner = lock(&self.inner);
        inner.phase.check()?;
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
        match (&inner.phase, &entry.ticket) {
            (Phase::Open, _) | (Phase::Failed(_), None) => {}
            (Phase::Failed(_), Some(_)) | (Phase::Closed, _) => {
                let refused = inner.phase.check();
                inner.in_flight.subtract(entry.charge);
                return refused;
            }
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
            if (inner.told || inner.stop) && !inner.entries.is_empty() {
                inner.told = false;
                std::mem::swap(&mut inner.entries, batch);
                return Turn::Work;
            }
            if inner.stop {
                return Turn::Stop;
            }
            inner.parked = true;
            let timed_out;
            (inner, timed_out) = self.park(inner, timeout);
            inner.parked = false;
            if timed_out && !inner.told && !inner.stop {
                return Turn::Tick;
            }
        }
    }

    /// Waits until it is time to try the disk again; says whether the log is to be closed.
    pub(super) fn back_off(&self, pause: Duration) -> bool {
        let inner = lock(&self.inner);
        if inner.stop {
            return true;
        }
        self.park(inner, Some(pause)).0.stop
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
        let entries = std::mem::take(&mut inner.entries);
        let (waited, kept) = entries
            .into_iter()
            .partition(|entry| entry.ticket.is_some());
        inner.entries = kept;
        waited
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
        lock(&self.inner).stop = true;
        self.work.notify_all();
    }

    pub(super) fn set_low_space(&self, low: bool) {
        self.low_space.store(low, Ordering::Relaxed);
    }

    pub(super) fn is_low_on_space(&self) -> bool {
        self.low_space.load(Ordering::Relaxed)
    }

    /// What is in flight, how much of it is queued, and whether records are taken.
    pub(super) fn depth(&self) -> (Charge, usize, Phase) {
        let inner = lock(&self.inner);
        (inner.in_flight, inner.entries.len(), inner.phase.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(slots: usize, care_slots: usize) -> (Arc<Queue>, Arc<Relay>) {
        let limits = Limits {
            slots,
            care_slots,
            ..Limits::default()
        };
        (Arc::new(Queue::new(limits)), Arc::default())
    }

    #[test]
    fn slots_are_bounded_and_come_back() {
        let (queue, relay) = queue(4, 1);
        let pair = queue.reserve::<2>(Priority::Routine, &relay).unwrap();
        let refused = queue.reserve::<2>(Priority::Routine, &relay);
        assert!(matches!(refused, Err(LogError::Busy)));
        let care = queue.reserve::<2>(Priority::Care, &relay).unwrap();
        assert!(matches!(
            queue.reserve::<1>(Priority::Care, &relay),
            Err(LogError::Busy)
        ));
        drop((pair, care));
        assert_eq!(queue.depth().0, Charge::default());
    }

    #[test]
    fn bytes_are_bounded_by_what_records_are() {
        let limits = Limits {
            bytes: 3 * SLOT_BYTES,
            care_slots: 0,
            ..Limits::default()
        };
        let (queue, relay) = (Arc::new(Queue::new(limits)), Arc::default());
        let [slot] = queue.reserve::<1>(Priority::Routine, &relay).unwrap();
        slot.append_unwaited(Payload::new(vec![0; 2 * SLOT_BYTES + 1]).unwrap());
        assert!(matches!(
            queue.reserve::<1>(Priority::Care, &relay),
            Err(LogError::Busy)
        ));
        let mut batch = VecDeque::new();
        assert_eq!(queue.wait(&mut batch, None), Turn::Work);
        queue.release(batch[0].charge);
        assert!(queue.reserve::<3>(Priority::Care, &relay).is_ok());
    }

    #[test]
    fn low_space_is_kept_for_care() {
        let (queue, relay) = queue(4, 1);
        queue.set_low_space(true);
        assert!(matches!(
            queue.reserve::<1>(Priority::Routine, &relay),
            Err(LogError::LowSpace)
        ));
        assert!(queue.reserve::<1>(Priority::Care, &relay).is_ok());
    }

    #[test]
    fn a_failure_refuses_who_waits_and_keeps_the_rest() {
        let (queue, relay) = queue(8, 0);
        let [a, b, c, d] = queue.reserve::<4>(Priority::Routine, &relay).unwrap();
        let payload = || Payload::new(vec![1]).unwrap();
        let waiting = a.append(payload());
        b.append_unwaited(payload());
        let refused = queue.fail(&"disk".into());
        assert_eq!(refused.len(), 1);
        drop(refused);
        assert!(matches!(waiting.wait(), Err(LogError::Unavailable { .. })));
        assert!(matches!(
            c.append(payload()).wait(),
            Err(LogError::Unavailable { .. })
        ));
        d.append_unwaited(payload());
        assert!(queue.reserve::<1>(Priority::Care, &relay).is_err());
        queue.reopen();
        let mut batch = VecDeque::new();
        assert_eq!(queue.wait(&mut batch, None), Turn::Work);
        assert_eq!(batch.len(), 2);
    }

    #[test]
    fn a_payload_has_a_bound() {
        assert!(Payload::new(vec![0; MAX_PAYLOAD]).is_ok());
        assert_eq!(
            Payload::new(vec![0; MAX_PAYLOAD + 1]),
            Err(TooLong(MAX_PAYLOAD + 1))
        );
    }
}
