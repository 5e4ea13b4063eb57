//! How old what a session knows of its user is, and when the provider is asked again.

use std::time::Duration;

use jiff::Timestamp;

use super::Live;
use crate::config::refresh::Refresh;
use crate::identity::renewal::Renewal;

/// When the provider was last asked about the user, and what follows from its age.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    read_at: Timestamp,
    /// Worth reading again in the background.
    soon_at: Timestamp,
    /// To be read again before the next request is decided.
    due_at: Timestamp,
    /// Not to be relied on any more.
    over_at: Timestamp,
    can_be_renewed: bool,
}

impl Reading {
    fn of(read_at: Timestamp, refresh: &Refresh, can_be_renewed: bool) -> Self {
        let after = |span: Duration| read_at.saturating_add(span).unwrap_or(read_at);
        // A fifth of the time is left for the background.
        let soon = refresh.every.mul_f64(0.8);
        Self {
            read_at,
            soon_at: after(soon),
            due_at: after(refresh.every),
            over_at: after(refresh.every.saturating_add(refresh.grace)),
            can_be_renewed,
        }
    }
}

impl Live {
    /// The session with what the provider said last, whose age counts from now on.
    pub(in crate::identity) fn renewed(
        mut self,
        refresh: &Refresh,
        renewal: Option<Renewal>,
    ) -> Self {
        let Some(renewal) = renewal else {
            self.reading = Some(Reading::of(self.created, refresh, false));
            return self;
        };
        let can_be_renewed = renewal.refresh_token.is_some();
        self.reading = Some(Reading::of(renewal.read_at, refresh, can_be_renewed));
        self.user = renewal.user;
        self.role_values = renewal.role_values;
        self.id_token = renewal.id_token;
        self
    }

    /// Whether the provider has to be asked before the session is relied on.
    pub(in crate::identity) fn is_due(&self, now: Timestamp) -> bool {
        self.reading.is_some_and(|reading| now >= reading.due_at)
    }

    /// Whether the provider should be asked soon, and can be.
    pub(in crate::identity) fn is_soon_due(&self, now: Timestamp) -> bool {
        self.can_be_renewed() && self.reading.is_some_and(|reading| now >= reading.soon_at)
    }

    /// When the provider was last asked about the user, where that is done.
    pub(in crate::identity) fn read_at(&self) -> Option<Timestamp> {
        self.reading.map(|reading| reading.read_at)
    }

    /// Whether somebody used it since the provider was asked.
    pub(in crate::identity) fn is_used_since_reading(&self) -> bool {
        self.reading
            .is_some_and(|reading| self.last_active() > reading.read_at)
    }

    pub(in crate::identity) fn can_be_renewed(&self) -> bool {
        self.reading.is_some_and(|reading| reading.can_be_renewed)
    }

    /// Whether what is known of the user is too old to be relied on.
    pub(in crate::identity) fn is_unconfirmed(&self, now: Timestamp) -> bool {
        self.reading.is_some_and(|reading| now >= reading.over_at)
    }

    /// Until when what is known of the user may be relied on; the session's end at the latest.
    pub(in crate::identity) fn confirmed_until(&self) -> Timestamp {
        self.reading
            .map_or(self.ends, |reading| reading.over_at.min(self.ends))
    }
}
