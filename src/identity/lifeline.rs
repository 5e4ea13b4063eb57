//! What all copies of a session in this process share: its end, and the one renewal that may be under way.
//!
//! SECURITY: whoever works for a session (a request that waits for the EMR, a download, a live stream) holds the copy
//! of it that was found then. Another copy may be in the cache by the time the session ends, or none. So the end is
//! told through what the copies share, and never through a copy.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::renew::Outcome;
use super::session::SessionId;

/// The end of a session, as those who work for it ask for it.
#[derive(Debug, Clone, Default)]
pub struct SessionEnd(Option<Arc<Lifeline>>);

impl SessionEnd {
    pub(super) const fn of(lifeline: Option<Arc<Lifeline>>) -> Self {
        Self(lifeline)
    }

    /// The end that never comes.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.has_ended())
    }

    /// Waits until the session has ended.
    pub async fn over(self) {
        let Some(shared) = self.0 else {
            return std::future::pending().await;
        };
        let mut ended = shared.ended.subscribe();
        // `shared` holds the sender, so it does not close.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// A renewal that is under way, and what comes of it.
pub(super) type Flight = watch::Receiver<Option<Outcome>>;

#[derive(Debug)]
pub(super) struct Lifeline {
    ended: watch::Sender<bool>,
    // The key of the token that the renewal is for: a step-up gives a session another one.
    flight: Mutex<Option<(String, Flight)>>,
    /// Milliseconds of monotonic time before which no further renewal begins.
    rests_until: AtomicU64,
}

impl Lifeline {
    fn new() -> Self {
        Self {
            ended: watch::Sender::new(false),
            flight: Mutex::new(None),
            rests_until: AtomicU64::new(0),
        }
    }

    fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Joins the renewal of the token with this key that is under way; else `start`s one.
    pub(super) fn fly(&self, key: &str, start: impl FnOnce() -> Flight) -> Flight {
        let mut flight = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, under_way)) = &*flight
            && of == key
            && under_way.borrow().is_none()
            && under_way.has_changed().is_ok()
        {
            return under_way.clone();
        }
        let started = start();
        *flight = Some((key.to_owned(), started.clone()));
        started
    }

    /// Whether a renewal failed a moment ago.
    pub(super) fn rests(&self, now: Duration) -> bool {
        now < Duration::from_millis(self.rests_until.load(Ordering::Acquire))
    }

    /// Whether the newest renewal that is over failed.
    pub(super) fn has_failed(&self) -> bool {
        self.rests_until.load(Ordering::Acquire) > 0
    }

    /// No renewal begins before `until`; zero after one that succeeded.
    pub(super) fn rest(&self, until: Duration) {
        let millis = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.rests_until.store(millis, Ordering::Release);
    }
}

/// The lifelines of all sessions that this process has a copy of.
#[derive(Debug, Default)]
pub(super) struct Lifelines(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    lines: HashMap<SessionId, Weak<Lifeline>>,
    // Above this many, those that nobody holds any more are taken out.
    sweep_at: usize,
}

const FIRST_SWEEP: usize = 1024;

impl Lifelines {
    /// The lifeline of a session; all copies get the same one.
    pub(super) fn of(&self, id: &SessionId) -> Arc<Lifeline> {
        let mut registry = self.lock();
        if let Some(line) = registry.lines.get(id).and_then(Weak::upgrade) {
            return line;
        }
        if registry.lines.len() >= registry.sweep_at.max(FIRST_SWEEP) {
            registry.lines.retain(|_, line| line.strong_count() > 0);
            registry.sweep_at = registry.lines.len().saturating_mul(2);
        }
        let line = Arc::new(Lifeline::new());
        registry.lines.insert(id.clone(), Arc::downgrade(&line));
        line
    }

    /// Tells everyone who works for the session that it has ended.
    pub(super) fn end(&self, id: &SessionId) {
        let line = self.lock().lines.get(id).and_then(Weak::upgrade);
        if let Some(line) = line {
            line.ended.send_replace(true);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_copy_of_a_session_hears_of_its_end_and_no_other_session_does() {
        let lines = Lifelines::default();
        let (a, b) = (SessionId::for_test("a"), SessionId::for_test("b"));
        let early = SessionEnd::of(Some(lines.of(&a)));
        let late = SessionEnd::of(Some(lines.of(&a)));
        let other = SessionEnd::of(Some(lines.of(&b)));
        let waits = tokio::spawn(early.clone().over());
        lines.end(&a);
        waits.await.unwrap();
        assert!(early.is_over() && late.is_over() && !other.is_over());
        late.over().await;
    }

    #[test]
    fn lifelines_that_nobody_holds_are_forgotten() {
        let lines = Lifelines::default();
        let kept = lines.of(&SessionId::for_test("kept"));
        for number in 0..FIRST_SWEEP * 3 {
            drop(lines.of(&SessionId::for_test(&number.to_string())));
        }
        assert!(lines.lock().lines.len() <= FIRST_SWEEP + 1);
        assert!(Arc::ptr_eq(&kept, &lines.of(&SessionId::for_test("kept"))));
    }
}
