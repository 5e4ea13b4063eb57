//! A copy of a store in a file of its own: cells go over sealed as they are.
//!
//! *Never*: writes into a database that is there already; a copy is made once, whole or not at all.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use redb::{AccessGuard, Database};

use super::StoreError;
use super::backend::{Cell, Table};
use super::embedded::{create_tables, definition, encode, open_file};

/// Cells that one transaction takes over: it keeps them in memory until it ends.
const BATCH: usize = 4096;

/// A database that is being filled.
pub(super) struct NewCopy(Database);

impl NewCopy {
    /// Makes the database.
    pub(super) fn create(path: &Path) -> Result<Self, redb::Error> {
        if path.exists() {
            return Err(redb::Error::Io(io::Error::from(
                io::ErrorKind::AlreadyExists,
            )));
        }
        let failed = |source: StoreError| redb::Error::Io(io::Error::other(source.to_string()));
        let db = open_file(path).map_err(failed)?;
        create_tables(&db)?;
        Ok(Self(db))
    }

    /// Takes over the cells of a table.
    pub(super) fn fill<'c>(
        &self,
        table: Table,
        mut cells: impl Iterator<
            Item = Result<
                (
                    AccessGuard<'c, &'static str>,
                    AccessGuard<'c, &'static [u8]>,
                ),
                redb::Error,
            >,
        >,
    ) -> Result<(), redb::Error> {
        loop {
            let transaction = self.0.begin_write()?;
            let mut taken = 0_usize;
            {
                let mut to = transaction.open_table(definition(table))?;
                for cell in cells.by_ref().take(BATCH) {
                    let (key, value) = cell?;
                    to.insert(key.value(), value.value())?;
                    taken = taken.saturating_add(1);
                }
            }
            transaction.commit()?;
            if taken < BATCH {
                return Ok(());
            }
        }
    }
}

/// Takes everything that ends with an epoch out of a store that nobody has open, without its key.
///
/// # Errors
/// [`StoreError::Unavailable`] where the file is no store or cannot be written.
pub fn end_sessions(path: &Path) -> Result<(), StoreError> {
    let ended = || -> Result<(), redb::Error> {
        let failed = |source: StoreError| redb::Error::Io(io::Error::other(source.to_string()));
        let db = open_file(path).map_err(failed)?;
        create_tables(&db)?;
        let transaction = db.begin_write()?;
        for table in Table::ALL.iter().filter(|table| table.ends_with_epoch()) {
            transaction
                .open_table(definition(*table))?
                .retain(|_, _| false)?;
        }
        transaction.commit()?;
        Ok(())
    };
    ended().map_err(|source| StoreError::Unavailable(format!("{}: {source}", path.display())))
}

/// A copy of cells in memory.
pub(super) fn of_cells(
    path: &Path,
    cells: &BTreeMap<(Table, String), Cell>,
) -> Result<(), redb::Error> {
    let copy = NewCopy::create(path)?;
    let transaction = copy.0.begin_write()?;
    for ((table, key), cell) in cells {
        let mut to = transaction.open_table(definition(*table))?;
        to.insert(key.as_str(), encode(cell).as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}
