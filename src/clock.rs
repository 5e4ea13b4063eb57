//! The only source of time.
//!
//! *Never*: a read of the system clock anywhere else (`clippy.toml` refuses it), so that every timeout,
//! expiry and record time can be moved by a test.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Wall-clock time for records and expiry, monotonic time for intervals.
pub trait Clock: Send + Sync + Debug {
    /// The wall-clock time, UTC.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary fixed point; never goes back.
    fn monotonic(&self) -> Duration;
}

/// A clock that all owners of a gateway share.
pub type SharedClock = Arc<dyn Clock>;

/// How long ago something was; nothing where it lies ahead, as after a clock that was wrong.
#[must_use]
pub fn since(time: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(now.duration_since(time)).ok()
}

/// When something began, as the clock stands now, and now; `began` is by the clock that nobody sets.
#[must_use]
pub fn began_and_now(clock: &dyn Clock, began: Duration) -> (Timestamp, Timestamp) {
    let now = clock.now();
    let running = clock.monotonic().saturating_sub(began);
    (now.checked_sub(running).unwrap_or(Timestamp::MIN), now)
}

/// A time span as a person reads it.
#[must_use]
pub fn spoken(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts counting monotonic time now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the owner of time")]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The machine's clock, ready to share.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the owner of time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is told to advance.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<(Timestamp, Duration)>,
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self {
            state: Mutex::new((start, Duration::ZERO)),
        }
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.saturating_add(by).unwrap_or(Timestamp::MAX);
        state.1 = state.1.saturating_add(by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
