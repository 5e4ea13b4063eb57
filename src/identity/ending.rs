//! Why a session ends, and what is told of it.

use std::sync::Arc;

use jiff::Timestamp;

use super::session::{Live, Over, SessionId};
use crate::request::Event;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Its user signed out.
    SignedOut,
    /// Its user made room for the next one at a workstation.
    Switched,
    /// Its user had as many as one may have, and opened another.
    Limit,
    /// Its browser was found in somebody else's hands.
    LeftBehind,
    /// Another sign-in succeeded in its browser.
    Replaced,
    /// Another sign-in failed in its browser, so someone else may be sitting there.
    SignInFailed,
    /// Nobody used it for too long.
    Idle,
    /// It reached its longest duration.
    Absolute,
    /// The provider said so (back-channel), also for a session that was being opened.
    BackChannel,
    /// The provider said so through a browser (front-channel).
    FrontChannel,
    /// An operator or a rule ended it; the record of that names it.
    Revoked,
    /// All sessions were ended at once; one record says so.
    Everything,
    /// Its user was locked out.
    Locked,
    /// The provider refused to renew its tokens.
    RenewalDenied,
    /// The renewed token is not to be believed: another user, another sign-in, or not the provider's.
    RenewalRefused,
    /// The renewed token proves no second factor any more.
    SecondFactorGone,
    /// The provider could not be asked for longer than it may.
    NotConfirmed,
    /// Another process ended it.
    Elsewhere,
    /// Its screen locked: it goes on behind the lock, its live streams do not.
    ScreenLocked,
}

impl Cause {
    /// Its name on record and as a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::Switched => "switched",
            Self::Limit => "limit",
            Self::LeftBehind => "left_behind",
            Self::Replaced => "replaced",
            Self::SignInFailed => "sign_in_failed",
            Self::Idle => "idle",
            Self::Absolute => "absolute",
            Self::BackChannel => "back_channel",
            Self::FrontChannel => "front_channel",
            Self::Revoked => "revoked",
            Self::Everything => "everything",
            Self::Locked => "locked",
            Self::RenewalDenied => "renewal_denied",
            Self::RenewalRefused => "renewal_refused",
            Self::SecondFactorGone => "second_factor_gone",
            Self::NotConfirmed => "not_confirmed",
            Self::Elsewhere => "elsewhere",
            Self::ScreenLocked => "screen_locked",
        }
    }

    /// The event that goes on record for each session; none where one record names them all already.
    #[must_use]
    pub const fn event(self) -> Option<Event> {
        match self {
            Self::Idle | Self::Absolute => Some(Event::SessionExpired),
            Self::Revoked | Self::Everything | Self::ScreenLocked => None,
            Self::SignedOut
            | Self::Switched
            | Self::Limit
            | Self::LeftBehind
            | Self::Replaced
            | Self::SignInFailed
            | Self::BackChannel
            | Self::FrontChannel
            | Self::Locked
            | Self::RenewalDenied
            | Self::RenewalRefused
            | Self::SecondFactorGone
            | Self::NotConfirmed
            | Self::Elsewhere => Some(Event::SessionEnded),
        }
    }

    /// Whether the provider did not confirm the session any more: its user is told so (`CG-2017`).
    pub(super) const fn is_not_renewed(self) -> bool {
        match self {
            Self::RenewalDenied
            | Self::RenewalRefused
            | Self::SecondFactorGone
            | Self::NotConfirmed => true,
            Self::SignedOut
            | Self::Switched
            | Self::Limit
            | Self::LeftBehind
            | Self::Replaced
            | Self::SignInFailed
            | Self::Idle
            | Self::Absolute
            | Self::BackChannel
            | Self::FrontChannel
            | Self::Revoked
            | Self::Everything
            | Self::Locked
            | Self::Elsewhere
            | Self::ScreenLocked => false,
        }
    }
}

impl From<Over> for Cause {
    fn from(over: Over) -> Self {
        match over {
            Over::Idle => Self::Idle,
            Over::Absolute => Self::Absolute,
        }
    }
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub cause: Cause,
    /// The user's stable id.
    pub user: String,
    /// The user's name.
    pub name: String,
    /// When the session was opened, or last confirmed by a step-up.
    pub created: Timestamp,
}

/// A session ended, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEnded(pub SessionId, pub Arc<Ending>);

impl SessionEnded {
    pub(super) fn of(live: &Live, cause: Cause) -> Self {
        let ending = Ending {
            cause,
            user: live.user().id(),
            name: live.user().name.clone(),
            created: live.created(),
        };
        Self(live.id().clone(), Arc::new(ending))
    }
}
