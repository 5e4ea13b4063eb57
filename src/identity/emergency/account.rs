//! Sealed accounts in the store.
//!
//! *Never*: what an envelope holds, only a fingerprint of it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::factor::codes::{Code, Envelope, Fingerprint, Good};
use crate::store::{Durability, Store, StoreError, Table};

/// A sealed account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) name: String,
    /// Where its envelopes lie.
    pub(super) place: String,
    /// The values of a role claim that it has (`roles.toml` maps them).
    pub(super) groups: Vec<String>,
    first: Fingerprint,
    second: Fingerprint,
    pub(super) sealed: Timestamp,
    /// The operator who sealed it.
    pub(super) by: String,
    /// When its envelopes were first used to sign in.
    pub(super) used: Option<Timestamp>,
    pub(super) tested: Option<Timestamp>,
}

/// What is sealed into the envelopes.
pub(super) struct Halves {
    pub(super) first: Code,
    pub(super) second: Code,
}

impl Halves {
    fn print(&self, envelope: Envelope, name: &str) -> Fingerprint {
        let code = match envelope {
            Envelope::First => &self.first,
            Envelope::Second => &self.second,
        };
        code.fingerprint(Good::Envelope(envelope), name)
    }
}

impl Account {
    pub(super) fn seal(
        (name, place, groups): (&str, &str, &[String]),
        halves: &Halves,
        (by, now): (&str, Timestamp),
    ) -> Self {
        Self {
            name: name.to_owned(),
            place: place.to_owned(),
            groups: groups.to_vec(),
            first: halves.print(Envelope::First, name),
            second: halves.print(Envelope::Second, name),
            sealed: now,
            by: by.to_owned(),
            used: None,
            tested: None,
        }
    }

    /// SECURITY: both are compared, whatever the first comparison says.
    pub(super) fn opens_with(&self, halves: &Halves) -> bool {
        let first = self.first.is(&halves.print(Envelope::First, &self.name));
        let second = self.second.is(&halves.print(Envelope::Second, &self.name));
        first & second
    }

    /// Whether it was used so long ago that it has to be sealed anew.
    pub(super) fn is_spent(&self, now: Timestamp, usable_for: Duration) -> bool {
        self.used
            .is_some_and(|used| now.duration_since(used).unsigned_abs() >= usable_for)
    }

    pub(super) async fn load(store: &Store, name: &str) -> Result<Option<Self>, StoreError> {
        let entry = store.get(Table::Emergency, name).await?;
        Ok(entry.and_then(|entry| decode(entry.value.expose())))
    }

    pub(super) async fn all(store: &Store) -> Result<Vec<Self>, StoreError> {
        let entries = store.read_all(Table::Emergency).await?;
        let accounts = entries.iter();
        Ok(accounts
            .filter_map(|(_, entry)| decode(entry.value.expose()))
            .collect())
    }

    pub(super) async fn keep(&self, store: &Store) -> Result<(), StoreError> {
        let value =
            serde_json::to_vec(self).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let (table, durability) = (Table::Emergency, Durability::Immediate);
        store
            .put(table, &self.name, &value, Timestamp::MAX, durability)
            .await
    }

    pub(super) async fn remove(store: &Store, name: &str) -> Result<(), StoreError> {
        store.delete(Table::Emergency, name).await
    }
}

fn decode(value: &[u8]) -> Option<Account> {
    let read = serde_json::from_slice(value);
    read.inspect_err(|error| tracing::error!(%error, "a sealed account cannot be read"))
        .ok()
}

/// Whether `text` can name a sealed account: as providers are named.
pub(super) fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(fits)
}
