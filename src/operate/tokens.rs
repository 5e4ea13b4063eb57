//! Access tokens and API clients that are not accepted any more, by an operator's word.
//!
//! *Owns*: `Table::Tokens`; the list that every request of an API client asks.
//! *Never*: a revocation that is not on record first; a token itself, which nobody needs to revoke it.
//! *On failure*: [`TokensError`]; a revocation that could not be stored is in force until the gateway stops, and said
//! not to be durable.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::key_of;
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::identity::{Identity, Mark};
use crate::request::Event;
use crate::store::{NEVER, Store, StoreError, Table};

/// Most revocations at once.
const MOST: usize = 10_000;
/// Longest value or reason, in bytes.
const LONGEST_TEXT: usize = 1_024;

/// Why nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The trail.
    #[error("the trail: {0}")]
    Audit(#[from] AuditError),
    /// Nothing like that is revoked.
    #[error("the {0} is not revoked; `chartgate token list` names what is")]
    NotRevoked(&'static str),
    /// Too much is revoked.
    #[error(
        "{MOST} tokens and clients are revoked; revoke the client, or all at the authorization server"
    )]
    TooMany,
    /// A text is missing or too long.
    #[error("the {0} must have 1 to {LONGEST_TEXT} bytes")]
    Text(&'static str),
    /// The end lies behind.
    #[error("`--until` must lie in the future; leave it out to revoke for good")]
    Past,
}

/// A revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// What.
    #[serde(flatten)]
    pub mark: Mark,
    /// Why.
    pub reason: String,
    /// The operator who revoked.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when, if not for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Revokes; one value.
    Revoke {
        /// What.
        mark: Mark,
        /// Why.
        reason: String,
        /// Until when; nothing is for good.
        until: Option<Timestamp>,
    },
    /// Takes a revocation back; one value.
    Restore {
        /// As it was revoked.
        mark: Mark,
    },
    /// A value for each revocation.
    List,
}

/// What is revoked.
#[derive(Debug)]
pub struct Tokens {
    store: Store,
    audit: Audit,
    identity: Arc<Identity>,
    clock: SharedClock,
    // One change at a time.
    changing: Mutex<()>,
    revoked: RwLock<BTreeMap<Mark, Revocation>>,
}

impl Tokens {
    /// Puts the revocations that the store keeps in force.
    ///
    /// # Errors
    /// [`TokensError::Store`]. A gateway that does not know what to refuse does not start.
    pub async fn load(
        store: Store,
        audit: Audit,
        identity: Arc<Identity>,
        clock: SharedClock,
    ) -> Result<Arc<Self>, TokensError> {
        let mut revoked = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = store.scan(Table::Tokens, after.as_deref()).await?;
            for (_, entry) in page.entries {
                match serde_json::from_slice::<Revocation>(entry.value.expose()) {
                    Ok(one) => drop(revoked.insert(one.mark.clone(), one)),
                    Err(error) => tracing::error!(%error, "a stored revocation cannot be read"),
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let tokens = Self {
            store,
            audit,
            identity,
            clock,
            changing: Mutex::default(),
            revoked: RwLock::new(revoked),
        };
        tokens.enforce();
        Ok(Arc::new(tokens))
    }

    /// Answers an operator.
    ///
    /// # Errors
    /// [`TokensError`].
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Vec<Value>, TokensError> {
        match ask {
            Ask::Revoke {
                mark,
                reason,
                until,
            } => {
                self.revoke(mark, reason, until, operator).await?;
                Ok(vec![json!({ "revoked": self.in_force().len() })])
            }
            Ask::Restore { mark } => {
                self.restore(&mark, operator).await?;
                Ok(vec![json!({ "revoked": self.in_force().len() })])
            }
            Ask::List => {
                let list = self.in_force();
                let values = list.iter().map(serde_json::to_value);
                Ok(values.filter_map(Result::ok).collect())
            }
        }
    }

    /// Refuses a token, or all of a client or subject, from now on.
    ///
    /// # Errors
    /// [`TokensError`].
    pub async fn revoke(
        &self,
        mark: Mark,
        reason: String,
        until: Option<Timestamp>,
        operator: &str,
    ) -> Result<(), TokensError> {
        text(mark.word(), mark.value())?;
        text("reason", &reason)?;
        let now = self.clock.now();
        if until.is_some_and(|until| until <= now) {
            return Err(TokensError::Past);
        }
        let _one = self.changing.lock().await;
        self.forget_past(now);
        {
            let revoked = self.read();
            if revoked.len() >= MOST && !revoked.contains_key(&mark) {
                return Err(TokensError::TooMany);
            }
        }
        let mut detail = detail(&mark, operator);
        detail.insert("reason".to_owned(), reason.clone());
        if let Some(until) = until {
            detail.insert("until".to_owned(), until.to_string());
        }
        self.audit.event(Event::TokenRevoked, None, detail).await?;
        let revocation = Revocation {
            mark: mark.clone(),
            reason,
            by: operator.to_owned(),
            since: now,
            until,
        };
        // In force before it is stored: a store that is slow keeps nobody in.
        self.change(|revoked| drop(revoked.insert(mark.clone(), revocation.clone())));
        let ends = until.unwrap_or(NEVER).min(NEVER);
        self.store
            .keep(Table::Tokens, &key(&mark), &revocation, ends)
            .await?;
        Ok(())
    }

    /// Takes a revocation back.
    ///
    /// # Errors
    /// [`TokensError`].
    pub async fn restore(&self, mark: &Mark, operator: &str) -> Result<(), TokensError> {
        let _one = self.changing.lock().await;
        if !self.read().contains_key(mark) {
            return Err(TokensError::NotRevoked(mark.word()));
        }
        let detail = detail(mark, operator);
        self.audit.event(Event::TokenRestored, None, detail).await?;
        self.store.delete(Table::Tokens, &key(mark)).await?;
        self.change(|revoked| drop(revoked.remove(mark)));
        Ok(())
    }

    /// What is revoked now.
    #[must_use]
    pub fn in_force(&self) -> Vec<Revocation> {
        let now = self.clock.now();
        let revoked = self.read();
        let holds = |one: &&Revocation| one.until.is_none_or(|until| now < until);
        revoked.values().filter(holds).cloned().collect()
    }

    fn forget_past(&self, now: Timestamp) {
        self.change(|revoked| {
            revoked.retain(|_, one| one.until.is_none_or(|until| now < until));
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Mark, Revocation>)) {
        change(&mut self.revoked.write().unwrap_or_else(PoisonError::into_inner));
        self.enforce();
    }

    fn enforce(&self) {
        let revoked = self.read();
        let list = revoked.values().map(|one| (one.mark.clone(), one.until));
        self.identity.revoke_tokens(list.collect());
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Mark, Revocation>> {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(mark: &Mark) -> String {
    key_of(&format!("{}|{}", mark.word(), mark.value()))
}

fn detail(mark: &Mark, operator: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (mark.word().to_owned(), mark.value().to_owned()),
        ("operator".to_owned(), operator.to_owned()),
    ])
}

fn text(what: &'static str, value: &str) -> Result<(), TokensError> {
    if (1..=LONGEST_TEXT).contains(&value.len()) {
        Ok(())
    } else {
        Err(TokensError::Text(what))
    }
}
