//! Puts a refusal on record. What is not on record cannot be rendered.

use super::entry::Entry;
use super::log::Priority;
use super::trail::{Audit, AuditError};
use crate::request::Refused;

/// A refusal that is on record (singly, or in the sums of its address): the only thing that can be answered.
#[derive(Debug)]
#[must_use]
pub struct Recorded {
    refused: Refused,
}

impl Recorded {
    /// The refusal.
    pub fn into_refused(self) -> Refused {
        self.refused
    }
}

/// A refusal that could not be recorded: answered with the fixed 503 only.
#[derive(Debug)]
#[must_use]
pub struct Unrecorded {
    /// The refusal.
    pub refused: Refused,
    /// Why.
    pub error: AuditError,
}

impl Audit {
    /// Puts a refusal on record; returns once it is durable.
    ///
    /// Anonymous refusals are recorded singly up to a rate per address, then summed per address and minute, so that a
    /// stranger cannot fill the disk.
    ///
    /// # Errors
    /// [`Unrecorded`] when it could not be made durable.
    pub async fn refuse(&self, refused: Refused) -> Result<Recorded, Box<Unrecorded>> {
        self.shared.tally.refused(refused.refusal().code());
        if refused.facts().principal.is_none()
            && let Ok(address) = refused.facts().client.parse::<std::net::IpAddr>()
        {
            let key = crate::request::ClientAddr::from(address).limit_key();
            if self.shared.anonymous.check(&key).is_err() {
                self.shared.sums.add(key, refused.refusal().code());
                return Ok(Recorded { refused });
            }
        }
        let entry = Entry::refuse(&self.shared.node, self.now(), &refused);
        match self.append(&entry, Priority::Routine).await {
            Ok(()) => Ok(Recorded { refused }),
            Err(error) => {
                self.shared.unrecorded.count(&error);
                Err(Box::new(Unrecorded { refused, error }))
            }
        }
    }
}
