//! What earlier runs left behind: admissions without an outcome, and whether the last run stopped in order.
//!
//! A segment that continues a settled run begins with what is open there, so no more than the last such segment is
//! read. Where there is none (a short run, or one of an earlier version) the run is read from its beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::super::entry::{Entry, Phase};
use super::super::log::{Files, Header, LogError, MasterKey, Opened, Reader, Sequences};
use super::Before;
use crate::request::Event;

/// What earlier runs left behind.
pub(super) struct Left {
    /// Admissions without an outcome.
    pub(super) open: BTreeSet<Uuid>,
    /// How the last of them ended.
    pub(super) before: Before,
}

/// Among how many records at a segment's beginning what is open is looked for: a recovery says more before it.
const BEGINNING: u64 = 16;
/// Where the open admissions stand among the particulars of [`Event::SegmentBegun`].
const OPEN: &str = "open";

/// The particulars of a segment that begins while this is open.
pub(super) fn carried(open: &BTreeSet<Uuid>) -> BTreeMap<String, String> {
    let ids: Vec<String> = open.iter().map(|id| id.simple().to_string()).collect();
    BTreeMap::from([(OPEN.to_owned(), ids.join(" "))])
}

/// What was open at an entry; `None` where it does not say so.
fn open_at(entry: &Entry) -> Option<BTreeSet<Uuid>> {
    if entry.event != Some(Event::SegmentBegun) {
        return None;
    }
    let ids = entry.detail.get(OPEN)?.split_ascii_whitespace();
    ids.map(|id| Uuid::try_parse(id).ok()).collect()
}

/// Where the trail is read.
struct Place<'a> {
    files: &'a Arc<dyn Files>,
    directory: &'a Path,
    master: &'a Arc<MasterKey>,
}

impl Place<'_> {
    /// The entries of these records. A record of a later schema cannot be in an earlier run, and one that does not
    /// parse is not an admission.
    fn read(&self, range: Sequences, mut each: impl FnMut(u64, Entry)) -> Result<(), LogError> {
        let mut reader = Reader::new(
            self.files.clone(),
            self.directory,
            self.master.clone(),
            range,
        );
        while let Some(record) = reader.next_record()? {
            if let Ok(entry) = Entry::from_bytes(&record.payload) {
                each(record.sequence, entry);
            }
        }
        Ok(())
    }

    /// The last record of a run that says what is open, and what that is.
    fn newest_carried(
        &self,
        run: &[Header],
        last: u64,
    ) -> Result<Option<(u64, BTreeSet<Uuid>)>, LogError> {
        for header in run.iter().rev() {
            let mut found = None;
            let range = Sequences {
                from: header.first,
                to: header.first.saturating_add(BEGINNING).min(last),
            };
            self.read(range, |sequence, entry| {
                if let Some(open) = open_at(&entry) {
                    found = Some((sequence, open));
                }
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// The segments of the newest run, and those before it. The segment with which the oldest run began may be retired; what
/// is left of that run is read from its beginning.
fn newest_run(earlier: &[Header]) -> (&[Header], &[Header]) {
    let start = earlier
        .iter()
        .rposition(|header| header.opened == Opened::Start);
    let (before, run) = earlier.split_at(start.unwrap_or(0));
    (run, before)
}

/// What is not matched yet, as runs are read from the newest on: a run may have had millions of requests.
#[derive(Default)]
struct Unmatched {
    open: BTreeSet<Uuid>,
    closed: BTreeSet<Uuid>,
}

impl Unmatched {
    fn admitted(&mut self, id: Uuid) {
        if !self.closed.remove(&id) {
            self.open.insert(id);
        }
    }

    /// An outcome: that of a request of an older run was written when this one began.
    fn ended(&mut self, of: Uuid) {
        if !self.open.remove(&of) {
            self.closed.insert(of);
        }
    }
}

/// Looks through the runs from the newest settled one on.
pub(super) fn left_behind(
    files: &Arc<dyn Files>,
    directory: &Path,
    master: &Arc<MasterKey>,
    earlier: &[Header],
    last: u64,
) -> Result<Left, LogError> {
    let place = Place {
        files,
        directory,
        master,
    };
    let mut unmatched = Unmatched::default();
    let mut before = Before::Nothing;
    let (mut rest, mut to) = (earlier, last);
    while let (run @ [first, ..], older) = newest_run(rest) {
        let carried = place.newest_carried(run, to)?;
        // Nothing is carried before a run is settled.
        let mut settled = carried.is_some();
        let (from, open) = carried.unwrap_or((first.first, BTreeSet::new()));
        for id in open {
            unmatched.admitted(id);
        }
        let mut stopped = false;
        place.read(Sequences { from, to }, |_, entry| match entry.phase {
            Phase::Admit => unmatched.admitted(entry.id),
            Phase::Outcome => entry.of.into_iter().for_each(|of| unmatched.ended(of)),
            Phase::Event => {
                settled |= entry.event == Some(Event::Started);
                stopped |= entry.event == Some(Event::Stopped);
            }
            Phase::Refuse => {}
        })?;
        before = match (before, stopped) {
            (Before::Unclean, _) | (_, false) => Before::Unclean,
            (Before::Nothing | Before::Stopped, true) => Before::Stopped,
        };
        to = first.first.saturating_sub(1);
        if settled || to == 0 {
            break;
        }
        rest = older;
    }
    Ok(Left {
        open: unmatched.open,
        before,
    })
}
