//! What the room has at hand: broken glasses and declared events. All of it is stored and on record.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{Declaration, Glass, Recording};
use crate::store::{Store, StoreError, Table};

/// What is at hand.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Broken glasses, by id.
    pub(super) glasses: BTreeMap<String, Glass>,
    /// Mass-casualty events that are declared, by id.
    pub(super) declarations: BTreeMap<String, Declaration>,
}

impl Book {
    /// What the store holds. What the gateway ended before it was on record was never in force, and is deleted.
    pub(super) async fn read(store: &Store) -> Result<Self, StoreError> {
        let glass = |one: &Glass| (one.id.clone(), one.recording);
        let declaration = |one: &Declaration| (one.id.clone(), one.recording);
        Ok(Self {
            glasses: recorded(store, Table::Grants, glass).await?,
            declarations: recorded(store, Table::Declarations, declaration).await?,
        })
    }

    /// The declaration of this id, while it holds.
    pub(super) fn live(&self, id: &str, now: Timestamp) -> Option<&Declaration> {
        self.declarations.get(id).filter(|one| one.is_live(now))
    }

    /// The declarations that hold.
    pub(super) fn declared(&self, now: Timestamp) -> impl Iterator<Item = &Declaration> {
        self.declarations
            .values()
            .filter(move |one| one.is_live(now))
    }

    /// Whether a glass opens anything: in its time, and no longer than the event that it was broken for.
    pub(super) fn is_in_force(&self, glass: &Glass, now: Timestamp) -> bool {
        let stands = match &glass.ward {
            None => true,
            Some(ward) => self.live(&ward.declaration, now).is_some(),
        };
        stands && glass.is_open(now)
    }

    /// The glasses that are in force.
    pub(super) fn open(&self, now: Timestamp) -> impl Iterator<Item = &Glass> {
        let each = self.glasses.values();
        each.filter(move |glass| self.is_in_force(glass, now))
    }

    /// The open glasses that were broken under a declaration.
    pub(super) fn under(&self, declaration: &str, now: Timestamp) -> impl Iterator<Item = &Glass> {
        self.glasses.values().filter(move |glass| {
            let ward = glass.ward.as_ref();
            glass.is_open(now) && ward.is_some_and(|ward| ward.declaration == declaration)
        })
    }
}

/// The stored values of a table that are on record, by the id that `told` tells of each.
async fn recorded<T: DeserializeOwned>(
    store: &Store,
    table: Table,
    told: impl Fn(&T) -> (String, Recording),
) -> Result<BTreeMap<String, T>, StoreError> {
    let mut found = BTreeMap::new();
    for (key, entry) in store.read_all(table).await? {
        let value: T = match serde_json::from_slice(entry.value.expose()) {
            Ok(value) => value,
            Err(error) => {
                tracing::error!(%error, table = table.name(), "a stored value cannot be read");
                continue;
            }
        };
        match told(&value) {
            (id, Recording::Done) => drop(found.insert(id, value)),
            (_, Recording::Pending) => store.delete(table, &key).await?,
        }
    }
    Ok(found)
}
