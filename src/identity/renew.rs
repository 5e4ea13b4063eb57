//! Asks the provider again who a session's user is, with the session's refresh token.
//!
//! One renewal at a time for each session: requests of this process wait for the one under way, other processes for
//! the claim in the store. The token that is used is the one that the store has once the claim is taken. A renewal runs
//! as a task of its own, so that a browser that hangs up does not break it off after the provider has rotated.
//!
//! *Never*: a rotated token that is used before it is durable; a session that goes on unconfirmed beyond its bound.
//! *On failure*: what the provider refuses ends the session; a provider that does not answer leaves it going until
//! `grace` is over. A process that dies between the provider's answer and the store's loses the rotated token: the next
//! renewal is refused, which costs one sign-in.

mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, broadcast, watch};

use super::lifeline::Flight;
use super::oidc::claims::{ClaimsError, Expected, ExpectedId, Verified};
use super::oidc::jws::Kind;
use super::oidc::person::Person;
use super::oidc::refreshed::validate_renewed;
use super::oidc::{ExchangeError, Metadata, Provider, RenewedTokens, TokenError};
use super::person::{vouched, whole};
use super::renewal::{CLAIM, Claim, Renewal, RenewalStore};
use super::session::{Live, SessionId};
use super::sessions::Sessions;
use super::{RoleMap, Roles};
use crate::clock::SharedClock;
use crate::request::Role;
use crate::request::principal::User;
use crate::store::{Durability, Replacement};
use crate::telemetry::metrics as names;
use error::RenewError;

/// What came of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Read again, here or by another process.
    Renewed,
    /// The session is as it was: the provider or the store did not answer, or the answer was of no use.
    Kept,
    /// The session ended.
    Ended,
}

/// The roles of a user changed while a session went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolesChanged {
    /// The session.
    pub session: SessionId,
    /// The user's stable id.
    pub user: String,
    /// The user's name.
    pub name: String,
    /// The roles before.
    pub before: BTreeSet<Role>,
    /// The roles now.
    pub after: BTreeSet<Role>,
}

/// Renewals at once.
const AT_ONCE: usize = 32;
/// How long a request waits for a renewal before it goes on with what is known.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits where what is known may not be relied on any more.
const LAST_PATIENCE: Duration = Duration::from_secs(15);
/// After a failure, a session's next renewal begins no sooner.
const REST: Duration = Duration::from_secs(15);
/// After a provider did not answer, no renewal asks it for so long.
const PROVIDER_REST: Duration = Duration::from_secs(5);
/// How often it is looked whether another process is done, and a store that failed is tried again.
const LOOK: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_millis(250);
/// How long a rotated token is kept in memory for a store that does not take it.
const KEPT: Duration = Duration::from_mins(5);
/// How long the end of the process waits for renewals under way.
const SETTLE: Duration = Duration::from_secs(15);
const TOLD_AT_ONCE: usize = 1024;

/// What renewals work with.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) sessions: Arc<Sessions>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) roles: Arc<dyn RoleMap>,
    pub(super) clock: SharedClock,
}

#[derive(Debug, Clone)]
pub(super) struct Renewals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    on: Ground,
    permits: Semaphore,
    /// Until when which issuer is not asked (monotonic).
    resting: Mutex<BTreeMap<String, Duration>>,
    tell: broadcast::Sender<RolesChanged>,
    /// Where renewals run: workers may end before them.
    home: OnceLock<Handle>,
    under_way: watch::Sender<usize>,
}

/// What the provider said.
struct News {
    user: User,
    role_values: Vec<String>,
    id_token: Option<crate::secret::Secret<String>>,
}

impl Renewals {
    pub(super) fn new(on: Ground) -> Self {
        Self(Arc::new(Inner {
            on,
            permits: Semaphore::new(AT_ONCE),
            resting: Mutex::default(),
            tell: broadcast::Sender::new(TOLD_AT_ONCE),
            home: OnceLock::new(),
            under_way: watch::Sender::new(0),
        }))
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<RolesChanged> {
        self.0.tell.subscribe()
    }

    /// Renewals run on this thread's runtime from now on.
    pub(super) fn settle_here(&self) {
        if let Ok(here) = Handle::try_current() {
            let _ = self.0.home.set(here);
        }
    }

    /// Waits for the renewals under way, so that no rotated token is lost with the process.
    pub(super) async fn settled(&self) {
        let mut under_way = self.0.under_way.subscribe();
        let all = under_way.wait_for(|count| *count == 0);
        if tokio::time::timeout(SETTLE, all).await.is_err() {
            tracing::warn!("renewals of sessions were broken off; their users may have to sign in");
        }
    }

    /// Has a session renewed whose user has to be asked for, and waits for what comes of it within reason.
    pub(super) async fn ensure(&self, live: &Arc<Live>) {
        let Some(mut flight) = self.begin(live) else {
            return;
        };
        let is_last = live.is_unconfirmed(self.0.on.clock.now());
        let has_failed = live.lifeline().is_some_and(|line| line.has_failed());
        if has_failed && !is_last {
            // Who waited once for a provider that did not answer does not wait for it at every request.
            return;
        }
        let patience = if is_last { LAST_PATIENCE } else { PATIENCE };
        let landed = flight.wait_for(Option::is_some);
        // Whatever came of it is found in the session.
        let _ = tokio::time::timeout(patience, landed).await;
    }

    /// Starts the renewal of a session, or joins the one under way. `None` where none is possible now.
    pub(super) fn begin(&self, live: &Arc<Live>) -> Option<Flight> {
        let lifeline = live.lifeline()?;
        if !live.can_be_renewed() {
            count(&live.user().issuer, "no_token");
            return None;
        }
        if lifeline.rests(self.0.on.clock.monotonic()) {
            return None;
        }
        Some(lifeline.fly(live.key(), || self.start(live)))
    }

    fn start(&self, live: &Arc<Live>) -> Flight {
        let (land, flight) = watch::channel(None);
        let (inner, live) = (Arc::clone(&self.0), Arc::clone(live));
        inner
            .under_way
            .send_modify(|count| *count = count.saturating_add(1));
        let task = async move {
            let outcome = inner.renew(&live).await;
            land.send_replace(Some(outcome));
            inner
                .under_way
                .send_modify(|count| *count = count.saturating_sub(1));
        };
        match self.0.home.get() {
            Some(home) => drop(home.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
        flight
    }
}

impl Inner {
    fn store(&self) -> &RenewalStore {
        self.on.sessions.renewals()
    }

    async fn renew(&self, live: &Arc<Live>) -> Outcome {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let issuer = live.user().issuer.as_str();
        let error = match self.claimed(live).await {
            Ok(()) => {
                count(issuer, "renewed");
                if let Some(lifeline) = live.lifeline() {
                    lifeline.rest(Duration::ZERO);
                }
                return Outcome::Renewed;
            }
            Err(error) => error,
        };
        count(issuer, error.label());
        tracing::warn!(session = %live.id(), issuer, %error, "a session was not renewed");
        if let Some(cause) = error.ends() {
            self.on.sessions.end_or_remember(live, cause).await;
            return Outcome::Ended;
        }
        let now = self.on.clock.monotonic();
        if let Some(lifeline) = live.lifeline() {
            lifeline.rest(now.saturating_add(REST));
        }
        if matches!(error, RenewError::Exchange(ExchangeError::Unreachable(_))) {
            self.resting()
                .insert(issuer.to_owned(), now.saturating_add(PROVIDER_REST));
        }
        Outcome::Kept
    }

    /// Renews under a claim of our own, or lets another process do it.
    async fn claimed(&self, live: &Arc<Live>) -> Result<(), RenewError> {
        let key = live.key();
        let claim = self.store().claim(key).await.map_err(RenewError::Store)?;
        if claim == Claim::Theirs {
            return self.wait_for_others(live).await;
        }
        let renewed = self.under_claim(live).await;
        self.store().give_back(key).await;
        renewed
    }

    /// Another process has the claim: what it gets is ours too.
    async fn wait_for_others(&self, live: &Arc<Live>) -> Result<(), RenewError> {
        let rounds = CLAIM.as_millis().checked_div(LOOK.as_millis());
        for _ in 0..rounds.unwrap_or(0) {
            tokio::time::sleep(LOOK).await;
            let found = self.store().get(live.key()).await;
            let renewal = found.map_err(RenewError::Store)?.ok_or(RenewError::Gone)?;
            if Self::is_newer(&renewal, live) {
                self.on.sessions.read_again(live).await;
                return Ok(());
            }
        }
        Err(RenewError::Provider)
    }

    fn is_newer(renewal: &Renewal, live: &Live) -> bool {
        renewal.read_at > live.read_at().unwrap_or(live.created())
    }

    async fn under_claim(&self, live: &Arc<Live>) -> Result<(), RenewError> {
        let found = self.store().get(live.key()).await;
        let mut renewal = found.map_err(RenewError::Store)?.ok_or(RenewError::Gone)?;
        if Self::is_newer(&renewal, live) {
            // Somebody was faster.
            self.on.sessions.read_again(live).await;
            return Ok(());
        }
        let token = renewal.refresh_token.clone().ok_or(RenewError::NoNews)?;
        let (provider, metadata) = self.provider(&renewal.user.issuer).await?;
        let asked = self.on.clock.now();
        let tokens = match provider.renew(&metadata, &token).await {
            Ok(tokens) => tokens,
            Err(error) => return Err(self.denied(live, &token, error).await),
        };
        if let Some(rotated) = &tokens.refresh_token {
            renewal.refresh_token = Some(rotated.clone());
            self.put(live, &renewal, Durability::Immediate).await?;
        }
        let known = (live.sub(), &renewal);
        let news = self.news(provider, &metadata, known, &tokens).await?;
        if !news.user.proof.mfa {
            return Err(RenewError::SecondFactor);
        }
        let before = self.mapped(&renewal.user.issuer, &renewal.role_values);
        renewal.user = news.user;
        renewal.role_values = news.role_values;
        renewal.id_token = news.id_token.unwrap_or(renewal.id_token);
        renewal.read_at = asked;
        // A reading that a crash loses is made again.
        self.put(live, &renewal, Durability::Relaxed).await?;
        self.on.sessions.read_again(live).await;
        self.tell_of_roles(live, &renewal, before);
        Ok(())
    }

    async fn provider(&self, issuer: &str) -> Result<(&Provider, Arc<Metadata>), RenewError> {
        let rests_until = self.resting().get(issuer).copied();
        let now = self.on.clock.monotonic();
        if rests_until.is_some_and(|until| now < until) {
            return Err(RenewError::Provider);
        }
        let mut providers = self.on.providers.iter();
        let provider = providers.find(|provider| provider.settings().name == issuer);
        let provider = provider.ok_or(RenewError::Provider)?;
        let metadata = provider.metadata().await;
        let metadata = metadata.ok().ok_or(RenewError::Provider)?;
        Ok((provider, metadata))
    }

    /// What it means that the provider gave no tokens.
    async fn denied(
        &self,
        live: &Live,
        used: &crate::secret::Secret<String>,
        error: ExchangeError,
    ) -> RenewError {
        let ExchangeError::Refused(code) = &error else {
            return RenewError::Exchange(error);
        };
        // RFC 6749 §5.2; and what providers say that want to see the user (OIDC Core §3.1.2.6).
        let is_final = [
            "invalid_grant",
            "interaction_required",
            "login_required",
            "consent_required",
        ]
        .contains(&code.as_str());
        if !is_final {
            return RenewError::Exchange(error);
        }
        // A claim that ran out let another process in: its token counts, and ours was the old one.
        match self.store().get(live.key()).await {
            Ok(Some(now))
                if now
                    .refresh_token
                    .as_ref()
                    .map(crate::secret::Secret::expose)
                    != Some(used.expose()) =>
            {
                RenewError::Exchange(error)
            }
            Ok(_) => RenewError::Denied(code.clone()),
            Err(error) => RenewError::Store(error),
        }
    }

    /// Stores a renewal. A store that does not take it is asked again: the provider knows the old token no more.
    async fn put(
        &self,
        live: &Live,
        renewal: &Renewal,
        durability: Durability,
    ) -> Result<(), RenewError> {
        let began = self.on.clock.monotonic();
        loop {
            let written = self
                .store()
                .replace(live.key(), renewal, live.ends(), durability)
                .await;
            match written {
                Ok(Replacement::Replaced) => return Ok(()),
                Ok(Replacement::Absent) => return Err(RenewError::Gone),
                Err(error) => {
                    if self.on.clock.monotonic().saturating_sub(began) >= KEPT
                        || live.end().is_over()
                    {
                        return Err(RenewError::Store(error));
                    }
                    tracing::warn!(%error, session = %live.id(), "renewed tokens wait for the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn news(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        (sub, renewal): (&str, &Renewal),
        tokens: &RenewedTokens,
    ) -> Result<News, RenewError> {
        let settings = provider.settings();
        let access_token = &tokens.access_token;
        let (mut claims, proof) = if let Some(id_token) = &tokens.id_token {
            let known = (sub, &renewal.user, &renewal.stated);
            let expects = (renewal.nonce.as_str(), access_token.expose().as_str());
            let verified = self
                .verified(provider, metadata, id_token, known, expects)
                .await?;
            (verified.claims, verified.proof)
        } else {
            let claims = provider.userinfo_of(metadata, access_token, sub).await?;
            (claims, renewal.user.proof.clone())
        };
        if settings.userinfo && tokens.id_token.is_some() {
            claims = provider
                .with_userinfo(metadata, access_token, claims)
                .await?;
        }
        // Without an ID token a name that is not stated is as it was.
        let keeps_name =
            tokens.id_token.is_none() && claims.pointer(&settings.claims.name).is_none();
        let mut mapping = settings.claims.clone();
        if keeps_name {
            mapping.name_strip_domain = None;
        }
        let mut person = Person::read(&claims, &mapping).map_err(RenewError::Claims)?;
        if keeps_name {
            person.name.clone_from(&renewal.user.name);
        }
        // SECURITY: the same person by the claim that identifies people here, too.
        if person.subject != renewal.user.subject {
            return Err(RenewError::Claims(ClaimsError::Subject));
        }
        let person = whole(&self.on.providers, provider, person, access_token).await?;
        Ok(News {
            user: vouched(&settings.name, &person, proof),
            role_values: person.role_values,
            id_token: tokens.id_token.clone(),
        })
    }

    /// Judges the ID token that came with renewed tokens.
    async fn verified(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        id_token: &crate::secret::Secret<String>,
        known: (&str, &User, &crate::request::principal::Proof),
        (nonce, access_token): (&str, &str),
    ) -> Result<Verified, RenewError> {
        let settings = provider.settings();
        let verified = provider.verified(id_token.expose(), Kind::Id).await;
        let (payload, algorithm) = verified.map_err(|error| match error {
            TokenError::Provider(_) | TokenError::NoKey => RenewError::Unverified(error),
            TokenError::Form(_) | TokenError::Forged => RenewError::Forged(error),
        })?;
        let expected = ExpectedId {
            token: Expected {
                issuer: metadata.issuer(),
                client_id: &settings.client_id,
                now: self.on.clock.now(),
                leeway: settings.clock_leeway,
            },
            nonce,
            access_token: Some(access_token),
            algorithm,
            issuer: settings,
        };
        validate_renewed(&payload, &expected, known).map_err(RenewError::Claims)
    }

    fn mapped(&self, issuer: &str, values: &[String]) -> BTreeSet<Role> {
        let Roles { roles, .. } = self.on.roles.roles(issuer, values, self.on.clock.now());
        roles
    }

    fn tell_of_roles(&self, live: &Live, renewal: &Renewal, before: BTreeSet<Role>) {
        let after = self.mapped(&renewal.user.issuer, &renewal.role_values);
        if before == after {
            return;
        }
        tracing::info!(session = %live.id(), "the provider states other roles than before");
        // No receiver means no trail, as in unit tests.
        let _ = self.tell.send(RolesChanged {
            session: live.id().clone(),
            user: renewal.user.id(),
            name: renewal.user.name.clone(),
            before,
            after,
        });
    }

    fn resting(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Duration>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(issuer: &str, outcome: &'static str) {
    metrics::counter!(names::REFRESHES, "issuer" => issuer.to_owned(), "outcome" => outcome)
        .increment(1);
}
