//! The index of one segment while it is made: in memory, record by record.
//!
//! *Owns*: memory of about a fifth of the segment's bytes, most of it ids. What it makes depends on the segment's records
//! and on nothing else, so that it can be made again.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::part::{Foot, ID_BYTES, Part, ROW_BYTES, Row, Span, Standing};
use super::sheet::Fault;
use super::term::{Found, Shelf, Term, Terms, made, stands_alone};
use crate::audit::entry::{Entry, Phase};

/// The records that a term stands for.
#[derive(Debug)]
enum Posting {
    One(u32),
    Many(Vec<u32>),
}

impl Posting {
    fn add(&mut self, ordinal: u32) {
        match self {
            Self::One(known) if *known == ordinal => {}
            Self::One(known) => *self = Self::Many(vec![*known, ordinal]),
            Self::Many(known) if known.last() == Some(&ordinal) => {}
            Self::Many(known) => known.push(ordinal),
        }
    }

    /// In order; an outcome names its admission later than that was passed.
    fn sorted(&self) -> Vec<u32> {
        match self {
            Self::One(ordinal) => vec![*ordinal],
            Self::Many(ordinals) => {
                let mut ordinals = ordinals.clone();
                ordinals.sort_unstable();
                ordinals.dedup();
                ordinals
            }
        }
    }

    const fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(ordinals) => ordinals.len(),
        }
    }
}

type Postings = HashMap<Term, Posting>;

fn put(postings: &mut Postings, term: Term, ordinal: u32) {
    postings
        .entry(term)
        .and_modify(|posting| posting.add(ordinal))
        .or_insert(Posting::One(ordinal));
}

/// The index of a segment.
#[derive(Debug)]
pub(super) struct Builder {
    terms: Arc<Terms>,
    first: u64,
    rows: Vec<Row>,
    span: Span,
    earliest: i64,
    common: Postings,
    ids: Postings,
    /// Admissions whose outcome has not come.
    open: HashMap<Uuid, u32>,
    found: Found,
}

impl Builder {
    /// The index of a segment that begins with the record `first`.
    pub(super) fn new(terms: Arc<Terms>, first: u64) -> Self {
        Self {
            terms,
            first,
            rows: Vec::new(),
            span: Span::NONE,
            earliest: i64::MAX,
            common: HashMap::new(),
            ids: HashMap::new(),
            open: HashMap::new(),
            found: Found::default(),
        }
    }

    /// The record that comes next.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(self.rows.len() as u64)
    }

    /// Takes up the next record.
    pub(super) fn add(&mut self, offset: u64, payload: &[u8]) {
        // A segment has as many records as fit into 4 GiB, at 61 bytes each.
        let Ok(ordinal) = u32::try_from(self.rows.len()) else {
            return;
        };
        let Ok(entry) = Entry::from_bytes(payload) else {
            put(&mut self.common, self.terms.unreadable, ordinal);
            self.span.open_up();
            self.rows.push(Row::unreadable(offset));
            return;
        };
        let second = entry.time.as_second();
        self.span.time(second);
        self.earliest = self.earliest.min(second);
        let mut row = Row {
            offset,
            second: Some(second),
            mate: None,
            standing: Standing::Part,
        };
        self.found.common.clear();
        self.found.ids.clear();
        if stands_alone(entry.phase) {
            row.standing = Standing::Alone;
            self.terms.of_entry(&entry, &mut self.found);
            self.span.id(made(entry.id));
            if let Some(facts) = &entry.facts {
                self.span.id(facts.request.parse().ok().and_then(made));
            }
            self.post(ordinal);
            if entry.phase == Phase::Admit {
                self.open.insert(entry.id, ordinal);
            }
        } else {
            row.mate = self.outcome(&entry, ordinal);
        }
        self.rows.push(row);
    }

    /// Takes up an outcome; says which record here it belongs to.
    fn outcome(&mut self, entry: &Entry, ordinal: u32) -> Option<u32> {
        let (of, outcome) = (entry.of?, entry.outcome.as_ref()?);
        let Some(admission) = self.open.remove(&of) else {
            let common = &mut self.found.common;
            self.terms.of_late_outcome(of, outcome, common);
            self.post(ordinal);
            return None;
        };
        self.terms.of_outcome(outcome, &mut self.found.common);
        self.post(admission);
        let row = usize::try_from(admission).ok();
        if let Some(row) = row.and_then(|at| self.rows.get_mut(at)) {
            row.mate = Some(ordinal);
        }
        Some(admission)
    }

    fn post(&mut self, ordinal: u32) {
        for term in &self.found.common {
            put(&mut self.common, *term, ordinal);
        }
        for term in &self.found.ids {
            put(&mut self.ids, *term, ordinal);
        }
    }

    fn unended(&self) -> Vec<u32> {
        let mut open: Vec<u32> = self.open.values().copied().collect();
        open.sort_unstable();
        open
    }

    /// The content of the segment's sheet: rows, terms, ids, postings, foot.
    pub(super) fn content(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(self.rows.len().saturating_mul(64));
        for row in &self.rows {
            content.extend_from_slice(&row.to_bytes(self.earliest));
        }
        let mut postings = Vec::new();
        let unended = self.unended();
        let extra = (!unended.is_empty()).then_some((self.terms.unended, unended));
        let common = table(&self.common, extra.as_ref(), &mut content, &mut postings);
        let ids = table(&self.ids, None, &mut content, &mut postings);
        content.extend_from_slice(&postings);
        let foot = Foot {
            rows: self.rows.len() as u64,
            common,
            ids,
            postings: postings.len() as u64,
            earliest: self.earliest,
            span: self.span,
        };
        content.extend_from_slice(&foot.to_bytes());
        content
    }
}

/// Writes the rows of terms; says how many there are.
fn table(
    terms: &Postings,
    extra: Option<&(Term, Vec<u32>)>,
    content: &mut Vec<u8>,
    postings: &mut Vec<u8>,
) -> u64 {
    let mut order: Vec<Term> = terms.keys().copied().collect();
    order.extend(extra.iter().map(|(term, _)| *term));
    order.sort_unstable();
    order.dedup();
    for term in &order {
        let ordinals = match (extra, terms.get(term)) {
            (Some((extra, ordinals)), _) if extra == term => ordinals.clone(),
            (_, Some(posting)) => posting.sorted(),
            (_, None) => Vec::new(),
        };
        let count = u32::try_from(ordinals.len()).unwrap_or(u32::MAX);
        let place = match ordinals.as_slice() {
            [one] => *one,
            many => {
                let place = u32::try_from(postings.len()).unwrap_or(u32::MAX);
                let mut before = 0_u32;
                for ordinal in many {
                    varint(ordinal.saturating_sub(before), postings);
                    before = *ordinal;
                }
                place
            }
        };
        let mut row = [0; ID_BYTES];
        let (head, tail) = row.split_at_mut(8);
        head.copy_from_slice(&term.to_be_bytes());
        let (at, many) = tail.split_at_mut(4);
        at.copy_from_slice(&place.to_be_bytes());
        many.copy_from_slice(&count.to_be_bytes());
        content.extend_from_slice(&row);
    }
    order.len() as u64
}

/// Seven bits to a byte, the least first.
fn varint(mut number: u32, to: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            to.push(low);
            return;
        }
        to.push(low | 0x80);
    }
}

impl Part for Builder {
    fn count(&self, on: Shelf, term: Term) -> Result<usize, Fault> {
        if term == self.terms.unended {
            return Ok(self.open.len());
        }
        Ok(self.postings(on).get(&term).map_or(0, Posting::count))
    }

    fn list(&self, on: Shelf, term: Term) -> Result<Vec<u32>, Fault> {
        if term == self.terms.unended {
            return Ok(self.unended());
        }
        let found = self.postings(on).get(&term);
        Ok(found.map_or_else(Vec::new, Posting::sorted))
    }

    fn row(&self, ordinal: u32) -> Result<Row, Fault> {
        let at = usize::try_from(ordinal).ok();
        let row = at.and_then(|at| self.rows.get(at));
        row.copied().ok_or(Fault::Damaged)
    }

    fn rows(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    fn span(&self) -> Span {
        self.span
    }
}

impl Builder {
    const fn postings(&self, on: Shelf) -> &Postings {
        match on {
            Shelf::Common => &self.common,
            Shelf::Ids => &self.ids,
        }
    }
}

const _: () = assert!(
    ROW_BYTES == ID_BYTES,
    "tables begin on a multiple of their rows"
);
