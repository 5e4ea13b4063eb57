//! All sessions: read through a bounded cache, ended everywhere at once.
//!
//! *Owns*: the session cache, and the channel that tells live streams of a session's end.
//! *Never*: "unknown" for a store that cannot be asked; a session revived by a late write or a late read.
//! *On failure*: a session that could not be deleted is refused by this process from then on, and deleted later.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use moka::sync::Cache;
use tokio::sync::broadcast;

use super::departed::Departed;
use super::ends::Cause;
use super::session::{Live, Opening, Over, SessionId, store_key};
use super::token::Token;
use super::workplace::Workplaces;
use crate::clock::SharedClock;
use crate::config;
use crate::request::Workplace;
use crate::secret::Secret;
use crate::store::{Durability, Store, StoreError, Table};
use crate::telemetry::metrics as names;

/// A session ended: by sign-out, revocation, expiry, or another sign-in in its browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEnded(pub SessionId);

/// What became of the search for a session.
#[derive(Debug)]
pub(super) enum Found {
    Live(Arc<Live>),
    /// It is over, and was ended with this call.
    Over(Arc<Live>, Over),
    Unknown,
}

mod locking;
mod memory;

use memory::Remembers;

#[derive(Debug)]
pub(super) struct Sessions {
    store: Store,
    clock: SharedClock,
    workplaces: Arc<Workplaces>,
    departed: Departed,
    absolute_timeout: Duration,
    cache: Cache<String, Arc<Live>>,
    // INVARIANT: the number grows whenever a session leaves the cache by `forget`; a value read from the store is
    // cached only under this lock and only if the number is the one from before the read.
    ended: Mutex<u64>,
    undeleted: Mutex<BTreeSet<String>>,
    has_undeleted: AtomicBool,
    // The tokens that sessions had lately, by key: what they opened goes on under another.
    replaced: Cache<String, SessionId>,
    tell: broadcast::Sender<SessionEnded>,
    lock_after: Option<Duration>,
    remembers: Remembers,
}

/// A cached session is confirmed by the store this often: the bound on how long a revocation elsewhere goes unseen.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// How long an ended session is kept, so that its user is told "ended" and not "unknown".
const MEMORY: Duration = Duration::from_hours(1);
const CACHED: u64 = 100_000;
/// How long, and of how many at most, it is known that a session's token was replaced.
const REPLACED_FOR: Duration = Duration::from_mins(10);
const REPLACED: u64 = 20_000;
const TOLD_AT_ONCE: usize = 4_096;

impl Sessions {
    pub(super) fn new(config: &config::Identity, store: Store, clock: SharedClock) -> Self {
        Self {
            store,
            clock,
            workplaces: Arc::new(Workplaces::new(config)),
            departed: Departed::default(),
            absolute_timeout: config.absolute_timeout,
            cache: Cache::new(CACHED),
            replaced: Cache::builder()
                .max_capacity(REPLACED)
                .time_to_live(REPLACED_FOR)
                .build(),
            ended: Mutex::new(0),
            undeleted: Mutex::default(),
            has_undeleted: AtomicBool::new(false),
            tell: broadcast::Sender::new(TOLD_AT_ONCE),
            lock_after: config.lock.map(|lock| lock.after),
            remembers: Remembers::of(config),
        }
    }

    pub(super) fn workplaces(&self) -> &Workplaces {
        &self.workplaces
    }

    pub(super) const fn departed(&self) -> &Departed {
        &self.departed
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<SessionEnded> {
        self.tell.subscribe()
    }

    /// Opens a session under a new token, durably.
    pub(super) async fn open(
        &self,
        token: &Token,
        opening: Opening,
    ) -> Result<Arc<Live>, StoreError> {
        let now = self.clock.now();
        let longest = now.saturating_add(self.absolute_timeout).unwrap_or(now);
        let ends = opening.ends.map_or(longest, |ends| ends.min(longest));
        let live = Arc::new(Live::open(token, opening, now, ends, self.store.epoch()));
        let value = encode(&live)?;
        let expires = remembered_until(&live);
        self.store
            .put(
                Table::Sessions,
                live.key(),
                value.expose(),
                expires,
                Durability::Immediate,
            )
            .await?;
        live.confirm(self.clock.monotonic());
        Ok(live)
    }

    /// Finds the session of a token, and ends it if its time is over. Finding is not activity.
    pub(super) async fn find(&self, token: &Token) -> Result<Found, StoreError> {
        let key = store_key(token);
        if self.is_undeleted(&key) {
            return Ok(Found::Unknown);
        }
        let live = match self.cache.get(&key) {
            Some(live) if self.is_current(&live) => live,
            Some(stale) => {
                let Some(fresh) = Box::pin(self.load(&key)).await? else {
                    self.forget(&stale);
                    self.announce(stale.id());
                    return Ok(Found::Unknown);
                };
                fresh
            }
            // Boxed, as is what ends a session: rare, and the request's future would keep room for it.
            None => match Box::pin(self.load(&key)).await? {
                Some(live) => live,
                None => return Ok(Found::Unknown),
            },
        };
        match self.over(&live, self.clock.now()) {
            None => Ok(Found::Live(live)),
            Some(over) => {
                count(over);
                // It is over whether or not it can be deleted now.
                Box::pin(self.end_by_itself(&live)).await;
                Ok(Found::Over(live, over))
            }
        }
    }

    /// Ends a session everywhere.
    ///
    /// # Errors
    /// The store did not confirm the deletion. This process refuses the session all the same and deletes it later.
    pub(super) async fn end(&self, live: &Live) -> Result<(), StoreError> {
        self.departed.remember(live);
        self.forget(live);
        let deleted = self.store.delete(Table::Sessions, live.key()).await;
        if deleted.is_err() {
            self.delete_later(live);
        }
        // Once more: a reading that began before the deletion may have cached it since.
        self.forget(live);
        self.announce(live.id());
        deleted
    }

    /// Ends a session; a store that does not answer is logged and asked again later.
    pub(super) async fn end_or_remember(&self, live: &Live) {
        if let Err(error) = self.end(live).await {
            tracing::error!(%error, session = %live.id(), "an ended session could not be deleted yet");
        }
    }

    /// Deletes the token that `old` had before a step-up gave its session a new one. The session itself goes on.
    pub(super) async fn retire(&self, old: &Live) {
        self.replaced.insert(old.key().to_owned(), old.id().clone());
        self.forget(old);
        if let Err(error) = self.store.delete(Table::Sessions, old.key()).await {
            tracing::error!(%error, session = %old.id(), "a replaced session token could not be deleted yet");
            self.delete_later(old);
        }
        self.forget(old);
    }

    /// Whether this token's session got a new one a moment ago: a request of another tab was on its way meanwhile.
    pub(super) fn was_replaced(&self, token: &Token) -> bool {
        self.replaced.contains_key(&store_key(token))
    }

    /// Whether `live` is the session that had the token with this key.
    pub(super) fn is_continued(&self, key: &str, live: &Live) -> bool {
        live.key() == key || self.replaced.get(key).as_ref() == Some(live.id())
    }

    /// Ends every session that `matches`; says which.
    pub(super) async fn end_all(
        &self,
        matches: impl Fn(&Live) -> bool,
    ) -> Result<Vec<Arc<Live>>, StoreError> {
        let mut ended = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.scan(Table::Sessions, after.as_deref()).await?;
            for (key, entry) in page.entries {
                let live = self.newest(&key, &entry.value);
                if let Some(live) = live.filter(|live| matches(live)) {
                    self.end(&live).await?;
                    ended.push(live);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(ended);
            }
        }
    }

    /// What `view` makes of the sessions that are not over, at most `most`.
    pub(super) async fn views<T>(
        &self,
        most: usize,
        view: impl Fn(&Live) -> Option<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.scan(Table::Sessions, after.as_deref()).await?;
            let now = self.clock.now();
            for (key, entry) in page.entries {
                let live = self.newest(&key, &entry.value);
                let open = live.filter(|live| self.over(live, now).is_none());
                found.extend(open.as_deref().and_then(&view));
            }
            after = page.next;
            if after.is_none() || found.len() >= most {
                found.truncate(most);
                return Ok(found);
            }
        }
    }

    /// Ends every session at once by a new epoch of the store.
    pub(super) async fn end_everything(&self) -> Result<(), StoreError> {
        self.store.bump_epoch().await?;
        let known = self.cached(|_| true).await;
        Cause::Revoked.count(known.len());
        for live in known {
            self.departed.remember(&live);
            self.forget(&live);
            self.announce(live.id());
        }
        Ok(())
    }

    /// Ends cached sessions whose time is over: nobody may ever ask about them again, but a stream may hang on them.
    pub(super) async fn end_overdue(&self) {
        let (now, workplaces) = (self.clock.now(), Arc::clone(&self.workplaces));
        let open = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let counted = Arc::clone(&open);
        let [shared, personal] = &*counted;
        let overdue = self.cached(move |live| {
            let is_over = live.over(now, workplaces.idle_timeout(live)).is_some();
            if !is_over {
                let [shared, personal] = &*open;
                let place = match workplaces.of(live) {
                    Workplace::Shared => shared,
                    Workplace::Personal => personal,
                };
                place.fetch_add(1, Ordering::Relaxed);
            }
            is_over
        });
        for live in overdue.await {
            if let Some(over) = self.over(&live, now) {
                count(over);
            }
            self.end_by_itself(&live).await;
        }
        for (place, open) in [(Workplace::Shared, shared), (Workplace::Personal, personal)] {
            let open = f64::from(open.load(Ordering::Relaxed));
            metrics::gauge!(names::SESSIONS, "workplace" => place.word()).set(open);
        }
    }

    /// Tells the store of activity since the last call. What a crash loses makes sessions shorter, never longer.
    pub(super) async fn flush(&self) {
        let active = self.cached(Live::is_unflushed).await;
        for live in active {
            let at = live.last_active();
            match self.write_activity(&live).await {
                Ok(()) => live.flushed(at),
                Err(error) => {
                    tracing::warn!(%error, "session activity could not be stored");
                    return;
                }
            }
        }
    }

    /// Deletes what could not be deleted before.
    pub(super) async fn delete_undeleted(&self) {
        let keys: Vec<_> = self.undeleted().iter().cloned().collect();
        for key in keys {
            if self.store.delete(Table::Sessions, &key).await.is_err() {
                return;
            }
            let mut undeleted = self.undeleted();
            undeleted.remove(&key);
            self.has_undeleted
                .store(!undeleted.is_empty(), Ordering::Release);
        }
    }

    async fn write_activity(&self, live: &Live) -> Result<(), StoreError> {
        let value = encode(live)?;
        // `replace`, not `put`: a session that was ended in the meantime stays ended.
        let _ = self
            .store
            .replace(
                Table::Sessions,
                live.key(),
                value.expose(),
                remembered_until(live),
                Durability::Relaxed,
            )
            .await?;
        Ok(())
    }

    async fn load(&self, key: &str) -> Result<Option<Arc<Live>>, StoreError> {
        let before = *self.ended();
        let asked = self.clock.monotonic();
        let epoch = self.store.epoch();
        let entry = match self.store.get(Table::Sessions, key).await {
            Ok(entry) => entry,
            Err(error @ StoreError::Sealed { .. }) => {
                // A damaged value is no session, and never will be: one fresh sign-in, not an outage.
                tracing::error!(%error, "a stored session was passed over");
                None
            }
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
        };
        let Some(live) = entry.and_then(|e| Live::decode(key, &e.value, epoch)) else {
            return Ok(None);
        };
        let live = Arc::new(live);
        live.confirm(asked);
        let ended = self.ended();
        // SECURITY: pomerium#6024, a deleted session accepted from the cache. Had one ended since `before`, it could
        // be this one; then this request, which began earlier, may use it, but the cache may not.
        if *ended != before {
            return Ok(Some(live));
        }
        if let Some(cached) = self.cache.get(key).filter(|c| c.epoch() == epoch) {
            cached.touch(live.last_active());
            cached.latch().join(live.latch());
            cached.confirm(asked);
            return Ok(Some(cached));
        }
        self.cache.insert(key.to_owned(), Arc::clone(&live));
        Ok(Some(live))
    }

    /// The sessions of `ids` that are not over. The store is asked for those that the cache does not have.
    pub(super) async fn in_use(
        &self,
        ids: BTreeSet<SessionId>,
    ) -> Result<Vec<Arc<Live>>, StoreError> {
        let mut missing = ids.clone();
        let mut found = self.cached(move |live| ids.contains(live.id())).await;
        for live in &found {
            missing.remove(live.id());
        }
        let mut after = None;
        while !missing.is_empty() {
            let page = self.store.scan(Table::Sessions, after.as_deref()).await?;
            for (key, entry) in page.entries {
                let live = Live::decode(&key, &entry.value, self.store.epoch());
                found.extend(
                    live.filter(|live| missing.contains(live.id()))
                        .map(Arc::new),
                );
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let now = self.clock.now();
        found.retain(|live| self.over(live, now).is_none() && !self.is_undeleted(live.key()));
        Ok(found)
    }

    /// The sessions under `keys` that are open, in that order.
    pub(super) async fn open_among(
        &self,
        keys: impl Iterator<Item = &str> + Send,
    ) -> Result<Vec<Arc<Live>>, StoreError> {
        let mut open = Vec::new();
        for key in keys {
            let entry = match self.store.get(Table::Sessions, key).await {
                Ok(entry) => entry,
                Err(StoreError::Sealed { .. }) => None,
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
            };
            let live = entry.and_then(|entry| self.newest(key, &entry.value));
            let now = self.clock.now();
            open.extend(
                live.filter(|live| self.over(live, now).is_none() && !self.is_undeleted(key)),
            );
        }
        Ok(open)
    }

    /// A stored session; as it is in memory where it is in use, which the store learns later.
    fn newest(&self, key: &str, value: &Secret<Vec<u8>>) -> Option<Arc<Live>> {
        let stored = Live::decode(key, value, self.store.epoch())?;
        let cached = self
            .cache
            .get(key)
            .filter(|live| live.epoch() == self.store.epoch());
        Some(cached.unwrap_or_else(|| Arc::new(stored)))
    }

    fn over(&self, live: &Live, now: Timestamp) -> Option<Over> {
        live.over(now, self.workplaces.idle_timeout(live))
    }

    /// The cached sessions that `matches`. A walk over a full cache takes milliseconds, so not on a runtime's thread.
    async fn cached(&self, matches: impl Fn(&Live) -> bool + Send + 'static) -> Vec<Arc<Live>> {
        let cache = self.cache.clone();
        let walk = move || {
            let all = cache.iter().map(|(_, live)| live);
            all.filter(|live| matches(live)).collect()
        };
        tokio::task::spawn_blocking(walk).await.unwrap_or_default()
    }

    fn is_current(&self, live: &Live) -> bool {
        live.epoch() == self.store.epoch() && live.unconfirmed_for(self.clock.monotonic()) < LEASE
    }

    fn forget(&self, live: &Live) {
        let mut ended = self.ended();
        *ended = ended.wrapping_add(1);
        self.cache.invalidate(live.key());
    }

    fn announce(&self, id: &SessionId) {
        // No receiver means no live stream to cut.
        let _ = self.tell.send(SessionEnded(id.clone()));
    }

    fn delete_later(&self, live: &Live) {
        self.undeleted().insert(live.key().to_owned());
        self.has_undeleted.store(true, Ordering::Release);
    }

    fn is_undeleted(&self, key: &str) -> bool {
        self.has_undeleted.load(Ordering::Acquire) && self.undeleted().contains(key)
    }

    fn ended(&self) -> MutexGuard<'_, u64> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn undeleted(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.undeleted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(over: Over) {
    let cause = match over {
        Over::Idle => Cause::Idle,
        Over::Absolute => Cause::Absolute,
    };
    cause.count(1);
}

fn encode(live: &Live) -> Result<Secret<Vec<u8>>, StoreError> {
    live.encode()
        .ok_or_else(|| StoreError::Unavailable("a session cannot be encoded".to_owned()))
}

fn remembered_until(live: &Live) -> Timestamp {
    live.ends().saturating_add(MEMORY).unwrap_or(live.ends())
}
