//! Whose a session was that is over, and standing in for them while what they left behind at the EMR is ended.

use std::sync::Arc;

use jiff::SignedDuration;

use super::Identified;
use crate::identity::Identity;
use crate::identity::cookie;
use crate::identity::ending::Cause;
use crate::identity::session::SessionId;
use crate::limit::screen::Screened;
use crate::refusal::Refusal;
use crate::request::{Principal, Refused, Workplace};
use crate::store::StoreError;

/// How long the EMR's sign-out in the name of someone who left may take to be decided.
const DEPARTING: SignedDuration = SignedDuration::from_mins(1);

impl Identity {
    /// Stands in for the user of a session that is over, or is ended here, to end what it left behind at the EMR.
    ///
    /// SECURITY: the browser proves nothing but that it still holds an EMR session of theirs. The caller MUST send
    /// nothing in their name but the EMR's sign-out.
    ///
    /// # Errors
    /// [`Refused`], where nobody knows any more whose session it was.
    pub async fn identify_departed(
        &self,
        screened: Screened,
        session: &str,
    ) -> Result<Identified, Refused> {
        let session = SessionId::known(session);
        let principal = match self.departed(&session).await {
            Ok(Some(principal)) => principal,
            Ok(None) => return Err(screened.refuse(Refusal::SessionUnknown)),
            Err(error) => {
                tracing::error!(%error, "a session that was left behind could not be looked up");
                return Err(screened.refuse(Refusal::StoreUnavailable));
            }
        };
        let now = self.clock().now();
        let mut screened = screened;
        let cookies = cookie::without_own(&screened.received().parts().headers);
        screened.received_mut().set_cookies(cookies);
        let facts = screened.received_mut().facts_mut();
        facts.principal = Some(Arc::clone(&principal));
        facts.session = Some(session.to_string());
        Ok(Identified {
            screened,
            principal,
            session,
            expires: now.saturating_add(DEPARTING).unwrap_or(now),
            workplace: Workplace::Shared,
            live: None,
        })
    }

    /// Whose a session was that is over. One that is open nevertheless was left behind, and ends.
    async fn departed(&self, id: &SessionId) -> Result<Option<Arc<Principal>>, StoreError> {
        let departed = self.sessions().departed();
        if let Some(principal) = departed.find(id) {
            return Ok(Some(principal));
        }
        let open = self.sessions().in_use([id.clone()].into()).await?;
        for live in &open {
            self.principal_of(live);
            let cause = Cause::LeftBehind;
            self.sessions().end_or_remember(live, cause).await;
        }
        Ok(departed.find(id))
    }

    /// The same, for a session that is known by its fingerprint alone.
    #[must_use]
    pub fn was_ended(&self, session: &str) -> bool {
        self.has_ended(&SessionId::known(session))
    }

    /// Whether a session ended lately, so that an answer to it comes too late.
    #[must_use]
    pub fn has_ended(&self, session: &SessionId) -> bool {
        self.sessions().departed().find(session).is_some()
    }
}
