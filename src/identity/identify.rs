//! The third stage: who acts, and how strongly that is proven.

use jiff::Timestamp;

use super::session::SessionId;
use crate::limit::screen::Screened;
use crate::refusal::Refusal;
use crate::request::{Principal, Received, Refused};

/// A request whose principal is proven.
#[derive(Debug)]
#[must_use]
pub struct Identified {
    screened: Screened,
    principal: Principal,
    session: SessionId,
    expires: Timestamp,
}

impl Identified {
    /// The request.
    pub const fn received(&self) -> &Received {
        self.screened.received()
    }

    /// The request, for the next stage to add what it found.
    pub const fn received_mut(&mut self) -> &mut Received {
        self.screened.received_mut()
    }

    /// Who acts.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The gateway session.
    #[must_use]
    pub const fn session(&self) -> &SessionId {
        &self.session
    }

    /// When the session ends at the latest.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Takes the request apart.
    pub fn into_parts(self) -> (Received, Principal, SessionId) {
        (self.screened.into_received(), self.principal, self.session)
    }

    /// Ends the request here.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.screened.refuse(refusal)
    }

    /// An identified request for unit tests of the next stage.
    #[cfg(test)]
    pub(crate) const fn for_test(
        screened: Screened,
        principal: Principal,
        session: SessionId,
        expires: Timestamp,
    ) -> Self {
        Self {
            screened,
            principal,
            session,
            expires,
        }
    }
}
