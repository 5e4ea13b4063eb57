//! The second stage: cheap checks per address and origin, before any disk or crypto.

use crate::refusal::Refusal;
use crate::request::{Received, Refused};

/// A request that passed the limits of its address and is not a cross-site change.
#[derive(Debug)]
#[must_use]
pub struct Screened {
    received: Received,
}

impl Screened {
    /// The request.
    #[must_use]
    pub const fn received(&self) -> &Received {
        &self.received
    }

    /// The request, for the next stage to add what it found.
    pub const fn received_mut(&mut self) -> &mut Received {
        &mut self.received
    }

    /// The request itself.
    pub fn into_received(self) -> Received {
        self.received
    }

    /// Ends the request here.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.received.refuse(refusal)
    }

    /// A screened request for unit tests of the next stage.
    #[cfg(test)]
    pub(crate) const fn for_test(received: Received) -> Self {
        Self { received }
    }
}
