//! What an archive is known to hold: a value in the store for each segment that was put there and read back.
//!
//! *Never*: a segment that the archive did not prove to hold; what lies at another target.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::log::Head;
use crate::store::{NEVER, Store, StoreError, Table};

/// Digits of a target's hash that keys begin with.
const DIGITS: usize = 16;

/// A segment in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// Its place in the log.
    pub number: u64,
    /// Its id.
    pub segment: Uuid,
    /// Its first record.
    pub first: u64,
    /// Its last record.
    pub last: u64,
    /// The chain value that it ends with.
    pub head: Head,
    /// When the next one was begun.
    pub ended: Timestamp,
    /// The time of its newest record.
    pub newest: Timestamp,
    /// Its object.
    pub object: String,
    /// The object's version, where the archive has versions.
    pub version: Option<String>,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of them, hex.
    pub sha256: String,
    /// When it was read back and found to be the same.
    pub at: Timestamp,
    /// Until when the archive keeps everybody from removing it.
    pub locked_until: Timestamp,
    /// The holds on something in it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub holds: BTreeSet<u64>,
    /// Whether the archive was told of a hold.
    #[serde(default)]
    pub held: bool,
}

/// What beside age keeps a segment: the archive at one target.
#[derive(Debug, Clone)]
pub struct Shelf {
    store: Store,
    prefix: String,
}

impl Shelf {
    /// What is known of the archive at `target`.
    #[must_use]
    pub fn new(store: Store, target: &str) -> Self {
        let hash = hex::encode(digest::digest(&digest::SHA256, target.as_bytes()));
        let short = hash.get(..DIGITS).unwrap_or(&hash);
        Self {
            store,
            prefix: format!("archive/{short}/"),
        }
    }

    fn key(&self, number: u64) -> String {
        format!("{}{number:020}", self.prefix)
    }

    /// Every segment that it holds, by its place in the log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all(&self) -> Result<BTreeMap<u64, Archived>, StoreError> {
        let mut all = BTreeMap::new();
        let mut after = Some(self.prefix.clone());
        while let Some(from) = after {
            let page = self.store.scan(Table::Upkeep, Some(&from)).await?;
            after = page.next;
            for (key, entry) in page.entries {
                if !key.starts_with(&self.prefix) {
                    return Ok(all);
                }
                // What cannot be read here is not known to be there: it is archived again.
                let known = serde_json::from_slice::<Archived>(entry.value.expose()).ok();
                all.extend(known.map(|known| (known.number, known)));
            }
        }
        Ok(all)
    }

    /// Remembers that it holds this.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep(&self, archived: &Archived) -> Result<(), StoreError> {
        let key = self.key(archived.number);
        self.store.keep(Table::Upkeep, &key, archived, NEVER).await
    }

    /// Forgets it: the archive did not prove to hold it any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget(&self, number: u64) -> Result<(), StoreError> {
        self.store.delete(Table::Upkeep, &self.key(number)).await
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A segment that an archive holds.
    pub(crate) fn archived(number: u64, segment: Uuid) -> Archived {
        let time = crate::audit::fixture::time();
        Archived {
            number,
            segment,
            first: number,
            last: number,
            head: Head::ZERO,
            ended: time,
            newest: time,
            object: format!("segments/{number}"),
            version: None,
            bytes: 1,
            sha256: "00".to_owned(),
            at: time,
            locked_until: time,
            holds: BTreeSet::new(),
            held: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::archived;
    use super::*;
    use crate::audit::fixture;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn each_target_has_its_own_shelf() {
        let store = fixture::store(SystemClock::shared()).await;
        let (here, there) = (
            Shelf::new(store.clone(), "/srv/archive"),
            Shelf::new(store.clone(), "https://s3.example/archive/"),
        );
        // More than a page, and neighbours in the table.
        for number in 1..=300 {
            here.keep(&archived(number, Uuid::from_u128(7)))
                .await
                .unwrap();
        }
        for key in ["archive", "archiver"] {
            store.keep(Table::Upkeep, key, &1, NEVER).await.unwrap();
        }
        there.keep(&archived(2, Uuid::from_u128(8))).await.unwrap();
        assert_eq!(here.all().await.unwrap().len(), 300);
        assert_eq!(there.all().await.unwrap().len(), 1);
        here.forget(300).await.unwrap();
        let all = here.all().await.unwrap();
        assert_eq!(all.last_key_value().unwrap().0, &299);
    }
}
