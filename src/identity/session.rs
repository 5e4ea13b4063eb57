//! A gateway session: opaque to the browser, bound to one sign-in.

mod id;
mod opening;
mod reading;
mod stored;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

pub use self::id::SessionId;
pub(super) use self::opening::Opening;
use self::reading::Reading;
use super::device_key::BondSlot;
use super::lifeline::{Lifeline, SessionEnd};
use super::lock::Latch;
use super::origin::{Origin, Usage};
use super::token::Token;
use crate::request::principal::{Principal, User};
use crate::secret::Secret;

/// Under which key the store has the session of a token.
pub(super) fn store_key(token: &Token) -> String {
    hex::encode(token.digest("session-key", &[]))
}

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

    pub(super) const fn lifeline(&self) -> Option<&Arc<Lifeline>> {
        self.lifeline.as_ref()
    }

    /// Its end, for those who work for it.
    pub(super) fn end(&self) -> SessionEnd {
        SessionEnd::of(self.lifeline.clone())
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
