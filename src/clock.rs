//! Tells the time, so that tests can tell a different one.

use std::{sync::Arc, time::Duration};

/// A source of wall-clock and monotonic time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The current instant on the wall clock.
    fn now(&self) -> jiff::Timestamp;
    /// Time since an arbitrary start that never goes backwards.
    fn monotonic(&self) -> Duration;
}

/// A clock that many owners hold.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: tokio::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            started: tokio::time::Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
