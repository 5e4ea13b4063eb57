//! Counts the outcomes of admitted requests, refusals by code, and what was refused without a record.
//!
//! *Owns*: its metrics, those of outcomes looked up once and not with each request; the counts since the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Histogram};

use super::log::{LogError, Trouble};
use super::outcome::Outcome;
use super::trail::AuditError;
use crate::telemetry::metrics as names;

/// The metrics of outcomes.
pub(super) struct Tally {
    informational: Counter,
    success: Counter,
    redirection: Counter,
    client_error: Counter,
    server_error: Counter,
    unanswered: Counter,
    seconds: Histogram,
    /// By code, of which there are as many as the catalogue has.
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tally").finish_non_exhaustive()
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        let class = |class: &'static str| metrics::counter!(names::REQUESTS, "class" => class);
        Self {
            informational: class("1xx"),
            success: class("2xx"),
            redirection: class("3xx"),
            client_error: class("4xx"),
            server_error: class("5xx"),
            unanswered: class("none"),
            seconds: metrics::histogram!(names::REQUEST_SECONDS),
            refusals: Mutex::default(),
        }
    }

    pub(super) fn refused(&self, code: &'static str) {
        metrics::counter!(names::REFUSALS, "code" => code).increment(1);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let count = refusals.entry(code).or_default();
        *count = count.saturating_add(1);
    }

    /// Refusals since the start, by code.
    pub(super) fn refusals(&self) -> BTreeMap<&'static str, u64> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.clone()
    }

    pub(super) fn count(&self, outcome: &Outcome) {
        let class = match outcome.status.map(|status| status / 100) {
            Some(1) => &self.informational,
            Some(2) => &self.success,
            Some(3) => &self.redirection,
            Some(4) => &self.client_error,
            Some(_) => &self.server_error,
            None => &self.unanswered,
        };
        class.increment(1);
        self.seconds.record(Duration::from_millis(outcome.millis));
    }
}

/// Requests that were refused without a record because the trail took none; it says how many when it takes them again.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    /// For little space, as nothing but care was taken.
    scarce: AtomicU64,
    /// As nothing was taken.
    down: AtomicU64,
}

impl Unrecorded {
    pub(super) fn count(&self, error: &AuditError) {
        metrics::counter!(names::AUDIT_UNRECORDED).increment(1);
        let count = if matches!(error, AuditError::Log(LogError::LowSpace)) {
            &self.scarce
        } else {
            &self.down
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many for this trouble since the last time.
    pub(super) fn take(&self, what: Trouble) -> u64 {
        let count = match what {
            Trouble::Failed | Trouble::Stalled => &self.down,
            Trouble::LowSpace => &self.scarce,
        };
        count.swap(0, Ordering::Relaxed)
    }
}
