//! The home on one machine: an embedded database in one file.
//!
//! *Owns*: the database handle and its file (mode 0600, in a directory of mode 0700).
//! *Never*: disk work on a runtime's own thread.
//! *On failure*: after an I/O error the handle is poisoned; it is dropped and opened again by the next call.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use redb::backends::FileBackend;
use redb::{
    AccessGuard, Database, ReadableDatabase, ReadableTable, Table as OpenTable, TableDefinition,
    WriteTransaction,
};
use tokio::sync::Semaphore;

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

type Cells<'t> = OpenTable<'t, &'static str, &'static [u8]>;

pub(super) const fn definition(
    table: Table,
) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(table.name())
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

pub(super) fn create_tables(db: &Database) -> Result<(), redb::Error> {
    let transaction: WriteTransaction = db.begin_write()?;
    for table in Table::ALL {
        transaction.open_table(definition(*table))?;
    }
    transaction.commit()?;
    Ok(())
}

pub(super) fn open_file(path: &Path) -> Result<Database, StoreError> {
    let failed = |source: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!("{}: {source}", path.display()))
    };
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| failed(&source))?;
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| failed(&source))?;
    // SECURITY: a copy put back from a backup may have come with the permissions of the backup.
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(|source| failed(&source))?;
    let backend = FileBackend::new(file).map_err(|source| failed(&source))?;
    Database::builder()
        .create_with_backend(backend)
        .map_err(|source| failed(&source))
}

fn unavailable(source: &redb::Error) -> StoreError {
    StoreError::Unavailable(source.to_string())
}

pub(super) fn encode(cell: &Cell) -> Vec<u8> {
    let mut bytes = cell.expires.to_be_bytes().to_vec();
    bytes.extend_from_slice(&cell.sealed);
    bytes
}

fn decode(bytes: &[u8]) -> Result<Cell, redb::Error> {
    let (expires, sealed) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| redb::Error::Corrupted("a cell is shorter than its expiry".to_owned()))?;
    Ok(Cell {
        expires: i64::from_be_bytes(*expires),
        sealed: sealed.to_vec(),
    })
}

fn expiry(bytes: Option<&[u8]>) -> Option<i64> {
    let (expires, _) = bytes?.split_first_chunk::<8>()?;
    Some(i64::from_be_bytes(*expires))
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

/// Removes `keys` as far as they are still expired: one may have been written afresh since it was read.
fn remove<'k>(
    db: &Database,
    table: Table,
    now: i64,
    keys: impl Iterator<Item = &'k str>,
) -> Result<u64, redb::Error> {
    let mut keys = keys.peekable();
    if keys.peek().is_none() {
        return Ok(0);
    }
    let transaction = db.begin_write()?;
    let mut removed = 0_u64;
    {
        let mut cells = transaction.open_table(definition(table))?;
        for key in keys {
            let expires = expiry(cells.get(key)?.as_ref().map(AccessGuard::value));
            if expires.is_some_and(|expires| expires <= now) {
                cells.remove(key)?;
                removed = removed.saturating_add(1);
            }
        }
    }
    transaction.commit()?;
    Ok(removed)
}

fn page(
    cells: &impl ReadableTable<&'static str, &'static [u8]>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Cell)>, redb::Error> {
    use std::ops::Bound;
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut found = Vec::new();
    for item in cells.range::<&str>((start, Bound::Unbounded))?.take(limit) {
        let (key, value) = item?;
        found.push((key.value().to_owned(), decode(value.value())?));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A disk whose writes can be made to fail. Clones share the platter.
    #[derive(Debug, Clone, Default)]
    struct Disk {
        bytes: Arc<Mutex<Vec<u8>>>,
        broken: Arc<AtomicBool>,
    }

    impl Disk {
        fn check(&self) -> io::Result<()> {
            if self.broken.load(Ordering::SeqCst) {
                return Err(io::Error::other("the disk is broken"));
            }
            Ok(())
        }
    }

    impl redb::StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            Ok(self.bytes.lock().unwrap().len() as u64)
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let offset = usize::try_from(offset).unwrap();
            let bytes = self.bytes.lock().unwrap();
            let part = bytes.get(offset..offset.saturating_add(out.len()));
            out.copy_from_slice(part.ok_or_else(|| io::Error::other("out of range"))?);
            Ok(())
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.check()?;
            self.bytes
                .lock()
                .unwrap()
                .resize(usize::try_from(len).unwrap(), 0);
            Ok(())
        }
        fn sync_data(&self) -> io::Result<()> {
            self.check()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.check()?;
            let offset = usize::try_from(offset).unwrap();
            let mut bytes = self.bytes.lock().unwrap();
            bytes[offset..][..data.len()].copy_from_slice(data);
            Ok(())
        }
        fn try_lock_range(
            &self,
            _start: std::ops::Bound<u64>,
            _end: std::ops::Bound<u64>,
        ) -> Result<bool, redb::BackendError> {
            Ok(true)
        }
        fn unlock_range(
            &self,
            _start: std::ops::Bound<u64>,
            _end: std::ops::Bound<u64>,
        ) -> Result<(), redb::BackendError> {
            Ok(())
        }
    }

    fn on_disk(disk: &Disk) -> EmbeddedStore {
        let disk = disk.clone();
        let open = move || {
            Database::builder()
                .create_with_backend(disk.clone())
                .map_err(|source| StoreError::Unavailable(source.to_string()))
        };
        EmbeddedStore::with_opener(Box::new(open)).unwrap()
    }

    fn cell(byte: u8) -> Cell {
        Cell {
            expires: 9,
            sealed: vec![byte],
        }
    }

    #[tokio::test]
    async fn a_broken_disk_is_unavailable_and_a_mended_one_works_again() {
        let disk = Disk::default();
        let store = on_disk(&disk);
        let put = |key: &str, byte| {
            store.put(
                Table::Sessions,
                key.to_owned(),
                cell(byte),
                Durability::Immediate,
            )
        };
        put("a", 1).await.unwrap();
        disk.broken.store(true, Ordering::SeqCst);
        assert!(matches!(put("b", 2).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(put("b", 2).await, Err(StoreError::Unavailable(_))));
        disk.broken.store(false, Ordering::SeqCst);
        put("c", 3).await.unwrap();
        let read = |key: &str| store.get(Table::Sessions, key.to_owned());
        assert_eq!(read("a").await.unwrap(), Some(cell(1)));
        assert_eq!(read("c").await.unwrap(), Some(cell(3)));
    }

    #[tokio::test]
    async fn file_and_directory_belong_to_their_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state").join("store.redb");
        let store = EmbeddedStore::open(&path).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        // One process at a time.
        assert!(matches!(
            EmbeddedStore::open(&path),
            Err(StoreError::Unavailable(_))
        ));
        drop(store);
        assert!(EmbeddedStore::open(&path).is_ok());
    }

    #[test]
    fn a_file_that_is_no_database_is_unavailable() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("store.redb");
        std::fs::write(&path, vec![0x41; 8192]).unwrap();
        assert!(EmbeddedStore::open(&path).is_err());
    }
}
