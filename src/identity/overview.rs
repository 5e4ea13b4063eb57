//! The sessions there are, for operators and for the rooms that end them.
//!
//! *Never*: a token. A session is named by its fingerprint, which is on every record.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Identity;
use super::ending::Cause;
use super::session::Live;
use crate::store::StoreError;

/// A session as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its fingerprint, as on record.
    pub id: String,
    /// The user's stable id.
    pub user: String,
    /// The user's name.
    pub name: String,
    /// When it was opened, or last confirmed by a step-up.
    pub created: Timestamp,
    /// When it was last used, as far as the store knows: up to a minute late.
    pub last_active: Timestamp,
    /// When it ends at the latest.
    pub ends: Timestamp,
}

impl SessionView {
    fn of(live: &Live) -> Self {
        Self {
            id: live.id().to_string(),
            user: live.user().id(),
            name: live.user().name.clone(),
            created: live.created(),
            last_active: live.last_active(),
            ends: live.ends(),
        }
    }

    /// Whether it is `user`'s: by stable id, or by name.
    #[must_use]
    pub fn is_of(&self, user: &str) -> bool {
        self.user == user || self.name == user
    }
}

impl Identity {
    /// The sessions that are open and `wanted`, at most `most`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn sessions_where(
        &self,
        most: usize,
        wanted: impl Fn(&SessionView) -> bool,
    ) -> Result<Vec<SessionView>, StoreError> {
        self.sessions()
            .views(most, |live| {
                let view = SessionView::of(live);
                wanted(&view).then_some(view)
            })
            .await
    }

    /// Ends the sessions that are `meant`, everywhere; live streams end with them. Says which they were.
    ///
    /// # Errors
    /// [`StoreError`] when the store did not confirm it; sessions may then be left over.
    pub async fn end_sessions(
        &self,
        meant: impl Fn(&SessionView) -> bool,
    ) -> Result<Vec<SessionView>, StoreError> {
        let ended = self
            .sessions()
            .end_all(|live| meant(&SessionView::of(live)), Cause::Revoked)
            .await?;
        Ok(ended.iter().map(SessionView::of).collect())
    }
}
