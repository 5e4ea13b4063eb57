//! How sessions end: here at once, everywhere durably.
//!
//! SECURITY: in this process a session is dead before anything is awaited: no request finds it, and whoever works for
//! it is told. The store follows; what it cannot delete now stays dead here and is deleted later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Sessions;
use crate::identity::ending::{Cause, SessionEnded};
use crate::identity::session::Live;
use crate::request::Workplace;
use crate::store::{StoreError, Table};
use crate::telemetry::metrics as names;

impl Sessions {
    /// Ends a session everywhere. In this process it is dead when this is first polled, whatever the store does.
    ///
    /// # Errors
    /// The store did not confirm the deletion. This process refuses the session all the same and deletes it later.
    pub(in crate::identity) async fn end(
        &self,
        live: &Live,
        cause: Cause,
    ) -> Result<(), StoreError> {
        // A token that the session had before is given up alone: the session goes on under another.
        if self.replaced.contains_key(live.key()) {
            self.delete_later(live);
            self.forget(live);
            let deleted = self.store.delete(Table::Sessions, live.key()).await;
            self.forget(live);
            if deleted.is_ok() {
                self.spare(live.key());
            }
            return deleted;
        }
        self.strike(live);
        self.announce(live, cause);
        let deleted = self.store.delete(Table::Sessions, live.key()).await;
        // Once more: a reading that began before the deletion may have cached it since.
        self.forget(live);
        self.lifelines.end(live.id());
        if deleted.is_ok() {
            self.spare(live.key());
        }
        if self.refresh.contains_key(&live.user().issuer)
            && let Err(error) = self.renewals.delete(live.key()).await
        {
            tracing::warn!(%error, "a refresh token that nobody can use any more is deleted later");
        }
        if let Some(bonds) = self.bonds()
            && let Err(error) = bonds.delete(live.id()).await
        {
            tracing::warn!(%error, "what bound an ended session to its device is deleted later");
        }
        deleted
    }

    /// No request finds it any more, and who works for it hears of its end.
    fn strike(&self, live: &Live) {
        self.departed.remember(live);
        self.delete_later(live);
        self.forget(live);
        self.lifelines.end(live.id());
    }

    /// Ends a session; a store that does not answer is logged and asked again later.
    pub(in crate::identity) async fn end_or_remember(&self, live: &Live, cause: Cause) {
        if let Err(error) = self.end(live, cause).await {
            tracing::error!(%error, session = %live.id(), "an ended session could not be deleted yet");
        }
    }

    /// Ends every session that `matches`; says which.
    pub(in crate::identity) async fn end_all(
        &self,
        matches: impl Fn(&Live) -> bool,
        cause: Cause,
    ) -> Result<Vec<Arc<Live>>, StoreError> {
        // First those in use, all of them: to go through the store takes its time, and each deletion does.
        // What they were used for the store may not know yet.
        let mut struck = BTreeMap::new();
        for live in self.cached(|_| true).await {
            if matches(&live) {
                self.strike(&live);
                // Told now: whatever becomes of the store, this process does not know the session any more.
                if !self.replaced.contains_key(live.key()) {
                    self.announce(&live, cause);
                }
                struck.insert(live.key().to_owned(), live);
            }
        }
        let (mut ended, mut failed) = (Vec::new(), None);
        let mut after = None;
        loop {
            let page = self.store.scan(Table::Sessions, after.as_deref()).await?;
            for (key, entry) in page.entries {
                let live = struck.remove(&key).or_else(|| {
                    let live = self.newest(&key, &entry.value);
                    live.filter(|live| matches(live))
                });
                if let Some(live) = live {
                    failed = self.end(&live, cause).await.err().or(failed);
                    ended.push(live);
                }
            }
            after = page.next;
            if after.is_none() {
                return failed.map_or(Ok(ended), Err);
            }
        }
    }

    /// Ends the sessions under the provider's session `sid`; says which.
    pub(in crate::identity) async fn end_under(
        &self,
        issuer: &str,
        sid: &str,
        cause: Cause,
    ) -> Result<Vec<Arc<Live>>, StoreError> {
        let (mut ended, mut failed) = (Vec::new(), None);
        for key in self.sids.of(issuer, sid).await? {
            let live = match self.cache.get(&key) {
                Some(live) => Some(live),
                None => self.load(&key).await?,
            };
            let is_meant = |live: &Arc<Live>| {
                live.user().issuer == issuer && live.issuer_session() == Some(sid)
            };
            if let Some(live) = live.filter(is_meant) {
                failed = self.end(&live, cause).await.err().or(failed);
                ended.push(live);
            }
        }
        failed.map_or(Ok(ended), Err)
    }

    /// Ends every session at once by a new epoch of the store.
    pub(in crate::identity) async fn end_everything(&self) -> Result<(), StoreError> {
        self.store.bump_epoch().await?;
        for live in self.cached(|_| true).await {
            self.departed.remember(&live);
            self.forget(&live);
            self.lifelines.end(live.id());
            self.announce(&live, Cause::Everything);
        }
        Ok(())
    }

    /// Ends cached sessions whose time is over: nobody may ever ask about them again, but a stream may hang on them.
    /// The others are counted.
    pub(in crate::identity) async fn end_overdue(&self) {
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
            if let Some(over) = self.over(&live, self.clock.now()) {
                self.end_by_itself(&live, over).await;
            }
        }
        for (place, open) in [(Workplace::Shared, shared), (Workplace::Personal, personal)] {
            let open = f64::from(open.load(Ordering::Relaxed));
            metrics::gauge!(names::SESSIONS, "workplace" => place.word()).set(open);
        }
    }

    /// Deletes what could not be deleted before.
    pub(in crate::identity) async fn delete_undeleted(&self) {
        let keys: Vec<_> = self.undeleted().iter().cloned().collect();
        for key in keys {
            if self.store.delete(Table::Sessions, &key).await.is_err() {
                return;
            }
            self.spare(&key);
        }
    }

    pub(super) fn announce(&self, live: &Live, cause: Cause) {
        let farewell = self.farewells.entry_by_ref(live.key()).or_insert(cause);
        if !farewell.is_fresh() {
            return;
        }
        metrics::counter!(names::SESSIONS_ENDED, "cause" => cause.as_str()).increment(1);
        // No receiver means no live stream to cut.
        let _ = self.tell.send(SessionEnded::of(live, cause));
    }

    pub(super) fn delete_later(&self, live: &Live) {
        self.undeleted().insert(live.key().to_owned());
        self.has_undeleted.store(true, Ordering::Release);
    }

    /// The store does not have it any more.
    fn spare(&self, key: &str) {
        let mut undeleted = self.undeleted();
        undeleted.remove(key);
        self.has_undeleted
            .store(!undeleted.is_empty(), Ordering::Release);
    }
}
