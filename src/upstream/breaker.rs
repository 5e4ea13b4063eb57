//! Stops connecting to a back end that does not take connections, and tries again after a pause.

use std::time::Duration;

/// The state of one back end, as one worker sees it. Times are the clock's monotonic time.
///
/// Each worker has its own: what it knows it found out itself, at the price of `threshold` failures, and no worker
/// waits for another's lock.
#[derive(Debug, Clone, Copy)]
pub struct Breaker {
    threshold: usize,
    pause: Duration,
    failures: usize,
    paused_until: Option<Duration>,
}

/// Connecting is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paused {
    /// When it is worth trying again.
    pub retry_after: Duration,
}

impl Breaker {
    /// After `threshold` failures in a row, connecting pauses for `pause`.
    #[must_use]
    pub const fn new(threshold: usize, pause: Duration) -> Self {
        Self {
            threshold,
            pause,
            failures: 0,
            paused_until: None,
        }
    }

    /// Whether a connection may be tried at `now`. After a pause one attempt may, and the next pause starts with it.
    ///
    /// # Errors
    /// [`Paused`] while the back end is left alone.
    pub fn attempt(&mut self, now: Duration) -> Result<(), Paused> {
        match self.paused_until {
            Some(until) if now < until => Err(Paused {
                retry_after: until.saturating_sub(now),
            }),
            Some(_) => {
                self.paused_until = Some(now.saturating_add(self.pause));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A connection was made.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
        self.paused_until = None;
    }

    /// A connection could not be made.
    pub fn failed(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.threshold {
            self.paused_until = Some(now.saturating_add(self.pause));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: usize = 3;
    const PAUSE: Duration = Duration::from_secs(7);

    #[test]
    fn it_opens_after_failures_in_a_row_lets_one_probe_and_closes_on_success() {
        let mut breaker = Breaker::new(THRESHOLD, PAUSE);
        let mut now = Duration::from_secs(100);
        for _ in 0..THRESHOLD {
            assert!(breaker.attempt(now).is_ok());
            breaker.failed(now);
        }
        assert_eq!(breaker.attempt(now), Err(Paused { retry_after: PAUSE }));
        now += PAUSE;
        assert!(breaker.attempt(now).is_ok(), "one probe");
        assert!(breaker.attempt(now).is_err(), "and no second beside it");
        breaker.failed(now);
        assert!(breaker.attempt(now).is_err());
        now += PAUSE;
        assert!(breaker.attempt(now).is_ok());
        breaker.succeeded();
        assert!(breaker.attempt(now).is_ok());
        breaker.failed(now);
        assert!(breaker.attempt(now).is_ok(), "counting starts again");
    }
}
