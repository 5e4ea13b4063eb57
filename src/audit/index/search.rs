//! One question: which segments can hold an answer, which records in them, and what became of those.
//!
//! What is given out may match; whoever asks matches the record itself. An admission whose outcome lies in a later
//! segment is found by what the outcome says, too.
//!
//! Memory: eight bytes for each segment that may hold an answer, twenty-four for each record of one of them that may match.

mod records;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;

pub use records::Records;

use super::Index;
use super::keys::Keys;
use super::part::{Part, Standing};
use super::sheet::Fault;
use super::shredded::Passed;
use super::term::{Need, Shelf, made};
use super::view::{View, Window};
use super::walk::Walk;
use crate::audit::entry::Entry;
use crate::audit::filter::Filter;
use crate::audit::log::{LogError, OpenSegments, Record, Retired, Shelved};
use crate::audit::show::ShowError;

/// A list is not intersected with one that is so many times longer: opening the few records costs less.
const MUCH_LONGER: usize = 1024;

/// A record that may match.
#[derive(Debug)]
pub struct Hit {
    /// Its sequence number.
    pub seq: u64,
    /// The record.
    pub entry: Entry,
    position: usize,
    mate: Option<(u64, u64)>,
}

/// A record that may match, before it is opened: its number and its place, and those of its outcome.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    seq: u64,
    offset: u64,
    mate: Option<(u64, u64)>,
}

/// A question on its way.
#[derive(Debug)]
pub struct Search {
    index: Index,
    keys: Arc<Keys>,
    view: View,
    to: u64,
    needs: Vec<Need>,
    /// For each need: admissions that fulfil it by an outcome in a later segment.
    late: Vec<BTreeSet<u64>>,
    window: Window,
    open: OpenSegments,
    /// Segments that are still to be looked at; `None` before the first look.
    ahead: Option<VecDeque<usize>>,
    position: usize,
    candidates: VecDeque<Candidate>,
    failure: Option<LogError>,
    /// Damage that was met where outcomes were looked for, in segments that the question need not reach: it ends the
    /// answer, which may lack what belongs to it.
    beyond: Option<LogError>,
    /// The segment whose index has been made again because a record was not where it said.
    remade: Option<usize>,
    passed: Passed,
}

impl Search {
    /// Begins to ask, of records up to the durable record `to`.
    ///
    /// # Errors
    /// [`LogError`] for segments that are missing, replaced or unreadable.
    pub fn new(index: &Index, filter: &Filter, to: u64) -> Result<Self, LogError> {
        let keys = index.keys()?;
        let needs = keys.terms.needs(filter);
        let view = View::new(index.segments()?);
        index.learn_shredded(&view)?;
        let asked = filter.request.as_ref();
        let made = asked.and_then(|id| id.parse().ok()).and_then(made);
        let (files, _, master) = index.files();
        Ok(Self {
            window: Window::of(filter, made, &view),
            late: vec![BTreeSet::new(); needs.len()],
            open: OpenSegments::new(Arc::clone(files), Arc::clone(master)),
            index: index.clone(),
            keys,
            view,
            to,
            needs,
            ahead: None,
            position: 0,
            candidates: VecDeque::new(),
            failure: None,
            beyond: None,
            remade: None,
            passed: Passed::default(),
        })
    }

    /// How many segments had to be read through because their index was of no use.
    #[must_use]
    pub fn scanned(&self) -> usize {
        self.passed.scanned.len()
    }

    /// The shredded segments of the time asked for that were passed over and not said yet.
    pub fn take_shredded(&mut self) -> Vec<Retired> {
        self.passed.take_shredded()
    }

    /// The next record that may match, in the order of the trail.
    ///
    /// # Errors
    /// [`ShowError`] for a log or a record that cannot be read.
    pub fn next_hit(&mut self) -> Result<Option<Hit>, ShowError> {
        loop {
            if let Some(candidate) = self.candidates.pop_front() {
                let Some(record) = self.opened(candidate)? else {
                    continue;
                };
                return Ok(Some(Hit {
                    seq: candidate.seq,
                    entry: entry(&record)?,
                    position: self.position,
                    mate: candidate.mate,
                }));
            }
            if let Some(failure) = self.failure.take() {
                self.ahead = Some(VecDeque::new());
                return Err(failure.into());
            }
            if self.ahead.is_none() {
                self.prepare()?;
            }
            let Some(position) = self.ahead.as_mut().and_then(VecDeque::pop_front) else {
                self.end()?;
                return Ok(None);
            };
            self.position = position;
            self.look_into(position, 0)?;
        }
    }

    /// Ends the answer, at its end or before: what was given out may lack something.
    ///
    /// # Errors
    /// [`LogError`]: damage that was met where outcomes were looked for.
    pub fn end(&mut self) -> Result<(), LogError> {
        self.beyond.take().map_or(Ok(()), Err)
    }

    /// The outcome of an admission, with its sequence number.
    ///
    /// # Errors
    /// [`ShowError`] for a log or a record that cannot be read.
    pub fn outcome_of(&mut self, hit: &Hit) -> Result<Option<(u64, Entry)>, ShowError> {
        let of = hit.entry.id;
        let mut mate = hit.mate;
        while let Some((seq, offset)) = mate
            && let Some(segment) = self.view.at(hit.position)
        {
            match self.open.record_at(segment, seq, offset) {
                Ok(record) => {
                    let found = entry(&record)?;
                    if found.of == Some(of) {
                        return Ok(Some((seq, found)));
                    }
                    break;
                }
                Err(error) => {
                    self.remake(error, hit.seq)?;
                    let again = self.candidates.pop_front();
                    mate = again.filter(|c| c.seq == hit.seq).and_then(|c| c.mate);
                }
            }
        }
        let need = [Need::of_late(&[self.keys.terms.late_of(of)])];
        let behind = hit.position.saturating_add(1)..self.view.segments().len();
        for position in self.holding(&need, &[], &Window::all(&self.view), behind)? {
            for (seq, outcome) in self.late_outcomes(position, &need)? {
                if outcome.of == Some(of) {
                    return Ok(Some((seq, outcome)));
                }
            }
        }
        Ok(None)
    }

    /// Finds the admissions that only a late outcome speaks for, then the segments to look at.
    fn prepare(&mut self) -> Result<(), ShowError> {
        let all = 0..self.view.segments().len();
        for at in 0..self.needs.len() {
            let late = self.needs.get(at).map(|need| need.late.clone());
            let Some(late) = late.filter(|late| !late.is_empty()) else {
                continue;
            };
            let need = [Need::of_late(&late)];
            let everywhere = Window::all(&self.view);
            for position in self.holding(&need, &[], &everywhere, all.clone())? {
                for (_, outcome) in self.late_outcomes(position, &need)? {
                    let Some(of) = outcome.of else { continue };
                    let found = self.find(of, position)?;
                    if let Some(known) = self.late.get_mut(at) {
                        known.extend(found);
                    }
                }
            }
        }
        let ahead = self.holding(&self.needs, &self.late, &self.window, all)?;
        self.ahead = Some(ahead.into());
        Ok(())
    }

    /// The outcomes in a segment whose admissions are in earlier ones, and that fulfil a need.
    fn late_outcomes(
        &mut self,
        position: usize,
        need: &[Need],
    ) -> Result<Vec<(u64, Entry)>, ShowError> {
        let Some(segment) = self.view.at(position) else {
            return Ok(Vec::new());
        };
        let (first, to) = (segment.header().first, self.to);
        let asked = self.index.ask(segment, to, |part| {
            let mut places = Vec::new();
            for ordinal in any_of(part, need)? {
                let row = part.row(ordinal)?;
                let seq = first.saturating_add(u64::from(ordinal));
                if row.standing == Standing::Part && seq <= to {
                    places.push((seq, row.offset));
                }
            }
            Ok(places)
        })?;
        if asked.scanned {
            self.passed.scanned.insert(position);
        }
        self.beyond = self.beyond.take().or(asked.failure);
        let mut outcomes = Vec::new();
        for (seq, offset) in asked.value {
            let record = self.open.record_at(segment, seq, offset)?;
            outcomes.push((seq, entry(&record)?));
        }
        Ok(outcomes)
    }

    /// The records with an id, in segments before one.
    fn find(&mut self, id: Uuid, before: usize) -> Result<Vec<u64>, LogError> {
        let mut need = Need::of_late(&[self.keys.terms.id(id)]);
        need.shelf = Shelf::Ids;
        let need = [need];
        let window = Window::made(&self.view, made(id));
        let mut found = Vec::new();
        for position in self.holding(&need, &[], &window, 0..before)? {
            let Some(segment) = self.view.at(position) else {
                continue;
            };
            let first = segment.header().first;
            let asked = self
                .index
                .ask(segment, self.to, |part| any_of(part, &need))?;
            if asked.scanned {
                self.passed.scanned.insert(position);
            }
            self.beyond = self.beyond.take().or(asked.failure);
            let ordinals = asked.value.into_iter();
            found.extend(ordinals.map(|ordinal| first.saturating_add(u64::from(ordinal))));
        }
        Ok(found)
    }

    /// Finds what may match in a segment, from a record on.
    fn look_into(&mut self, position: usize, from: u64) -> Result<(), LogError> {
        let Some(segment) = self.view.at(position) else {
            return Ok(());
        };
        let asked = self.index.ask(segment, self.to, |part| {
            self.candidates_of(part, segment, from)
        })?;
        self.passed.note(position, &asked);
        self.candidates = asked.value.into();
        self.failure = asked.failure;
        Ok(())
    }

    fn candidates_of(
        &self,
        part: &dyn Part,
        segment: &Shelved,
        from: u64,
    ) -> Result<Vec<Candidate>, Fault> {
        let first = segment.header().first;
        let is_last = segment.closed().is_none_or(|closed| closed.last > self.to);
        let number = |ordinal: u32| first.saturating_add(u64::from(ordinal));
        let mut lists: Vec<Listed> = Vec::new();
        for (need, late) in self.needs.iter().zip(&self.late) {
            // At the end of the question an outcome may be on record that the question does not reach.
            if need.open && is_last {
                continue;
            }
            lists.push(Listed::new(part, need, late, first)?);
        }
        let mut ordinals = intersection(part, &mut lists)?;
        let unreadable = part.list(Shelf::Common, self.keys.terms.unreadable)?;
        if !unreadable.is_empty() {
            ordinals.extend(unreadable);
            ordinals.sort_unstable();
            ordinals.dedup();
        }
        let mut candidates = Vec::new();
        for ordinal in ordinals {
            let seq = number(ordinal);
            if seq > self.to {
                break;
            }
            if seq < from {
                continue;
            }
            let row = part.row(ordinal)?;
            if row.standing == Standing::Part || !self.window.covers(row.second) {
                continue;
            }
            let mate = row.mate.filter(|mate| number(*mate) <= self.to);
            let mate = match mate {
                Some(mate) => Some((number(mate), part.row(mate)?.offset)),
                None => None,
            };
            candidates.push(Candidate {
                seq,
                offset: row.offset,
                mate,
            });
        }
        Ok(candidates)
    }

    /// Opens a candidate; none where the index was made again, and asked again.
    fn opened(&mut self, candidate: Candidate) -> Result<Option<Record>, LogError> {
        let Some(segment) = self.view.at(self.position) else {
            return Ok(None);
        };
        let Candidate { seq, offset, .. } = candidate;
        match self.open.record_at(segment, seq, offset) {
            Ok(record) => Ok(Some(record)),
            Err(LogError::Shredded(note)) => {
                // Since it was looked up.
                self.candidates.clear();
                self.passed.shredded(Some(*note));
                Ok(None)
            }
            Err(error) => self.remake(error, seq).map(|()| None),
        }
    }

    /// A record of this segment is not where the index says: the segment is read through, once, and looked into again
    /// from that record on. Where it is damaged there, that comes out.
    fn remake(&mut self, error: LogError, from: u64) -> Result<(), LogError> {
        self.distrust(error)?;
        self.look_into(self.position, from)
    }

    /// Does away with the index of this segment, once, where it may be the cause of an error; else that is the answer.
    fn distrust(&mut self, error: LogError) -> Result<(), LogError> {
        let segment = self.view.at(self.position);
        let closed = segment.filter(|segment| segment.closed().is_some());
        let unfit = matches!(error, LogError::Damaged { .. } | LogError::Crypt { .. });
        match closed {
            Some(segment) if unfit && self.remade != Some(self.position) => {
                self.index.distrust(segment, &Fault::Damaged);
                self.remade = Some(self.position);
                Ok(())
            }
            Some(_) | None => Err(error),
        }
    }

    /// The positions, in a range, of segments that may hold something that fulfils all needs.
    fn holding(
        &self,
        needs: &[Need],
        late: &[BTreeSet<u64>],
        window: &Window,
        range: Range<usize>,
    ) -> Result<Vec<usize>, LogError> {
        let walk = Walk {
            index: &self.index,
            view: &self.view,
            needs,
            late,
            window,
            unreadable: self.keys.terms.unreadable,
        };
        walk.over(range)
    }
}

fn entry(record: &Record) -> Result<Entry, ShowError> {
    Entry::from_bytes(&record.payload).map_err(|source| ShowError::Entry {
        sequence: record.sequence,
        source,
    })
}

/// Records that have any term of any of these needs.
fn any_of(part: &dyn Part, needs: &[Need]) -> Result<Vec<u32>, Fault> {
    let mut found = Vec::new();
    for need in needs {
        for term in &need.any {
            found.extend(part.list(need.shelf, *term)?);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A need, and how many records of a segment fulfil it at most.
struct Listed<'n> {
    need: &'n Need,
    late: Vec<u32>,
    count: usize,
}

impl<'n> Listed<'n> {
    fn new(
        part: &dyn Part,
        need: &'n Need,
        late: &BTreeSet<u64>,
        first: u64,
    ) -> Result<Self, Fault> {
        let end = first.saturating_add(u64::from(part.rows()));
        let late: Vec<u32> = late
            .range(first..end)
            .filter_map(|seq| u32::try_from(seq.saturating_sub(first)).ok())
            .collect();
        let mut count = late.len();
        for term in &need.any {
            count = count.saturating_add(part.count(need.shelf, *term)?);
        }
        Ok(Self { need, late, count })
    }

    fn list(&self, part: &dyn Part) -> Result<Vec<u32>, Fault> {
        let mut found = any_of(part, std::slice::from_ref(self.need))?;
        if !self.late.is_empty() {
            found.extend(&self.late);
            found.sort_unstable();
            found.dedup();
        }
        Ok(found)
    }
}

/// Records that fulfil every need, as far as it pays to find that out here; all records where there is none.
fn intersection(part: &dyn Part, lists: &mut [Listed<'_>]) -> Result<Vec<u32>, Fault> {
    lists.sort_by_key(|listed| listed.count);
    let Some((shortest, others)) = lists.split_first() else {
        return Ok((0..part.rows()).collect());
    };
    let mut found = shortest.list(part)?;
    for other in others {
        if found.is_empty() || other.count / MUCH_LONGER > found.len() {
            break;
        }
        let list = other.list(part)?;
        found.retain(|ordinal| list.binary_search(ordinal).is_ok());
    }
    Ok(found)
}
