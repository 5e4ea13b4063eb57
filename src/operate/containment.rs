//! Users locked out and sessions ended, at once and everywhere, by an operator or by a rule.
//!
//! *Owns*: `Table::Locks`; the list of locked users that sign-in and every request ask.
//! *Never*: a lock that is not on record first; a session of a locked user that goes on.
//! *On failure*: [`ContainmentError`]; a lock that could not be stored is in force until the gateway stops, and said
//! not to be durable.

mod ask;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{By, LONGEST, LONGEST_TEXT, is_said, key_of};
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::identity::{Criteria, Identity, SessionView};
use crate::request::Event;
use crate::store::{NEVER, Store, StoreError, Table};
use crate::telemetry::metrics as names;

pub use ask::{Ask, Whose};

/// Users locked at once; more than that is a lockdown's work.
const MOST: usize = 10_000;
/// Sessions that a listing names.
const MOST_LISTED: usize = 10_000;
/// Session fingerprints that one record names; all are ended, and counted.
const MOST_NAMED: usize = 100;
/// Why nothing, or not everything, was contained.
#[derive(Debug, thiserror::Error)]
pub enum ContainmentError {
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The trail.
    #[error("the trail: {0}")]
    Audit(#[from] AuditError),
    /// Nobody of that name is locked.
    #[error("`{0}` is not locked; `chartgate user list` names who is")]
    NotLocked(String),
    /// No such session is open.
    #[error("no such session is open; `chartgate session list` names those that are")]
    NoSession,
    /// Too many users are locked.
    #[error("{MOST} users are locked; use `chartgate lockdown` for more")]
    TooMany,
    /// A text is missing or too long.
    #[error("the {0} must have 1 to {LONGEST_TEXT} bytes")]
    Text(&'static str),
    /// The span is too long.
    #[error("a lock lasts at most 366 days; leave `--for` out to lock until further notice")]
    TooLong,
}

/// A user who is locked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The user: stable id, or name.
    pub user: String,
    /// Why.
    pub reason: String,
    /// Who locked.
    pub by: By,
    /// Since when.
    pub since: Timestamp,
    /// Until when, if not until further notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Locks and sessions.
#[derive(Debug)]
pub struct Containment {
    store: Store,
    audit: Audit,
    identity: Arc<Identity>,
    clock: SharedClock,
    // One change at a time.
    changing: Mutex<()>,
    locked: RwLock<BTreeMap<String, Lock>>,
}

impl Containment {
    /// Puts the locks that the store keeps in force.
    ///
    /// # Errors
    /// [`ContainmentError::Store`]. A gateway that does not know whom to keep out does not start.
    pub async fn load(
        store: Store,
        audit: Audit,
        identity: Arc<Identity>,
        clock: SharedClock,
    ) -> Result<Arc<Self>, ContainmentError> {
        let mut locked = BTreeMap::new();
        for (_, entry) in store.read_all(Table::Locks).await? {
            match serde_json::from_slice::<Lock>(entry.value.expose()) {
                Ok(lock) => drop(locked.insert(lock.user.clone(), lock)),
                Err(error) => tracing::error!(%error, "a stored lock cannot be read"),
            }
        }
        let containment = Self {
            store,
            audit,
            identity,
            clock,
            changing: Mutex::default(),
            locked: RwLock::new(locked),
        };
        containment.enforce();
        Ok(Arc::new(containment))
    }

    /// Locks a user out, by stable id or name, and ends the user's sessions. Says how many there were.
    ///
    /// # Errors
    /// [`ContainmentError`]. Where only the sessions' end failed, the lock is in force all the same.
    pub async fn lock_user(
        &self,
        user: &str,
        reason: &str,
        span: Option<Duration>,
        by: By,
    ) -> Result<usize, ContainmentError> {
        text("name", user)?;
        text("reason", reason)?;
        let now = self.clock.now();
        let until = match span {
            Some(span) if span > LONGEST => return Err(ContainmentError::TooLong),
            Some(span) => Some(now.saturating_add(span).unwrap_or(now)),
            None => None,
        };
        let _one = self.changing.lock().await;
        {
            let locked = self.read();
            if locked.len() >= MOST && !locked.contains_key(user) {
                return Err(ContainmentError::TooMany);
            }
        }
        let lock = Lock {
            user: user.to_owned(),
            reason: reason.to_owned(),
            by: by.clone(),
            since: now,
            until,
        };
        let mut detail = BTreeMap::from([
            ("user".to_owned(), user.to_owned()),
            ("reason".to_owned(), reason.to_owned()),
        ]);
        if let Some(until) = until {
            detail.insert("until".to_owned(), until.to_string());
        }
        by.record_in(&mut detail);
        self.audit.event(Event::UserLocked, None, detail).await?;
        // In force before it is stored: a store that is slow keeps nobody in.
        self.change(|locked| drop(locked.insert(user.to_owned(), lock.clone())));
        let stored = self.put(&lock).await;
        let ended = self.end(|session| session.is_of(user), reason, &by).await;
        stored?;
        ended
    }

    /// Lets a user in again.
    ///
    /// # Errors
    /// [`ContainmentError`].
    pub async fn unlock_user(&self, user: &str, by: By) -> Result<(), ContainmentError> {
        let _one = self.changing.lock().await;
        if !self.read().contains_key(user) {
            return Err(ContainmentError::NotLocked(user.to_owned()));
        }
        self.unlock(user, &by).await
    }

    /// Ends every session of a user, by stable id or name. Says how many there were.
    ///
    /// # Errors
    /// [`ContainmentError`].
    pub async fn end_sessions_of(
        &self,
        user: &str,
        reason: &str,
        by: &By,
    ) -> Result<usize, ContainmentError> {
        text("name", user)?;
        self.end(|session| session.is_of(user), reason, by).await
    }

    /// Ends every session that is `meant`. Says how many there were.
    ///
    /// # Errors
    /// [`ContainmentError`].
    pub async fn end_where(
        &self,
        meant: impl Fn(&SessionView) -> bool,
        reason: &str,
        by: &By,
    ) -> Result<usize, ContainmentError> {
        self.end(meant, reason, by).await
    }

    /// Ends one session, by its fingerprint.
    ///
    /// # Errors
    /// [`ContainmentError`].
    pub async fn end_session(
        &self,
        id: &str,
        reason: &str,
        by: &By,
    ) -> Result<usize, ContainmentError> {
        match self.end(|session| session.id == id, reason, by).await? {
            0 => Err(ContainmentError::NoSession),
            ended => Ok(ended),
        }
    }

    /// Ends the sessions that are meant by user, role, network and EMR. Says how many there were.
    ///
    /// # Errors
    /// [`ContainmentError`].
    pub async fn end_sessions_where(
        &self,
        criteria: &Criteria,
        reason: &str,
        by: &By,
    ) -> Result<usize, ContainmentError> {
        let meant = |session: &SessionView| criteria.mean(session);
        let open = self.identity.sessions_where(usize::MAX, meant).await?;
        let said = [("where", criteria.to_string())];
        if self.record_end(&open, reason, by, &said).await? {
            return Ok(self.identity.end_sessions(meant).await?.len());
        }
        Ok(0)
    }

    /// Ends sessions of one user, by stable id, for that user. Says how many there were.
    ///
    /// # Errors
    /// [`ContainmentError`].
    pub async fn end_own(
        &self,
        user: &str,
        meant: impl Fn(&SessionView) -> bool,
        reason: &str,
        by: &By,
    ) -> Result<usize, ContainmentError> {
        let open = self.identity.sessions_of(user).await?;
        let open: Vec<SessionView> = open.into_iter().filter(&meant).collect();
        if self.record_end(&open, reason, by, &[]).await? {
            return Ok(self.identity.end_sessions_of(user, meant).await?);
        }
        Ok(0)
    }

    /// The sessions that are open and meant; at most 10,000.
    ///
    /// # Errors
    /// [`ContainmentError::Store`].
    pub async fn sessions_where(
        &self,
        criteria: &Criteria,
    ) -> Result<Vec<SessionView>, ContainmentError> {
        let wanted = |session: &SessionView| criteria.mean(session);
        Ok(self.identity.sessions_where(MOST_LISTED, wanted).await?)
    }

    /// Ends every session there is, even of whom nobody knows: the store's epoch moves on.
    ///
    /// # Errors
    /// [`ContainmentError`].
    pub async fn end_every_session(
        &self,
        reason: &str,
        by: &By,
    ) -> Result<usize, ContainmentError> {
        text("reason", reason)?;
        let open = self.identity.sessions_where(usize::MAX, |_| true).await?;
        let count = open.len();
        let mut detail = BTreeMap::from([
            ("sessions".to_owned(), "all".to_owned()),
            ("count".to_owned(), count.to_string()),
            ("reason".to_owned(), reason.to_owned()),
        ]);
        by.record_in(&mut detail);
        self.audit
            .event(Event::SessionRevoked, None, detail)
            .await?;
        self.identity.end_every_session().await?;
        Ok(count)
    }

    /// The sessions that are open, of one user or of all; at most 10,000.
    ///
    /// # Errors
    /// [`ContainmentError::Store`].
    pub async fn sessions(&self, user: Option<&str>) -> Result<Vec<SessionView>, ContainmentError> {
        let wanted = |session: &SessionView| user.is_none_or(|user| session.is_of(user));
        Ok(self.identity.sessions_where(MOST_LISTED, wanted).await?)
    }

    /// Who is locked out, by name.
    #[must_use]
    pub fn locked(&self) -> Vec<Lock> {
        self.read().values().cloned().collect()
    }

    /// Lets in again whose lock is over. Run it regularly; a lock that is over keeps nobody out meanwhile.
    pub async fn expire(&self) {
        let now = self.clock.now();
        let over: Vec<String> = {
            let locked = self.read();
            let ends = |lock: &&Lock| lock.until.is_some_and(|until| until <= now);
            locked
                .values()
                .filter(ends)
                .map(|lock| lock.user.clone())
                .collect()
        };
        if over.is_empty() {
            return;
        }
        let _one = self.changing.lock().await;
        for user in over {
            let still = self.read().get(&user).and_then(|lock| lock.until);
            if still.is_some_and(|until| until <= now)
                && let Err(error) = self.unlock(&user, &By::Expiry).await
            {
                tracing::error!(%error, "the end of a lock is put on record later");
            }
        }
    }

    async fn unlock(&self, user: &str, by: &By) -> Result<(), ContainmentError> {
        let mut detail = BTreeMap::from([("user".to_owned(), user.to_owned())]);
        by.record_in(&mut detail);
        self.audit.event(Event::UserUnlocked, None, detail).await?;
        self.store.delete(Table::Locks, &key_of(user)).await?;
        self.change(|locked| drop(locked.remove(user)));
        Ok(())
    }

    async fn end(
        &self,
        meant: impl Fn(&SessionView) -> bool,
        reason: &str,
        by: &By,
    ) -> Result<usize, ContainmentError> {
        let open = self.identity.sessions_where(usize::MAX, &meant).await?;
        if self.record_end(&open, reason, by, &[]).await? {
            return Ok(self.identity.end_sessions(meant).await?.len());
        }
        Ok(0)
    }

    /// Puts on record that these sessions are ended; says whether there are any.
    async fn record_end(
        &self,
        open: &[SessionView],
        reason: &str,
        by: &By,
        more: &[(&str, String)],
    ) -> Result<bool, ContainmentError> {
        text("reason", reason)?;
        let Some(first) = open.first() else {
            return Ok(false);
        };
        let named: Vec<&str> = open
            .iter()
            .take(MOST_NAMED)
            .map(|s| s.id.as_str())
            .collect();
        let mut detail = BTreeMap::from([
            ("sessions".to_owned(), named.join(" ")),
            ("count".to_owned(), open.len().to_string()),
            ("user".to_owned(), first.user.clone()),
            ("name".to_owned(), first.name.clone()),
            ("reason".to_owned(), reason.to_owned()),
        ]);
        detail.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone())),
        );
        by.record_in(&mut detail);
        self.audit
            .event(Event::SessionRevoked, None, detail)
            .await?;
        Ok(true)
    }

    async fn put(&self, lock: &Lock) -> Result<(), ContainmentError> {
        self.store
            .keep(Table::Locks, &key_of(&lock.user), lock, NEVER)
            .await?;
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Lock>)) {
        change(&mut self.locked.write().unwrap_or_else(PoisonError::into_inner));
        self.enforce();
    }

    fn enforce(&self) {
        let locked = self.read();
        let until = locked.values().map(|lock| (lock.user.clone(), lock.until));
        self.identity.lock_out(until.collect());
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus numbers are floating point"
        )]
        metrics::gauge!(names::LOCKED_USERS).set(locked.len() as f64);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Lock>> {
        self.locked.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text(what: &'static str, text: &str) -> Result<(), ContainmentError> {
    is_said(text)
        .then_some(())
        .ok_or(ContainmentError::Text(what))
}
