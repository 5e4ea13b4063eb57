//! All sessions: read through a bounded cache, ended everywhere at once.
//!
//! *Owns*: the session cache, and the channel that tells live streams of a session's end.
//! *Never*: "unknown" for a store that cannot be asked; a session revived by a late write or a late read.
//! *On failure*: a session that could not be deleted is refused by this process from then on, and deleted later.

mod ends;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use moka::sync::Cache;
use tokio::sync::broadcast;

use super::departed::Departed;
use super::device_key::{Bond, Bonds};
use super::ending::{Cause, SessionEnded};
use super::lifeline::Lifelines;
use super::renewal::{Renewal, RenewalStore};
use super::session::{Live, Opening, Over, SessionId, store_key};
use super::sids::Sids;
use super::token::Token;
use super::workplace::Workplaces;
use crate::clock::SharedClock;
use crate::config;
use crate::config::refresh::Refresh;
use crate::secret::Secret;
use crate::store::{Durability, Store, StoreError, Table};

/// What became of the search for a session.
#[derive(Debug)]
pub(super) enum Found {
    Live(Arc<Live>),
    /// It is over, and was ended with this call.
    Over(Arc<Live>, Over),
    Unknown,
    /// It was ended because the provider does not confirm it any more.
    NotRenewed(Option<Arc<Live>>),
}

mod locking;
mod memory;
mod replaced;
mod tied;

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
    lifelines: Lifelines,
    renewals: RenewalStore,
    sids: Sids,
    // What binds sessions to devices, where they are bound to them.
    bonds: Option<Bonds>,
    // How often each issuer's users are read again.
    refresh: BTreeMap<String, Refresh>,
    // Keys of sessions that ended lately, and why: each end is told once, and to its user as what it was.
    farewells: Cache<String, Cause>,
}

/// A cached session is confirmed by the store this often: the bound on how long a revocation elsewhere goes unseen.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// How long an ended session is kept, so that its user is told "ended" and not "unknown".
const MEMORY: Duration = Duration::from_hours(1);
const CACHED: u64 = 100_000;
/// How long, and of how many at most, it is known that a session's token was replaced.
const REPLACED_FOR: Duration = Duration::from_mins(10);
const REPLACED: u64 = 20_000;
const REMEMBERED: u64 = 10_000;
const TOLD_AT_ONCE: usize = 4_096;

impl Sessions {
    pub(super) fn new(config: &config::Identity, store: Store, clock: SharedClock) -> Self {
        let refresh = config.issuers.iter();
        let refresh = refresh.filter_map(|issuer| Some((issuer.name.clone(), issuer.refresh?)));
        Self {
            lifelines: Lifelines::default(),
            renewals: RenewalStore::new(store.clone(), Arc::clone(&clock)),
            sids: Sids::new(store.clone()),
            bonds: tied::bonds(config, &store),
            refresh: refresh.collect(),
            farewells: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(MEMORY)
                .build(),
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
        bond: Option<Arc<Bond>>,
    ) -> Result<Arc<Live>, StoreError> {
        let now = self.clock.now();
        let longest = now.saturating_add(self.absolute_timeout).unwrap_or(now);
        let ends = opening.ends.map_or(longest, |ends| ends.min(longest));
        let refresh = self.refresh.get(&opening.user.issuer).copied();
        let renewal = refresh.map(|_| Renewal {
            refresh_token: opening.refresh_token.clone(),
            nonce: opening.nonce.clone(),
            read_at: now,
            user: opening.user.clone(),
            stated: opening.stated.clone(),
            role_values: opening.role_values.clone(),
            id_token: opening.id_token.clone(),
        });
        let live = Live::open(token, opening, now, ends, self.store.epoch()).tied(bond.into());
        if let Some(renewal) = &renewal {
            self.renewals.keep(live.key(), renewal, ends).await?;
        }
        let live = Arc::new(match refresh {
            Some(refresh) => live.renewed(&refresh, renewal),
            None => live,
        });
        let value = encode(&live)?;
        let expires = remembered_until(&live);
        self.sids.note(&live, expires).await?;
        self.store
            .put(
                Table::Sessions,
                live.key(),
                value.expose(),
                expires,
                Durability::Immediate,
            )
            .await?;
        self.tie(&live).await?;
        live.confirm(self.clock.monotonic());
        Ok(live)
    }

    /// Finds the session of a token, and ends it if its time is over. Finding is not activity.
    pub(super) async fn find(&self, token: &Token) -> Result<Found, StoreError> {
        self.find_under(&store_key(token)).await
    }

    /// The same by the key that the store has it under.
    pub(super) async fn find_under(&self, key: &str) -> Result<Found, StoreError> {
        if self.is_undeleted(key) {
            return Ok(self.lost(key));
        }
        let live = match self.cache.get(key) {
            Some(live) if self.is_current(&live) => live,
            Some(stale) => {
                let Some(fresh) = Box::pin(self.load(key)).await? else {
                    self.forget(&stale);
                    self.lifelines.end(stale.id());
                    self.announce(&stale, Cause::Elsewhere);
                    return Ok(self.lost(key));
                };
                fresh
            }
            // Boxed, as is what ends a session: rare, and the request's future would keep room for it.
            None => match Box::pin(self.load(key)).await? {
                Some(live) => live,
                None => return Ok(self.lost(key)),
            },
        };
        match self.over(&live, self.clock.now()) {
            None => Ok(Found::Live(live)),
            Some(over) => {
                // It is over whether or not it can be deleted now.
                Box::pin(self.end_by_itself(&live, over)).await;
                Ok(Found::Over(live, over))
            }
        }
    }

    /// What became of a session that is not there any more.
    fn lost(&self, key: &str) -> Found {
        match self.farewells.get(key) {
            Some(cause) if cause.is_not_renewed() => Found::NotRenewed(None),
            Some(_) | None => Found::Unknown,
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

    /// The sessions that were used since the provider was asked about them, and should be renewed soon.
    pub(super) async fn soon_due(&self) -> Vec<Arc<Live>> {
        if self.refresh.is_empty() {
            return Vec::new();
        }
        let (now, workplaces) = (self.clock.now(), Arc::clone(&self.workplaces));
        self.cached(move |live| {
            live.is_soon_due(now)
                && live.is_used_since_reading()
                && live.over(now, workplaces.idle_timeout(live)).is_none()
        })
        .await
    }

    /// The next request finds the session as the store has it now; what this process alone knows of it is stored.
    pub(super) async fn read_again(&self, live: &Live) {
        let live = self.cache.get(live.key());
        if let Some(live) = live {
            if let Err(error) = self.rewrite(&live, Durability::Relaxed).await {
                tracing::warn!(%error, "session activity could not be stored");
            }
            self.forget(&live);
        }
    }

    pub(super) const fn renewals(&self) -> &RenewalStore {
        &self.renewals
    }

    /// Tells the store of activity since the last call. What a crash loses makes sessions shorter, never longer.
    pub(super) async fn flush(&self) {
        let active = self.cached(Live::is_unflushed).await;
        for live in active {
            let at = live.last_active();
            match self.rewrite(&live, Durability::Relaxed).await {
                Ok(()) => live.flushed(at),
                Err(error) => {
                    tracing::warn!(%error, "session activity could not be stored");
                    return;
                }
            }
        }
    }

    /// Writes what this process knows of a session over what the store has.
    async fn rewrite(&self, live: &Live, durability: Durability) -> Result<(), StoreError> {
        let value = encode(live)?;
        // `replace`, not `put`: a session that was ended in the meantime stays ended.
        let _ = self
            .store
            .replace(
                Table::Sessions,
                live.key(),
                value.expose(),
                remembered_until(live),
                durability,
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
        let Some(live) = self.as_tied(self.as_renewed(live).await?).await? else {
            return Ok(None);
        };
        let lifeline = self.lifelines.of(live.id());
        let live = Arc::new(live.sharing(lifeline));
        live.confirm(asked);
        if let Some(cached) = self.keep(before, &live, asked) {
            return Ok(Some(cached));
        }
        // SECURITY: a session ended meanwhile, and it could be this one. Asked once more, now that its end would reach
        // this copy, it may be used by the request that began earlier; the cache may not have it.
        let still = self.store.get(Table::Sessions, key).await;
        let still = still?.is_some() && !self.is_undeleted(key);
        Ok(still.then_some(live))
    }

    /// Caches what was read, unless a session ended since `before`.
    fn keep(&self, before: u64, live: &Arc<Live>, asked: Duration) -> Option<Arc<Live>> {
        let ended = self.ended();
        // SECURITY: pomerium#6024, a deleted session accepted from the cache.
        if *ended != before {
            return None;
        }
        let cached = self.cache.get(live.key());
        if let Some(cached) = cached.filter(|c| c.epoch() == live.epoch()) {
            cached.touch(live.last_active());
            cached.latch().join(live.latch());
            cached.bond().join(live.bond());
            cached.confirm(asked);
            return Some(cached);
        }
        self.cache.insert(live.key().to_owned(), Arc::clone(live));
        Some(Arc::clone(live))
    }

    /// A session as the provider described its user last.
    async fn as_renewed(&self, live: Live) -> Result<Live, StoreError> {
        let Some(refresh) = self.refresh.get(&live.user().issuer) else {
            return Ok(live);
        };
        let renewal = self.renewals.get(live.key()).await?;
        Ok(live.renewed(refresh, renewal))
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
                if let Some(live) = live.filter(|live| missing.contains(live.id())) {
                    let lifeline = self.lifelines.of(live.id());
                    let live = self.as_renewed(live).await?.sharing(lifeline);
                    found.push(Arc::new(live));
                }
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

fn encode(live: &Live) -> Result<Secret<Vec<u8>>, StoreError> {
    live.encode()
        .ok_or_else(|| StoreError::Unavailable("a session cannot be encoded".to_owned()))
}

fn remembered_until(live: &Live) -> Timestamp {
    live.ends().saturating_add(MEMORY).unwrap_or(live.ends())
}
