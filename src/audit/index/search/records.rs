//! Single records in place of requests: what a reading shows, in the order of the trail.
//!
//! What is given out may match, and whoever reads decides. Beside the records that may match these are the outcomes of
//! admissions, where they may match by themselves or are awaited: those of the same segment, and those of later ones,
//! which are looked for when a segment with an admission whose outcome is awaited has been gone through.
//!
//! Memory: sixteen bytes for each record of one segment that may match, eight for each segment that may hold one.

use std::collections::{BTreeSet, VecDeque};

use uuid::Uuid;

use super::{Listed, Search, any_of, entry, intersection};
use crate::audit::entry::Entry;
use crate::audit::filter::Filter;
use crate::audit::index::Index;
use crate::audit::index::part::{Part, Standing};
use crate::audit::index::sheet::Fault;
use crate::audit::index::term::{Need, Shelf, Term, made};
use crate::audit::index::view::Window;
use crate::audit::log::{LogError, Record, Retired};
use crate::audit::show::ShowError;

/// Seconds by which the time of a record and that of its id may differ.
const APART: i64 = 60;

/// A reading on its way.
#[derive(Debug)]
pub struct Records {
    search: Search,
    /// Whether an outcome can match by itself: nothing is asked that only admissions say.
    outcomes: bool,
    /// When an outcome was written that has the id that is asked for, if one has.
    own: Option<Window>,
    widened: bool,
    /// Segments that are still to be looked at; `None` before the first look.
    ahead: Option<BTreeSet<usize>>,
    /// Numbers of records of the segment, and where they begin.
    places: VecDeque<(u64, u64)>,
    /// Admissions whose outcomes have been looked for in later segments.
    followed: BTreeSet<Uuid>,
}

impl Records {
    /// Begins to read, up to the durable record `to`; nothing where the index cannot narrow down what is asked for.
    ///
    /// # Errors
    /// [`LogError`] for segments that are missing, replaced or unreadable.
    pub fn new(index: &Index, filter: &Filter, to: u64) -> Result<Option<Self>, LogError> {
        let period = Filter {
            since: filter.since,
            until: filter.until,
            ..Filter::default()
        };
        // How it ended is said of a request, not of one of its records.
        if *filter == period || filter.outcome.is_some() {
            return Ok(None);
        }
        let search = Search::new(index, filter, to)?;
        if search.needs.is_empty() {
            return Ok(None);
        }
        let unsaid = is_silent_on_admissions(filter);
        let id = filter.request.as_ref().filter(|_| unsaid);
        let own = id.and_then(|id| made(id.parse().ok()?));
        let own = own.and_then(|millis| i64::try_from(millis / 1_000).ok());
        Ok(Some(Self {
            own: own.map(|second| Window::around(&search.view, second, APART)),
            outcomes: unsaid && filter.request.is_none(),
            search,
            widened: false,
            ahead: None,
            places: VecDeque::new(),
            followed: BTreeSet::new(),
        }))
    }

    /// The index that it asks.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.search.index
    }

    /// The last record that it reaches.
    #[must_use]
    pub const fn to(&self) -> u64 {
        self.search.to
    }

    /// How many segments had to be read through because their index was of no use.
    #[must_use]
    pub fn scanned(&self) -> usize {
        self.search.scanned()
    }

    /// The shredded segments that were passed over and not said yet.
    pub fn take_shredded(&mut self) -> Vec<Retired> {
        self.search.take_shredded()
    }

    /// The next record that may match, or is the outcome of one of the admissions that are `awaited`.
    ///
    /// # Errors
    /// [`ShowError`] for a log or a record that cannot be read.
    pub fn next_record(
        &mut self,
        awaited: &BTreeSet<Uuid>,
    ) -> Result<Option<(u64, Entry)>, ShowError> {
        loop {
            if let Some(place) = self.places.pop_front() {
                let Some(record) = self.opened(place, awaited)? else {
                    continue;
                };
                return Ok(Some((record.sequence, entry(&record)?)));
            }
            if let Some(failure) = self.search.failure.take() {
                self.ahead = Some(BTreeSet::new());
                return Err(failure.into());
            }
            if self.ahead.is_none() {
                self.ahead = Some(self.holding()?);
            } else {
                self.follow(awaited)?;
            }
            let Some(position) = self.ahead.as_mut().and_then(BTreeSet::pop_first) else {
                return Ok(None);
            };
            self.search.position = position;
            self.look_into(position, 0, awaited)?;
        }
    }

    /// Looks for an outcome whose own id was asked for, which no index names: among those that were written when the
    /// id was made. Call it where nothing was found; says whether there is anything to look at.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn widen(&mut self) -> Result<bool, LogError> {
        let Some(own) = self.own.as_ref().filter(|_| !self.widened) else {
            return Ok(false);
        };
        let everywhere = 0..self.search.view.segments().len();
        let ahead = self.search.holding(&[], &[], own, everywhere)?;
        self.ahead = Some(ahead.into_iter().collect());
        self.widened = true;
        Ok(true)
    }

    /// The segments that may hold something.
    fn holding(&self) -> Result<BTreeSet<usize>, LogError> {
        let search = &self.search;
        let everywhere = 0..search.view.segments().len();
        let found = search.holding(&search.needs, &[], &search.window, everywhere.clone())?;
        let mut ahead: BTreeSet<usize> = found.into_iter().collect();
        for need in search.needs.iter().filter(|_| self.outcomes) {
            if !need.late.is_empty() {
                let late = [Need::of_late(&need.late)];
                let found = search.holding(&late, &[], &search.window, everywhere.clone())?;
                ahead.extend(found);
            }
        }
        Ok(ahead)
    }

    /// Adds the segments, behind the one that was gone through, with outcomes that are awaited since.
    fn follow(&mut self, awaited: &BTreeSet<Uuid>) -> Result<(), LogError> {
        let search = &self.search;
        let new: Vec<Term> = awaited
            .difference(&self.followed)
            .map(|id| search.keys.terms.late_of(*id))
            .collect();
        if !new.is_empty() {
            let behind = search.position.saturating_add(1)..search.view.segments().len();
            let everywhere = Window::all(&search.view);
            let found = search.holding(&[Need::of_late(&new)], &[], &everywhere, behind)?;
            if let Some(ahead) = &mut self.ahead {
                ahead.extend(found);
            }
        }
        self.followed.clone_from(awaited);
        Ok(())
    }

    /// Finds what is to be opened in a segment, from a record on.
    fn look_into(
        &mut self,
        position: usize,
        from: u64,
        awaited: &BTreeSet<Uuid>,
    ) -> Result<(), LogError> {
        let search = &self.search;
        let Some(segment) = search.view.at(position) else {
            return Ok(());
        };
        let terms: Vec<Term> = awaited
            .iter()
            .map(|id| search.keys.terms.late_of(*id))
            .collect();
        let (late, first) = ([Need::of_late(&terms)], segment.header().first);
        let asked = search.index.ask(segment, search.to, |part| {
            self.places_of(part, &late, (first, from))
        })?;
        self.search.passed.note(position, &asked);
        self.places = asked.value.into();
        self.search.failure = asked.failure;
        Ok(())
    }

    /// What is to be opened of a segment that begins with a record, from another on: its number and its place.
    fn places_of(
        &self,
        part: &dyn Part,
        late: &[Need],
        (first, from): (u64, u64),
    ) -> Result<Vec<(u64, u64)>, Fault> {
        let mut ordinals = any_of(part, late)?;
        match self.own.as_ref().filter(|_| self.widened) {
            Some(own) => of_that_time(part, own, &mut ordinals)?,
            None => self.matching(part, first, &mut ordinals)?,
        }
        ordinals.sort_unstable();
        ordinals.dedup();
        let mut places = Vec::with_capacity(ordinals.len());
        for ordinal in ordinals {
            let seq = first.saturating_add(u64::from(ordinal));
            if (from..=self.search.to).contains(&seq) {
                places.push((seq, part.row(ordinal)?.offset));
            }
        }
        Ok(places)
    }

    /// Records that may match, each with its outcome where that is in the segment.
    fn matching(&self, part: &dyn Part, first: u64, found: &mut Vec<u32>) -> Result<(), Fault> {
        let Search {
            needs,
            window,
            keys,
            ..
        } = &self.search;
        let none = BTreeSet::new();
        let mut lists: Vec<Listed> = Vec::new();
        for need in needs {
            lists.push(Listed::new(part, need, &none, first)?);
        }
        let mut ordinals = intersection(part, &mut lists)?;
        ordinals.extend(part.list(Shelf::Common, keys.terms.unreadable)?);
        for ordinal in ordinals {
            let row = part.row(ordinal)?;
            if window.covers(row.second) {
                found.push(ordinal);
                found.extend(row.mate);
            } else if let Some(mate) = row.mate.filter(|_| self.outcomes)
                && window.covers(part.row(mate)?.second)
            {
                found.push(mate);
            }
        }
        for need in needs.iter().filter(|_| self.outcomes) {
            for term in &need.late {
                found.extend(part.list(need.shelf, *term)?);
            }
        }
        Ok(())
    }

    /// Opens a record; none where the index was made again, and asked again.
    fn opened(
        &mut self,
        (seq, offset): (u64, u64),
        awaited: &BTreeSet<Uuid>,
    ) -> Result<Option<Record>, LogError> {
        let position = self.search.position;
        let Some(segment) = self.search.view.at(position) else {
            return Ok(None);
        };
        match self.search.open.record_at(segment, seq, offset) {
            Ok(record) => Ok(Some(record)),
            Err(LogError::Shredded(note)) => {
                // Since it was looked up.
                self.places.clear();
                self.search.passed.shredded(Some(*note));
                Ok(None)
            }
            Err(error) => {
                self.search.distrust(error)?;
                self.look_into(position, seq, awaited)?;
                Ok(None)
            }
        }
    }
}

/// Outcomes that were written in a time.
fn of_that_time(part: &dyn Part, window: &Window, found: &mut Vec<u32>) -> Result<(), Fault> {
    for ordinal in 0..part.rows() {
        let row = part.row(ordinal)?;
        let may_be = match row.standing {
            Standing::Part | Standing::Unreadable => true,
            Standing::Alone => false,
        };
        if may_be && window.covers(row.second) {
            found.push(ordinal);
        }
    }
    Ok(())
}

/// Whether a filter asks for nothing that an outcome does not say: who, what, from where.
fn is_silent_on_admissions(filter: &Filter) -> bool {
    let Filter {
        patient: _,
        user,
        request: _,
        since: _,
        until: _,
        decision,
        refusal,
        action,
        section,
        aliases: _,
        exact: _,
        address,
        event,
        outcome: _,
    } = filter;
    user.is_none()
        && decision.is_none()
        && refusal.is_none()
        && action.is_none()
        && section.is_none()
        && address.is_none()
        && event.is_none()
}
