//! Keeps the index up in the background of the gateway: takes up what becomes durable, makes a file of what is closed,
//! and catalogs of files.
//!
//! *Never*: on the path of a request, or for longer than it rests: after each piece of work it waits as long as that took.
//! *On failure*: says so, and tries again; questions read through what is missing.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use super::Index;
use super::catalog::{Group, TOP};
use super::store::name_of;
use super::view::View;
use crate::audit::log::{LogError, LogStatus, Shelved};
use crate::audit::trail::Audit;
use crate::telemetry::metrics as names;

/// How often the trail is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long a failure is left alone.
const RETRY: Duration = Duration::from_secs(30);
/// Records that are taken up at once.
const STEP: u64 = 4096;

/// What is known between two pieces of work.
#[derive(Debug, Default)]
pub(super) struct Kept {
    view: Option<View>,
    /// Whether there may be files to be made.
    due: bool,
    /// Segments that cannot be indexed: damaged, or the disk takes no file.
    left: BTreeSet<Uuid>,
    /// The same of catalogs.
    left_groups: BTreeSet<Group>,
}

/// What a piece of work came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Done,
    Nothing,
}

impl Index {
    /// Keeps the index up until `end`.
    pub async fn keep_up(self, audit: Audit, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        let mut kept = Kept::default();
        let mut pause = LOOK;
        loop {
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(pause) => {}
            }
            let (index, status) = (self.clone(), audit.log().status());
            let began = audit.monotonic();
            let work = tokio::task::spawn_blocking(move || {
                let worked = index.work(&mut kept, &status);
                (kept, worked)
            });
            let Ok((known, worked)) = work.await else {
                // The runtime ends.
                return;
            };
            kept = known;
            pause = match worked {
                Ok(Work::Nothing) => LOOK,
                Ok(Work::Done) => audit.monotonic().saturating_sub(began),
                Err(error) => {
                    tracing::error!(%error, "the index of the trail is not kept up");
                    kept = Kept::default();
                    RETRY
                }
            };
        }
    }

    /// Does all the work that there is, without rest.
    ///
    /// # Errors
    /// [`LogError`] for a trail that cannot be read.
    pub fn catch_up(&self, status: &LogStatus) -> Result<(), LogError> {
        let mut kept = Kept::default();
        while self.work(&mut kept, status)? == Work::Done {}
        Ok(())
    }

    /// Does one piece of work: some thousand records, a segment's file, or a catalog.
    ///
    /// # Errors
    /// [`LogError`] for a trail that cannot be read.
    pub(super) fn work(&self, kept: &mut Kept, status: &LogStatus) -> Result<Work, LogError> {
        let newest = |view: &View| view.segments().last().map(|s| s.header().segment);
        if kept.view.as_ref().and_then(newest) != Some(status.segment) {
            let view = View::new(self.segments()?);
            if kept.view.is_none() {
                self.keys()?;
                self.learn_shredded(&view)?;
                self.tidy(&view);
            }
            kept.view = Some(view);
            kept.due = true;
            // The disk may take them by now.
            kept.left.clear();
            kept.left_groups.clear();
        }
        let Some(view) = &kept.view else {
            return Ok(Work::Nothing);
        };
        if let Some(segment) = view.segments().last() {
            let before = self.live_next(segment);
            drop(self.live(segment, status.sequence, STEP)?);
            if self.live_next(segment) != before {
                return Ok(Work::Done);
            }
        }
        if !kept.due {
            return Ok(Work::Nothing);
        }
        let missing = |segment: &&Shelved| {
            segment.closed().is_some()
                && self.shredded(segment).is_none()
                && !kept.left.contains(&segment.header().segment)
                && !self.has(&name_of(segment))
        };
        let count = view.segments().iter().filter(missing).count();
        let unindexed = count.saturating_add(kept.left.len());
        metrics::gauge!(names::AUDIT_UNINDEXED)
            .set(f64::from(u32::try_from(unindexed).unwrap_or(u32::MAX)));
        if let Some(segment) = view.segments().iter().find(missing)
            && let Some(closed) = segment.closed()
        {
            match self.read_through(segment, closed) {
                Err(LogError::Shredded(note)) => self.remember_shredded(*note),
                read => drop(read?),
            }
            if !self.has(&name_of(segment)) {
                kept.left.insert(segment.header().segment);
            }
            return Ok(Work::Done);
        }
        let group = self
            .catalogs_due(view)
            .find(|group| !kept.left_groups.contains(group));
        if let Some(group) = group {
            if !self.make_catalog(view, group)? {
                kept.left_groups.insert(group);
            }
            return Ok(Work::Done);
        }
        kept.due = false;
        Ok(Work::Nothing)
    }

    /// The catalogs that can be made and are not there, the lowest first.
    pub(super) fn catalogs_due<'v>(&'v self, view: &'v View) -> impl Iterator<Item = Group> + 'v {
        groups(view).filter(|group| !self.has(&group.file_name()) && self.can_be_made(view, *group))
    }

    fn can_be_made(&self, view: &View, group: Group) -> bool {
        if group.tier > 1 {
            return group.below().all(|below| self.has(&below.file_name()));
        }
        let mut segments = (group.first()..=group.last()).map(|number| {
            let position = view.position(number)?;
            view.at(position)
        });
        segments.all(|segment| segment.is_some_and(|segment| self.has(&name_of(segment))))
    }
}

/// The groups whose segments all are there and closed, the lowest first.
pub(super) fn groups(view: &View) -> impl Iterator<Item = Group> {
    let first = view.segments().first().map_or(1, |s| s.header().number);
    let last = view.last_closed().unwrap_or(0);
    (1..=TOP).flat_map(move |tier| {
        let size = Group::size(tier);
        let from = first.saturating_sub(1).div_ceil(size);
        let to = last.checked_div(size).unwrap_or(0);
        (from..to).map(move |group| Group { tier, group })
    })
}
