//! The segments of the trail as they stood when a question was asked.

use std::ops::Range;

use jiff::Timestamp;

use super::catalog::Group;
use super::part::Span;
use crate::audit::filter::Filter;
use crate::audit::log::{Closed, Header, Shelved};
use crate::audit::query::scan::{first_of, late_from};

/// The segments, in order, without a hole between them.
#[derive(Debug)]
pub(super) struct View(Vec<Shelved>);

impl View {
    pub(super) const fn new(segments: Vec<Shelved>) -> Self {
        Self(segments)
    }

    pub(super) fn segments(&self) -> &[Shelved] {
        &self.0
    }

    /// The segment at a position.
    pub(super) fn at(&self, position: usize) -> Option<&Shelved> {
        self.0.get(position)
    }

    /// The position of the segment with a number.
    pub(super) fn position(&self, number: u64) -> Option<usize> {
        let first = self.0.first()?.header().number;
        let at = usize::try_from(number.checked_sub(first)?).ok()?;
        (at < self.0.len()).then_some(at)
    }

    /// The position of the segment that holds a record.
    pub(super) fn holding(&self, sequence: u64) -> Option<usize> {
        let behind = self
            .0
            .partition_point(|segment| segment.header().first <= sequence);
        behind.checked_sub(1)
    }

    /// The records of a segment: the first, and the last as far as that is known.
    pub(super) fn records(&self, position: usize) -> Range<u64> {
        let Some(segment) = self.at(position) else {
            return 0..0;
        };
        let last = segment.closed().map_or(u64::MAX, |closed| closed.last);
        segment.header().first..last.saturating_add(1)
    }

    /// The closed segments of a group, where all of them are here.
    pub(super) fn members(&self, group: Group) -> Option<Vec<(&Header, Closed)>> {
        let (first, last) = (self.position(group.first())?, self.position(group.last())?);
        let members = self.0.get(first..=last)?;
        members
            .iter()
            .map(|segment| Some((segment.header(), segment.closed()?)))
            .collect()
    }

    /// The number of the newest segment that is closed.
    pub(super) fn last_closed(&self) -> Option<u64> {
        let closed = |segment: &&Shelved| segment.closed().is_some();
        let newest = self.0.iter().rev().find(closed)?;
        Some(newest.header().number)
    }
}

/// What a question asks for besides terms.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Seconds since 1970, both ends included.
    since: Option<i64>,
    until: Option<i64>,
    /// When the id that is asked for was made, in milliseconds.
    made: Option<u64>,
    /// Segments of which only the beginning is known that may hold something of that time.
    pub(super) likely: Range<usize>,
}

impl Window {
    /// All of the trail.
    pub(super) fn all(view: &View) -> Self {
        Self {
            since: None,
            until: None,
            made: None,
            likely: 0..view.segments().len(),
        }
    }

    pub(super) fn of(filter: &Filter, made: Option<u64>, view: &View) -> Self {
        let segments = view.segments();
        let begun: Vec<(Timestamp, u64)> = segments
            .iter()
            .map(|segment| (segment.header().created, segment.header().number))
            .collect();
        let position = |number| view.position(number);
        let from = filter
            .since
            .and_then(|since| position(first_of(&begun, since)));
        let late = filter
            .until
            .and_then(|until| position(late_from(&begun, until)));
        Self {
            since: filter.since.map(Timestamp::as_second),
            until: filter.until.map(Timestamp::as_second),
            made,
            likely: from.unwrap_or(0)..late.unwrap_or(segments.len()),
        }
    }

    /// Where an id is that was made then.
    pub(super) fn made(view: &View, made: Option<u64>) -> Self {
        Self {
            made,
            ..Self::all(view)
        }
    }

    /// What was written within so many seconds of a time.
    pub(super) fn around(view: &View, second: i64, apart: i64) -> Self {
        Self {
            since: Some(second.saturating_sub(apart)),
            until: Some(second.saturating_add(apart)),
            ..Self::all(view)
        }
    }

    /// Whether a record of this second may be of the time asked for.
    pub(super) fn covers(&self, second: Option<i64>) -> bool {
        second.is_none_or(|second| {
            self.since.is_none_or(|since| second >= since)
                && self.until.is_none_or(|until| second <= until)
        })
    }

    /// Whether a segment that reaches over this may hold something.
    pub(super) fn meets(&self, span: Span) -> bool {
        self.since.is_none_or(|since| span.greatest >= since)
            && self.until.is_none_or(|until| span.least <= until)
            && self
                .made
                .is_none_or(|made| (span.first_id..=span.last_id).contains(&made))
    }
}
