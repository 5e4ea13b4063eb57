//! `[identity.issuer.refresh]` and `[identity.issuer.logout]`

use std::time::Duration;

use crate::config::refresh::{LogoutExpiry, LogoutTolerance, LogoutType, Refresh};
use crate::config::section::Section;

/// `[identity.issuer.refresh]`; without it, what a provider says at sign-in counts for as long as the session.
pub(super) fn refresh(issuer: &mut Section<'_>) -> Option<Refresh> {
    let mut section = issuer.optional_table("refresh")?;
    let minutes = Duration::from_mins;
    let refresh = Refresh {
        every: section.within("every", minutes(10), minutes(1)..=minutes(24 * 60)),
        grace: section.within("grace", minutes(30), Duration::ZERO..=minutes(24 * 60)),
    };
    section.done();
    Some(refresh)
}

/// `[identity.issuer.logout]`
pub(super) fn logout(issuer: &mut Section<'_>) -> LogoutTolerance {
    let mut section = issuer.table("logout");
    let tolerance = LogoutTolerance {
        typ: if section.or("require_typ", false) {
            LogoutType::Stated
        } else {
            LogoutType::Any
        },
        expiry: if section.or("accept_missing_exp", false) {
            LogoutExpiry::MayBeMissing
        } else {
            LogoutExpiry::Stated
        },
    };
    section.done();
    tolerance
}
