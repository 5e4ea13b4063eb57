//! Shared state behind one contract: small values by table and key, sealed one by one.
//!
//! *Owns*: sessions, login state, revocations, EMR session bindings; the epoch that they live in.
//! *Never*: a value in clear on disk, a token as a key (callers hash first), "not found" for "unreachable".
//! *On failure*: [`StoreError`]; the caller refuses with `CG-6002`.

pub mod backend;
mod copy;
pub mod embedded;
pub mod memory;
pub mod remembered;
mod seal;

#[cfg(test)]
mod conformance;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;

use crate::clock::SharedClock;
use crate::secret::Secret;

pub use backend::{Backend, Durability, Insertion, Replacement, Table};
use backend::{Cell, SweepPage};
pub use copy::end_sessions;
use embedded::EmbeddedStore;
pub use memory::MemoryStore;
use seal::Sealer;

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or its file cannot be read or written.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A value does not open under its key: damaged, moved, or sealed with another key.
    #[error("a value in table {table} cannot be opened")]
    Sealed {
        /// The table.
        table: &'static str,
    },
}

/// A value with the time after which it is gone.
#[derive(Debug)]
pub struct Entry {
    /// The value; wiped from memory when dropped.
    pub value: Secret<Vec<u8>>,
    /// It is never returned at or after this time.
    pub expires: Timestamp,
}

/// A bounded part of a table.
#[derive(Debug)]
pub struct Page {
    /// Keys and values, in key order.
    pub entries: Vec<(String, Entry)>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<String>,
}

/// The store: cheap to clone, all clones share one home.
///
/// Every operation answers within [`Store::DEADLINE`] or fails as unavailable; a write that fails that way may or may
/// not have happened.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    backend: Box<dyn Backend>,
    sealer: Sealer,
    clock: SharedClock,
    epoch: AtomicU64,
    // Whether relaxed writes wait for the next durable commit.
    relaxed: AtomicBool,
}

/// SHA-256 of several parts, for keys: values must not be told from keys. Each part is hashed with its length first, so
/// that no two splits of the same bytes are alike.
#[must_use]
pub fn digest_of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        context.update(&length.to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    digest
}

const EPOCH: &str = "epoch";
/// Expiry of what never expires: within the range that survives as milliseconds, which `Timestamp::MAX` does not.
pub const NEVER: Timestamp = Timestamp::constant(250_000_000_000, 0);

impl Store {
    /// The longest that one operation may take.
    pub const DEADLINE: Duration = Duration::from_secs(2);
    /// The longest that a copy of everything may take.
    pub const COPY_DEADLINE: Duration = Duration::from_mins(30);
    /// The most entries that one step of a scan or sweep looks at.
    pub const PAGE: usize = 256;

    /// Opens the embedded home: a database file, readable by its owner only, created if it is missing.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be opened or was sealed with another key.
    pub async fn embedded(
        path: &Path,
        master: &Secret<Vec<u8>>,
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        Self::embedded_with(path, std::slice::from_ref(master), clock).await
    }

    /// The same where the key was rotated: values are sealed under the first, and open under each.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be opened or was sealed with another key.
    pub async fn embedded_with(
        path: &Path,
        keys: &[Secret<Vec<u8>>],
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        Self::open_with(Box::new(EmbeddedStore::open(path)?), keys, clock).await
    }

    /// Opens the store in the home `backend`, with values sealed under a key derived from `master`.
    ///
    /// # Errors
    /// [`StoreError`] when the home does not answer or was sealed with another key.
    pub async fn open(
        backend: Box<dyn Backend>,
        master: &Secret<Vec<u8>>,
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        Self::open_with(backend, std::slice::from_ref(master), clock).await
    }

    async fn open_with(
        backend: Box<dyn Backend>,
        keys: &[Secret<Vec<u8>>],
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        let store = Self {
            inner: Arc::new(Inner {
                backend,
                sealer: Sealer::new(keys)?,
                clock,
                epoch: AtomicU64::new(0),
                relaxed: AtomicBool::new(false),
            }),
        };
        // SECURITY: a store sealed with another key does not open at all, instead of looking empty.
        if let Some(entry) = store.get(Table::Meta, EPOCH).await? {
            let bytes = <[u8; 8]>::try_from(entry.value.expose().as_slice());
            let epoch = bytes.ok().ok_or(StoreError::Sealed {
                table: Table::Meta.name(),
            })?;
            store
                .inner
                .epoch
                .store(u64::from_be_bytes(epoch), Ordering::Release);
        } else {
            store.write_epoch(1).await?;
        }
        Ok(store)
    }

    /// The epoch: what was written to sessions, logins and bindings in another one does not exist any more.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.inner.epoch.load(Ordering::Acquire)
    }

    /// Ends every session, login and binding at once, durably: nothing that was revoked comes back with a backup.
    ///
    /// # Errors
    /// [`StoreError`] when the new epoch could not be made durable; the old one is then still in force.
    pub async fn bump_epoch(&self) -> Result<u64, StoreError> {
        let next = self.epoch().wrapping_add(1);
        self.write_epoch(next).await?;
        Ok(next)
    }

    async fn write_epoch(&self, epoch: u64) -> Result<(), StoreError> {
        let value = epoch.to_be_bytes();
        self.put(Table::Meta, EPOCH, &value, NEVER, Durability::Immediate)
            .await?;
        self.inner.epoch.store(epoch, Ordering::Release);
        Ok(())
    }

    /// Reads a value. `None` means that there is none; a store that cannot tell says so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, table: Table, key: &str) -> Result<Option<Entry>, StoreError> {
        let found = self
            .within(self.inner.backend.get(table, key.to_owned()))
            .await?;
        self.unseal(table, key, found)
    }

    /// Writes a value, in place of any other under this key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put(
        &self,
        table: Table,
        key: &str,
        value: &[u8],
        expires: Timestamp,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let cell = self.seal(table, key, value, expires)?;
        self.note(durability);
        self.within(
            self.inner
                .backend
                .put(table, key.to_owned(), cell, durability),
        )
        .await
    }

    /// Writes a value as JSON, to stay until it is over or for good, and returns once it is durable.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep<T: serde::Serialize + Sync>(
        &self,
        table: Table,
        key: &str,
        value: &T,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        let value = serde_json::to_vec(value).map_err(|error| {
            StoreError::Unavailable(format!("a value cannot be encoded: {error}"))
        })?;
        self.put(table, key, &value, expires, Durability::Immediate)
            .await
    }

    /// Writes a value only where there is none. Of several concurrent calls exactly one stores.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_if_absent(
        &self,
        table: Table,
        key: &str,
        value: &[u8],
        expires: Timestamp,
        durability: Durability,
    ) -> Result<Insertion, StoreError> {
        let cell = self.seal(table, key, value, expires)?;
        let now = self.inner.clock.now().as_millisecond();
        self.note(durability);
        let write =
            self.inner
                .backend
                .insert_if_absent(table, key.to_owned(), cell, now, durability);
        self.within(write).await
    }

    /// Writes a value only in place of another: what was deleted in the meantime does not come back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn replace(
        &self,
        table: Table,
        key: &str,
        value: &[u8],
        expires: Timestamp,
        durability: Durability,
    ) -> Result<Replacement, StoreError> {
        let cell = self.seal(table, key, value, expires)?;
        let now = self.inner.clock.now().as_millisecond();
        self.note(durability);
        let write = self
            .inner
            .backend
            .replace(table, key.to_owned(), cell, now, durability);
        self.within(write).await
    }

    /// Reads and deletes a value in one step. Of several concurrent calls exactly one gets it.
    ///
    /// # Errors
    /// [`StoreError`]; the value may then be gone.
    pub async fn take(&self, table: Table, key: &str) -> Result<Option<Entry>, StoreError> {
        let found = self
            .within(self.inner.backend.take(table, key.to_owned()))
            .await?;
        self.unseal(table, key, found)
    }

    /// Deletes a value, durably. It is no error if there is none.
    ///
    /// # Errors
    /// [`StoreError`]; the value may then still be there.
    pub async fn delete(&self, table: Table, key: &str) -> Result<(), StoreError> {
        self.within(self.inner.backend.delete(table, key.to_owned()))
            .await
    }

    /// Reads a part of a table, from `after` on. A value that does not open is left out and logged.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn scan(&self, table: Table, after: Option<&str>) -> Result<Page, StoreError> {
        let read = self
            .inner
            .backend
            .scan(table, after.map(ToOwned::to_owned), Self::PAGE);
        let cells = self.within(read).await?;
        let next = (cells.len() >= Self::PAGE)
            .then(|| cells.last().map(|(key, _)| key.clone()))
            .flatten();
        let mut entries = Vec::with_capacity(cells.len());
        for (key, cell) in cells {
            match self.unseal(table, &key, Some(cell)) {
                Ok(Some(entry)) => entries.push((key, entry)),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "a stored value was passed over");
                }
            }
        }
        Ok(Page { entries, next })
    }

    /// Reads a whole table: for what its owner keeps in memory anyway.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn read_all(&self, table: Table) -> Result<Vec<(String, Entry)>, StoreError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.scan(table, after.as_deref()).await?;
            all.extend(page.entries);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Writes a copy of everything, as it was at one moment, to a new file at `path`: what a backup takes. Values stay
    /// sealed as they are.
    ///
    /// # Errors
    /// [`StoreError`], also when it takes longer than [`Store::COPY_DEADLINE`]; a file that was begun is then no copy.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let copied = self.inner.backend.copy_to(path.to_owned());
        tokio::time::timeout(Self::COPY_DEADLINE, copied)
            .await
            .unwrap_or_else(|_elapsed| {
                Err(StoreError::Unavailable(
                    "the copy was not done within the deadline".to_owned(),
                ))
            })
    }

    /// Seals every value afresh under the first key; nobody else may have the store open. Returns how many. Interrupted,
    /// it leaves values under both keys, which both open, and can be run again.
    ///
    /// # Errors
    /// [`StoreError`], also for a value that no key opens.
    pub async fn reseal(&self) -> Result<u64, StoreError> {
        let mut done = 0_u64;
        for table in Table::ALL {
            let mut after: Option<String> = None;
            loop {
                let read = self.inner.backend.scan(*table, after.take(), Self::PAGE);
                let cells = self.within(read).await?;
                let full = cells.len() >= Self::PAGE;
                for (key, cell) in cells {
                    let (epoch, entry) = self.inner.sealer.open(*table, &key, &cell)?;
                    let value = entry.value.expose();
                    let fresh =
                        self.inner
                            .sealer
                            .seal(*table, &key, epoch, value, entry.expires)?;
                    self.note(Durability::Relaxed);
                    let put =
                        self.inner
                            .backend
                            .put(*table, key.clone(), fresh, Durability::Relaxed);
                    self.within(put).await?;
                    done = done.saturating_add(1);
                    after = Some(key);
                }
                if !full {
                    break;
                }
            }
        }
        self.within(self.inner.backend.sync()).await?;
        Ok(done)
    }

    /// Removes what has expired, in bounded steps, and makes relaxed writes durable. Returns how many were removed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        let now = self.inner.clock.now().as_millisecond();
        let mut removed = 0_u64;
        for table in Table::ALL {
            let mut after = None;
            loop {
                let step = self
                    .inner
                    .backend
                    .sweep(*table, now, after.take(), Self::PAGE);
                let SweepPage { removed: n, next } = self.within(step).await?;
                removed = removed.saturating_add(n);
                match next {
                    Some(key) => after = Some(key),
                    None => break,
                }
            }
        }
        if self.inner.relaxed.swap(false, Ordering::AcqRel)
            && let Err(error) = self.within(self.inner.backend.sync()).await
        {
            self.inner.relaxed.store(true, Ordering::Release);
            return Err(error);
        }
        Ok(removed)
    }

    fn note(&self, durability: Durability) {
        match durability {
            Durability::Relaxed => self.inner.relaxed.store(true, Ordering::Release),
            Durability::Immediate => {}
        }
    }

    async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout(Self::DEADLINE, call)
            .await
            .unwrap_or_else(|_elapsed| {
                Err(StoreError::Unavailable(
                    "no answer within the deadline".to_owned(),
                ))
            })
    }

    fn seal(
        &self,
        table: Table,
        key: &str,
        value: &[u8],
        expires: Timestamp,
    ) -> Result<Cell, StoreError> {
        let epoch = if table.ends_with_epoch() {
            self.epoch()
        } else {
            0
        };
        self.inner.sealer.seal(table, key, epoch, value, expires)
    }

    fn unseal(
        &self,
        table: Table,
        key: &str,
        found: Option<Cell>,
    ) -> Result<Option<Entry>, StoreError> {
        let Some(cell) = found else { return Ok(None) };
        if cell.expires <= self.inner.clock.now().as_millisecond() {
            return Ok(None);
        }
        let (epoch, entry) = self.inner.sealer.open(table, key, &cell)?;
        Ok((!table.ends_with_epoch() || epoch == self.epoch()).then_some(entry))
    }
}
