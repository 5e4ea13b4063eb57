//! Whose a session was that ended by itself: remembered for a while, so that a form that comes too late is not lost.
//!
//! *Never*: for a session that was ended by somebody; anything that a session could be opened with.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{MEMORY, Sessions};
use crate::config;
use crate::identity::session::{Live, Over, store_key};
use crate::identity::token::Token;
use crate::request::principal::User;
use crate::secret::Secret;
use crate::store::{Durability, StoreError, Table};

/// Whether anything is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remembers {
    Nothing,
    Users,
}

impl Remembers {
    pub(super) const fn of(config: &config::Identity) -> Self {
        match config.held_posts {
            Some(_) => Self::Users,
            None => Self::Nothing,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Was {
    user: User,
    session: String,
}

fn key(session: &str) -> String {
    format!("was/{session}")
}

impl Sessions {
    /// Ends a session whose time is over.
    pub(super) async fn end_by_itself(&self, live: &Live, over: Over) {
        match self.remembers {
            Remembers::Nothing => {}
            Remembers::Users => {
                if let Err(error) = self.remember(live).await {
                    tracing::warn!(%error, session = %live.id(), "whose a session was will not be remembered");
                }
            }
        }
        self.end_or_remember(live, over.into()).await;
    }

    async fn remember(&self, live: &Live) -> Result<(), StoreError> {
        let was = Was {
            user: live.user().clone(),
            session: live.id().to_string(),
        };
        let value = serde_json::to_vec(&was).map(Secret::new);
        let value = value.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let now = self.clock.now();
        let until: Timestamp = now.saturating_add(MEMORY).unwrap_or(now);
        let key = key(live.key());
        self.store
            .put(
                Table::Held,
                &key,
                value.expose(),
                until,
                Durability::Relaxed,
            )
            .await
    }

    /// Whose the session of this token was, and its fingerprint, if it ended by itself lately.
    pub(in crate::identity) async fn remembered(&self, token: &Token) -> Option<(User, String)> {
        match self.remembers {
            Remembers::Nothing => return None,
            Remembers::Users => {}
        }
        let found = self.store.get(Table::Held, &key(&store_key(token))).await;
        let entry = found.ok().flatten()?;
        let was: Was = serde_json::from_slice(entry.value.expose()).ok()?;
        Some((was.user, was.session))
    }
}
