//! One question: which segments can hold an answer, which records in them, and what became of those.
//!
//! What is given out may match; whoever asks matches the record itself. An admission whose outcome lies in a later
//! segment is found by what the outcome says, too.
//!
//! Memory: eight bytes for each segment that may hold an answer, twenty-four for each record of one of them that may match.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;

use super::Index;
use super::catalog::{Catalog, Group};
use super::keys::Keys;
use super::part::{Part, Span, Standing};
use super::sheet::Fault;
use super::term::{Need, Shelf, Term, made};
use super::view::{View, Window};
use crate::audit::entry::Entry;
use crate::audit::filter::Filter;
use crate::audit::log::{LogError, OpenSegments, Record, Shelved};
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
    /// The segment whose index has been made again because a record was not where it said.
    remade: Option<usize>,
    scanned: BTreeSet<usize>,
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
            remade: None,
            scanned: BTreeSet::new(),
        })
    }

    /// How many segments had to be read through because their index was of no use.
    #[must_use]
    pub fn scanned(&self) -> usize {
        self.scanned.len()
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
                return Ok(None);
            };
            self.position = position;
            self.look_into(position, 0)?;
        }
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
            self.scanned.insert(position);
        }
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
                self.scanned.insert(position);
            }
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
        if asked.scanned {
            self.scanned.insert(position);
        }
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
            Err(error) => self.remake(error, seq).map(|()| None),
        }
    }

    /// A record of this segment is not where the index says: the segment is read through, once, and looked into again
    /// from that record on. Where it is damaged there, that comes out.
    fn remake(&mut self, error: LogError, from: u64) -> Result<(), LogError> {
        let segment = self.view.at(self.position);
        let closed = segment.filter(|segment| segment.closed().is_some());
        let unfit = matches!(error, LogError::Damaged { .. } | LogError::Crypt { .. });
        match closed {
            Some(segment) if unfit && self.remade != Some(self.position) => {
                self.index.distrust(segment, &Fault::Damaged);
                self.remade = Some(self.position);
                self.look_into(self.position, from)
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

/// The way from catalogs to segments.
struct Walk<'w> {
    index: &'w Index,
    view: &'w View,
    needs: &'w [Need],
    late: &'w [BTreeSet<u64>],
    window: &'w Window,
    unreadable: Term,
}

impl Walk<'_> {
    fn over(&self, range: Range<usize>) -> Result<Vec<usize>, LogError> {
        let mut found = Vec::new();
        let last = range
            .end
            .checked_sub(1)
            .and_then(|last| self.view.at(last))
            .map_or(0, |segment| segment.header().number);
        let last = last.min(self.view.last_closed().unwrap_or(0));
        let mut position = range.start;
        while position < range.end {
            let number = self.view.at(position).map_or(0, |s| s.header().number);
            let mut passed = None;
            for group in Group::beginning(number, last) {
                if let Some(catalog) = self.index.catalog(self.view, group)? {
                    self.below(group, &catalog, &mut found)?;
                    passed = self.view.position(group.last());
                    break;
                }
            }
            if passed.is_none() {
                self.segment(position, &mut found)?;
            }
            position = passed.unwrap_or(position).saturating_add(1);
        }
        Ok(found)
    }

    /// What of a group may hold something.
    fn below(
        &self,
        group: Group,
        catalog: &Catalog,
        found: &mut Vec<usize>,
    ) -> Result<(), LogError> {
        let holders = match self.holders(group, catalog) {
            Ok(holders) => holders,
            Err(fault) => {
                self.index.distrust_catalog(group, &fault);
                u16::MAX
            }
        };
        let size = Group::size(group.tier.saturating_sub(1));
        let children = (0_u32..).zip(self.children(group, catalog));
        for (child, (first, spans)) in children {
            let meets = spans.iter().any(|span| self.window.meets(*span));
            if holders.checked_shr(child).unwrap_or_default() & 1 == 0 || !meets {
                continue;
            }
            let below = group.tier.checked_sub(1).filter(|tier| *tier > 0);
            let below = below.map(|tier| Group {
                tier,
                group: first
                    .saturating_sub(1)
                    .checked_div(size)
                    .unwrap_or_default(),
            });
            let Some(below) = below else {
                found.extend(self.view.position(first));
                continue;
            };
            match self.index.catalog(self.view, below)? {
                Some(catalog) => self.below(below, &catalog, found)?,
                None => {
                    for number in below.first()..=below.last() {
                        if let Some(position) = self.view.position(number) {
                            self.segment(position, found)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The children of a catalog: the number of the first segment of each, and what its segments reach over.
    fn children<'c>(
        &self,
        group: Group,
        catalog: &'c Catalog,
    ) -> impl Iterator<Item = (u64, &'c [Span])> + use<'c> {
        let size = Group::size(group.tier.saturating_sub(1));
        let width = usize::try_from(size).unwrap_or(usize::MAX).max(1);
        let firsts =
            (0_u64..).map(move |child| group.first().saturating_add(child.saturating_mul(size)));
        firsts.zip(catalog.spans().chunks(width))
    }

    /// A bit for each child that may hold something.
    fn holders(&self, group: Group, catalog: &Catalog) -> Result<u16, Fault> {
        let mut holders = u16::MAX;
        for (at, need) in self.needs.iter().enumerate() {
            if need.shelf == Shelf::Ids {
                continue;
            }
            let mut any = 0;
            for term in &need.any {
                any |= catalog.holders(*term)?;
            }
            holders &= any | self.late_children(group, at);
            if holders == 0 {
                break;
            }
        }
        Ok(holders | catalog.holders(self.unreadable)?)
    }

    /// A bit for each child with an admission that fulfils a need by a late outcome.
    fn late_children(&self, group: Group, need: usize) -> u16 {
        let size = Group::size(group.tier.saturating_sub(1));
        let late = self.late.get(need).filter(|late| !late.is_empty());
        let (Some(late), Some(from), Some(to)) = (
            late,
            self.view.position(group.first()),
            self.view.position(group.last()),
        ) else {
            return 0;
        };
        let records = self.view.records(from).start..self.view.records(to).end;
        let positions = late
            .range(records)
            .filter_map(|seq| self.view.holding(*seq));
        positions
            .filter_map(|position| {
                let number = self.view.at(position)?.header().number;
                let child = number.checked_sub(group.first())?.checked_div(size)?;
                1_u16.checked_shl(u32::try_from(child).ok()?)
            })
            .fold(0, |bits, bit| bits | bit)
    }

    /// Whether a segment may hold something, by its own index where it has one.
    fn segment(&self, position: usize, found: &mut Vec<usize>) -> Result<(), LogError> {
        let Some(segment) = self.view.at(position) else {
            return Ok(());
        };
        let stored = match segment.closed() {
            Some(closed) => self.index.stored(segment, closed)?,
            None => None,
        };
        let may = match stored {
            None => self.window.likely.contains(&position),
            Some(stored) => match self.may_hold(&*stored, position) {
                Ok(may) => may,
                Err(fault) => {
                    self.index.distrust(segment, &fault);
                    true
                }
            },
        };
        if may {
            found.push(position);
        }
        Ok(())
    }

    fn may_hold(&self, part: &dyn Part, position: usize) -> Result<bool, Fault> {
        if !self.window.meets(part.span()) {
            return Ok(false);
        }
        if part.count(Shelf::Common, self.unreadable)? > 0 {
            return Ok(true);
        }
        for (at, need) in self.needs.iter().enumerate() {
            let records = self.view.records(position);
            let late = self.late.get(at);
            let mut any = late.is_some_and(|late| late.range(records).next().is_some());
            for term in &need.any {
                any = any || part.count(need.shelf, *term)? > 0;
            }
            if !any {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
