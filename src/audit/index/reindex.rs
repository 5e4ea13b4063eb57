//! Makes the index anew at an operator's word, segment by segment; each is in force as soon as it is made.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::catalog::Group;
use super::keep::groups;
use super::part::Part;
use super::store::name_of;
use super::view::View;
use super::{Index, lock};
use crate::audit::log::{Closed, LogError, Shelved};

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Segments that are indexed anew.
    pub done: usize,
    /// Segments that are to be.
    pub of: usize,
    /// Records in those that are.
    pub records: u64,
    /// Segments of which a part only could be read, or whose index could not be written.
    pub failed: Vec<String>,
}

/// The work.
#[derive(Debug)]
pub struct Reindex {
    index: Index,
    view: View,
    segments: VecDeque<(Shelved, Closed)>,
    catalogs: VecDeque<Group>,
    progress: Progress,
}

impl Index {
    /// Begins to make the index anew: all of it, or that of one segment, named by its id, number or file. The segment
    /// that is written has its part in memory, and none to be made anew. `None` where there is no such segment.
    ///
    /// # Errors
    /// [`LogError`] for segments that are missing, replaced or unreadable.
    pub fn reindex(&self, only: Option<&str>) -> Result<Option<Reindex>, LogError> {
        let view = View::new(self.segments()?);
        self.learn_shredded(&view)?;
        let named = |segment: &Shelved| {
            only.map_or_else(
                || self.shredded(segment).is_none(),
                |only| {
                    let header = segment.header();
                    only == segment.name()
                        || only == header.segment.to_string()
                        || only == header.number.to_string()
                },
            )
        };
        let segments: VecDeque<(Shelved, Closed)> = view
            .segments()
            .iter()
            .filter(|segment| named(segment))
            .filter_map(|segment| Some((segment.clone(), segment.closed()?)))
            .collect();
        if only.is_some() && segments.is_empty() {
            return Ok(None);
        }
        let catalogs = match only {
            Some(_) => VecDeque::new(),
            None => groups(&view).collect(),
        };
        let progress = Progress {
            of: segments.len(),
            ..Progress::default()
        };
        Ok(Some(Reindex {
            index: self.clone(),
            view,
            segments,
            catalogs,
            progress,
        }))
    }
}

impl Reindex {
    /// Indexes the next segment, or makes the next catalog; `None` where all is done.
    ///
    /// # Errors
    /// [`LogError`] for a segment that cannot be read at all.
    pub fn step(&mut self) -> Result<Option<&Progress>, LogError> {
        if let Some((segment, closed)) = self.segments.pop_front() {
            let one_at_a_time = lock(&self.index.0.making);
            let ready = self.index.make(&segment, closed)?;
            drop(one_at_a_time);
            let progress = &mut self.progress;
            progress.done = progress.done.saturating_add(1);
            let records = u64::from(ready.part.rows());
            progress.records = progress.records.saturating_add(records);
            if ready.failure.is_some() || !self.index.has(&name_of(&segment)) {
                progress.failed.push(segment.name().to_owned());
            }
            return Ok(Some(&self.progress));
        }
        if let Some(group) = self.catalogs.pop_front() {
            self.index.make_catalog(&self.view, group)?;
            return Ok(Some(&self.progress));
        }
        Ok(None)
    }

    /// How far it is.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }
}
