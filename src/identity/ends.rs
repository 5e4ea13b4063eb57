//! Why sessions end, as it is counted.

use crate::telemetry::metrics as names;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its user signed out.
    SignOut,
    /// Its user made room for another one at the workstation.
    Switch,
    /// Someone else, or the same user again, signed in in its browser.
    Replaced,
    /// Someone tried to sign in in its browser, and failed.
    FailedSignIn,
    /// Nobody used it for too long.
    Idle,
    /// It reached its longest duration.
    Absolute,
    /// Its user was locked out.
    Locked,
    /// The identity provider ended it.
    Provider,
    /// An operator, a rule or its user ended it from outside.
    Revoked,
    /// Its user had too many.
    Limit,
    /// Its browser was found in someone else's hands.
    LeftBehind,
}

impl Cause {
    const fn word(self) -> &'static str {
        match self {
            Self::SignOut => "sign-out",
            Self::Switch => "switch",
            Self::Replaced => "replaced",
            Self::FailedSignIn => "failed-sign-in",
            Self::Idle => "idle",
            Self::Absolute => "absolute",
            Self::Locked => "locked",
            Self::Provider => "provider",
            Self::Revoked => "revoked",
            Self::Limit => "limit",
            Self::LeftBehind => "left-behind",
        }
    }

    /// Counts sessions that ended for this.
    pub(super) fn count(self, sessions: usize) {
        let sessions = u64::try_from(sessions).unwrap_or(u64::MAX);
        if sessions > 0 {
            metrics::counter!(names::SESSION_ENDS, "cause" => self.word()).increment(sessions);
        }
    }
}
