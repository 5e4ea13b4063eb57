//! Which gateway session obtained which EMR session.
//!
//! *Owns*: bindings by the hash of the EMR's session cookie, in memory and, read through, in the store; and the
//! selected patient of each EMR session and what its answers taught, in memory only.
//! *Never*: a cookie's value. It is hashed with EMR and cookie name where it is read.
//! *On failure*: [`StoreError`]; an EMR session that cannot be looked up is refused, never guessed.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use super::links::Links;
use super::sticky::Sticky;
use crate::identity::session::SessionId;
use crate::store::{StoreError, digest_of};

/// EMR sessions that are kept in memory; beyond that, the longest unused are read again from the store.
const MOST_SESSIONS: u64 = 100_000;
/// No EMR session is kept in memory longer than this without use.
const IDLE: Duration = Duration::from_hours(24);

/// A future of the store.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where bindings outlive the process: opaque values by key, each with an expiry.
///
/// A value MUST NOT be returned after it expired, and `put` MUST replace as a whole.
pub trait BindingStore: Send + Sync + fmt::Debug {
    /// The value at `key`; `None` is "not found", never "unreachable".
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>>;
    /// Puts `value` at `key` until `expires`.
    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, expires: Timestamp) -> StoreFuture<'a, ()>;
    /// Removes the value at `key`, if there is one.
    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()>;
}

/// The fingerprint of an EMR session cookie.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct CookieKey(String);

impl CookieKey {
    /// Hashes one cookie of one EMR.
    pub(super) fn of(emr: &str, cookie: &str, value: &[u8]) -> Self {
        let digest = digest_of([emr.as_bytes(), cookie.as_bytes(), value]);
        Self(format!("cookie/{}", hex::encode(digest)))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who obtained an EMR session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// Fingerprint of the gateway session.
    pub(super) session: String,
    /// The user's id.
    pub(super) user: String,
}

/// What an owner is to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// The same gateway session: a fresh sign-in changes its token, not its id.
    Own,
    /// Another gateway session of the same user.
    Former,
    /// Somebody else's.
    Foreign,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    owner: Owner,
    #[serde(default)]
    emr_user: Option<String>,
}

/// An EMR session that was obtained through this gateway.
#[derive(Debug)]
pub(super) struct EmrSession {
    key: CookieKey,
    stored: Mutex<Stored>,
    sticky: Arc<Sticky>,
}

impl EmrSession {
    /// The user name at the EMR, if a sign-in taught it.
    pub(super) fn emr_user(&self) -> Option<String> {
        self.lock().emr_user.clone()
    }

    pub(super) const fn key(&self) -> &CookieKey {
        &self.key
    }

    pub(super) const fn sticky(&self) -> &Arc<Sticky> {
        &self.sticky
    }

    /// The user who obtained it, and the gateway session under which.
    pub(super) fn obtained_by(&self) -> (String, String) {
        let owner = self.owner();
        (owner.user, owner.session)
    }

    fn owner(&self) -> Owner {
        self.lock().owner.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All bindings. Outlives a reload of profiles and configuration.
#[derive(Debug)]
pub struct Bindings {
    recent: Cache<CookieKey, Arc<EmrSession>>,
    alive: Mutex<Alive>,
    links: Links,
    store: Arc<dyn BindingStore>,
}

/// Every EMR session that something still holds.
// INVARIANT: two requests of one EMR session share one `EmrSession`, even after the cache has let go of it; else
// each would hold its own gate and their patients could change under each other.
#[derive(Debug, Default)]
struct Alive {
    sessions: HashMap<CookieKey, Weak<EmrSession>>,
    sweep_at: usize,
}

impl Alive {
    fn find(&self, key: &CookieKey) -> Option<Arc<EmrSession>> {
        self.sessions.get(key).and_then(Weak::upgrade)
    }

    fn keep(&mut self, session: &Arc<EmrSession>) {
        if self.sessions.len() >= self.sweep_at.max(1024) {
            self.sessions.retain(|_, held| held.strong_count() > 0);
            self.sweep_at = self.sessions.len().saturating_mul(2);
        }
        self.sessions
            .insert(session.key.clone(), Arc::downgrade(session));
    }
}

impl Bindings {
    /// No bindings in memory yet; those in `store` are found when their cookies come.
    #[must_use]
    pub fn new(store: Arc<dyn BindingStore>) -> Self {
        Self {
            recent: Cache::builder()
                .max_capacity(MOST_SESSIONS)
                .time_to_idle(IDLE)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            alive: Mutex::new(Alive::default()),
            links: Links::default(),
            store,
        }
    }

    /// What the EMR's answers taught.
    pub(super) const fn links(&self) -> &Links {
        &self.links
    }

    /// The EMR session behind a cookie, if it was obtained here.
    pub(super) async fn find(
        &self,
        key: &CookieKey,
    ) -> Result<Option<Arc<EmrSession>>, StoreError> {
        if let Some(session) = self.in_memory(key) {
            return Ok(Some(session));
        }
        let Some(bytes) = self.store.get(&key.0).await? else {
            return Ok(None);
        };
        let stored: Stored = serde_json::from_slice(&bytes)
            .map_err(|error| StoreError::Unavailable(format!("an EMR session binding: {error}")))?;
        Ok(Some(self.share(key, stored)))
    }

    /// What `session` of `user` is to the EMR session's owner.
    pub(super) fn claim(bound: &EmrSession, session: &SessionId, user: &str) -> Claim {
        let owner = bound.owner();
        if owner.session == session.as_str() {
            Claim::Own
        } else if owner.user == user {
            Claim::Former
        } else {
            Claim::Foreign
        }
    }

    /// Binds a cookie that the EMR set to the session that obtained it; `None` if it is another user's already.
    ///
    /// SECURITY: the first binding stays, so that an EMR that can be made to set a given session id moves nobody's
    /// session to somebody else.
    pub(super) async fn bind(
        &self,
        key: &CookieKey,
        owner: Owner,
        expires: Timestamp,
    ) -> Result<Option<Arc<EmrSession>>, StoreError> {
        let bound = match self.find(key).await? {
            Some(bound) => bound,
            None => self.share(
                key,
                Stored {
                    owner: owner.clone(),
                    emr_user: None,
                },
            ),
        };
        if bound.owner().user != owner.user {
            tracing::warn!("the EMR set a session cookie that belongs to another user");
            return Ok(None);
        }
        bound.lock().owner = owner;
        self.save(&bound, expires).await?;
        Ok(Some(bound))
    }

    /// Keeps the user name that the EMR accepted.
    pub(super) async fn learn_user(
        &self,
        bound: &EmrSession,
        user: &str,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        bound.lock().emr_user = Some(user.to_owned());
        self.save(bound, expires).await
    }

    /// Forgets an EMR session that was ended.
    pub(super) async fn forget(&self, key: &CookieKey) -> Result<(), StoreError> {
        self.recent.invalidate(key);
        self.lock().sessions.remove(key);
        self.store.delete(&key.0).await
    }

    async fn save(&self, bound: &EmrSession, expires: Timestamp) -> Result<(), StoreError> {
        let stored = bound.lock().clone();
        let bytes = serde_json::to_vec(&stored)
            .map_err(|error| StoreError::Unavailable(format!("an EMR session binding: {error}")))?;
        self.store.put(&bound.key.0, bytes, expires).await
    }

    fn in_memory(&self, key: &CookieKey) -> Option<Arc<EmrSession>> {
        if let Some(session) = self.recent.get(key) {
            return Some(session);
        }
        let session = self.lock().find(key)?;
        self.recent.insert(key.clone(), Arc::clone(&session));
        Some(session)
    }

    /// The one shared session of a key.
    fn share(&self, key: &CookieKey, stored: Stored) -> Arc<EmrSession> {
        let session = {
            let mut alive = self.lock();
            alive.find(key).unwrap_or_else(|| {
                let session = Arc::new(EmrSession {
                    key: key.clone(),
                    stored: Mutex::new(stored),
                    sticky: Arc::new(Sticky::default()),
                });
                alive.keep(&session);
                session
            })
        };
        self.recent.insert(key.clone(), Arc::clone(&session));
        session
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Alive> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
