//! Puts on record what the gateway answers itself. What is not on record is not answered.

use bytes::Bytes;
use http::Response;

use super::trail::{Audit, AuditError};
use crate::request::{ClientAddr, Event, Handled};

/// An answer of the gateway's own that could not be recorded.
#[derive(Debug)]
#[must_use]
pub struct Withheld {
    /// Why.
    pub error: AuditError,
}

impl Audit {
    /// Records what the gateway handled itself, and gives the answer out.
    ///
    /// Pages shown to strangers beyond a rate are summed per address and minute, as refusals are.
    ///
    /// # Errors
    /// [`Withheld`] when it could not be made durable; the answer is gone then.
    pub async fn handled(&self, handled: Handled) -> Result<Response<Bytes>, Withheld> {
        let Handled {
            facts,
            event,
            detail,
            response,
        } = handled;
        let anonymous =
            facts.principal.is_none() && matches!(event, Event::PageShown | Event::LoginStarted);
        if anonymous && let Ok(address) = facts.client.parse::<std::net::IpAddr>() {
            let key = ClientAddr::from(address).limit_key();
            if self.shared.anonymous.check(&key).is_err() {
                self.shared.sums.add(key, super::events::name(event));
                return Ok(response);
            }
        }
        match self.event(event, Some(facts), detail).await {
            Ok(()) => Ok(response),
            Err(error) => {
                self.shared.unrecorded.count(&error);
                Err(Withheld { error })
            }
        }
    }
}
