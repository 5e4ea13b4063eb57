//! Sign-ins in progress: kept in the store, taken out once, bound to the browser that started them.
//!
//! *Owns*: the count of sign-ins started lately, which bounds what strangers can make the store hold.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::token::Token;
use super::turns::{Round, Turn};
use crate::clock::SharedClock;
use crate::request::Demand;
use crate::secret::Secret;
use crate::store::{Durability, Store, StoreError, Table};

/// A sign-in that was started.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// The issuer's name in the configuration.
    pub(super) issuer: String,
    /// What the ID token must repeat.
    pub(super) nonce: String,
    /// What the token request must prove (PKCE).
    pub(super) verifier: String,
    /// Where to go afterwards.
    pub(super) return_to: String,
    /// The host and port that it was started on.
    pub(super) authority: String,
    /// When.
    pub(super) started: Timestamp,
    /// What for.
    pub(super) purpose: Purpose,
    /// The notice that was acknowledged before, by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) banner: Option<String>,
    /// How old the authentication may be.
    #[serde(default)]
    pub(super) freshness: Freshness,
    /// What is demanded of a step-up. Kept here, out of the browser's hands.
    #[serde(default = "Demand::now")]
    pub(super) demand: Demand,
    /// Which turn of its browser it is.
    #[serde(default)]
    pub(super) turn: Turn,
}

impl Attempt {
    /// Whether it is to unlock a screen.
    pub(super) const fn is_unlock(&self) -> bool {
        matches!(self.purpose, Purpose::Unlock(_))
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("issuer", &self.issuer)
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

/// What a sign-in is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Purpose {
    /// A session.
    SignIn,
    /// A fresh authentication of the session with this key in the store.
    StepUp(String),
    /// The user of the session with this key in the store comes back to their locked screen.
    Unlock(String),
}

/// How old the authentication may be that a sign-in comes back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Freshness {
    /// As old as the provider lets it be: single sign-on.
    #[default]
    Any,
    /// After the sign-in was started.
    Now,
}

impl Purpose {
    /// What its browser goes round for, if it does.
    pub(super) const fn round(&self) -> Option<Round> {
        match self {
            Self::SignIn => Some(Round::SignIn),
            Self::StepUp(_) => Some(Round::StepUp),
            // A screen is unlocked by a person's hand, as often as they like.
            Self::Unlock(_) => None,
        }
    }
}

/// Why a sign-in cannot be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("too many sign-ins were started in the last minutes")]
    Busy,
    #[error("the sign-in cannot be encoded")]
    Encoding,
    #[error("{0}")]
    Store(#[source] StoreError),
}

#[derive(Debug)]
pub(super) struct Attempts {
    store: Store,
    clock: SharedClock,
    timeout: Duration,
    recent: Mutex<Recent>,
}

/// Sign-ins started in this window of time and in the one before it.
#[derive(Debug, Default)]
struct Recent {
    since: Duration,
    now: u32,
    before: u32,
}

/// Most sign-ins started within two timeouts. About 1 KiB each in the store.
const MOST: u32 = 100_000;

impl Attempts {
    pub(super) fn new(store: Store, clock: SharedClock, timeout: Duration) -> Self {
        Self {
            store,
            clock,
            timeout,
            recent: Mutex::default(),
        }
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Keeps a sign-in until it is finished or too old.
    pub(super) async fn start(
        &self,
        state: &Token,
        browser: &Token,
        attempt: &Attempt,
    ) -> Result<(), StartError> {
        if !self.count() {
            return Err(StartError::Busy);
        }
        let value = serde_json::to_vec(attempt)
            .map(Secret::new)
            .ok()
            .ok_or(StartError::Encoding)?;
        let now = self.clock.now();
        let expires = now.saturating_add(self.timeout).unwrap_or(now);
        // Relaxed: a crash in the middle of a sign-in costs a fresh sign-in, and strangers cause no disk flushes.
        self.store
            .put(
                Table::Logins,
                &key(state, browser),
                value.expose(),
                expires,
                Durability::Relaxed,
            )
            .await
            .map_err(StartError::Store)
    }

    /// Takes a sign-in out, once. Unknown, used, expired and started in another browser look the same.
    pub(super) async fn take(
        &self,
        state: &Token,
        browser: &Token,
    ) -> Result<Option<Attempt>, StoreError> {
        let entry = match self.store.take(Table::Logins, &key(state, browser)).await {
            Ok(entry) => entry,
            Err(error @ StoreError::Sealed { .. }) => {
                tracing::error!(%error, "a stored sign-in was passed over");
                None
            }
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
        };
        Ok(entry.and_then(|entry| serde_json::from_slice(entry.value.expose()).ok()))
    }

    fn count(&self) -> bool {
        let now = self.clock.monotonic();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_sub(recent.since);
        if passed >= self.timeout {
            let is_next = passed < self.timeout.saturating_mul(2);
            recent.before = if is_next { recent.now } else { 0 };
            recent.now = 0;
            recent.since = now;
        }
        if recent.now.saturating_add(recent.before) >= MOST {
            return false;
        }
        recent.now = recent.now.saturating_add(1);
        true
    }
}

/// SECURITY: the browser is part of the key, so a callback in another browser neither finds nor uses up the sign-in
/// (login CSRF), and several tabs of one browser can each have theirs.
fn key(state: &Token, browser: &Token) -> String {
    hex::encode(state.digest("login", &[browser.bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::store::MemoryStore;
    use std::sync::Arc;

    async fn attempts() -> (Attempts, Arc<ManualClock>) {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
        let master = Secret::new(vec![1; 32]);
        let store = Store::open(Box::new(MemoryStore::new()), &master, Arc::clone(&shared));
        let timeout = Duration::from_mins(10);
        (Attempts::new(store.await.unwrap(), shared, timeout), clock)
    }

    fn attempt(clock: &ManualClock) -> Attempt {
        Attempt {
            issuer: "staff".into(),
            nonce: "n".into(),
            verifier: "v".into(),
            return_to: "/".into(),
            authority: "emr.example".into(),
            started: clock.now(),
            purpose: Purpose::StepUp("k".into()),
            banner: None,
            freshness: Freshness::Any,
            demand: Demand::NOW,
            turn: Turn::default(),
        }
    }

    #[tokio::test]
    async fn a_sign_in_is_taken_once_in_its_own_browser_and_time() {
        let (attempts, clock) = attempts().await;
        let new = || Token::generate().unwrap();
        let (state, browser) = (new(), new());
        let attempt = attempt(&clock);
        attempts.start(&state, &browser, &attempt).await.unwrap();
        assert_eq!(attempts.take(&state, &new()).await.unwrap(), None);
        assert_eq!(attempts.take(&new(), &browser).await.unwrap(), None);
        let taken = attempts.take(&state, &browser).await.unwrap();
        assert_eq!(taken, Some(attempt.clone()));
        assert_eq!(attempts.take(&state, &browser).await.unwrap(), None);
        attempts.start(&state, &browser, &attempt).await.unwrap();
        clock.advance(Duration::from_mins(10));
        assert_eq!(attempts.take(&state, &browser).await.unwrap(), None);
    }

    #[tokio::test]
    async fn strangers_cannot_fill_the_store() {
        let (attempts, clock) = attempts().await;
        for _ in 0..MOST {
            assert!(attempts.count());
        }
        assert!(!attempts.count());
        let state = Token::generate().unwrap();
        let refused = attempts.start(&state, &state, &attempt(&clock)).await;
        assert!(matches!(refused, Err(StartError::Busy)));
        clock.advance(Duration::from_mins(10));
        assert!(!attempts.count());
        clock.advance(Duration::from_mins(10));
        assert!(attempts.count());
    }
}
