//! The third stage: who acts, and how strongly that is proven.
//!
//! *Never*: a request that goes on with the gateway's own cookies; "sign in" for a store that cannot be asked.

mod departing;

use std::sync::Arc;

use jiff::Timestamp;

use super::cookie::{self, Presented, SESSION_COOKIE};
use super::device_key::DeviceProof;
use super::ending::Cause;
pub use super::lifeline::SessionEnd;
use super::origin::Origin;
use super::session::{Live, Over, SessionId};
use super::sessions::Found;
use super::token::Token;
use super::{Identity, Roles, api, binding};
use crate::limit::screen::Screened;
use crate::refusal::Refusal;
use crate::request::onward::CookieFate;
use crate::request::principal::{CredentialKind, Proof, Service};
use crate::request::received::Parts;
use crate::request::{Cover, Facts, Principal, Received, Refused, Workplace};
use crate::store::StoreError;

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
        // Before the gateway's own cookies are taken out.
        let proof = cookie::device_proof(headers);
        let cookies = cookie::without_own(headers);
        screened.received_mut().set_cookies(cookies);
        if self.apis().may_concern(screened.received().parts()) {
            // Boxed: most requests are of people.
            let asked = Box::pin(self.apis().client(screened.received().parts(), &presented));
            match asked.await {
                Ok(None) => {}
                Ok(Some(client)) => return self.admit_client(screened, client),
                Err(error) => {
                    let request = screened.received().parts().id;
                    tracing::warn!(%request, %error, "the credential of an API client");
                    error.count();
                    return Err(screened.refuse(error.refusal()));
                }
            }
        }
        let token = match presented {
            Presented::One(token) => token,
            Presented::Nothing => return Err(screened.refuse(Refusal::LoginRequired)),
            Presented::Malformed => return Err(screened.refuse(Refusal::SessionUnknown)),
        };
        let found = match self.sessions().find(&token).await {
            // Boxed: rare, and the future of each request would keep room for it.
            Ok(Found::Live(live)) if live.is_due(self.clock().now()) => {
                Box::pin(self.find_renewed(&token, &live)).await
            }
            found => found,
        };
        let (live, over) = match found {
            Ok(Found::Live(live)) => (live, None),
            Ok(Found::Over(live, over)) => (live, Some(over)),
            Ok(Found::NotRenewed(live)) => {
                if let Some(live) = live {
                    self.name(screened.received_mut().facts_mut(), &live);
                }
                return Err(screened.refuse(Refusal::NotRenewed));
            }
            Ok(Found::Unknown) => return Err(self.unknown(screened, &token).await),
            Err(error) => {
                let request = screened.received().parts().id;
                tracing::error!(%request, %error, "the session could not be looked up");
                return Err(screened.refuse(Refusal::StoreUnavailable));
            }
        };
        // SECURITY: a browser sends a session's cookie to its own host only; a person can carry it to another.
        if !self.is_at_home(&live, &screened.received().parts().host) {
            return Err(screened.refuse(Refusal::SessionUnknown));
        }
        self.admit_user(screened, (live, over), proof).await
    }

    /// A session that was found lets its user in, unless something keeps them out.
    async fn admit_user(
        &self,
        mut screened: Screened,
        (live, over): (Arc<Live>, Option<Over>),
        proof: Option<DeviceProof>,
    ) -> Result<Identified, Refused> {
        let principal = self.principal_of(&live);
        let facts = screened.received_mut().facts_mut();
        facts.principal = Some(Arc::clone(&principal));
        facts.session = Some(live.id().to_string());
        match over {
            Some(Over::Idle | Over::Absolute) => {
                Err(self.marking(screened.refuse(Refusal::SessionExpired)))
            }
            None if let Some(refusal) = self.kept_out(live.user()) => {
                // It slipped through while the user was being locked out.
                self.sessions().end_or_remember(&live, Cause::Locked).await;
                Err(screened.refuse(refusal))
            }
            None if self.is_elsewhere(screened.received().parts(), &live, proof) => {
                Err(screened.refuse(Refusal::BindingChanged))
            }
            None if self.sessions().is_locked(&live) => Err(screened.refuse(Refusal::ScreenLocked)),
            None if principal.roles().is_empty() => Err(screened.refuse(Refusal::NoRole)),
            None => {
                let parts = screened.received().parts();
                let workplace = self.workplace(parts);
                self.turns.used(&live, self.clock().now());
                self.tell_of_session(screened.received_mut(), &live, workplace);
                if self.sessions().locks() {
                    let cover = Cover::of(live.id().as_str(), &principal.id());
                    screened.received_mut().set_cover(cover);
                }
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

    /// Whether a session is used from elsewhere than it is bound to.
    pub(super) fn has_moved(&self, parts: &Parts, live: &Live) -> bool {
        self.is_elsewhere(parts, live, cookie::device_proof(&parts.headers))
    }

    fn is_elsewhere(&self, parts: &Parts, live: &Live, proof: Option<DeviceProof>) -> bool {
        if self.limits.binding.on.is_empty() {
            return false;
        }
        let now = Origin {
            proof,
            ..Origin::of(parts)
        };
        let changed = binding::moved(&self.limits.binding, live, &now, self.clock().now());
        if let Some(what) = changed {
            let changed = binding::word(what);
            tracing::warn!(request = %parts.id, session = %live.id(), changed, "a session is used from elsewhere");
        }
        changed.is_some()
    }

    /// A client whose credential is good becomes a principal, unless it is revoked, locked or without a role.
    fn admit_client(
        &self,
        mut screened: Screened,
        client: api::Client,
    ) -> Result<Identified, Refused> {
        let now = self.clock().now();
        let workplace = self.workplace(screened.received().parts());
        let is_revoked = self.apis().is_revoked(&client);
        let session = SessionId::of_client(&client.issuer, &client.name, client.subject.as_deref());
        let kind = Some(client.credential.kind);
        let Roles { roles, .. } = self.roles.roles(&client.issuer, &client.role_values, now);
        let service = Service {
            issuer: client.issuer,
            client: client.name,
            subject: client.subject,
            account: client.account,
            roles,
            credential: client.credential,
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: false,
                phishing_resistant: false,
                auth_time: None,
            },
        };
        let kept_out = self.client_kept_out(&service);
        let principal = Arc::new(Principal::Service(service));
        let received = screened.received_mut();
        // SECURITY: a certificate alone leaves the field to the EMR, as a session does.
        if kind != Some(CredentialKind::Certificate) {
            received.remove_authorization();
        }
        let facts = received.facts_mut();
        facts.principal = Some(Arc::clone(&principal));
        facts.session = Some(session.to_string());
        if is_revoked {
            api::count(kind, "revoked");
            return Err(screened.refuse(Refusal::TokenRefused));
        }
        if let Some(refusal) = kept_out {
            api::count(kind, "locked");
            return Err(screened.refuse(refusal));
        }
        api::count(kind, "accepted");
        if principal.roles().is_empty() {
            return Err(screened.refuse(Refusal::NoRole));
        }
        Ok(Identified {
            screened,
            principal,
            session,
            expires: client.expires,
            workplace,
            live: None,
        })
    }

    /// A request with a session that there is not. Whose it was is known for a while, if it ended by itself.
    async fn unknown(&self, mut screened: Screened, token: &Token) -> Refused {
        let Some((user, session)) = self.sessions().remembered(token).await else {
            let refused = screened.refuse(Refusal::SessionUnknown);
            return if self.sessions().was_replaced(token) {
                // Clearing the cookie would take the newer one away from the tab that has it.
                refused.leading(|onward| onward.cookie = CookieFate::Stays)
            } else {
                self.marking(refused)
            };
        };
        let facts = screened.received_mut().facts_mut();
        facts.principal = Some(Arc::new(Principal::User(user)));
        facts.session = Some(session);
        self.marking(screened.refuse(Refusal::SessionExpired))
    }

    /// The live session that a request presents, if any.
    pub(super) async fn session_of(&self, parts: &Parts) -> Result<Option<Arc<Live>>, StoreError> {
        let Presented::One(token) = cookie::presented(&parts.headers, SESSION_COOKIE) else {
            return Ok(None);
        };
        Ok(match self.sessions().find(&token).await? {
            Found::Live(live) => Some(live).filter(|live| self.is_at_home(live, &parts.host)),
            Found::Over(..) | Found::Unknown | Found::NotRenewed(_) => None,
        })
    }

    /// Puts a session and its user on record.
    pub(super) fn name(&self, facts: &mut Facts, live: &Live) {
        facts.principal = Some(self.principal_of(live));
        facts.session = Some(live.id().to_string());
    }

    /// Where screens lock, the cookie of a session that is over stays until the next sign-in, which has to be a fresh one
    /// ([`Self::was_left`]).
    fn marking(&self, refused: Refused) -> Refused {
        if self.sessions().locks() {
            refused.leading(|onward| onward.cookie = CookieFate::Stays)
        } else {
            refused
        }
    }

    /// Whether a browser still has the cookie of a session that is over, and screens lock.
    ///
    /// SECURITY: what locked asked for a factor. Once it has ended, single sign-on must not let in without one whoever sits
    /// there by then.
    pub(super) fn was_left(&self, parts: &Parts) -> bool {
        match cookie::presented(&parts.headers, SESSION_COOKIE) {
            Presented::One(_) => self.sessions().locks(),
            Presented::Nothing | Presented::Malformed => false,
        }
    }

    /// The session of a request that comes by itself, once its user was asked about where that is due.
    pub(super) async fn confirmed(
        &self,
        parts: &Parts,
        live: Arc<Live>,
    ) -> Result<Option<Arc<Live>>, StoreError> {
        if !live.is_due(self.clock().now()) {
            return Ok(Some(live));
        }
        let Presented::One(token) = cookie::presented(&parts.headers, SESSION_COOKIE) else {
            return Ok(None);
        };
        Ok(match Box::pin(self.find_renewed(&token, &live)).await? {
            Found::Live(live) => Some(live),
            Found::Over(..) | Found::Unknown | Found::NotRenewed(_) => None,
        })
    }

    /// Finds a session once its user was asked about; one that nobody confirms any more ends here.
    async fn find_renewed(&self, token: &Token, live: &Arc<Live>) -> Result<Found, StoreError> {
        self.renewals.ensure(live).await;
        match self.sessions().find(token).await? {
            Found::Live(live) if live.is_unconfirmed(self.clock().now()) => {
                let cause = Cause::NotConfirmed;
                self.sessions().end_or_remember(&live, cause).await;
                Ok(Found::NotRenewed(Some(live)))
            }
            Found::NotRenewed(_) => Ok(Found::NotRenewed(Some(Arc::clone(live)))),
            found @ (Found::Live(_) | Found::Over(..) | Found::Unknown) => Ok(found),
        }
    }

    /// Notes that the user is active. To be called once the request is known to be no background poll.
    pub fn touch(&self, identified: &Identified) {
        if let Some(live) = &identified.live {
            self.sessions().touch(live);
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

    /// Until when what is known of the user may be relied on: the session's end, or sooner.
    #[must_use]
    pub fn confirmed_until(&self) -> Timestamp {
        self.live
            .as_ref()
            .map_or(self.expires, |live| live.confirmed_until())
    }

    /// The session's end, for those who work for it.
    #[must_use]
    pub fn session_end(&self) -> SessionEnd {
        self.live
            .as_ref()
            .map_or_else(SessionEnd::default, |live| live.end())
    }

    /// Takes the request apart.
    pub fn into_parts(self) -> (Received, Arc<Principal>, SessionId) {
        (self.screened.into_received(), self.principal, self.session)
    }

    /// Ends the request here.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.screened.refuse(refusal)
    }

    /// A request that the gateway itself makes for a session.
    pub(super) fn for_session(
        screened: Screened,
        (principal, session): (Arc<Principal>, SessionId),
        expires: Timestamp,
        workplace: Workplace,
    ) -> Self {
        Self {
            screened,
            principal,
            session,
            expires,
            workplace,
            live: None,
        }
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
