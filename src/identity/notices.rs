//! What the provider's sign-out notices said lately, for sign-ins that were under way when they came.
//!
//! SECURITY: a notice ends the sessions that exist. One that is being opened at that moment does not exist yet, and
//! would outlive the sign-out. So a notice is kept *before* the sessions are gone through, and a sign-in asks for it
//! *after* its session is stored: whichever is first, one of the two sees the other.
//!
//! *Owns*: notices, in the store, for as long as a sign-in can take.

use std::time::Duration;

use jiff::Timestamp;

use super::oidc::claims::Logout;
use super::session::Live;
use crate::clock::SharedClock;
use crate::store::{Durability, Store, StoreError, Table, digest_of};

/// How long the provider's answer may take, beyond the time in which a sign-in must come back.
const EXCHANGE: Duration = Duration::from_mins(5);

#[derive(Debug)]
pub(super) struct Notices {
    store: Store,
    clock: SharedClock,
    kept: Duration,
}

impl Notices {
    /// Notices for sign-ins that come back within `login_timeout`.
    pub(super) fn new(store: Store, clock: SharedClock, login_timeout: Duration) -> Self {
        Self {
            store,
            clock,
            kept: login_timeout.saturating_add(EXCHANGE),
        }
    }

    /// Keeps a notice of `issuer`.
    pub(super) async fn keep(&self, issuer: &str, logout: &Logout) -> Result<(), StoreError> {
        let now = self.clock.now();
        let expires = now.saturating_add(self.kept).unwrap_or(now);
        let value = now.as_millisecond().to_be_bytes();
        for key in keys_of(issuer, logout) {
            self.store
                .put(
                    Table::Revocations,
                    &key,
                    &value,
                    expires,
                    Durability::Immediate,
                )
                .await?;
        }
        Ok(())
    }

    /// Whether a notice since `since` means `live`, which is in the store already.
    pub(super) async fn mean(&self, live: &Live, since: Timestamp) -> Result<bool, StoreError> {
        for key in keys_for(live) {
            let Some(entry) = self.store.get(Table::Revocations, &key).await? else {
                continue;
            };
            let at = <[u8; 8]>::try_from(entry.value.expose().as_slice()).map(i64::from_be_bytes);
            // What cannot be read may have been any time.
            if at.map_or(true, |at| at >= since.as_millisecond()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// By the issuer's session where both sides know it, else by subject, as `backchannel` matches.
fn keys_of(issuer: &str, logout: &Logout) -> Vec<String> {
    match (logout.issuer_session.as_deref(), logout.subject.as_deref()) {
        (Some(session), Some(subject)) => vec![
            key(&["session-and-subject", issuer, session, subject]),
            key(&["subject-without-session", issuer, subject]),
        ],
        (Some(session), None) => vec![key(&["session", issuer, session])],
        (None, Some(subject)) => vec![key(&["subject", issuer, subject])],
        (None, None) => Vec::new(),
    }
}

fn keys_for(live: &Live) -> Vec<String> {
    let (issuer, subject) = (live.user().issuer.as_str(), live.sub());
    let mut keys = vec![key(&["subject", issuer, subject])];
    match live.issuer_session() {
        Some(session) => keys.extend([
            key(&["session", issuer, session]),
            key(&["session-and-subject", issuer, session, subject]),
        ]),
        None => keys.push(key(&["subject-without-session", issuer, subject])),
    }
    keys
}

fn key(parts: &[&str]) -> String {
    let parts = ["logout-notice"].iter().chain(parts);
    hex::encode(digest_of(parts.map(|part| part.as_bytes())))
}
