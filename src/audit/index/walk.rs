//! The way from catalogs to the segments that may hold an answer.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Index;
use super::catalog::{Catalog, Group};
use super::part::{Part, Span};
use super::sheet::Fault;
use super::term::{Need, Shelf, Term};
use super::view::{View, Window};
use crate::audit::log::LogError;

/// The way from catalogs to segments.
pub(super) struct Walk<'w> {
    pub(super) index: &'w Index,
    pub(super) view: &'w View,
    pub(super) needs: &'w [Need],
    pub(super) late: &'w [BTreeSet<u64>],
    pub(super) window: &'w Window,
    pub(super) unreadable: Term,
}

impl Walk<'_> {
    /// The positions, in a range, of segments that may hold something.
    ///
    /// # Errors
    /// [`LogError`].
    pub(super) fn over(&self, range: Range<usize>) -> Result<Vec<usize>, LogError> {
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
        let children = (0_u32..).zip(Self::children(group, catalog));
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
    fn children(group: Group, catalog: &Catalog) -> impl Iterator<Item = (u64, &[Span])> {
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
