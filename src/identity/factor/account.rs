//! What is kept of one account: its authenticators, its recovery codes, and the count of its wrong tries.
//!
//! *Owns*: `Table::Factors`. *Never*: two changes of one account at a time; a count that a restart forgets.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;
use webauthn_rs::prelude::Passkey;

use super::codes::{Code, Fingerprint, Good};
use super::totp::TotpKey;
use crate::config::second_factor::{FactorMethod, SecondFactor};
use crate::identity::token::NoRandomness;
use crate::secret::Secret;
use crate::store::{Durability, NEVER, Store, StoreError, Table, digest_of};

/// Accounts that are changed at the same time, at most.
const SHARDS: usize = 64;
/// Recovery codes of one account.
pub(super) const RECOVERY_CODES: usize = 10;
/// The longest lock, whatever the number of locks before it.
const LONGEST_LOCK: Duration = Duration::from_hours(24);
const VERSION: u8 = 1;

/// One account's second factors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::identity) struct Account {
    version: u8,
    /// The user's stable id, `issuer|sub`.
    pub(super) id: String,
    /// The user's name when they enrolled.
    pub(super) name: String,
    /// `WebAuthn`'s user handle: random, so that an authenticator that is found names nobody (§14.6.1). A new one after
    /// each reset: what was proven before it does not count after it.
    pub(super) handle: Uuid,
    pub(super) authenticators: Vec<Authenticator>,
    /// Recovery codes that were not used yet.
    pub(super) recovery: Vec<Fingerprint>,
    /// Wrong tries since the last success or lock, of every kind together.
    pub(super) failures: u32,
    /// Locks since the last success.
    pub(super) locks: u32,
    pub(super) locked_until: Option<Timestamp>,
}

/// One authenticator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Authenticator {
    /// Random; names it in forms and records.
    pub(super) id: String,
    /// What the user calls it.
    pub(super) name: String,
    pub(super) added: Timestamp,
    pub(super) last_used: Option<Timestamp>,
    /// Since when it is not accepted any more, because there may be a copy of it.
    pub(super) suspended: Option<Timestamp>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Kind {
    Totp {
        key: TotpKey,
        /// The newest step that was used.
        last_step: u64,
    },
    Passkey {
        /// The domain that it belongs to.
        rp_id: String,
        credential: Box<Passkey>,
        /// The newest signature count; 0 for authenticators that do not count.
        sign_count: u32,
    },
}

impl Authenticator {
    pub(super) const fn method(&self) -> FactorMethod {
        match self.kind {
            Kind::Totp { .. } => FactorMethod::Totp,
            Kind::Passkey { .. } => FactorMethod::Passkey,
        }
    }

    /// Whether it is accepted at all.
    pub(super) fn counts(&self, settings: &SecondFactor) -> bool {
        self.suspended.is_none() && settings.methods.contains(&self.method())
    }
}

impl Account {
    /// An account without authenticators.
    pub(super) fn new(id: String, name: String) -> Result<Self, NoRandomness> {
        let mut handle = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut handle)
            .ok()
            .ok_or(NoRandomness)?;
        Ok(Self {
            version: VERSION,
            id,
            name,
            handle: uuid::Builder::from_random_bytes(handle).into_uuid(),
            authenticators: Vec::new(),
            recovery: Vec::new(),
            failures: 0,
            locks: 0,
            locked_until: None,
        })
    }

    /// Until when nothing is tried.
    pub(super) fn locked(&self, now: Timestamp) -> Option<Timestamp> {
        self.locked_until.filter(|until| now < *until)
    }

    /// Counts a wrong try; says until when the account is locked, where this one locked it.
    pub(super) fn fail(&mut self, settings: &SecondFactor, now: Timestamp) -> Option<Timestamp> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < settings.max_failures {
            return None;
        }
        let factor = 1_u32.checked_shl(self.locks.min(16)).unwrap_or(u32::MAX);
        let span = settings.lockout.saturating_mul(factor).min(LONGEST_LOCK);
        let until = now.saturating_add(span).unwrap_or(now);
        self.failures = 0;
        self.locks = self.locks.saturating_add(1);
        self.locked_until = Some(until);
        Some(until)
    }

    /// A success ends the count.
    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.locks = 0;
        self.locked_until = None;
    }

    /// Gives new recovery codes in place of those before; they are readable here and never again.
    pub(super) fn renew_recovery(&mut self) -> Result<Vec<Code>, NoRandomness> {
        let codes = (0..RECOVERY_CODES)
            .map(|_| Code::generate())
            .collect::<Result<Vec<_>, _>>()?;
        let owner = self.handle.to_string();
        let prints = codes
            .iter()
            .map(|code| code.fingerprint(Good::Recovery, &owner));
        self.recovery = prints.collect();
        Ok(codes)
    }

    /// Uses a recovery code up; says whether it was one.
    pub(super) fn use_recovery(&mut self, code: &Code) -> bool {
        let print = code.fingerprint(Good::Recovery, &self.handle.to_string());
        let before = self.recovery.len();
        self.recovery.retain(|kept| !kept.is(&print));
        self.recovery.len() < before
    }
}

/// Every account.
#[derive(Debug)]
pub(super) struct Accounts {
    store: Store,
    // A replica that shared the store would need a conditional write here; the embedded store has one process.
    changing: Vec<Mutex<()>>,
}

impl Accounts {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            changing: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// Holds an account for a change from its reading to its writing.
    pub(super) async fn hold(&self, id: &str) -> Result<MutexGuard<'_, ()>, StoreError> {
        let [first, ..] = digest("shard", id);
        let shard = usize::from(first) % SHARDS;
        let lock = self.changing.get(shard).ok_or(UNREADABLE)?;
        Ok(lock.lock().await)
    }

    /// Reads an account.
    pub(super) async fn load(&self, id: &str) -> Result<Option<Account>, StoreError> {
        let Some(entry) = self.store.get(Table::Factors, &account_key(id)).await? else {
            return Ok(None);
        };
        // SECURITY: an account that cannot be read is not one that has nothing enrolled.
        decode(entry.value.expose())
            .filter(|account| account.id == id)
            .map(Some)
            .ok_or(UNREADABLE)
    }

    /// Writes an account, durably.
    pub(super) async fn save(&self, account: &Account) -> Result<(), StoreError> {
        let value = serde_json::to_vec(account).map(Secret::new);
        let value = value.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let key = account_key(&account.id);
        let durable = Durability::Immediate;
        self.store
            .put(Table::Factors, &key, value.expose(), NEVER, durable)
            .await
    }

    /// Forgets an account.
    pub(super) async fn delete(&self, id: &str) -> Result<(), StoreError> {
        self.store.delete(Table::Factors, &account_key(id)).await
    }
}

/// Reads the stored form; `None` for what this version did not write.
pub(super) fn decode(bytes: &[u8]) -> Option<Account> {
    let account: Account = serde_json::from_slice(bytes).ok()?;
    (account.version == VERSION).then_some(account)
}

const UNREADABLE: StoreError = StoreError::Sealed {
    table: Table::Factors.name(),
};

/// What keys of accounts begin with.
pub(super) const ACCOUNT: &str = "account:";

fn account_key(id: &str) -> String {
    format!("{ACCOUNT}{}", hex::encode(digest("account", id)))
}

/// Where an invitation for someone lies.
pub(super) fn invitation_key(user: &str) -> String {
    format!("invitation:{}", hex::encode(digest("invitation", user)))
}

/// Names do not stand in clear on the disk.
fn digest(purpose: &str, name: &str) -> [u8; 32] {
    digest_of(["chartgate second factor", purpose, name].map(str::as_bytes))
}
