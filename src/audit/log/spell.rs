//! A time in which the log does not take every record.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// What keeps the log from taking every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A file operation failed: nothing is taken until a new segment could be begun.
    Failed,
    /// The disk is nearly full: only care is taken.
    LowSpace,
    /// The disk neither fails nor answers: nothing is taken until it does.
    Stalled,
}

impl Trouble {
    /// Its word on record.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::LowSpace => "low space",
            Self::Stalled => "stalled",
        }
    }
}

/// A time of trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spell {
    /// What it is.
    pub what: Trouble,
    /// Why, in the system's words.
    pub why: Arc<str>,
    /// When it was noticed.
    pub since: Timestamp,
    /// The same by the watch.
    pub(super) began: Duration,
}

impl Spell {
    /// How long it has lasted when the watch shows `now`.
    pub(super) const fn lasted(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }
}
