//! Who sessions belonged to that ended lately, so that what they left behind at the EMR can be ended as well.
//!
//! *Owns*: names of ended sessions, in memory, for an hour. *Never*: a token, or a way back in.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::session::{Live, SessionId};
use crate::request::Principal;

const KEPT: Duration = Duration::from_hours(1);
const MOST: u64 = 20_000;

/// Ended sessions, by fingerprint.
#[derive(Debug)]
pub(super) struct Departed(Cache<String, Arc<Principal>>);

impl Default for Departed {
    fn default() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MOST)
                .time_to_live(KEPT)
                .build(),
        )
    }
}

impl Departed {
    /// Remembers whose a session was, as they were known last.
    pub(super) fn remember(&self, live: &Live) {
        let id = live.id().as_str().to_owned();
        if let Some(principal) = live.last_principal() {
            self.0.insert(id, principal);
        } else {
            // What was known of them before is better: this copy has not been worked with.
            let user = || Arc::new(Principal::User(live.user().clone()));
            let _entry = self.0.entry(id).or_insert_with(user);
        }
    }

    /// Whose a session was.
    pub(super) fn find(&self, id: &SessionId) -> Option<Arc<Principal>> {
        self.0.get(id.as_str())
    }
}
