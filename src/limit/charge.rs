//! The sixth stage: what the user, and the kind of action, may still do in this time.

use crate::policy::decide::Authorized;
use crate::refusal::Refusal;
use crate::request::{Received, Refused};

/// A permitted request within every limit.
#[derive(Debug)]
#[must_use]
pub struct Limited {
    authorized: Authorized,
}

impl Limited {
    /// The permitted request.
    #[must_use]
    pub const fn authorized(&self) -> &Authorized {
        &self.authorized
    }

    /// The request.
    #[must_use]
    pub const fn received(&self) -> &Received {
        self.authorized.received()
    }

    /// The request, for the next stage to take its body.
    pub const fn received_mut(&mut self) -> &mut Received {
        self.authorized.received_mut()
    }

    /// The permitted request itself.
    pub fn into_authorized(self) -> Authorized {
        self.authorized
    }

    /// Ends the request here.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.authorized.refuse(refusal)
    }

    /// A limited request for unit tests of the next stage.
    #[cfg(test)]
    pub(crate) const fn for_test(authorized: Authorized) -> Self {
        Self { authorized }
    }
}
