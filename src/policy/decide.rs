//! The fifth stage: what policy says, and what it obliges.

use jiff::Timestamp;

use crate::emr::map::Mapped;
use crate::refusal::Refusal;
use crate::request::{Received, Refused};

/// What a permit obliges. An annotation that is not one of these does not load.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Obligations {
    /// `@stepup("300s")`: the authentication may not be older.
    pub step_up: Option<std::time::Duration>,
}

/// A request that policy permits.
#[derive(Debug)]
#[must_use]
pub struct Authorized {
    mapped: Mapped,
    obligations: Obligations,
    valid_until: Timestamp,
}

impl Authorized {
    /// The mapped request.
    #[must_use]
    pub const fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    /// The request.
    #[must_use]
    pub const fn received(&self) -> &Received {
        self.mapped.received()
    }

    /// The request, for the next stage to add what it found.
    pub const fn received_mut(&mut self) -> &mut Received {
        self.mapped.received_mut()
    }

    /// What the permit obliges.
    #[must_use]
    pub const fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// When the permission has to be asked for again (a live stream ends or is decided anew then).
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// The mapped request itself.
    pub fn into_mapped(self) -> Mapped {
        self.mapped
    }

    /// Ends the request here.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.mapped.refuse(refusal)
    }

    /// An authorized request for unit tests of the next stage.
    #[cfg(test)]
    pub(crate) const fn for_test(
        mapped: Mapped,
        obligations: Obligations,
        valid_until: Timestamp,
    ) -> Self {
        Self {
            mapped,
            obligations,
            valid_until,
        }
    }
}
