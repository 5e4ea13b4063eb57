//! How a session comes to be once its user is proven: within the limit of sessions, and with what the user is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Identity;
use super::attempts::Purpose;
use super::binding;
use super::ending::Cause;
use super::session::{Live, Opening, SessionId, store_key};
use super::token::{NoRandomness, Token};
use super::visits::{Kept, Welcome};
use crate::config::sessions::WhenFull;
use crate::request::principal::User;
use crate::store::StoreError;

/// Why a proven user gets no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArrivalError {
    #[error("the store does not answer: {0}")]
    Store(#[from] StoreError),
    #[error("the user has as many sessions as are allowed")]
    Full(Box<User>),
    #[error("{0}")]
    Randomness(#[from] NoRandomness),
}

/// A session that was opened, and what its record says beside.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) live: Arc<Live>,
    pub(super) detail: BTreeMap<String, String>,
}

impl Identity {
    /// Opens a session under `token`, in place of `current` where it was the browser's.
    pub(super) async fn arrive(
        &self,
        token: &Token,
        mut opening: Opening,
        current: Option<&Live>,
        purpose: &Purpose,
    ) -> Result<Arrived, ArrivalError> {
        let mut entering = self.visits.enter(&opening.user.id()).await?;
        let mut detail = BTreeMap::new();
        let key = store_key(token);
        let continued = current.filter(|live| opening.continues.as_ref() == Some(live.id()));
        if let Some(continued) = continued {
            if let Some(what) = self.moves(continued, &opening) {
                detail.insert("rebound".to_owned(), what.to_owned());
            }
            opening.used = continued.usage().told();
        } else if self.limits.per_user > 0 || entering.is_full() {
            // Without a limit it is enough to look when the list is full.
            let open = self.open_sessions(entering.sessions(), current).await?;
            entering.keep_only(|kept| open.iter().any(|live| live.key() == kept.key));
            if let Some(ended) = self.make_room(&opening.user, &open).await? {
                detail.insert("ended".to_owned(), ended);
            }
        }
        let id = continued.map_or_else(|| SessionId::of(token), |live| live.id().clone());
        let id = id.to_string();
        match (continued, purpose) {
            (Some(continued), Purpose::StepUp(_) | Purpose::Unlock(_)) => {
                opening.origin.welcome = continued.origin().welcome.as_ref().map(Welcome::kept);
                entering.rename(Kept { id, key }).await?;
            }
            // A sign-in, be it of someone who had signed in here before.
            (Some(_) | None, Purpose::SignIn) | (None, Purpose::StepUp(_) | Purpose::Unlock(_)) => {
                entering.keep_only(|kept| kept.id != id);
                let welcome = entering.succeed(&opening.origin, Kept { id, key }).await?;
                opening.origin.welcome = Some(welcome);
            }
        }
        let bond = self.bond_for(continued, &opening)?;
        let live = self.sessions().open(token, opening, bond).await?;
        // Until the session can be found nobody else counts this user's.
        drop(entering);
        Ok(Arrived { live, detail })
    }

    /// What of its binding a session changes with a step-up.
    fn moves(&self, before: &Live, now: &Opening) -> Option<&'static str> {
        let at = self.clock().now();
        binding::moved(&self.limits.binding, before, &now.origin, at).map(binding::word)
    }

    /// Counts a sign-in that the provider vouched for and that was refused.
    pub(super) async fn note_failed(&self, user: &User) {
        let counted = async { self.visits.enter(&user.id()).await?.fail().await };
        if let Err(error) = counted.await {
            tracing::error!(%error, "a failed sign-in could not be counted for its user");
        }
    }

    /// The sessions among `kept` that are open, oldest first, but for the one that the browser gives up.
    async fn open_sessions(
        &self,
        kept: &[Kept],
        current: Option<&Live>,
    ) -> Result<Vec<Arc<Live>>, StoreError> {
        let keys = kept
            .iter()
            .map(|kept| kept.key.as_str())
            .filter(|key| current.is_none_or(|live| live.key() != *key));
        self.sessions().open_among(keys).await
    }

    /// Keeps to the limit of sessions; says which session ended for it.
    async fn make_room(
        &self,
        user: &User,
        open: &[Arc<Live>],
    ) -> Result<Option<String>, ArrivalError> {
        let most = self.limits.per_user;
        if most == 0 || open.len() < most {
            return Ok(None);
        }
        match self.limits.when_full {
            WhenFull::Refuse => Err(ArrivalError::Full(Box::new(user.clone()))),
            WhenFull::EndOldest => {
                // One more than fits is to be opened.
                let surplus = open.len().saturating_sub(most).saturating_add(1);
                let oldest: Vec<&Arc<Live>> = open.iter().take(surplus).collect();
                for live in &oldest {
                    self.sessions().end_or_remember(live, Cause::Limit).await;
                }
                let ids: Vec<&str> = oldest.iter().map(|live| live.id().as_str()).collect();
                Ok(Some(ids.join(" ")))
            }
        }
    }
}
