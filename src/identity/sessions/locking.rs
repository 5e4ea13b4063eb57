//! Which sessions are locked, and how they come to be.
//!
//! A session locks by itself: nothing runs for it, the time of its last activity says it. What is locked is not
//! active, so a request that was under way when it locked does not open it again.

use std::sync::Arc;
use std::time::Duration;

use super::Sessions;
use crate::identity::ending::{Cause, SessionEnded};
use crate::identity::session::Live;
use crate::store::{Durability, StoreError};

impl Sessions {
    /// Whether sessions lock at all.
    pub(in crate::identity) const fn locks(&self) -> bool {
        self.lock_after.is_some()
    }

    /// After how long without activity they do.
    pub(in crate::identity) const fn lock_after(&self) -> Option<Duration> {
        self.lock_after
    }

    /// Whether a session is locked now.
    pub(in crate::identity) fn is_locked(&self, live: &Live) -> bool {
        let now = self.clock.now();
        self.lock_after
            .is_some_and(|after| live.latch().holds(live.last_active(), now, after))
    }

    /// Someone uses a session. What is locked stays locked.
    pub(in crate::identity) fn touch(&self, live: &Live) {
        if !self.is_locked(live) {
            live.touch(self.clock.now());
        }
    }

    /// Locks a session at its user's word, durably, and cuts its live streams.
    ///
    /// # Errors
    /// The store did not confirm it. This process holds it locked all the same.
    pub(in crate::identity) async fn lock(&self, live: &Live) -> Result<(), StoreError> {
        let now = self.clock.now();
        live.latch().lock(now);
        live.latch().note();
        if let Some(cached) = self.cache.get(live.key()) {
            cached.latch().lock(now);
            cached.latch().note();
        }
        self.cut_streams(live);
        self.rewrite(live, Durability::Immediate).await
    }

    fn cut_streams(&self, live: &Live) {
        // No receiver means no live stream to cut.
        let _ = self.tell.send(SessionEnded::of(live, Cause::ScreenLocked));
    }

    /// The sessions that locked since the last call, as far as this process has them in memory. Their live streams are
    /// cut.
    pub(in crate::identity) async fn newly_locked(&self) -> Vec<Arc<Live>> {
        let Some(after) = self.lock_after else {
            return Vec::new();
        };
        let now = self.clock.now();
        let workplaces = Arc::clone(&self.workplaces);
        let locked = move |live: &Live| {
            live.over(now, workplaces.idle_timeout(live)).is_none()
                && live.latch().holds(live.last_active(), now, after)
                && live.latch().note()
        };
        let found = self.cached(locked).await;
        for live in &found {
            self.cut_streams(live);
        }
        found
    }
}
