//! What is kept of each user beside their sessions: the last sign-in, what failed since, and which sessions they have.
//!
//! *Owns*: `Table::Visits`, one small value for each user, by a hash of the stable id.
//! *Never*: anything for someone whom no provider vouched for, so strangers make nothing grow.
//! *On failure*: [`StoreError`]; a sign-in that cannot be counted is refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use super::origin::Origin;
use crate::clock::SharedClock;
use crate::request::{Device, Notice};
use crate::store::{Durability, Store, StoreError, Table};

/// How long after a sign-in its user is told of the one before.
pub(super) const WELCOME: SignedDuration = SignedDuration::from_secs(60);
/// A user who has not signed in for this long is forgotten.
const KEPT: Duration = Duration::from_hours(400 * 24);
/// Most sessions of one user that are listed. A limit per user is never above this.
const MOST: usize = 64;
/// Users are counted one after the other in each of so many lanes.
const LANES: usize = 64;

/// A sign-in, or an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Visit {
    /// When.
    pub(super) at: Timestamp,
    /// From which address.
    pub(super) address: Option<IpAddr>,
    /// From which device.
    pub(super) device: Device,
}

impl Visit {
    fn from(&self) -> String {
        let address = self.address.map(|address| address.to_string());
        let address = address.unwrap_or_else(|| "an unknown address".to_owned());
        format!("{address} ({})", self.device)
    }
}

/// What a user is told after a sign-in (NIST SP 800-53 AC-9).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Welcome {
    /// The sign-in before.
    pub(super) last: Option<Visit>,
    /// Attempts since then that failed here after the provider had vouched for the user.
    pub(super) failed: u32,
    /// Whether pages go on without it: the session was opened before, and was confirmed or unlocked.
    #[serde(default)]
    pub(super) is_old: bool,
}

impl Welcome {
    /// The same where the session goes on under a new token.
    pub(super) fn kept(&self) -> Self {
        Self {
            is_old: true,
            ..self.clone()
        }
    }

    pub(super) fn notice(&self) -> Notice {
        let last = self.last.as_ref();
        Notice::SignedIn {
            last: last.map(|visit| (visit.at, Arc::from(visit.from()))),
            failed: self.failed,
        }
    }
}

/// A session that was opened, and is over or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Its fingerprint, which a step-up does not change.
    pub(super) id: String,
    /// Its key in the store.
    pub(super) key: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    version: u8,
    last: Option<Visit>,
    failed: u32,
    /// In the order in which they were opened.
    sessions: Vec<Kept>,
}

const VERSION: u8 = 1;

/// What is kept of users.
#[derive(Debug)]
pub(super) struct Visits {
    store: Store,
    clock: SharedClock,
    // One lane's users sign in one after the other, so that no two of one user pass the limit side by side.
    lanes: Vec<Mutex<()>>,
}

/// A user who is signing in. Nobody else does under the same name while this exists.
#[derive(Debug)]
#[must_use]
pub(super) struct Entering<'v> {
    visits: &'v Visits,
    key: String,
    record: Record,
    _lane: Option<MutexGuard<'v, ()>>,
}

impl Visits {
    pub(super) fn new(store: Store, clock: SharedClock) -> Self {
        Self {
            store,
            clock,
            lanes: (0..LANES).map(|_| Mutex::default()).collect(),
        }
    }

    /// Waits for the user's turn and reads what is kept.
    pub(super) async fn enter(&self, user: &str) -> Result<Entering<'_>, StoreError> {
        let digest = digest(&SHA256, user.as_bytes());
        let first = digest.as_ref().first().copied().unwrap_or_default();
        let lane = match self.lanes.get(usize::from(first) % LANES) {
            Some(lane) => Some(lane.lock().await),
            None => None,
        };
        let key = hex::encode(digest);
        let record = self.read(&key).await?;
        Ok(Entering {
            visits: self,
            key,
            record,
            _lane: lane,
        })
    }

    /// The sessions that a user opened, newest last, as far as they are kept; some may be over.
    pub(super) async fn sessions_of(&self, user: &str) -> Result<Vec<Kept>, StoreError> {
        let key = hex::encode(digest(&SHA256, user.as_bytes()));
        Ok(self.read(&key).await?.sessions)
    }

    async fn read(&self, key: &str) -> Result<Record, StoreError> {
        let entry = match self.store.get(Table::Visits, key).await {
            Ok(entry) => entry,
            Err(error @ StoreError::Sealed { .. }) => {
                // What is damaged is kept anew; it is no reason to keep anyone out for good.
                tracing::error!(%error, "what was kept of a user was passed over");
                None
            }
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
        };
        let record =
            entry.and_then(|entry| serde_json::from_slice::<Record>(entry.value.expose()).ok());
        Ok(record
            .filter(|record| record.version == VERSION)
            .unwrap_or_default())
    }
}

impl Entering<'_> {
    /// The sessions that the user opened, oldest first.
    pub(super) fn sessions(&self) -> &[Kept] {
        &self.record.sessions
    }

    /// Whether no more are listed without one being left out.
    pub(super) fn is_full(&self) -> bool {
        self.record.sessions.len() >= MOST
    }

    /// Leaves out sessions that are over.
    pub(super) fn keep_only(&mut self, open: impl Fn(&Kept) -> bool) {
        self.record.sessions.retain(open);
    }

    /// A session of theirs goes on under another key.
    pub(super) async fn rename(&mut self, session: Kept) -> Result<(), StoreError> {
        self.record.sessions.retain(|kept| kept.id != session.id);
        self.record.sessions.push(session);
        self.write().await
    }

    /// They are in, from `origin`: what they have to be told of before.
    pub(super) async fn succeed(
        &mut self,
        origin: &Origin,
        session: Kept,
    ) -> Result<Welcome, StoreError> {
        let visit = Visit {
            at: self.visits.clock.now(),
            address: origin.address,
            device: origin.device.clone(),
        };
        let welcome = Welcome {
            last: self.record.last.replace(visit),
            failed: std::mem::take(&mut self.record.failed),
            is_old: false,
        };
        self.record.sessions.push(session);
        let over = self.record.sessions.len().saturating_sub(MOST);
        self.record.sessions.drain(..over);
        self.write().await?;
        Ok(welcome)
    }

    /// They were vouched for, and not let in.
    pub(super) async fn fail(mut self) -> Result<(), StoreError> {
        self.record.failed = self.record.failed.saturating_add(1);
        self.write().await
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        self.record.version = VERSION;
        let value = serde_json::to_vec(&self.record).map_err(|error| {
            StoreError::Unavailable(format!("what is kept of a user cannot be encoded: {error}"))
        })?;
        let now = self.visits.clock.now();
        let expires = now.saturating_add(KEPT).unwrap_or(now);
        // Durable with the session that follows.
        let (table, durability) = (Table::Visits, Durability::Relaxed);
        self.visits
            .store
            .put(table, &self.key, &value, expires, durability)
            .await
    }
}
