//! The way back: which page a sign-in was for, known longer than the sign-in itself, so that one that was used, is too
//! old or was started under another cookie still leads where it was to lead (teleport#4559).
//!
//! *Never*: anything that would finish a sign-in. Whoever has the state learns a path of this host that they could ask
//! for anyway.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::attempts::Attempt;
use super::token::Token;
use super::turns::Turn;
use crate::clock::SharedClock;
use crate::store::{Durability, Store, StoreError, Table};

/// How many times as long as a sign-in may take its way back is known.
const LONGER: u32 = 3;

/// Where a sign-in was to lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Way {
    /// The page.
    pub(super) return_to: String,
    /// The host and port that it was started on.
    pub(super) authority: String,
    /// When.
    pub(super) started: Timestamp,
    /// Which turn of its browser it was.
    #[serde(default)]
    pub(super) turn: Turn,
    /// Whether it was finished.
    #[serde(default)]
    pub(super) used: bool,
}

#[derive(Debug)]
pub(super) struct Ways {
    store: Store,
    clock: SharedClock,
    timeout: Duration,
}

impl Ways {
    pub(super) const fn new(store: Store, clock: SharedClock, timeout: Duration) -> Self {
        Self {
            store,
            clock,
            timeout,
        }
    }

    /// Remembers where a sign-in that starts leads.
    pub(super) async fn remember(&self, state: &Token, attempt: &Attempt) {
        self.put(state, attempt, false).await;
    }

    /// The sign-in was finished; its callback may be followed once more all the same.
    pub(super) async fn use_up(&self, state: &Token, attempt: &Attempt) {
        self.put(state, attempt, true).await;
    }

    async fn put(&self, state: &Token, attempt: &Attempt, used: bool) {
        let way = Way {
            return_to: attempt.return_to.clone(),
            authority: attempt.authority.clone(),
            started: attempt.started,
            turn: attempt.turn,
            used,
        };
        let Ok(value) = serde_json::to_vec(&way) else {
            return;
        };
        let keep = self.timeout.saturating_mul(LONGER);
        let expires = way.started.saturating_add(keep).unwrap_or(way.started);
        // Relaxed: without it a sign-in that went wrong leads to the start page, and no more is lost.
        let put = self
            .store
            .put(
                Table::Logins,
                &key(state),
                &value,
                expires,
                Durability::Relaxed,
            )
            .await;
        if let Err(error) = put {
            tracing::warn!(%error, "where a sign-in leads could not be kept");
        }
    }

    /// Where the sign-in with this state was to lead, if it was started at `authority`.
    pub(super) async fn of(
        &self,
        state: &Token,
        authority: &str,
    ) -> Result<Option<Way>, StoreError> {
        let entry = match self.store.get(Table::Logins, &key(state)).await {
            Ok(entry) => entry,
            Err(error @ StoreError::Sealed { .. }) => {
                tracing::error!(%error, "the way back of a sign-in was passed over");
                None
            }
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
        };
        let way = entry.and_then(|entry| serde_json::from_slice::<Way>(entry.value.expose()).ok());
        Ok(way.filter(|way| way.authority == authority))
    }

    /// Whether a sign-in could still be finished by its age.
    pub(super) fn is_in_time(&self, way: &Way) -> bool {
        let age = self.clock.now().duration_since(way.started);
        Duration::try_from(age).is_ok_and(|age| age < self.timeout)
    }
}

/// SECURITY: another purpose than the key of the sign-in itself, which holds the browser as well.
fn key(state: &Token) -> String {
    hex::encode(state.digest("login-way", &[]))
}
