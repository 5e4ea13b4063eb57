//! For whom the gateway makes a request by itself: to keep an EMR session behind a locked screen, to end it when
//! somebody else takes the seat, to find out what a form is about that came too late.
//!
//! Such a request takes the whole path, is decided for that user and is on record under their name; it is no activity
//! of theirs.
//!
//! *Never*: from anything that a client says beside its session token.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use moka::sync::Cache;

use super::Identity;
use super::cookie::{self, Presented, SESSION_COOKIE};
use super::identify::Identified;
use super::session::{Live, SessionId, store_key};
use super::sessions::Found;
use crate::limit::screen::Screened;
use crate::request::received::Parts;
use crate::request::{Facts, Principal, Refused};
use crate::store::StoreError;

/// For whom.
#[derive(Debug, Clone)]
pub struct Behalf {
    principal: Arc<Principal>,
    session: SessionId,
    expires: Timestamp,
}

impl Behalf {
    /// The user.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The session's fingerprint.
    #[must_use]
    pub const fn session(&self) -> &SessionId {
        &self.session
    }
}

/// Whose locked screens somebody is about to unlock. The provider may end such a session before it sends the browser
/// back: it is where the one before is signed out. Whoever comes is to start clean all the same.
#[derive(Debug)]
pub(super) struct Left(Cache<String, Behalf>);

/// Most unlocks under way that are remembered.
const MOST: u64 = 10_000;

impl Left {
    /// Remembers for as long as a sign-in may take.
    pub(super) fn new(login_timeout: Duration) -> Self {
        Self(
            Cache::builder()
                .max_capacity(MOST)
                .time_to_live(login_timeout)
                .build(),
        )
    }
}

impl Identity {
    /// Somebody goes to the provider to unlock this screen.
    pub(super) fn leaves(&self, live: &Live) {
        let behalf = self.behalf_of(live);
        self.left.0.insert(live.key().to_owned(), behalf);
    }

    pub(super) fn behalf_of(&self, live: &Live) -> Behalf {
        Behalf {
            principal: self.principal_of(live),
            session: live.id().clone(),
            expires: live.ends(),
        }
    }

    /// Whose locked screen a request comes from; nobody's, where it is not locked. Of a session that ended since
    /// somebody went to unlock it, it is said once.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn behind_lock(&self, parts: &Parts) -> Result<Option<Behalf>, StoreError> {
        let Presented::One(token) = cookie::presented(&parts.headers, SESSION_COOKIE) else {
            return Ok(None);
        };
        Ok(match self.sessions().find(&token).await? {
            Found::Live(live) if self.sessions().is_locked(&live) => Some(self.behalf_of(&live)),
            Found::Live(_) => None,
            Found::Over(..) | Found::Unknown | Found::NotRenewed(_) => {
                self.left.0.remove(&store_key(&token))
            }
        })
    }

    /// Whose a refused request was, as its record has it.
    #[must_use]
    pub fn on_record(&self, facts: &Facts) -> Option<Behalf> {
        Some(Behalf {
            principal: facts.principal.clone()?,
            session: Live::id_on_record(facts.session.as_deref()?),
            // Long enough to be looked at.
            expires: self.clock().now(),
        })
    }

    /// A request of the gateway's own, in the name of this user.
    ///
    /// # Errors
    /// [`Refused`] for a user who is locked out.
    pub fn identify_for(
        &self,
        mut screened: Screened,
        behalf: &Behalf,
    ) -> Result<Identified, Refused> {
        let cookies = cookie::without_own(&screened.received().parts().headers);
        screened.received_mut().set_cookies(cookies);
        let facts = screened.received_mut().facts_mut();
        facts.principal = Some(Arc::clone(&behalf.principal));
        facts.session = Some(behalf.session.to_string());
        let kept_out = match &*behalf.principal {
            Principal::User(user) => self.kept_out(user),
            Principal::Service(service) => self.client_kept_out(service),
        };
        if let Some(refusal) = kept_out {
            return Err(screened.refuse(refusal));
        }
        let workplace = self.workplace(screened.received().parts());
        Ok(Identified::for_session(
            screened,
            (Arc::clone(&behalf.principal), behalf.session.clone()),
            behalf.expires,
            workplace,
        ))
    }
}
