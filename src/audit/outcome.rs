//! What became of an admitted request; written exactly once, whatever happens.

use serde::{Deserialize, Serialize};

use super::log::MAX_PAYLOAD;
use super::named::Named;
use crate::refusal::Refusal;
use crate::request::appeared::Appeared;
use crate::request::facts::PatientRef;
use crate::request::watermark::Marking;

/// What patients that appeared in an answer may take of its record, in bytes; the rest of it is short.
pub const MOST_APPEARED_BYTES: usize = MAX_PAYLOAD - 64 * 1024;

/// How an exchange with the EMR ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The answer was delivered to its last byte.
    Complete,
    /// The client hung up, or the connection broke, before the end.
    Abandoned,
    /// The EMR failed after admission.
    UpstreamFailed,
    /// The gateway ended a live stream (sign-out, revocation, expiry, drain).
    Cut,
    /// The gateway stopped without learning the outcome (crash).
    Unknown,
}

/// What became of an admitted request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The status that the EMR answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code that the client saw instead, if the gateway answered after admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Body bytes delivered to the client.
    pub bytes_out: u64,
    /// Body bytes sent to the EMR.
    pub bytes_in: u64,
    /// From admission to the end, in milliseconds.
    pub millis: u64,
    /// Patients that the outcome concerns beyond those of the admission (a selection that succeeded).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<PatientRef>,
    /// What became of the watermark, where the permit obliges one: `carried`, `part`, `empty` or `impossible`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    /// Patients whom the answer named where the profile says that patients stand (`appears`): in a list. Apart from
    /// `patients`: nobody opened these charts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub appeared: Vec<PatientRef>,
    /// How many more appeared than a record can name.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub appeared_more: u64,
    /// Why those who appeared may not be all: a word of [`Unheard`](crate::request::appeared::Unheard).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appeared_unknown: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Outcome {
    /// Every name by which the outcome speaks of a patient.
    pub fn named(&self) -> impl Iterator<Item = Named<'_>> {
        self.patients.iter().chain(&self.appeared).map(Named::of)
    }
}

/// Where an outcome is written to: capacity for it was reserved at admission, so this can neither block nor fail.
pub trait OutcomeSink: Send {
    /// Writes the outcome.
    fn write(self: Box<Self>, outcome: Outcome);
}

/// Carries an admitted request's outcome until it is known. Dropping it writes what is known as *abandoned*.
// INVARIANT: `sink` is `None` only after the outcome was written.
pub struct OutcomeGuard {
    sink: Option<Box<dyn OutcomeSink>>,
    started: std::time::Duration,
    clock: crate::clock::SharedClock,
    outcome: Outcome,
}

impl std::fmt::Debug for OutcomeGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutcomeGuard")
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl OutcomeGuard {
    /// Starts to wait for the outcome.
    #[must_use]
    pub fn new(sink: Box<dyn OutcomeSink>, clock: crate::clock::SharedClock) -> Self {
        Self {
            sink: Some(sink),
            started: clock.monotonic(),
            clock,
            outcome: Outcome {
                end: End::Abandoned,
                status: None,
                refusal: None,
                bytes_out: 0,
                bytes_in: 0,
                millis: 0,
                patients: Vec::new(),
                watermark: None,
                appeared: Vec::new(),
                appeared_more: 0,
                appeared_unknown: None,
            },
        }
    }

    /// The EMR answered with `status`.
    pub const fn answered(&mut self, status: u16) {
        self.outcome.status = Some(status);
    }

    /// The gateway answers with `refusal` in place of the EMR.
    pub fn refused(&mut self, refusal: Refusal) {
        self.outcome.refusal = Some(refusal.code().to_owned());
    }

    /// `bytes` more of the answer's body went to the client.
    pub const fn sent(&mut self, bytes: u64) {
        self.outcome.bytes_out = self.outcome.bytes_out.saturating_add(bytes);
    }

    /// `bytes` of the request's body went to the EMR.
    pub const fn received(&mut self, bytes: u64) {
        self.outcome.bytes_in = self.outcome.bytes_in.saturating_add(bytes);
    }

    /// A patient that the outcome concerns.
    pub fn concerns(&mut self, patient: PatientRef) {
        self.outcome.patients.push(patient);
    }

    /// What became of the watermark.
    pub fn marked(&mut self, marking: Marking) {
        self.outcome.watermark = Some(marking.word().to_owned());
    }

    /// Who appeared in the answer.
    pub fn appeared(&mut self, appeared: Appeared) {
        self.outcome.appeared = appeared.patients;
        self.outcome.appeared_more = appeared.more;
        self.outcome.appeared_unknown = appeared.unknown.map(|unheard| unheard.word().to_owned());
    }

    /// The admission was not recorded, so there is no outcome either.
    pub(super) fn discard(mut self) {
        self.sink = None;
    }

    /// It is over.
    pub fn finish(mut self, end: End) {
        self.outcome.end = end;
    }
}

impl Drop for OutcomeGuard {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            let taken = self.clock.monotonic().saturating_sub(self.started);
            self.outcome.millis = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX);
            let appeared = std::mem::take(&mut self.outcome.appeared);
            sink.write(Outcome {
                appeared,
                ..self.outcome.clone()
            });
        }
    }
}
