//! `[identity.lock]` and `[identity.held_posts]`: screens that lock, and forms that are not lost.

use std::time::Duration;

/// Screens lock before their session ends. `[identity.lock]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Without activity for this long a screen locks; shorter than `identity.idle_timeout`. Default 5 min.
    pub after: Duration,
}

/// What is kept of forms that meet an ended, locked or stale session. `[identity.held_posts]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldPosts {
    /// Most bytes of one. Default 256 KiB.
    pub max_size: u64,
    /// How long one is kept. Default 15 min.
    pub keep_for: Duration,
    /// Most for one user. Default 5.
    pub per_user: usize,
    /// Most bytes of all together. Default 64 MiB.
    pub max_total: u64,
}

impl Default for HeldPosts {
    fn default() -> Self {
        Self {
            max_size: 256 * 1024,
            keep_for: Duration::from_mins(15),
            per_user: 5,
            max_total: 64 * 1024 * 1024,
        }
    }
}
