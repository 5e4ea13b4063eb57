//! The seventh stage: the record is durable, so the request may be forwarded.
//!
//! *Never*: an [`Admitted`] before its record is on disk.
//! *On failure*: `CG-6001`; the request is not forwarded.

use super::entry::Entry;
use super::log::{LogError, Priority};
use super::outcome::OutcomeGuard;
use super::trail::{Audit, AuditError, ReservedOutcome, payload};
use crate::limit::charge::Limited;
use crate::refusal::Refusal;
use crate::request::{Facts, Refused};

/// A request whose admission is on disk. The only thing that can be forwarded.
#[derive(Debug)]
#[must_use]
pub struct Admitted {
    limited: Limited,
    outcome: OutcomeGuard,
}

impl Admitted {
    /// The request within its limits.
    pub const fn limited(&self) -> &Limited {
        &self.limited
    }

    /// Takes the request apart for forwarding; whoever holds the guard owes the outcome.
    pub fn into_parts(self) -> (Limited, OutcomeGuard) {
        (self.limited, self.outcome)
    }

    /// An admitted request for unit tests of the next stage.
    #[cfg(test)]
    pub(crate) const fn for_test(limited: Limited, outcome: OutcomeGuard) -> Self {
        Self { limited, outcome }
    }
}

impl Audit {
    /// Records the admission and the room for its outcome; returns once the record is durable.
    ///
    /// # Errors
    /// [`Refused`] with `CG-6001` when it could not be made durable.
    pub async fn admit(&self, limited: Limited) -> Result<Admitted, Refused> {
        match self.record_admission(limited.received().facts()).await {
            Ok(outcome) => Ok(Admitted { limited, outcome }),
            Err(error) => {
                tracing::error!(%error, request = %limited.received().parts().id, "not admitted: no durable record");
                Err(limited.refuse(Refusal::AuditUnavailable))
            }
        }
    }

    pub(super) async fn record_admission(&self, facts: &Facts) -> Result<OutcomeGuard, AuditError> {
        let entry = Entry::admit(&self.shared.node, self.now(), facts);
        let [admit, outcome] = self.log.reserve::<2>(Priority::Care)?;
        let sink = ReservedOutcome {
            slot: outcome,
            admission: entry.id,
            shared: self.shared.clone(),
        };
        let payload = payload(&entry)?;
        // INVARIANT: the guard exists before the record. A client that hangs up while the disk is busy drops this
        // future; the record may become durable all the same, and the guard then writes *abandoned*.
        let mut guard = OutcomeGuard::new(Box::new(sink), self.shared.clock.clone());
        match admit.append(payload).await {
            Ok(_) => Ok(guard),
            // It will be durable once the disk answers, and then it has its outcome: not forwarded, and why.
            Err(error @ LogError::InDoubt { .. }) => {
                guard.refused(Refusal::AuditUnavailable);
                drop(guard);
                Err(error.into())
            }
            Err(error) => {
                guard.discard();
                Err(error.into())
            }
        }
    }
}
