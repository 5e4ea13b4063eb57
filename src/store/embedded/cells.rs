//! How cells lie in the database: a table for each of ours, the expiry before what is sealed.

use std::ops::Bound;

use redb::{
    AccessGuard, Database, ReadableTable, Table as OpenTable, TableDefinition, WriteTransaction,
};

use crate::store::backend::{Cell, Table};

pub(super) type Cells<'t> = OpenTable<'t, &'static str, &'static [u8]>;

pub(in crate::store) const fn definition(
    table: Table,
) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(table.name())
}

pub(in crate::store) fn create_tables(db: &Database) -> Result<(), redb::Error> {
    let transaction: WriteTransaction = db.begin_write()?;
    for table in Table::ALL {
        transaction.open_table(definition(*table))?;
    }
    transaction.commit()?;
    Ok(())
}

pub(in crate::store) fn encode(cell: &Cell) -> Vec<u8> {
    let mut bytes = cell.expires.to_be_bytes().to_vec();
    bytes.extend_from_slice(&cell.sealed);
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Result<Cell, redb::Error> {
    let (expires, sealed) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| redb::Error::Corrupted("a cell is shorter than its expiry".to_owned()))?;
    Ok(Cell {
        expires: i64::from_be_bytes(*expires),
        sealed: sealed.to_vec(),
    })
}

pub(super) fn expiry(bytes: Option<&[u8]>) -> Option<i64> {
    let (expires, _) = bytes?.split_first_chunk::<8>()?;
    Some(i64::from_be_bytes(*expires))
}

/// Removes `keys` as far as they are still expired: one may have been written afresh since it was read.
pub(super) fn remove<'k>(
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

pub(super) fn page(
    cells: &impl ReadableTable<&'static str, &'static [u8]>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Cell)>, redb::Error> {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut found = Vec::new();
    for item in cells.range::<&str>((start, Bound::Unbounded))?.take(limit) {
        let (key, value) = item?;
        found.push((key.value().to_owned(), decode(value.value())?));
    }
    Ok(found)
}
