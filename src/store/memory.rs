//! The home that forgets: for tests, with a switch that makes it fail.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::backend::{Backend, Cell, Durability, Insertion, Replacement, SweepPage, Table};
use super::{StoreError, copy};

type Place = (Table, String);
type Tables = BTreeMap<Place, Cell>;

/// A home in memory. Clones share their content, so that a test can reopen it or look inside.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    cells: Arc<Mutex<Tables>>,
    fault: Arc<AtomicU8>,
}

/// How a [`MemoryStore`] fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    None,
    /// Every call, without effect.
    Everything,
    /// Writes take effect and are then reported as failed.
    WritesButPersist,
    /// Writes have no effect and are reported as failed; reads work.
    Writes,
}

impl Fault {
    const ALL: [Self; 4] = [
        Self::None,
        Self::Everything,
        Self::WritesButPersist,
        Self::Writes,
    ];
}

#[derive(Clone, Copy)]
enum Call {
    Read,
    Write,
}

impl MemoryStore {
    /// An empty home.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on, fail as `fault` says.
    pub fn fail(&self, fault: Fault) {
        let code = Fault::ALL.iter().position(|f| *f == fault).unwrap_or(0);
        self.fault
            .store(u8::try_from(code).unwrap_or(0), Ordering::SeqCst);
    }

    /// How many cells there are, expired ones included.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.lock().len()
    }

    /// A copy of everything in it: a backup.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self {
            cells: Arc::new(Mutex::new(self.lock().clone())),
            fault: Arc::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T: Send + 'static>(
        &self,
        call: Call,
        act: impl FnOnce(&mut Tables) -> T,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let code = usize::from(self.fault.load(Ordering::SeqCst));
        let fault = Fault::ALL.get(code).copied().unwrap_or(Fault::None);
        let failed = || StoreError::Unavailable("the fault switch is on".to_owned());
        let result = match (fault, call) {
            (Fault::None, _) | (Fault::Writes | Fault::WritesButPersist, Call::Read) => {
                Ok(act(&mut self.lock()))
            }
            (Fault::WritesButPersist, Call::Write) => {
                drop(act(&mut self.lock()));
                Err(failed())
            }
            (Fault::Everything, _) | (Fault::Writes, Call::Write) => Err(failed()),
        };
        Box::pin(std::future::ready(result))
    }
}

fn range(table: Table, after: Option<String>) -> (Bound<Place>, Bound<Place>) {
    let start = after.map_or_else(
        || Bound::Included((table, String::new())),
        |key| Bound::Excluded((table, key)),
    );
    (start, Bound::Unbounded)
}

impl Backend for MemoryStore {
    fn get(&self, table: Table, key: String) -> BoxFuture<'_, Result<Option<Cell>, StoreError>> {
        self.run(Call::Read, |cells| cells.get(&(table, key)).cloned())
    }

    fn put(
        &self,
        table: Table,
        key: String,
        cell: Cell,
        _durability: Durability,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(Call::Write, |cells| {
            cells.insert((table, key), cell);
        })
    }

    fn insert_if_absent(
        &self,
        table: Table,
        key: String,
        cell: Cell,
        now: i64,
        _durability: Durability,
    ) -> BoxFuture<'_, Result<Insertion, StoreError>> {
        self.run(Call::Write, |cells| {
            let place = (table, key);
            if cells.get(&place).is_some_and(|old| old.expires > now) {
                return Insertion::Present;
            }
            cells.insert(place, cell);
            Insertion::Stored
        })
    }

    fn replace(
        &self,
        table: Table,
        key: String,
        cell: Cell,
        now: i64,
        _durability: Durability,
    ) -> BoxFuture<'_, Result<Replacement, StoreError>> {
        self.run(Call::Write, |cells| {
            match cells.get_mut(&(table, key)).filter(|old| old.expires > now) {
                Some(place) => {
                    *place = cell;
                    Replacement::Replaced
                }
                None => Replacement::Absent,
            }
        })
    }

    fn take(&self, table: Table, key: String) -> BoxFuture<'_, Result<Option<Cell>, StoreError>> {
        self.run(Call::Write, |cells| cells.remove(&(table, key)))
    }

    fn delete(&self, table: Table, key: String) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(Call::Write, |cells| {
            cells.remove(&(table, key));
        })
    }

    fn scan(
        &self,
        table: Table,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Cell)>, StoreError>> {
        self.run(Call::Read, |cells| {
            cells
                .range(range(table, after))
                .take_while(|((t, _), _)| *t == table)
                .take(limit)
                .map(|((_, key), cell)| (key.clone(), cell.clone()))
                .collect()
        })
    }

    fn sweep(
        &self,
        table: Table,
        now: i64,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<SweepPage, StoreError>> {
        self.run(Call::Write, |cells| {
            let page: Vec<_> = cells
                .range(range(table, after))
                .take_while(|((t, _), _)| *t == table)
                .take(limit)
                .map(|(place, cell)| (place.clone(), cell.expires <= now))
                .collect();
            let next = (page.len() >= limit)
                .then(|| page.last().map(|((_, key), _)| key.clone()))
                .flatten();
            let mut removed = 0_u64;
            for (place, _) in page.iter().filter(|(_, expired)| *expired) {
                cells.remove(place);
                removed = removed.saturating_add(1);
            }
            SweepPage { removed, next }
        })
    }

    fn copy_to(&self, path: PathBuf) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let cells = self
                .cells
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            copy::of_cells(&path, &cells)
                .map_err(|source| StoreError::Unavailable(source.to_string()))
        })
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(Call::Write, |_| ())
    }
}
