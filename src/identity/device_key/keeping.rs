//! The bonds of sessions in the store, and the challenges that were answered.
//!
//! A value of its own, apart from the session's: activity is written there all the time, from any copy, and would put
//! a session without a key back in the place of the one that is bound. It stays under the session's fingerprint when
//! the session gets a new token, and names the token that it is for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bond::{Bond, Challenge, Registered};
use super::key::PublicKey;
use crate::identity::session::SessionId;
use crate::secret::Secret;
use crate::store::{Durability, Insertion, Replacement, Store, StoreError, Table};

const VERSION: u8 = 1;

/// The sealed form in the store.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u8,
    /// Under which key the store has the session.
    session: String,
    secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<PublicKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

/// A bond, and under which key the store has its session.
#[derive(Debug)]
pub(in crate::identity) struct Kept {
    pub(in crate::identity) session: String,
    pub(in crate::identity) bond: Bond,
}

impl Kept {
    fn encode(session: &str, bond: &Bond) -> Result<Secret<Vec<u8>>, StoreError> {
        let registered = bond.registered.as_ref();
        let stored = Stored {
            version: VERSION,
            session: session.to_owned(),
            secret: STANDARD.encode(bond.secret.expose()),
            key: registered.map(|registered| registered.key.clone()),
            since: registered.map(|registered| registered.since),
        };
        let bytes = serde_json::to_vec(&stored);
        drop(Secret::new(stored.secret));
        bytes.ok().map(Secret::new).ok_or_else(|| {
            StoreError::Unavailable("what binds a session cannot be encoded".to_owned())
        })
    }

    fn decode(value: &Secret<Vec<u8>>) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(value.expose()).ok()?;
        let secret = Secret::new(STANDARD.decode(&stored.secret).ok()?);
        drop(Secret::new(stored.secret));
        let registered = stored.key.zip(stored.since);
        (stored.version == VERSION).then(|| Self {
            session: stored.session,
            bond: Bond {
                secret,
                registered: registered.map(|(key, since)| Registered { key, since }),
            },
        })
    }
}

/// Bonds in the store, by the fingerprint of their session.
#[derive(Debug, Clone)]
pub(in crate::identity) struct Bonds(Store);

impl Bonds {
    pub(in crate::identity) const fn new(store: Store) -> Self {
        Self(store)
    }

    /// Reads a bond. One that does not open is none, and none is good for nothing.
    pub(in crate::identity) async fn get(
        &self,
        id: &SessionId,
    ) -> Result<Option<Kept>, StoreError> {
        match self.0.get(Table::Renewals, &key(id)).await {
            Ok(entry) => Ok(entry.and_then(|entry| Kept::decode(&entry.value))),
            Err(error @ StoreError::Sealed { .. }) => {
                tracing::error!(%error, "what binds a session was passed over");
                Ok(None)
            }
            Err(error @ StoreError::Unavailable(_)) => Err(error),
        }
    }

    /// Keeps the bond of a session that opens, or that goes on under another token.
    pub(in crate::identity) async fn keep(
        &self,
        (id, session): (&SessionId, &str),
        bond: &Bond,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        let value = Kept::encode(session, bond)?;
        let value = value.expose();
        self.0
            .put(
                Table::Renewals,
                &key(id),
                value,
                expires,
                Durability::Immediate,
            )
            .await
    }

    /// Puts a bond in the place of an earlier one, durably.
    pub(in crate::identity) async fn replace(
        &self,
        (id, session): (&SessionId, &str),
        bond: &Bond,
        expires: Timestamp,
    ) -> Result<Replacement, StoreError> {
        let value = Kept::encode(session, bond)?;
        let value = value.expose();
        self.0
            .replace(
                Table::Renewals,
                &key(id),
                value,
                expires,
                Durability::Immediate,
            )
            .await
    }

    /// Forgets the bond of a session that ended.
    pub(in crate::identity) async fn delete(&self, id: &SessionId) -> Result<(), StoreError> {
        self.0.delete(Table::Renewals, &key(id)).await
    }

    /// Uses a challenge up. Of several answers to it exactly one is the first.
    pub(super) async fn use_up(&self, challenge: &Challenge<'_>) -> Result<Insertion, StoreError> {
        let name = format!("device-key/{}", challenge.digest());
        self.0
            .insert_if_absent(
                Table::Revocations,
                &name,
                b"",
                challenge.expires(),
                Durability::Immediate,
            )
            .await
    }
}

fn key(id: &SessionId) -> String {
    format!("device-key/{id}")
}
