//! The fourth stage: which clinical action, on which part of whose chart.

use crate::identity::identify::Identified;
use crate::refusal::Refusal;
use crate::request::facts::Mapping;
use crate::request::{Received, Refused};

use super::profile::RouteTraits;

/// A request whose clinical meaning is known (which may be the explicit `Unmapped`).
#[derive(Debug)]
#[must_use]
pub struct Mapped {
    identified: Identified,
    emr: usize,
    traits: RouteTraits,
    mapping: Mapping,
}

impl Mapped {
    /// The identified request.
    #[must_use]
    pub const fn identified(&self) -> &Identified {
        &self.identified
    }

    /// The request.
    #[must_use]
    pub const fn received(&self) -> &Received {
        self.identified.received()
    }

    /// The request, for the next stage to add what it found.
    pub const fn received_mut(&mut self) -> &mut Received {
        self.identified.received_mut()
    }

    /// Index of the EMR in the configuration.
    #[must_use]
    pub const fn emr(&self) -> usize {
        self.emr
    }

    /// What the route is.
    #[must_use]
    pub const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// How the route behaves.
    #[must_use]
    pub const fn traits(&self) -> &RouteTraits {
        &self.traits
    }

    /// Ends the request here.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.identified.refuse(refusal)
    }

    /// A mapped request for unit tests of the next stage.
    #[cfg(test)]
    pub(crate) const fn for_test(
        identified: Identified,
        emr: usize,
        traits: RouteTraits,
        mapping: Mapping,
    ) -> Self {
        Self {
            identified,
            emr,
            traits,
            mapping,
        }
    }
}
