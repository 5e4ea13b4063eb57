//! The third stage: who acts, and how strongly that is proven.
//!
//! *Never*: a request that goes on with the gateway's own cookies; "sign in" for a store that cannot be asked.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Identity;
use super::binding;
use super::cookie::{self, Presented, SESSION_COOKIE};
use super::ends::Cause;
use super::session::{Live, Over, SessionId};
use super::sessions::Found;
use crate::limit::screen::Screened;
use crate::refusal::Refusal;
use crate::request::{Principal, Received, Refused, Workplace};
use crate::store::StoreError;

/// How long the EMR's sign-out in the name of someone who left may take to be decided.
const DEPARTING: SignedDuration = SignedDuration::from_mins(1);

/// A request whose principal is proven.
#[derive(Debug)]
#[must_use]
pub struct Identified {
    screened: Screened,
    principal: Arc<Principal>,
    session: SessionId,
    expires: Timestamp,
    workplace: Workplace,
    // Where activity is noted; none in unit tests of other stages.
    live: Option<Arc<Live>>,
}

impl Identity {
    /// Finds out who acts. This is not activity yet: see [`Identity::touch`].
    ///
    /// # Errors
    /// [`Refused`]: no session, a cookie that is not ours, a session that is over, an account without a role, or a
    /// store that does not answer.
    pub async fn identify(&self, mut screened: Screened) -> Result<Identified, Refused> {
        let headers = &screened.received().parts().headers;
        let presented = cookie::presented(headers, SESSION_COOKIE);
        let cookies = cookie::without_own(headers);
        screened.received_mut().set_cookies(cookies);
        let token = match presented {
            Presented::One(token) => token,
            Presented::Nothing => return Err(screened.refuse(Refusal::LoginRequired)),
            Presented::Malformed => return Err(screened.refuse(Refusal::SessionUnknown)),
        };
        let (live, over) = match self.sessions().find(&token).await {
            Ok(Found::Live(live)) => (live, None),
            Ok(Found::Over(live, over)) => (live, Some(over)),
            Ok(Found::Unknown) => return Err(screened.refuse(Refusal::SessionUnknown)),
            Err(error) => {
                let request = screened.received().parts().id;
                tracing::error!(%request, %error, "the session could not be looked up");
                return Err(screened.refuse(Refusal::StoreUnavailable));
            }
        };
        let principal = self.principal_of(&live);
        let facts = screened.received_mut().facts_mut();
        facts.principal = Some(Arc::clone(&principal));
        facts.session = Some(live.id().to_string());
        match over {
            Some(Over::Idle | Over::Absolute) => Err(screened.refuse(Refusal::SessionExpired)),
            None if let Some(refusal) = self.kept_out(live.user()) => {
                // It slipped through while the user was being locked out.
                self.sessions().end_or_remember(&live).await;
                Cause::Locked.count(1);
                Err(screened.refuse(refusal))
            }
            None if principal.roles().is_empty() => Err(screened.refuse(Refusal::NoRole)),
            None => {
                let parts = screened.received().parts();
                if let Some(what) = binding::changed(&self.limits.binding, live.origin(), parts) {
                    let changed = binding::word(what);
                    tracing::warn!(request = %parts.id, session = %live.id(), changed, "a session is used from elsewhere");
                    return Err(screened.refuse(Refusal::BindingChanged));
                }
                let workplace = self.workplace(parts);
                self.tell_of_session(screened.received_mut(), &live, workplace);
                Ok(Identified {
                    screened,
                    principal,
                    session: live.id().clone(),
                    expires: live.ends(),
                    workplace,
                    live: Some(live),
                })
            }
        }
    }

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
            self.sessions().end_or_remember(live).await;
        }
        Cause::LeftBehind.count(open.len());
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

    /// Notes that the user is active. To be called once the request is known to be no background poll.
    pub fn touch(&self, identified: &Identified) {
        if let Some(live) = &identified.live {
            live.touch(self.clock().now());
            let received = identified.received();
            live.usage().note(
                received.parts().client.ip(),
                received.facts().emr.as_deref(),
            );
        }
    }
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
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The gateway session.
    #[must_use]
    pub const fn session(&self) -> &SessionId {
        &self.session
    }

    /// What kind of place the client works at.
    #[must_use]
    pub const fn workplace(&self) -> Workplace {
        self.workplace
    }

    /// When the session ends at the latest.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The session in use, for the rest of this module.
    pub(super) fn live(&self) -> Option<&Live> {
        self.live.as_deref()
    }

    /// Takes the request apart.
    pub fn into_parts(self) -> (Received, Arc<Principal>, SessionId) {
        (self.screened.into_received(), self.principal, self.session)
    }

    /// Ends the request here.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.screened.refuse(refusal)
    }

    /// An identified request for unit tests of the next stage.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn for_test(
        screened: Screened,
        principal: Principal,
        session: SessionId,
        expires: Timestamp,
    ) -> Self {
        Self {
            screened,
            principal: Arc::new(principal),
            session,
            expires,
            workplace: Workplace::Personal,
            live: None,
        }
    }
}
