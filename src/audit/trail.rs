//! The owner of the trail: turns what happens into records and waits until they are durable.
//!
//! *Owns*: the handle of the log, the anonymous sums, what nobody waits for and was not taken yet, the list of open
//! admissions.
//! *Never*: an answer before its record, a record after its answer.
//! *On failure*: [`AuditError`]; the request is refused with `CG-6001`, or with the fixed 503 where even the refusal
//! cannot be recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::deferred::Deferred;
use super::entry::{Entry, EntryError, Phase};
use super::events;
use super::log::{Log, LogError, Mark, Payload, Priority, Slot, TooLong};
use super::outcome::{Outcome, OutcomeSink};
use super::summed::Sums;
use super::tally::{Tally, Unrecorded};
use crate::clock::SharedClock;
use crate::config::Limits;
use crate::limit::keyed::Keyed;
use crate::request::{Event, Facts};

/// Why something could not be put on record.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The log refused or failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The record could not be written as a document.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The record is too long for the log.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// The trail.
#[derive(Debug, Clone)]
pub struct Audit {
    pub(super) shared: Arc<Shared>,
    pub(super) log: Log,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: Arc<str>,
    pub(super) clock: SharedClock,
    pub(super) anonymous: Keyed<std::net::IpAddr>,
    pub(super) sums: Sums,
    pub(super) tally: Tally,
    pub(super) deferred: Deferred,
    pub(super) unrecorded: Arc<Unrecorded>,
}

impl Audit {
    /// Takes over an opened log.
    pub(super) fn new(
        log: Log,
        node: &str,
        limits: &Limits,
        clock: SharedClock,
        unrecorded: Arc<Unrecorded>,
    ) -> Self {
        Self {
            log,
            shared: Arc::new(Shared {
                node: node.into(),
                anonymous: Keyed::new("anonymous", limits.anonymous_records, limits.max_keys),
                sums: Sums::new(limits.max_keys),
                tally: Tally::new(),
                deferred: Deferred::default(),
                unrecorded,
                clock,
            }),
        }
    }

    /// The node whose trail it is.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.shared.node
    }

    /// How many requests were refused since the start, by code.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.shared.tally.refusals()
    }

    /// A handle of its own for a worker thread: the writer wakes each worker once, not each request.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            log: self.log.for_worker(),
        }
    }

    /// Puts an event on record; returns once it is durable.
    ///
    /// # Errors
    /// [`AuditError`] when it could not be made durable.
    pub async fn event(
        &self,
        event: Event,
        facts: Option<Facts>,
        detail: BTreeMap<String, String>,
    ) -> Result<(), AuditError> {
        let entry = Entry::event(&self.shared.node, self.now(), event, facts, detail);
        self.append(&entry, events::traits(event).priority).await
    }

    /// Puts the sums of anonymous refusals on record, and what nobody waits for and was kept. Run it every minute, and before the end.
    ///
    /// # Errors
    /// [`AuditError`] when they could not be made durable; they are then kept for the next time.
    pub async fn flush_sums(&self) -> Result<(), AuditError> {
        self.flush_deferred();
        self.shared.anonymous.sweep();
        for (address, detail) in self.shared.sums.take() {
            let written = self
                .event(Event::RefusalsSummed, None, detail.clone())
                .await;
            if let Err(error) = written {
                self.shared.sums.put_back(address, &detail);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The log beneath, for status, reading and shutdown.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Time since a fixed point, for whoever works in the background.
    pub(super) fn monotonic(&self) -> std::time::Duration {
        self.shared.clock.monotonic()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(super) async fn append<F: Serialize>(
        &self,
        entry: &Entry<F>,
        priority: Priority,
    ) -> Result<(), AuditError> {
        let [slot] = self.log.reserve::<1>(priority)?;
        slot.append(payload(entry)?).await?;
        self.flush_deferred();
        Ok(())
    }
}

/// An entry as the log takes it, marked with what it does to the list of open admissions.
pub(super) fn payload<F: Serialize>(entry: &Entry<F>) -> Result<Payload, AuditError> {
    let mark = match (entry.phase, entry.of, entry.event) {
        (Phase::Admit, ..) => Mark::Opens(entry.id),
        (Phase::Outcome, Some(of), _) => Mark::Closes(of),
        (Phase::Event, _, Some(Event::Started)) => Mark::Settles,
        (Phase::Outcome | Phase::Event | Phase::Refuse, ..) => Mark::Neither,
    };
    Ok(Payload::new(entry.to_bytes()?)?.marked(mark))
}

fn append_unwaited(slot: Slot, entry: &Entry) {
    match payload(entry) {
        Ok(payload) => slot.append_unwaited(payload),
        Err(error) => tracing::error!(%error, entry = %entry.id, "a record could not be written"),
    }
}

/// Writes the outcome of one admission into the room that was reserved for it.
pub(super) struct ReservedOutcome {
    pub(super) slot: Slot,
    pub(super) admission: Uuid,
    pub(super) shared: Arc<Shared>,
}

impl OutcomeSink for ReservedOutcome {
    fn write(self: Box<Self>, outcome: Outcome) {
        let shared = self.shared;
        shared.tally.count(&outcome);
        let entry = Entry::outcome(&shared.node, shared.clock.now(), self.admission, outcome);
        append_unwaited(self.slot, &entry);
    }
}
