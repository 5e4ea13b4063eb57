//! Who acts, and how strongly that is proven.
//!
//! *Owns*: sessions and their cache, logins in progress, what is known of the identity providers.
//! *Never*: a session without proof of a second factor; a token in a record or a log.
//! *On failure*: without the provider, open sessions go on and sign-ins are refused; without the store, everything
//! that needs it is refused with `CG-6002`.

mod answer;
mod api;
mod arrival;
mod attempts;
mod backchannel;
mod background;
mod banner;
pub mod behalf;
mod binding;
mod callback;
mod choose;
mod client_keys;
pub mod cookie;
mod deactivated;
mod departed;
pub mod device_key;
pub mod emergency;
mod ending;
pub mod factor;
mod frontchannel;
pub mod held;
pub mod identify;
mod lifeline;
pub mod lock;
mod locks;
mod login;
mod logout;
mod notices;
pub mod oidc;
mod origin;
mod overview;
mod person;
mod published;
mod renew;
mod renewal;
mod return_to;
pub mod routes;
pub mod session;
mod sessions;
mod sids;
mod switch;
mod token;
mod turns;
mod visits;
mod ways;
mod workplace;

#[cfg(test)]
mod test_authenticator;
#[cfg(test)]
mod test_device;
#[cfg(test)]
mod test_gateway;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "tests reckon with small constants"
)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::clock::SharedClock;
use crate::config;
use crate::request::Throttle;
use crate::request::{Handled, Principal, Received, Refused, Role};
use crate::store::{Store, StoreError};

pub use answer::clear_site_data;
use api::Apis;
pub use api::{Mark, RevokedTokens};
use attempts::Attempts;
pub use banner::Banner;
use behalf::Left;
pub use deactivated::Deactivated;
use deactivated::Inactive;
pub use ending::{Cause, Ending, SessionEnded};
use factor::OwnFactor;
pub use locks::LockedOut;
use locks::Locks;
use notices::Notices;
use oidc::{Provider, acr_values};
pub use overview::{Criteria, SessionView};
pub use renew::RolesChanged;
use renew::{Ground, Renewals};
pub use return_to::ReturnTo;
use routes::Asked;
pub use routes::OwnRoute;
use session::{Live, SessionId, Standing};
use sessions::Sessions;
use turns::Turns;
use visits::Visits;
use ways::Ways;

/// Which roles an issuer's claim values give; the policy bundle decides (`roles.toml`).
pub trait RoleMap: Send + Sync + Debug {
    /// The generation of the mapping in force. Asked at every request, so that a change of the mapping works at once.
    fn generation(&self) -> u64;
    /// The roles of someone for whom `issuer` states `values`, at `now`.
    fn roles(&self, issuer: &str, values: &[String], now: Timestamp) -> Roles;
}

/// The roles that a mapping gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// The roles.
    pub roles: BTreeSet<Role>,
    /// When the first of them ends.
    pub until: Option<Timestamp>,
    /// The generation of the mapping that gave them.
    pub generation: u64,
}

/// Counts a sign-in to an account, before anything comes of it.
pub type AccountLimit<'l> = &'l (dyn Fn(&str) -> Result<(), Throttle> + Sync);

/// Why sign-in cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No issuer is configured.
    #[error("no identity provider is configured")]
    NoIssuer,
    /// An algorithm that is unknown or that anyone could forge.
    #[error("issuer `{issuer}`: ID tokens must not be signed with `{algorithm}`")]
    Algorithm {
        /// The issuer's name.
        issuer: String,
        /// The algorithm, or nothing if the list is empty.
        algorithm: String,
    },
    /// What an API stands on.
    #[error("API `{api}`: {problem}")]
    Api {
        /// The API's name.
        api: String,
        /// What is wrong.
        problem: String,
    },
    /// The CA or TLS of an issuer.
    #[error("issuer `{issuer}`: {problem}")]
    Issuer {
        /// The issuer's name.
        issuer: String,
        /// What is wrong.
        problem: String,
    },
}

/// Sign-in, sessions, sign-out.
#[derive(Debug)]
pub struct Identity {
    sessions: Arc<Sessions>,
    renewals: Renewals,
    attempts: Attempts,
    turns: Turns,
    ways: Ways,
    notices: Notices,
    locks: Locks,
    inactive: Inactive,
    own_factor: Option<OwnFactor>,
    apis: Apis,
    banner: Option<Banner>,
    left: Left,
    // INVARIANT: not empty.
    providers: Vec<Arc<Provider>>,
    store: Store,
    clock: SharedClock,
    roles: Arc<dyn RoleMap>,
    visits: Visits,
    limits: config::sessions::Sessions,
    emergency: Option<config::emergency::Emergency>,
}

impl Identity {
    /// Sets sign-in up. Providers need not answer yet: [`Identity::background`] finds them.
    ///
    /// # Errors
    /// [`IdentityError`] for what can never work with this configuration.
    pub fn new(
        config: &config::Identity,
        store: Store,
        clock: SharedClock,
        roles: Arc<dyn RoleMap>,
        banner: Option<Banner>,
    ) -> Result<Arc<Self>, IdentityError> {
        let providers = config
            .issuers
            .iter()
            .map(|issuer| provider(issuer, &clock))
            .collect::<Result<Vec<_>, _>>()?;
        if providers.is_empty() {
            return Err(IdentityError::NoIssuer);
        }
        let own = config.second_factor.clone();
        let sessions = Sessions::new(config, store.clone(), Arc::clone(&clock));
        let sessions = Arc::new(sessions);
        let renewals = Renewals::new(Ground {
            sessions: Arc::clone(&sessions),
            providers: providers.clone(),
            roles: Arc::clone(&roles),
            clock: Arc::clone(&clock),
        });
        Ok(Arc::new(Self {
            sessions,
            renewals,
            attempts: Attempts::new(store.clone(), Arc::clone(&clock), config.login_timeout),
            turns: Turns::new(),
            ways: Ways::new(store.clone(), Arc::clone(&clock), config.login_timeout),
            notices: Notices::new(store.clone(), Arc::clone(&clock), longest_sign_in(config)),
            locks: Locks::default(),
            inactive: Inactive::default(),
            own_factor: own.map(|settings| OwnFactor::new(settings, store.clone())),
            apis: Apis::new(config, &clock)?,
            banner,
            left: Left::new(config.login_timeout),
            providers,
            visits: Visits::new(store.clone(), Arc::clone(&clock)),
            limits: config.sessions.clone(),
            emergency: config.emergency.clone(),
            store,
            clock,
            roles,
        }))
    }

    /// Answers a request for one of the gateway's own paths; a sign-in is charged to its account by `limit`.
    ///
    /// # Errors
    /// [`Refused`], to be recorded and answered like any other.
    pub async fn handle(
        &self,
        route: OwnRoute,
        received: Received,
        limit: AccountLimit<'_>,
    ) -> Result<Handled, Refused> {
        match route {
            OwnRoute::Login => Box::pin(self.login(received)).await,
            OwnRoute::Lock | OwnRoute::Unlock | OwnRoute::Unlocked | OwnRoute::LockScript => {
                Box::pin(self.at_the_lock(route, received)).await
            }
            OwnRoute::Callback => Box::pin(self.callback(received, limit)).await,
            OwnRoute::Logout => Box::pin(self.logout(received)).await,
            OwnRoute::Switch => Box::pin(self.switch(received)).await,
            OwnRoute::SignedOut => match Self::signed_out(received.parts()) {
                Ok(told) => Ok(login::handled(received, told)),
                Err(error) => Err(logout::refused(received, &error)),
            },
            OwnRoute::BackchannelLogout => Box::pin(self.backchannel_logout(received)).await,
            OwnRoute::ClientKeys => self.client_keys(received),
            OwnRoute::SecondFactor => Box::pin(self.second_factor(received)).await,
            OwnRoute::SecondFactors => Box::pin(self.second_factors(received)).await,
            OwnRoute::Emergency => Box::pin(self.emergency(received)).await,
            OwnRoute::FrontchannelLogout => Box::pin(self.frontchannel_logout(received)).await,
        }
    }

    /// Tells of every session that ends, so that its live streams can be cut.
    ///
    /// A receiver that lags behind MUST cut every stream it has: what it missed may have been theirs.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<SessionEnded> {
        self.sessions.subscribe()
    }

    /// Tells of every change of roles that the provider stated while a session went on.
    #[must_use]
    pub fn subscribe_roles(&self) -> broadcast::Receiver<RolesChanged> {
        self.renewals.subscribe()
    }

    /// Who stands behind the sessions of `ids` now, and when those end. A session that is over is left out.
    ///
    /// # Errors
    /// [`StoreError`] when a session is not in memory and the store cannot be asked.
    pub async fn standing(
        &self,
        ids: BTreeSet<SessionId>,
    ) -> Result<BTreeMap<SessionId, (Arc<Principal>, Timestamp)>, StoreError> {
        let in_use = self.sessions.in_use(ids).await?;
        let now = self.clock.now();
        // Nobody may ask for anything while a stream goes on, and its user is asked about all the same.
        for live in in_use.iter().filter(|live| live.is_soon_due(now)) {
            drop(self.renewals.begin(live));
        }
        // A step-up leaves the old token's entry for a moment: the newer proof counts.
        let mut standing: BTreeMap<SessionId, (Arc<Principal>, Timestamp)> = BTreeMap::new();
        for live in in_use {
            let principal = self.principal_of(&live);
            let newer = standing
                .get(live.id())
                .is_none_or(|(known, _)| known.proof().auth_time < principal.proof().auth_time);
            if newer {
                standing.insert(live.id().clone(), (principal, live.confirmed_until()));
            }
        }
        Ok(standing)
    }

    /// States what the issuer of the one who was refused is asked for to meet what is demanded of them.
    pub fn challenge(&self, refused: Refused) -> Refused {
        let Some(demand) = refused.onward().demand else {
            return refused;
        };
        let issuer = refused.facts().principal.as_ref().and_then(|p| match &**p {
            Principal::User(user) => Some(user.issuer.clone()),
            Principal::Service(_) => None,
        });
        let provider = issuer.and_then(|name| self.provider_named(&name));
        let asked = Asked::StepUp(demand);
        let values = provider.map(|provider| acr_values(provider.settings(), asked).to_vec());
        refused.leading(|onward| onward.acr_values = values.unwrap_or_default())
    }

    /// Whether every identity provider was reached since the start.
    #[must_use]
    pub fn knows_providers(&self) -> bool {
        self.providers.iter().all(|provider| provider.is_known())
    }

    /// Ends every session at once, durably, by a new epoch of the store (after a restore, or in an emergency).
    ///
    /// # Errors
    /// [`StoreError`] when the store did not confirm it; sessions then go on.
    pub async fn end_every_session(&self) -> Result<(), StoreError> {
        self.sessions.end_everything().await
    }

    /// The notice before sign-in.
    #[must_use]
    pub const fn banner(&self) -> Option<&Banner> {
        self.banner.as_ref()
    }

    /// The CAs whose certificates clients are asked for, where they are asked for one.
    #[must_use]
    pub fn client_issuers(&self) -> Option<Vec<rustls::DistinguishedName>> {
        self.apis.client_issuers()
    }

    /// Reads the client CA and its revocation lists again; a problem changes nothing, and is said.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn reload_client_certificates(&self) -> Result<(), String> {
        self.apis.reload()
    }

    const fn apis(&self) -> &Apis {
        &self.apis
    }

    fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    const fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// The principal of a session, with the roles that the mapping gives now.
    fn principal_of(&self, live: &Live) -> Arc<Principal> {
        let now = self.clock.now();
        if let Some(known) = live.principal(self.roles.generation(), now) {
            return known;
        }
        let mut user = live.user().clone();
        let Roles {
            roles,
            until,
            generation,
        } = self.roles.roles(&user.issuer, live.role_values(), now);
        user.roles = roles;
        let principal = Arc::new(Principal::User(user));
        live.set_principal(Standing {
            principal: Arc::clone(&principal),
            until,
            generation,
        });
        principal
    }

    /// Whether the provider of this issuer answers at this moment; it is asked.
    pub async fn provider_answers(&self, issuer: &str) -> bool {
        match self.provider_named(issuer) {
            Some(provider) => provider.answers().await,
            None => false,
        }
    }

    fn provider_named(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers
            .iter()
            .find(|provider| provider.settings().name == name)
    }
}

/// How long a sign-in may take from its start to its session: the way to the provider, and the own second factor.
fn longest_sign_in(config: &config::Identity) -> Duration {
    let steps = if config.second_factor.is_some() { 2 } else { 1 };
    config.login_timeout.saturating_mul(steps)
}

fn provider(issuer: &config::Issuer, clock: &SharedClock) -> Result<Arc<Provider>, IdentityError> {
    let refuse = |algorithm: String| IdentityError::Algorithm {
        issuer: issuer.name.clone(),
        algorithm,
    };
    let algorithms = Provider::algorithms_of(issuer).map_err(|unknown| refuse(unknown.0))?;
    if algorithms.is_empty() {
        return Err(refuse(String::new()));
    }
    let provider = Provider::new(issuer.clone(), algorithms, Arc::clone(clock));
    provider
        .map(Arc::new)
        .map_err(|source| IdentityError::Issuer {
            issuer: issuer.name.clone(),
            problem: source.to_string(),
        })
}
