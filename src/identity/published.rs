//! What somebody else publishes about themselves: read where it is not known, kept, and read again for what is new.
//!
//! *Owns*: the last good reading, and when reading failed or was done out of turn.
//! *On failure*: the last good reading stays; without any, nobody is asked again for a moment.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use crate::clock::SharedClock;

/// The time between two extra readings for a key that is not known.
const KEY_REST: Duration = Duration::from_secs(30);
const REFRESH: Duration = Duration::from_hours(1);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// The last good reading.
#[derive(Debug)]
pub(super) struct Published<T> {
    clock: SharedClock,
    // The time between two attempts where nothing is known yet.
    rest: Duration,
    known: ArcSwapOption<T>,
    // When reading last failed, and when it was last done out of turn (monotonic).
    failed: Mutex<Option<Duration>>,
    reread: Mutex<Option<Duration>>,
}

/// Why nothing is known.
#[derive(Debug)]
pub(super) enum Unknown<E> {
    /// Reading failed a moment ago, and is not tried again yet.
    Resting,
    /// Reading failed now.
    Failed(E),
}

impl<T> Published<T> {
    pub(super) fn new(clock: SharedClock, rest: Duration) -> Self {
        Self {
            clock,
            rest,
            known: ArcSwapOption::empty(),
            failed: Mutex::new(None),
            reread: Mutex::new(None),
        }
    }

    /// Whether anything was read since the start.
    pub(super) fn is_known(&self) -> bool {
        self.known.load().is_some()
    }

    /// Keeps a reading.
    pub(super) fn keep(&self, reading: T) -> Arc<T> {
        let known = Arc::new(reading);
        self.known.store(Some(Arc::clone(&known)));
        known
    }

    /// What is known; where nothing is, one of those who ask reads it, and the others wait.
    pub(super) async fn known<E, F>(&self, read: impl FnOnce() -> F) -> Result<Arc<T>, Unknown<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        if let Some(known) = self.known.load_full() {
            return Ok(known);
        }
        let mut failed = self.failed.lock().await;
        // Another request may have found it while this one waited.
        if let Some(known) = self.known.load_full() {
            return Ok(known);
        }
        let now = self.clock.monotonic();
        if failed.is_some_and(|at| now.saturating_sub(at) < self.rest) {
            return Err(Unknown::Resting);
        }
        let found = read().await;
        *failed = found.is_err().then_some(now);
        found
            .map(|reading| self.keep(reading))
            .map_err(Unknown::Failed)
    }

    /// What is newer than `stale`, unless that was read out of turn a moment ago.
    pub(super) async fn newer<E, F>(
        &self,
        stale: &Arc<T>,
        read: impl FnOnce() -> F,
    ) -> Result<Option<Arc<T>>, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut reread = self.reread.lock().await;
        if let Some(known) = self.known.load_full()
            && !Arc::ptr_eq(&known, stale)
        {
            return Ok(Some(known));
        }
        let now = self.clock.monotonic();
        if reread.is_some_and(|at| now.saturating_sub(at) < KEY_REST) {
            return Ok(None);
        }
        *reread = Some(now);
        Ok(Some(self.keep(read().await?)))
    }
}

/// Reads at once, every hour, and again soon after a failure, `first_retry` at first; never ends.
pub(super) async fn read_on<E, F>(first_retry: Duration, read: impl Fn() -> F)
where
    F: Future<Output = Result<(), E>>,
{
    let mut retry = first_retry;
    loop {
        let wait = if read().await.is_ok() {
            retry = first_retry;
            REFRESH
        } else {
            let wait = retry;
            retry = retry.saturating_mul(2).min(LAST_RETRY);
            wait
        };
        tokio::time::sleep(wait).await;
    }
}
