//! The home on one machine: an embedded database in one file.
//!
//! *Owns*: the database handle.
//! *Never*: disk work on a runtime's own thread.
//! *On failure*: after an I/O error the handle is poisoned; it is dropped and opened again by the next call.

mod cells;
mod file;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use redb::{AccessGuard, Database, ReadableDatabase, ReadableTable};
use tokio::sync::Semaphore;

use self::cells::{Cells, decode, expiry, page, remove};
pub(super) use self::cells::{create_tables, definition, encode};
pub(super) use self::file::open_file;
use super::StoreError;
use super::backend::{Backend, Cell, Durability, Insertion, Replacement, SweepPage, Table};
use super::copy::NewCopy;

type Opener = dyn Fn() -> Result<Database, StoreError> + Send + Sync;

/// Calls that may be on blocking threads at once; the rest wait without a thread.
const CALLS_AT_ONCE: usize = 32;

/// The embedded database.
#[derive(Clone)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    calls: Arc<Semaphore>,
}

struct Shared {
    handle: Mutex<Option<Arc<Database>>>,
    open: Box<Opener>,
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the database at `path`; creates it, and its directory, if they are missing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be opened, or another process has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let path = path.to_owned();
        Self::with_opener(Box::new(move || open_file(&path)))
    }

    fn with_opener(open: Box<Opener>) -> Result<Self, StoreError> {
        let shared = Shared {
            handle: Mutex::new(None),
            open,
        };
        drop(shared.handle()?);
        Ok(Self {
            shared: Arc::new(shared),
            calls: Arc::new(Semaphore::new(CALLS_AT_ONCE)),
        })
    }

    fn run<T: Send + 'static>(
        &self,
        act: impl Fn(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let permit = Arc::clone(&self.calls)
                .acquire_owned()
                .await
                .map_err(|source| StoreError::Unavailable(source.to_string()))?;
            tokio::task::spawn_blocking(move || {
                let _permit = permit;
                shared.with(&act)
            })
            .await
            .unwrap_or_else(|source| Err(StoreError::Unavailable(source.to_string())))
        })
    }

    fn write<T: Send + 'static>(
        &self,
        table: Table,
        durability: Durability,
        act: impl Fn(&mut Cells<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        self.run(move |db| {
            let mut transaction = db.begin_write()?;
            transaction.set_durability(match durability {
                Durability::Immediate => redb::Durability::Immediate,
                Durability::Relaxed => redb::Durability::None,
            })?;
            let result = act(&mut transaction.open_table(definition(table))?)?;
            transaction.commit()?;
            Ok(result)
        })
    }
}

impl Shared {
    fn handle(&self) -> Result<Arc<Database>, StoreError> {
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(db) = handle.as_ref() {
            return Ok(Arc::clone(db));
        }
        let db = Arc::new((self.open)()?);
        create_tables(&db).map_err(|source| unavailable(&source))?;
        *handle = Some(Arc::clone(&db));
        Ok(db)
    }

    /// Runs `act`; once more on a fresh handle if an *earlier* call had poisoned this one, because then nothing of
    /// `act` can have happened.
    fn with<T>(&self, act: &impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let first = self.attempt(act, &self.handle()?);
        let last = match first {
            Err(redb::Error::PreviousIo) => self.attempt(act, &self.handle()?),
            result => result,
        };
        last.map_err(|source| unavailable(&source))
    }

    fn attempt<T>(
        &self,
        act: &impl Fn(&Database) -> Result<T, redb::Error>,
        db: &Arc<Database>,
    ) -> Result<T, redb::Error> {
        let result = act(db);
        if result.is_err() {
            // Whatever the error, the next call starts from what is on disk. The file is free again when the last
            // call that still uses this handle returns.
            let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
            if handle.as_ref().is_some_and(|held| Arc::ptr_eq(held, db)) {
                *handle = None;
            }
        }
        result
    }
}

fn unavailable(source: &redb::Error) -> StoreError {
    StoreError::Unavailable(source.to_string())
}

impl Backend for EmbeddedStore {
    fn get(&self, table: Table, key: String) -> BoxFuture<'_, Result<Option<Cell>, StoreError>> {
        self.run(move |db| {
            let cells = db.begin_read()?.open_table(definition(table))?;
            let found = cells.get(key.as_str())?;
            found.map(|guard| decode(guard.value())).transpose()
        })
    }

    fn put(
        &self,
        table: Table,
        key: String,
        cell: Cell,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(table, durability, move |cells| {
            cells.insert(key.as_str(), encode(&cell).as_slice())?;
            Ok(())
        })
    }

    fn insert_if_absent(
        &self,
        table: Table,
        key: String,
        cell: Cell,
        now: i64,
        durability: Durability,
    ) -> BoxFuture<'_, Result<Insertion, StoreError>> {
        self.write(table, durability, move |cells| {
            let alive = expiry(cells.get(key.as_str())?.as_ref().map(AccessGuard::value));
            if alive.is_some_and(|expires| expires > now) {
                return Ok(Insertion::Present);
            }
            cells.insert(key.as_str(), encode(&cell).as_slice())?;
            Ok(Insertion::Stored)
        })
    }

    fn replace(
        &self,
        table: Table,
        key: String,
        cell: Cell,
        now: i64,
        durability: Durability,
    ) -> BoxFuture<'_, Result<Replacement, StoreError>> {
        self.write(table, durability, move |cells| {
            let alive = expiry(cells.get(key.as_str())?.as_ref().map(AccessGuard::value));
            if alive.is_none_or(|expires| expires <= now) {
                return Ok(Replacement::Absent);
            }
            cells.insert(key.as_str(), encode(&cell).as_slice())?;
            Ok(Replacement::Replaced)
        })
    }

    fn take(&self, table: Table, key: String) -> BoxFuture<'_, Result<Option<Cell>, StoreError>> {
        self.write(table, Durability::Immediate, move |cells| {
            let found = cells.remove(key.as_str())?;
            found.map(|guard| decode(guard.value())).transpose()
        })
    }

    fn delete(&self, table: Table, key: String) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(table, Durability::Immediate, move |cells| {
            cells.remove(key.as_str())?;
            Ok(())
        })
    }

    fn scan(
        &self,
        table: Table,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Cell)>, StoreError>> {
        self.run(move |db| {
            let cells = db.begin_read()?.open_table(definition(table))?;
            page(&cells, after.as_deref(), limit)
        })
    }

    fn sweep(
        &self,
        table: Table,
        now: i64,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<SweepPage, StoreError>> {
        self.run(move |db| {
            let cells = db.begin_read()?.open_table(definition(table))?;
            let seen = page(&cells, after.as_deref(), limit)?;
            let next = (seen.len() >= limit)
                .then(|| seen.last().map(|(key, _)| key.clone()))
                .flatten();
            let expired = seen.iter().filter(|(_, cell)| cell.expires <= now);
            let removed = remove(db, table, now, expired.map(|(key, _)| key.as_str()))?;
            Ok(SweepPage { removed, next })
        })
    }

    fn copy_to(&self, path: PathBuf) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |db| {
            let from = db.begin_read()?;
            let copy = NewCopy::create(&path)?;
            for table in Table::ALL {
                let cells = from.open_table(definition(*table))?;
                copy.fill(
                    *table,
                    cells.iter()?.map(|cell| cell.map_err(redb::Error::from)),
                )?;
            }
            Ok(())
        })
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        // An empty durable commit carries every earlier relaxed one to disk.
        self.write(Table::Meta, Durability::Immediate, |_| Ok(()))
    }
}
