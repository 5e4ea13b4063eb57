//! The seventh stage: the record is durable, so the request may be forwarded.

use super::outcome::OutcomeGuard;
use crate::limit::charge::Limited;

/// A request whose admission is on disk. The only thing that can be forwarded.
#[derive(Debug)]
#[must_use]
pub struct Admitted {
    limited: Limited,
    outcome: OutcomeGuard,
}

impl Admitted {
    /// The request within its limits.
    #[must_use]
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
