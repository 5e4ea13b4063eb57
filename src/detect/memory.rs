//! What detection keeps over a restart, in the store.
//!
//! *Never*: a position beyond records whose alarms are not on record.

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::habits::Known;
use crate::store::{Durability, Store, StoreError, Table};

const POSITION: &str = "detect";
const NETWORKS: &str = "detect.networks.";
/// How long a network is remembered without being used.
const FORGET: SignedDuration = SignedDuration::from_hours(24 * 180);
/// Expiry of the position: it is written again and again.
const KEEP: SignedDuration = SignedDuration::from_hours(24 * 365 * 10);

/// How far detection has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// The newest record whose alarms are on record.
    pub(super) position: u64,
    /// From here on records still matter to a window.
    pub(super) replay_from: u64,
    /// What has fired: rule, group, when.
    pub(super) fired: Vec<(String, String, Timestamp)>,
}

/// The store, as detection uses it.
#[derive(Debug, Clone)]
pub(super) struct Memory(pub(super) Store);

impl Memory {
    pub(super) async fn load(&self) -> Result<Option<Saved>, StoreError> {
        let found = self.0.get(Table::Upkeep, POSITION).await?;
        Ok(found.and_then(|entry| match serde_json::from_slice(entry.value.expose()) {
            Ok(saved) => Some(saved),
            Err(error) => {
                tracing::error!(%error, "where detection was cannot be read; it goes on from now");
                None
            }
        }))
    }

    pub(super) async fn save(&self, saved: &Saved, now: Timestamp) -> Result<(), StoreError> {
        let value = serde_json::to_vec(saved).unwrap_or_default();
        let expires = now.checked_add(KEEP).unwrap_or(now);
        self.0
            .put(
                Table::Upkeep,
                POSITION,
                &value,
                expires,
                Durability::Immediate,
            )
            .await
    }

    pub(super) async fn networks(&self) -> Result<Vec<Known>, StoreError> {
        let mut known = Vec::new();
        let mut after = Some(NETWORKS.to_owned());
        while let Some(from) = after {
            let page = self.0.scan(Table::Upkeep, Some(&from)).await?;
            after = page.next;
            for (key, entry) in page.entries {
                if !key.starts_with(NETWORKS) {
                    return Ok(known);
                }
                known.extend(serde_json::from_slice::<Known>(entry.value.expose()).ok());
            }
        }
        Ok(known)
    }

    pub(super) async fn learn(&self, known: &[Known], now: Timestamp) -> Result<(), StoreError> {
        let expires = now.checked_add(FORGET).unwrap_or(now);
        for known in known {
            // Keys are in clear in the store.
            let hash = digest::digest(&digest::SHA256, known.user.as_bytes());
            let key = format!("{NETWORKS}{}", hex::encode(hash));
            let value = serde_json::to_vec(known).unwrap_or_default();
            self.0
                .put(Table::Upkeep, &key, &value, expires, Durability::Relaxed)
                .await?;
        }
        Ok(())
    }
}
