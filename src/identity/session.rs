//! A gateway session: opaque to the browser, bound to one sign-in.

mod id;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::device_key::{BondSlot, Tie};
use super::lifeline::{Lifeline, SessionEnd};
use super::lock::Latch;
use super::origin::{Origin, Usage, Used};
use super::renewal::Renewal;
use super::token::Token;
use crate::config::refresh::Refresh;
use crate::request::principal::{Principal, Proof, User};
use crate::secret::Secret;

pub use id::SessionId;

/// Under which key the store has the session of a token.
pub(super) fn store_key(token: &Token) -> String {
    hex::encode(token.digest("session-key", &[]))
}

/// What is known of a session when it is opened.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    /// Who signed in. `roles` is empty: roles are mapped from `role_values` whenever the session is used.
    pub(super) user: User,
    /// The values of the issuer's role claim.
    pub(super) role_values: Vec<String>,
    /// The issuer's own session (`sid`), if it named one.
    pub(super) issuer_session: Option<String>,
    /// The ID token, for `id_token_hint` at sign-out.
    pub(super) id_token: Secret<String>,
    /// The session that a step-up continues.
    pub(super) continues: Option<SessionId>,
    /// Where it is opened.
    pub(super) origin: Origin,
    /// What the session that a step-up continues was used for.
    pub(super) used: Used,
    /// When it ends at the latest, where that is not the longest duration from now.
    pub(super) ends: Option<Timestamp>,
    /// The issuer's `sub`, where its configuration identifies users by another claim.
    pub(super) sub: Option<String>,
    /// When the provider issued its token, by the provider's own clock.
    pub(super) issued: Option<Timestamp>,
    /// What the provider itself stated of this sign-in; `user.proof` is what counts.
    pub(super) stated: Proof,
    /// What renews the tokens, if the provider gave it.
    pub(super) refresh_token: Option<Secret<String>>,
    /// The nonce of the sign-in, which a renewed ID token may repeat.
    pub(super) nonce: String,
}

/// The sealed form in the store.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    version: u8,
    id: String,
    user: User,
    role_values: Vec<String>,
    issuer_session: Option<String>,
    id_token: String,
    created: Timestamp,
    last_active: Timestamp,
    ends: Timestamp,
    #[serde(default)]
    origin: Origin,
    #[serde(default)]
    used: Used,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locked: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(default, skip_serializing_if = "Tie::is_none")]
    tie: Tie,
}

const VERSION: u8 = 1;

/// A session in use. One per session and process, shared by its requests.
pub(super) struct Live {
    key: String,
    id: SessionId,
    user: User,
    role_values: Vec<String>,
    issuer_session: Option<String>,
    sub: Option<String>,
    id_token: Secret<String>,
    created: Timestamp,
    ends: Timestamp,
    /// The epoch of the store in which it was read.
    epoch: u64,
    /// Unix milliseconds.
    last_active: AtomicI64,
    /// What of `last_active` the store knows.
    flushed: AtomicI64,
    /// When the store was last asked about it, in milliseconds of monotonic time.
    confirmed: AtomicU64,
    standing: ArcSwapOption<Standing>,
    origin: Origin,
    usage: Usage,
    latch: Latch,
    bond: BondSlot,
    /// What all copies of the session share; none in a copy that nobody works with.
    lifeline: Option<Arc<Lifeline>>,
    /// How old what is known of the user is, where that matters.
    reading: Option<Reading>,
}

/// When the provider was last asked about the user, and what follows from its age.
#[derive(Debug, Clone, Copy)]
struct Reading {
    read_at: Timestamp,
    /// Worth reading again in the background.
    soon_at: Timestamp,
    /// To be read again before the next request is decided.
    due_at: Timestamp,
    /// Not to be relied on any more.
    over_at: Timestamp,
    can_be_renewed: bool,
}

impl Reading {
    fn of(read_at: Timestamp, refresh: &Refresh, can_be_renewed: bool) -> Self {
        let after = |span: Duration| read_at.saturating_add(span).unwrap_or(read_at);
        // A fifth of the time is left for the background.
        let soon = refresh.every.mul_f64(0.8);
        Self {
            read_at,
            soon_at: after(soon),
            due_at: after(refresh.every),
            over_at: after(refresh.every.saturating_add(refresh.grace)),
            can_be_renewed,
        }
    }
}

/// Who a session's user was when it was last asked. Worked out anew when the mapping of roles changes, or a role ends.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) principal: Arc<Principal>,
    /// When the first role ends.
    pub(super) until: Option<Timestamp>,
    /// The generation of the mapping.
    pub(super) generation: u64,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why a session that exists is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Nobody used it for too long.
    Idle,
    /// It reached its longest duration.
    Absolute,
}

impl Live {
    /// Opens a session at `now`, to end at `ends` at the latest.
    pub(super) fn open(
        token: &Token,
        opening: Opening,
        now: Timestamp,
        ends: Timestamp,
        epoch: u64,
    ) -> Self {
        Self {
            key: store_key(token),
            id: opening.continues.unwrap_or_else(|| SessionId::of(token)),
            user: opening.user,
            role_values: opening.role_values,
            issuer_session: opening.issuer_session,
            sub: opening.sub,
            id_token: opening.id_token,
            created: now,
            ends,
            epoch,
            last_active: AtomicI64::new(now.as_millisecond()),
            flushed: AtomicI64::new(now.as_millisecond()),
            confirmed: AtomicU64::new(0),
            standing: ArcSwapOption::empty(),
            origin: opening.origin,
            usage: Usage::of(opening.used),
            latch: Latch::default(),
            bond: BondSlot::default(),
            lifeline: None,
            reading: None,
        }
    }

    /// Reads the form that the store keeps; `None` for what this version did not write.
    pub(super) fn decode(key: &str, value: &Secret<Vec<u8>>, epoch: u64) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(value.expose()).ok()?;
        if stored.version != VERSION {
            return None;
        }
        let last_active = stored.last_active.as_millisecond();
        Some(Self {
            key: key.to_owned(),
            id: SessionId::known(&stored.id),
            user: stored.user,
            role_values: stored.role_values,
            issuer_session: stored.issuer_session,
            sub: stored.sub,
            id_token: Secret::new(stored.id_token),
            created: stored.created,
            ends: stored.ends,
            epoch,
            last_active: AtomicI64::new(last_active),
            flushed: AtomicI64::new(last_active),
            confirmed: AtomicU64::new(0),
            standing: ArcSwapOption::empty(),
            origin: stored.origin,
            usage: Usage::of(stored.used),
            latch: Latch::of(stored.locked),
            bond: BondSlot::of(stored.tie),
            lifeline: None,
            reading: None,
        })
    }

    /// The form that the store keeps, with the activity known now.
    pub(super) fn encode(&self) -> Option<Secret<Vec<u8>>> {
        let stored = Stored {
            version: VERSION,
            id: self.id.as_str().to_owned(),
            user: self.user.clone(),
            role_values: self.role_values.clone(),
            issuer_session: self.issuer_session.clone(),
            id_token: self.id_token.expose().clone(),
            created: self.created,
            last_active: self.last_active(),
            ends: self.ends,
            origin: self.origin.clone(),
            used: self.usage.told(),
            locked: self.latch.since(),
            sub: self.sub.clone(),
            tie: self.bond.tie(),
        };
        let bytes = serde_json::to_vec(&stored).ok().map(Secret::new);
        drop(Secret::new(stored.id_token));
        bytes
    }

    /// The session with what binds it to a device.
    pub(super) fn tied(mut self, bond: BondSlot) -> Self {
        self.bond = bond;
        self
    }

    /// The copy that is worked with: it hears of the session's end.
    pub(super) fn sharing(mut self, lifeline: Arc<Lifeline>) -> Self {
        self.lifeline = Some(lifeline);
        self
    }

    /// The session with what the provider said last, whose age counts from now on.
    pub(super) fn renewed(mut self, refresh: &Refresh, renewal: Option<Renewal>) -> Self {
        let Some(renewal) = renewal else {
            self.reading = Some(Reading::of(self.created, refresh, false));
            return self;
        };
        let can_be_renewed = renewal.refresh_token.is_some();
        self.reading = Some(Reading::of(renewal.read_at, refresh, can_be_renewed));
        self.user = renewal.user;
        self.role_values = renewal.role_values;
        self.id_token = renewal.id_token;
        self
    }

    pub(super) const fn lifeline(&self) -> Option<&Arc<Lifeline>> {
        self.lifeline.as_ref()
    }

    /// Its end, for those who work for it.
    pub(super) fn end(&self) -> SessionEnd {
        SessionEnd::of(self.lifeline.clone())
    }

    /// Whether the provider has to be asked before the session is relied on.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.reading.is_some_and(|reading| now >= reading.due_at)
    }

    /// Whether the provider should be asked soon, and can be.
    pub(super) fn is_soon_due(&self, now: Timestamp) -> bool {
        self.can_be_renewed() && self.reading.is_some_and(|reading| now >= reading.soon_at)
    }

    /// When the provider was last asked about the user, where that is done.
    pub(super) fn read_at(&self) -> Option<Timestamp> {
        self.reading.map(|reading| reading.read_at)
    }

    /// Whether somebody used it since the provider was asked.
    pub(super) fn is_used_since_reading(&self) -> bool {
        self.reading
            .is_some_and(|reading| self.last_active() > reading.read_at)
    }

    pub(super) fn can_be_renewed(&self) -> bool {
        self.reading.is_some_and(|reading| reading.can_be_renewed)
    }

    /// Whether what is known of the user is too old to be relied on.
    pub(super) fn is_unconfirmed(&self, now: Timestamp) -> bool {
        self.reading.is_some_and(|reading| now >= reading.over_at)
    }

    /// Until when what is known of the user may be relied on; the session's end at the latest.
    pub(super) fn confirmed_until(&self) -> Timestamp {
        self.reading
            .map_or(self.ends, |reading| reading.over_at.min(self.ends))
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) const fn id(&self) -> &SessionId {
        &self.id
    }

    /// The principal, where it was worked out by this generation of the mapping and none of its roles has ended.
    pub(super) fn principal(&self, generation: u64, now: Timestamp) -> Option<Arc<Principal>> {
        let standing = self.standing.load();
        standing
            .as_ref()
            .filter(|known| known.generation == generation)
            .filter(|known| known.until.is_none_or(|until| now < until))
            .map(|known| Arc::clone(&known.principal))
    }

    /// The principal as it was worked out last, by whichever mapping.
    pub(super) fn last_principal(&self) -> Option<Arc<Principal>> {
        let standing = self.standing.load();
        standing.as_ref().map(|known| Arc::clone(&known.principal))
    }

    /// Where it was opened.
    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What it was used for.
    pub(super) const fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(super) fn set_principal(&self, standing: Standing) {
        self.standing.store(Some(Arc::new(standing)));
    }

    pub(super) const fn user(&self) -> &User {
        &self.user
    }

    pub(super) fn role_values(&self) -> &[String] {
        &self.role_values
    }

    pub(super) fn issuer_session(&self) -> Option<&str> {
        self.issuer_session.as_deref()
    }

    /// What the issuer's notices call the user.
    pub(super) fn sub(&self) -> &str {
        self.sub.as_deref().unwrap_or(&self.user.subject)
    }

    pub(super) const fn id_token(&self) -> &Secret<String> {
        &self.id_token
    }

    pub(super) const fn created(&self) -> Timestamp {
        self.created
    }

    pub(super) const fn ends(&self) -> Timestamp {
        self.ends
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn last_active(&self) -> Timestamp {
        let millis = self.last_active.load(Ordering::Acquire);
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MIN)
    }

    /// Whether the session is over at `now`.
    pub(super) fn over(&self, now: Timestamp, idle_timeout: Duration) -> Option<Over> {
        if now >= self.ends {
            return Some(Over::Absolute);
        }
        let idle_since = self.last_active();
        let idle_until = idle_since.saturating_add(idle_timeout);
        let is_idle = idle_until.map_or(true, |until| now >= until);
        is_idle.then_some(Over::Idle)
    }

    /// What binds it to a device.
    pub(super) const fn bond(&self) -> &BondSlot {
        &self.bond
    }

    /// Its lock.
    pub(super) const fn latch(&self) -> &Latch {
        &self.latch
    }

    /// The fingerprint that a record names, as one: what the gateway itself put on record, and nothing else.
    pub(super) fn id_on_record(fingerprint: &str) -> SessionId {
        SessionId::known(fingerprint)
    }

    /// Someone used it at `at`. Never goes back.
    pub(super) fn touch(&self, at: Timestamp) {
        self.last_active
            .fetch_max(at.as_millisecond(), Ordering::AcqRel);
    }

    /// Whether the store does not know of the latest activity.
    pub(super) fn is_unflushed(&self) -> bool {
        self.last_active.load(Ordering::Acquire) > self.flushed.load(Ordering::Acquire)
    }

    /// The store knows of activity up to `at`.
    pub(super) fn flushed(&self, at: Timestamp) {
        self.flushed
            .fetch_max(at.as_millisecond(), Ordering::AcqRel);
    }

    /// The store confirmed at monotonic time `at` that the session exists.
    pub(super) fn confirm(&self, at: Duration) {
        let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.confirmed.fetch_max(millis, Ordering::AcqRel);
    }

    /// How long ago the store confirmed it.
    pub(super) fn unconfirmed_for(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(
            self.confirmed.load(Ordering::Acquire),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn live() -> Live {
        let user = User {
            issuer: "staff".to_owned(),
            subject: "u1".to_owned(),
            name: "dr.adams".to_owned(),
            roles: BTreeSet::new(),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                auth_time: None,
                phishing_resistant: false,
            },
            department: None,
        };
        let opening = Opening {
            issued: None,
            stated: user.proof.clone(),
            user,
            role_values: Vec::new(),
            issuer_session: None,
            id_token: Secret::new(String::new()),
            continues: None,
            sub: None,
            origin: Origin::default(),
            used: Used::default(),
            ends: None,
            refresh_token: None,
            nonce: String::new(),
        };
        let start = Timestamp::UNIX_EPOCH;
        Live::open(&Token::generate().unwrap(), opening, start, start, 1)
    }

    #[test]
    fn a_standing_counts_for_its_mapping_and_until_its_first_role_ends() {
        let live = live();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(live.principal(7, at(0)).is_none());
        let principal = Arc::new(Principal::User(live.user().clone()));
        live.set_principal(Standing {
            principal: Arc::clone(&principal),
            until: Some(at(10)),
            generation: 7,
        });
        let known = live.principal(7, at(9)).unwrap();
        assert!(Arc::ptr_eq(&known, &principal));
        assert!(live.principal(7, at(10)).is_none(), "a role has ended");
        assert!(live.principal(8, at(9)).is_none(), "the mapping changed");
    }
}
