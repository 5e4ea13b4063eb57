//! What the room has at hand: broken glasses and declared events. All of it is stored and on record.

use std::collections::BTreeMap;

use jiff::Timestamp;

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
        let mut book = Self::default();
        for (key, entry) in store.read_all(Table::Grants).await? {
            match serde_json::from_slice::<Glass>(entry.value.expose()) {
                Ok(glass) if glass.recording == Recording::Done => {
                    book.glasses.insert(glass.id.clone(), glass);
                }
                Ok(_) => store.delete(Table::Grants, &key).await?,
                Err(error) => tracing::error!(%error, "a stored grant cannot be read"),
            }
        }
        for (key, entry) in store.read_all(Table::Declarations).await? {
            match serde_json::from_slice::<Declaration>(entry.value.expose()) {
                Ok(declaration) if declaration.recording == Recording::Done => {
                    book.declarations
                        .insert(declaration.id.clone(), declaration);
                }
                Ok(_) => store.delete(Table::Declarations, &key).await?,
                Err(error) => tracing::error!(%error, "a stored declaration cannot be read"),
            }
        }
        Ok(book)
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
