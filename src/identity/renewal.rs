//! What the store keeps of a session beside its sign-in: the refresh token, and what the provider said last.
//!
//! A value of its own, apart from the session's: activity is written there all the time, from any copy, and would put
//! an old refresh token back in the place of the one that is good.
//!
//! SECURITY: a refresh token is used by whoever holds its claim, and read from the store after that was taken. Two
//! uses of one token look like theft to a provider that rotates, and end the session (oauth2-proxy#1992,
//! Trilium#10371).

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::SharedClock;
use crate::request::principal::{Proof, User};
use crate::secret::Secret;
use crate::store::{Durability, Insertion, Replacement, Store, StoreError, Table};

/// How long a claim holds unless it is given back: longer than the provider and the store may take together.
pub(super) const CLAIM: Duration = Duration::from_mins(1);

const VERSION: u8 = 1;

/// The sealed form in the store.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u8,
    refresh_token: Option<String>,
    nonce: String,
    read_at: Timestamp,
    user: User,
    stated: Proof,
    role_values: Vec<String>,
    id_token: String,
}

/// A refresh token, and what the provider said when it gave it or later.
#[derive(Debug, Clone)]
pub(super) struct Renewal {
    /// None where the provider gave none: nothing can be read again.
    pub(super) refresh_token: Option<Secret<String>>,
    /// The nonce of the sign-in, which a later ID token may repeat.
    pub(super) nonce: String,
    /// When user and roles were read.
    pub(super) read_at: Timestamp,
    pub(super) user: User,
    /// What the provider itself stated of the sign-in, where the gateway added to it.
    pub(super) stated: Proof,
    pub(super) role_values: Vec<String>,
    pub(super) id_token: Secret<String>,
}

impl Renewal {
    fn encode(&self) -> Result<Secret<Vec<u8>>, StoreError> {
        let stored = Stored {
            version: VERSION,
            refresh_token: self.refresh_token.as_ref().map(|t| t.expose().clone()),
            nonce: self.nonce.clone(),
            read_at: self.read_at,
            user: self.user.clone(),
            stated: self.stated.clone(),
            role_values: self.role_values.clone(),
            id_token: self.id_token.expose().clone(),
        };
        let bytes = serde_json::to_vec(&stored);
        drop(stored.refresh_token.map(Secret::new));
        drop(Secret::new(stored.id_token));
        bytes.ok().map(Secret::new).ok_or_else(|| {
            StoreError::Unavailable("what renews a session cannot be encoded".to_owned())
        })
    }

    fn decode(value: &Secret<Vec<u8>>) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(value.expose()).ok()?;
        (stored.version == VERSION).then(|| Self {
            refresh_token: stored.refresh_token.map(Secret::new),
            nonce: stored.nonce,
            read_at: stored.read_at,
            user: stored.user,
            stated: stored.stated,
            role_values: stored.role_values,
            id_token: Secret::new(stored.id_token),
        })
    }
}

/// Who may use a refresh token now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    Ours,
    /// Another process is at it.
    Theirs,
}

/// Renewals in the store, by the key of their session.
#[derive(Debug, Clone)]
pub(super) struct RenewalStore {
    store: Store,
    clock: SharedClock,
}

impl RenewalStore {
    pub(super) const fn new(store: Store, clock: SharedClock) -> Self {
        Self { store, clock }
    }

    /// Reads a renewal. One that does not open is none: it can only be signed in for anew.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Renewal>, StoreError> {
        match self.store.get(Table::Renewals, key).await {
            Ok(entry) => Ok(entry.and_then(|entry| Renewal::decode(&entry.value))),
            Err(error @ StoreError::Sealed { .. }) => {
                tracing::error!(%error, "what renews a session was passed over");
                Ok(None)
            }
            Err(error @ StoreError::Unavailable(_)) => Err(error),
        }
    }

    /// Keeps the first renewal of a session. It becomes durable with the session, which is written after it.
    pub(super) async fn keep(
        &self,
        key: &str,
        renewal: &Renewal,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        let value = renewal.encode()?;
        self.store
            .put(
                Table::Renewals,
                key,
                value.expose(),
                expires,
                Durability::Relaxed,
            )
            .await
    }

    /// Puts a renewal in the place of an earlier one: that of a session which ended meanwhile does not come back.
    pub(super) async fn replace(
        &self,
        key: &str,
        renewal: &Renewal,
        expires: Timestamp,
        durability: Durability,
    ) -> Result<Replacement, StoreError> {
        let value = renewal.encode()?;
        self.store
            .replace(Table::Renewals, key, value.expose(), expires, durability)
            .await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store.delete(Table::Renewals, key).await
    }

    /// Takes the claim to a refresh token, for [`CLAIM`] at most.
    pub(super) async fn claim(&self, key: &str) -> Result<Claim, StoreError> {
        let now = self.clock.now();
        let until = now.saturating_add(CLAIM).unwrap_or(now);
        let inserted = self
            .store
            .insert_if_absent(
                Table::Renewals,
                &claim_key(key),
                b"",
                until,
                Durability::Relaxed,
            )
            .await?;
        Ok(match inserted {
            Insertion::Stored => Claim::Ours,
            Insertion::Present => Claim::Theirs,
        })
    }

    /// Gives the claim back. One that cannot be given back ends by itself.
    pub(super) async fn give_back(&self, key: &str) {
        // Written over with one that is over, which need not wait for the disk as a deletion would.
        let now = self.clock.now();
        let over = self
            .store
            .put(
                Table::Renewals,
                &claim_key(key),
                b"",
                now,
                Durability::Relaxed,
            )
            .await;
        if let Err(error) = over {
            tracing::warn!(%error, "the claim to a refresh token ends later");
        }
    }
}

fn claim_key(key: &str) -> String {
    ["claim:", key].concat()
}
