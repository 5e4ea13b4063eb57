//! Segments that are shredded: nothing of them is in the index, and questions pass over them.
//!
//! The index of a segment is sealed under a key that needs the segment's own, a catalog under that of the first of its
//! segments: they are shredded oldest first. So whatever is left of either, in a copy or in the blocks of a disk, opens no
//! more once a segment is shredded that it speaks of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::catalog::Group;
use super::live::Asked;
use super::part::{Part, Row, Span};
use super::sheet::Fault;
use super::term::{Shelf, Term};
use super::view::View;
use super::{Index, lock};
use crate::audit::log::{DerivedKey, LogError, Retired, Shelved, derived_of, shredded};

/// The index of a segment of which nothing is known any more.
#[derive(Debug)]
pub(super) struct Nothing;

impl Part for Nothing {
    fn count(&self, _on: Shelf, _term: Term) -> Result<usize, Fault> {
        Ok(0)
    }

    fn list(&self, _on: Shelf, _term: Term) -> Result<Vec<u32>, Fault> {
        Ok(Vec::new())
    }

    fn row(&self, _ordinal: u32) -> Result<Row, Fault> {
        Err(Fault::Damaged)
    }

    fn rows(&self) -> u32 {
        0
    }

    fn span(&self) -> Span {
        Span::NONE
    }
}

/// What a question could not look up.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Segments that were read through, by their positions.
    pub(super) scanned: BTreeSet<usize>,
    /// Shredded segments, by their numbers, that were not said yet.
    shredded: BTreeMap<u64, Retired>,
}

impl Passed {
    /// Notes what came of asking the segment at a position.
    pub(super) fn note<T>(&mut self, position: usize, asked: &Asked<T>) {
        if asked.scanned {
            self.scanned.insert(position);
        }
        self.shredded(asked.shredded.clone());
    }

    pub(super) fn shredded(&mut self, note: Option<Retired>) {
        self.shredded.extend(note.map(|note| (note.number, note)));
    }

    /// What was not said yet.
    pub(super) fn take_shredded(&mut self) -> Vec<Retired> {
        std::mem::take(&mut self.shredded).into_values().collect()
    }
}

impl Index {
    /// The note of a segment that is known to be shredded.
    pub(super) fn shredded(&self, segment: &Shelved) -> Option<Retired> {
        lock(&self.0.shredded)
            .get(&segment.header().segment)
            .cloned()
    }

    pub(super) fn remember_shredded(&self, note: Retired) {
        lock(&self.0.shredded).insert(note.segment, note);
    }

    /// Looks which segments are shredded: a listing of the folder of keys, and where that has changed, the notes.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub(super) fn learn_shredded(&self, view: &View) -> Result<(), LogError> {
        let unknown = view.segments().iter();
        let unknown = unknown.filter(|segment| self.shredded(segment).is_none());
        let headers = unknown.map(Shelved::header);
        for note in shredded(&*self.0.files, &self.0.trail, headers)? {
            self.remember_shredded(note);
        }
        Ok(())
    }

    /// The key under which the index of a segment is sealed.
    ///
    /// # Errors
    /// [`LogError::Shredded`], and as reading the segment.
    pub(super) fn sheet_key(&self, segment: &Shelved) -> Result<Arc<DerivedKey>, LogError> {
        let keys = self.keys()?;
        derived_of(&*self.0.files, segment, &self.0.master, &keys.key)
    }

    /// The key under which a catalog is sealed, which needs the own key of the first of its segments that has one; `None`
    /// where that is shredded.
    ///
    /// # Errors
    /// As reading the segment.
    pub(super) fn catalog_key(
        &self,
        view: &View,
        group: Group,
    ) -> Result<Option<Arc<DerivedKey>>, LogError> {
        let from = view.position(group.first()).unwrap_or(0);
        let to = view.position(group.last()).unwrap_or(from);
        let mut members = (from..=to).filter_map(|at| view.at(at));
        let keyed = members.find(|segment| segment.header().segment_key.is_some());
        let key = match keyed {
            None => Ok(Arc::clone(&self.keys()?.key)),
            Some(segment) => self.sheet_key(segment),
        };
        match key {
            Err(LogError::Shredded(note)) => {
                self.remember_shredded(*note);
                Ok(None)
            }
            key => key.map(Some),
        }
    }

    /// Removes what there is of segments that were shredded.
    ///
    /// # Errors
    /// [`LogError`] for segments that are missing, replaced or unreadable.
    pub fn forget_shredded(&self) -> Result<(), LogError> {
        let view = View::new(self.segments()?);
        self.learn_shredded(&view)?;
        self.tidy(&view);
        Ok(())
    }
}
