//! Lockdown: what is taken away from everyone, an EMR, a role or a user, step by step, and given back.
//!
//! *Owns*: `Table::Lockdowns`; the levels in the policies' standing.
//! *Never*: a level that is not on record first; a live stream that goes on under a permission of before.
//! *On failure*: [`LockdownError`]; a level that could not be stored is in force until the gateway stops, and said not
//! to be durable.

mod ask;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::cases::Level as Severity;
use super::{By, LONGEST, key_of};
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::policy::decide::Policies;
use crate::policy::standing::Scope;
use crate::request::{Event, Facts};
use crate::store::{NEVER, Store, StoreError, Table};
use crate::telemetry::metrics as names;
use crate::upstream::Streams;

pub use ask::{Answer, Ask};

/// Scopes that are locked down at once.
const MOST: usize = 1_000;
/// Longest name or reason, in bytes.
const LONGEST_TEXT: usize = 1_024;
/// The highest level.
const HIGHEST: u8 = 4;
/// The zone that the shipped level 3 asks for.
const ON_SITE: &str = "on-site";

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum LockdownError {
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The trail.
    #[error("the trail: {0}")]
    Audit(#[from] AuditError),
    /// The scope is not locked down.
    #[error("{0} is not locked down; `chartgate lockdown status` names what is")]
    NotLockedDown(String),
    /// A scope names what does not exist.
    #[error("there is no {0}")]
    Unknown(String),
    /// Too many scopes.
    #[error("{MOST} scopes are locked down; lift some first")]
    TooMany,
    /// No such level.
    #[error("there is no level {0}; the levels are L0 to L4")]
    Level(u8),
    /// A text is missing or too long.
    #[error("the {0} must have 1 to {LONGEST_TEXT} bytes")]
    Text(&'static str),
    /// The span is too long.
    #[error(
        "a lockdown lasts at most 366 days; leave `--for` out to lock down until further notice"
    )]
    TooLong,
}

/// A lockdown that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lockdown {
    /// Whom it concerns.
    pub scope: Scope,
    /// 1 to 4.
    pub level: u8,
    /// Why.
    pub reason: String,
    /// Who set it.
    pub by: By,
    /// Since when.
    pub since: Timestamp,
    /// Until when, if not until further notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// All lockdowns.
#[derive(Debug)]
pub struct Lockdowns {
    store: Store,
    audit: Audit,
    policies: Arc<Policies>,
    streams: Arc<Streams>,
    /// The names of the EMRs, so that a lockdown of one that does not exist is refused.
    emrs: Vec<String>,
    clock: SharedClock,
    // One change at a time.
    changing: Mutex<()>,
    now: RwLock<BTreeMap<Scope, Lockdown>>,
}

/// What lockdowns stand on.
#[derive(Debug)]
pub struct Ground {
    /// Shared state.
    pub store: Store,
    /// The trail.
    pub audit: Audit,
    /// Where levels are put in force.
    pub policies: Arc<Policies>,
    /// Live streams.
    pub streams: Arc<Streams>,
    /// The names of the EMRs.
    pub emrs: Vec<String>,
    /// Time.
    pub clock: SharedClock,
}

impl Lockdowns {
    /// Puts the lockdowns that the store keeps in force.
    ///
    /// # Errors
    /// [`LockdownError::Store`]. A gateway that does not know what is locked down does not start.
    pub async fn load(on: Ground) -> Result<Arc<Self>, LockdownError> {
        let mut kept = BTreeMap::new();
        for (_, entry) in on.store.read_all(Table::Lockdowns).await? {
            let lockdown: Lockdown =
                serde_json::from_slice(entry.value.expose()).map_err(|error| {
                    StoreError::Unavailable(format!("a stored lockdown cannot be read: {error}"))
                })?;
            kept.insert(lockdown.scope.clone(), lockdown);
        }
        let lockdowns = Self {
            store: on.store,
            audit: on.audit,
            policies: on.policies,
            streams: on.streams,
            emrs: on.emrs,
            clock: on.clock,
            changing: Mutex::default(),
            now: RwLock::new(kept),
        };
        lockdowns.enforce();
        Ok(Arc::new(lockdowns))
    }

    /// Sets the level of a scope, for every following request; live streams that it concerns are cut.
    ///
    /// # Errors
    /// [`LockdownError`].
    pub async fn set(
        &self,
        scope: Scope,
        level: u8,
        reason: &str,
        span: Option<Duration>,
        by: By,
    ) -> Result<(), LockdownError> {
        if level > HIGHEST {
            return Err(LockdownError::Level(level));
        }
        if level == 0 {
            return self.lift(&scope, by).await;
        }
        text("reason", reason)?;
        self.check(&scope)?;
        let since = self.clock.now();
        let until = match span {
            Some(span) if span > LONGEST => return Err(LockdownError::TooLong),
            Some(span) => Some(since.saturating_add(span).unwrap_or(since)),
            None => None,
        };
        let _one = self.changing.lock().await;
        {
            let now = self.read();
            if now.len() >= MOST && !now.contains_key(&scope) {
                return Err(LockdownError::TooMany);
            }
        }
        let lockdown = Lockdown {
            scope: scope.clone(),
            level,
            reason: reason.to_owned(),
            by,
            since,
            until,
        };
        self.record(&lockdown).await?;
        // In force before it is stored: a store that is slow holds nothing open.
        self.change(|now| drop(now.insert(scope.clone(), lockdown.clone())));
        self.streams.cut_where(|facts| concerns(&scope, facts));
        self.put(&lockdown).await
    }

    /// Takes a lockdown back.
    ///
    /// # Errors
    /// [`LockdownError`].
    pub async fn lift(&self, scope: &Scope, by: By) -> Result<(), LockdownError> {
        let _one = self.changing.lock().await;
        if !self.read().contains_key(scope) {
            return Err(LockdownError::NotLockedDown(in_words(scope)));
        }
        self.remove(scope, &by).await
    }

    /// The lockdowns in force.
    #[must_use]
    pub fn in_force(&self) -> Vec<Lockdown> {
        self.read().values().cloned().collect()
    }

    /// Takes back what is over. Run it every second.
    pub async fn expire(&self) {
        let now = self.clock.now();
        let over = |lockdown: &Lockdown| lockdown.until.is_some_and(|until| until <= now);
        let scopes: Vec<Scope> = {
            let now = self.read();
            now.values()
                .filter(|lockdown| over(lockdown))
                .map(|lockdown| lockdown.scope.clone())
                .collect()
        };
        if scopes.is_empty() {
            return;
        }
        let _one = self.changing.lock().await;
        for scope in scopes {
            if self.read().get(&scope).is_some_and(over)
                && let Err(error) = self.remove(&scope, &By::Expiry).await
            {
                tracing::error!(%error, "a lockdown that is over is lifted later");
            }
        }
    }

    /// What an operator should know before relying on level 3: whether anybody is on site.
    #[must_use]
    pub fn knows_on_site(&self) -> bool {
        let active = self.policies.active();
        active
            .bundle()
            .networks()
            .zones()
            .iter()
            .any(|zone| *zone.name == *ON_SITE)
    }

    fn check(&self, scope: &Scope) -> Result<(), LockdownError> {
        let known = match scope {
            Scope::All => true,
            Scope::Emr(name) => self.emrs.contains(name),
            Scope::Role(name) => {
                let active = self.policies.active();
                active.bundle().vocabulary().roles().contains(name)
            }
            // Users are the provider's: who there is, nobody here knows.
            Scope::User(name) => return text("name", name),
        };
        if known {
            Ok(())
        } else {
            Err(LockdownError::Unknown(in_words(scope)))
        }
    }

    /// Puts a level on record, and alarms.
    async fn record(&self, lockdown: &Lockdown) -> Result<(), LockdownError> {
        let mut detail = BTreeMap::from([
            ("scope".to_owned(), in_words(&lockdown.scope)),
            ("level".to_owned(), format!("L{}", lockdown.level)),
            ("reason".to_owned(), lockdown.reason.clone()),
        ]);
        if let Some(until) = lockdown.until {
            detail.insert("until".to_owned(), until.to_string());
        }
        lockdown.by.record_in(&mut detail);
        self.audit
            .event(Event::LockdownChanged, None, detail)
            .await?;
        let severity = if lockdown.level >= 3 {
            Severity::Critical
        } else {
            Severity::High
        };
        // SECURITY: the title leaves for every receiver of alarms; who it is about, only for those who may know.
        let scope = match &lockdown.scope {
            Scope::User(_) => "a user".to_owned(),
            Scope::All | Scope::Emr(_) | Scope::Role(_) => in_words(&lockdown.scope),
        };
        let title = format!(
            "Lockdown L{} for {}: {}",
            lockdown.level, scope, lockdown.reason
        );
        let mut alarm = BTreeMap::from([
            ("rule".to_owned(), "lockdown".to_owned()),
            ("title".to_owned(), title),
            ("level".to_owned(), severity.word().to_owned()),
        ]);
        if let Scope::User(user) = &lockdown.scope {
            alarm.insert("user".to_owned(), user.clone());
        }
        self.audit.event(Event::Alarm, None, alarm).await?;
        Ok(())
    }

    async fn remove(&self, scope: &Scope, by: &By) -> Result<(), LockdownError> {
        let mut detail = BTreeMap::from([
            ("scope".to_owned(), in_words(scope)),
            ("level".to_owned(), "L0".to_owned()),
        ]);
        by.record_in(&mut detail);
        self.audit
            .event(Event::LockdownChanged, None, detail)
            .await?;
        self.store
            .delete(Table::Lockdowns, &key_of(&in_words(scope)))
            .await?;
        self.change(|now| drop(now.remove(scope)));
        Ok(())
    }

    async fn put(&self, lockdown: &Lockdown) -> Result<(), LockdownError> {
        self.store
            .keep(
                Table::Lockdowns,
                &key_of(&in_words(&lockdown.scope)),
                lockdown,
                NEVER,
            )
            .await?;
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Scope, Lockdown>)) {
        change(&mut self.now.write().unwrap_or_else(PoisonError::into_inner));
        self.enforce();
    }

    fn enforce(&self) {
        let levels: BTreeMap<Scope, u8> = {
            let now = self.read();
            now.values()
                .map(|lockdown| (lockdown.scope.clone(), lockdown.level))
                .collect()
        };
        let highest = levels.values().max().copied().unwrap_or_default();
        metrics::gauge!(names::LOCKDOWN_LEVEL).set(f64::from(highest));
        self.policies
            .restate(|standing| standing.lockdowns.clone_from(&levels));
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Scope, Lockdown>> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A scope as records, answers and people name it.
#[must_use]
pub fn in_words(scope: &Scope) -> String {
    match scope {
        Scope::All => "all".to_owned(),
        Scope::Emr(name) => format!("EMR {name}"),
        Scope::Role(name) => format!("role {name}"),
        Scope::User(name) => format!("user {name}"),
    }
}

/// Whether a live stream's permission has to be asked for again.
fn concerns(scope: &Scope, facts: &Facts) -> bool {
    facts
        .principal
        .as_ref()
        .is_none_or(|principal| scope.concerns(principal, facts.emr.as_deref()))
}

fn text(what: &'static str, text: &str) -> Result<(), LockdownError> {
    if text.trim().is_empty() || text.len() > LONGEST_TEXT {
        return Err(LockdownError::Text(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
