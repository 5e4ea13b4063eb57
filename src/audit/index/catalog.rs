//! Catalogs: which of sixteen segments have a term at all, and which of sixteen catalogs, and so on.
//!
//! With them a look-up opens a few catalogs and the segments that have what is asked for, however many others there are.
//! Ids are in none: a segment says when its ids were made, and they say so too.
//!
//! A catalog of tier `t` and group `g` stands for the segments numbered `g·16^t + 1` to `(g+1)·16^t`. It is made once, when
//! all of them are indexed, and goes when the first of them does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::part::{SPAN_BYTES, Span};
use super::sheet::{Fault, Sheet, Source, Table, number};
use super::term::Term;
use crate::audit::log::{Closed, DerivedKey, Head, Header, subject};

/// Segments, or catalogs, under a catalog.
pub(super) const FAN: u64 = 16;
/// The highest tier: a million segments.
pub(super) const TOP: u32 = 5;
/// Bytes of a row: the term, and a bit for each of the sixteen.
const WIDTH: usize = 10;
const FOOT_BYTES: usize = 16;

/// Names a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) tier: u32,
    pub(super) group: u64,
}

impl Group {
    /// Segments under a catalog of this tier.
    pub(super) const fn size(tier: u32) -> u64 {
        FAN.saturating_pow(tier)
    }

    /// The number of its first segment.
    pub(super) const fn first(self) -> u64 {
        self.group
            .saturating_mul(Self::size(self.tier))
            .saturating_add(1)
    }

    /// The number of its last segment.
    pub(super) const fn last(self) -> u64 {
        self.first()
            .saturating_add(Self::size(self.tier))
            .saturating_sub(1)
    }

    /// The catalogs under it; of the lowest tier none.
    pub(super) fn below(self) -> impl Iterator<Item = Self> {
        let first = self.group.saturating_mul(FAN);
        (0..FAN).filter_map(move |child| {
            let tier = self.tier.checked_sub(1).filter(|tier| *tier > 0)?;
            let group = first.saturating_add(child);
            Some(Self { tier, group })
        })
    }

    /// The largest that begins with the segment of this number and ends with or before the last.
    pub(super) fn beginning(number: u64, last: u64) -> impl Iterator<Item = Self> {
        (1..=TOP).rev().filter_map(move |tier| {
            let before = number.checked_sub(1)?;
            let size = Self::size(tier);
            let group = before.checked_div(size)?;
            let found = Self { tier, group };
            (found.first() == number && found.last() <= last).then_some(found)
        })
    }

    /// The name of its file.
    pub(super) fn file_name(self) -> String {
        format!("{}-{:08}.cgcat", self.tier, self.group)
    }

    /// The catalog of this file name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (tier, group) = name.strip_suffix(".cgcat")?.split_once('-')?;
        let (tier, group) = (tier.parse().ok()?, group.parse().ok()?);
        let found = Self { tier, group };
        ((1..=TOP).contains(&tier) && found.file_name() == name).then_some(found)
    }
}

/// What a catalog of these segments is about.
pub(super) fn about<'h>(
    group: Group,
    segments: impl Iterator<Item = (&'h Header, Closed)>,
) -> Head {
    let mut parts = group.first().to_be_bytes().to_vec();
    parts.extend_from_slice(&group.last().to_be_bytes());
    for (header, closed) in segments {
        parts.extend_from_slice(header.segment.as_bytes());
        parts.extend_from_slice(closed.head.as_bytes());
    }
    subject(&[b"catalog", &parts])
}

/// The terms of a child, in order.
pub(super) type Terms<'c> = Box<dyn Iterator<Item = Result<Term, Fault>> + 'c>;

/// The content of a catalog: for each term the children that have it, then what each segment reaches over.
///
/// Takes memory for its own content and a block of each child, whatever they hold.
///
/// # Errors
/// [`Fault`] of a child.
pub(super) fn content(mut children: Vec<Terms<'_>>, spans: &[Span]) -> Result<Vec<u8>, Fault> {
    let mut heap = BinaryHeap::with_capacity(children.len());
    for (child, terms) in children.iter_mut().enumerate() {
        if let Some(term) = terms.next().transpose()? {
            heap.push(Reverse((term, child)));
        }
    }
    let mut content = Vec::new();
    let mut rows = 0_u64;
    let mut current: Option<(Term, u16)> = None;
    let mut finish = |row: Option<(Term, u16)>, content: &mut Vec<u8>| {
        if let Some((term, mask)) = row {
            content.extend_from_slice(&term.to_be_bytes());
            content.extend_from_slice(&mask.to_be_bytes());
            rows = rows.saturating_add(1);
        }
    };
    while let Some(Reverse((term, child))) = heap.pop() {
        let bit = bit(child);
        match &mut current {
            Some((known, mask)) if *known == term => *mask |= bit,
            other => finish(other.replace((term, bit)), &mut content),
        }
        if let Some(terms) = children.get_mut(child)
            && let Some(next) = terms.next().transpose()?
        {
            heap.push(Reverse((next, child)));
        }
    }
    finish(current, &mut content);
    for span in spans {
        content.extend_from_slice(&span.to_bytes());
    }
    content.extend_from_slice(&rows.to_be_bytes());
    content.extend_from_slice(&(spans.len() as u64).to_be_bytes());
    Ok(content)
}

fn bit(child: usize) -> u16 {
    u32::try_from(child)
        .ok()
        .and_then(|child| 1_u16.checked_shl(child))
        .unwrap_or_default()
}

/// A catalog.
#[derive(Debug)]
pub(super) struct Catalog {
    sheet: Sheet,
    terms: Table,
    spans: Vec<Span>,
}

impl Catalog {
    /// Opens it.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn open(
        source: Source,
        key: &DerivedKey,
        about: Head,
        group: Group,
    ) -> Result<Self, Fault> {
        let sheet = Sheet::open(source, key, about)?;
        let at = sheet.length().checked_sub(FOOT_BYTES as u64);
        let at = at.ok_or(Fault::Damaged)?;
        let foot = sheet.read(at, FOOT_BYTES)?;
        let terms = Table {
            from: 0,
            rows: number::<8>(&foot, 0),
            width: WIDTH,
        };
        let count = usize::try_from(Group::size(group.tier)).unwrap_or(usize::MAX);
        let bytes = count.saturating_mul(SPAN_BYTES);
        let whole = number::<8>(&foot, 8) == count as u64
            && terms.end().checked_add(bytes as u64) == Some(at);
        if !whole {
            return Err(Fault::Damaged);
        }
        let spans = sheet.read(terms.end(), bytes)?;
        let spans = spans.chunks(SPAN_BYTES).map(Span::parse).collect();
        Ok(Self {
            sheet,
            terms,
            spans,
        })
    }

    /// What each of its segments reaches over, in order.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Which of its children have a term: a bit for each.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn holders(&self, term: Term) -> Result<u16, Fault> {
        let row = self.terms.find(&self.sheet, term)?;
        let mask = row.map(|row| number::<2>(&row, 8));
        Ok(u16::try_from(mask.unwrap_or_default()).unwrap_or_default())
    }

    /// Its terms, in order.
    pub(super) fn terms(&self) -> Terms<'_> {
        let rows = self.terms.terms(&self.sheet);
        Box::new(rows.map(|row| row.map(|row| number::<8>(&row, 0))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::audit::index::sheet::seal;

    #[test]
    fn groups_lie_in_each_other() {
        let group = |tier, group| Group { tier, group };
        assert_eq!((group(1, 0).first(), group(1, 0).last()), (1, 16));
        assert_eq!((group(2, 1).first(), group(2, 1).last()), (257, 512));
        assert_eq!(group(1, 3).below().count(), 0);
        let below: Vec<Group> = group(2, 1).below().collect();
        assert_eq!(
            (below.len(), below[0], below[15]),
            (16, group(1, 16), group(1, 31))
        );
        let beginning = |number, last| Group::beginning(number, last).collect::<Vec<_>>();
        assert_eq!(beginning(1, 300), [group(2, 0), group(1, 0)]);
        assert_eq!(beginning(257, 300), [group(1, 16)]);
        assert_eq!(beginning(2, 300), []);
        assert_eq!(beginning(289, 300), []);
        assert_eq!(Group::named(&group(3, 77).file_name()), Some(group(3, 77)));
        for other in [
            "6-00000000.cgcat",
            "1-1.cgcat",
            "x.cgcat",
            "1-00000001.cgidx",
        ] {
            assert_eq!(Group::named(other), None, "{other}");
        }
    }

    #[test]
    fn a_catalog_says_who_has_what() {
        let children: Vec<BTreeSet<u64>> = (0..16_u64)
            .map(|child| {
                (0..900)
                    .map(|n| (n * n * 7919) << 20)
                    .filter(|t| (t >> 20) % (child + 2) == 0)
                    .collect()
            })
            .collect();
        let terms = children
            .iter()
            .map(|child| -> Terms<'_> { Box::new(child.iter().map(|term| Ok(*term))) })
            .collect();
        let content = content(terms, &[Span::NONE; 16]).unwrap();
        let key = DerivedKey::generate().unwrap();
        let about = Head::from_bytes([1; 32]);
        let group = Group { tier: 1, group: 0 };
        let bytes = seal(&key, about, content).unwrap();
        let catalog =
            Catalog::open(Source::Memory(bytes.clone().into()), &key, about, group).unwrap();
        assert_eq!(catalog.spans(), [Span::NONE; 16]);
        let all: BTreeSet<u64> = children.iter().flatten().copied().collect();
        for term in &all {
            let mask = catalog.holders(*term).unwrap();
            for (index, child) in children.iter().enumerate() {
                assert_eq!(mask >> index & 1 == 1, child.contains(term));
            }
        }
        assert_eq!(catalog.holders(3).unwrap(), 0);
        let listed: Vec<u64> = catalog.terms().map(Result::unwrap).collect();
        assert_eq!(listed, all.into_iter().collect::<Vec<_>>());
        let other = Group { tier: 2, group: 0 };
        assert!(Catalog::open(Source::Memory(bytes.into()), &key, about, other).is_err());
    }
}
