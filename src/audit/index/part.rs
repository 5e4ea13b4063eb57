//! The index of one segment as it is asked: the same questions, whether it is being made or was stored.

use super::sheet::{Fault, Sheet, Source, Table, number};
use super::term::{Shelf, Term};
use crate::audit::log::{Closed, DerivedKey, Head, Header, subject};

/// Bytes of a record's row: where its frame begins (6), seconds since the earliest (4), its counterpart (4), what it is (1),
/// one that is zero.
pub(super) const ROW_BYTES: usize = 16;
/// Bytes of a term's row: the term (8), its only record or where its records are listed (4), how many (4).
pub(super) const ID_BYTES: usize = 16;
const FOOT_BYTES: usize = 72;
const NO_MATE: u32 = u32::MAX;
const NO_TIME: u32 = u32::MAX;

/// What is asked of the index of a segment. Records are named by their place in the segment, from 0.
pub(super) trait Part {
    /// How many records have a term.
    fn count(&self, on: Shelf, term: Term) -> Result<usize, Fault>;
    /// Which, in order.
    fn list(&self, on: Shelf, term: Term) -> Result<Vec<u32>, Fault>;
    /// What is known of a record.
    fn row(&self, ordinal: u32) -> Result<Row, Fault>;
    /// How many records there are.
    fn rows(&self) -> u32;
    /// What the segment reaches over.
    fn span(&self) -> Span;
}

/// What a record can be in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// An admission, a refusal, an event.
    Alone,
    /// An outcome.
    Part,
    /// Unknown: it could not be read.
    Unreadable,
}

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Where its frame begins in the segment's file.
    pub(super) offset: u64,
    /// When it was written, in whole seconds since 1970; `None` where that is not known, or far from all others.
    pub(super) second: Option<i64>,
    /// Of an admission: its outcome. Of an outcome: its admission. `None` where that is not in the segment.
    pub(super) mate: Option<u32>,
    /// What it is.
    pub(super) standing: Standing,
}

impl Row {
    pub(super) const fn unreadable(offset: u64) -> Self {
        Self {
            offset,
            second: None,
            mate: None,
            standing: Standing::Unreadable,
        }
    }

    pub(super) fn to_bytes(self, earliest: i64) -> [u8; ROW_BYTES] {
        let since = self.second.map(|second| second.saturating_sub(earliest));
        let since = since.and_then(|since| u32::try_from(since).ok());
        let second = since.unwrap_or(NO_TIME);
        let standing = match self.standing {
            Standing::Alone => 0,
            Standing::Part => 1,
            Standing::Unreadable => 2,
        };
        let [_, _, offset @ ..] = self.offset.to_be_bytes();
        let mut bytes = [0; ROW_BYTES];
        let mate = self.mate.unwrap_or(NO_MATE).to_be_bytes();
        let parts = offset
            .into_iter()
            .chain(second.to_be_bytes())
            .chain(mate)
            .chain([standing]);
        for (to, from) in bytes.iter_mut().zip(parts) {
            *to = from;
        }
        bytes
    }

    fn parse(bytes: &[u8], earliest: i64) -> Result<Self, Fault> {
        let second = u32::try_from(number::<4>(bytes, 6)).unwrap_or(NO_TIME);
        let known = (second != NO_TIME).then_some(i64::from(second));
        let mate = u32::try_from(number::<4>(bytes, 10)).unwrap_or(NO_MATE);
        Ok(Self {
            offset: number::<6>(bytes, 0),
            second: known.map(|second| earliest.saturating_add(second)),
            mate: (mate != NO_MATE).then_some(mate),
            standing: match bytes.get(14) {
                Some(0) => Standing::Alone,
                Some(1) => Standing::Part,
                Some(2) => Standing::Unreadable,
                Some(_) | None => return Err(Fault::Damaged),
            },
        })
    }
}

/// What records reach over: times in whole seconds, and when their ids were made, in milliseconds. Both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) least: i64,
    pub(super) greatest: i64,
    pub(super) first_id: u64,
    pub(super) last_id: u64,
}

/// Bytes of a span.
pub(super) const SPAN_BYTES: usize = 32;

impl Span {
    /// Over nothing.
    pub(super) const NONE: Self = Self {
        least: i64::MAX,
        greatest: i64::MIN,
        first_id: u64::MAX,
        last_id: 0,
    };

    pub(super) fn time(&mut self, second: i64) {
        self.least = self.least.min(second);
        self.greatest = self.greatest.max(second);
    }

    /// An id; one that does not say when it was made could be from any time.
    pub(super) fn id(&mut self, made: Option<u64>) {
        self.first_id = self.first_id.min(made.unwrap_or(0));
        self.last_id = self.last_id.max(made.unwrap_or(u64::MAX));
    }

    /// There is a record of which nothing is known.
    pub(super) const fn open_up(&mut self) {
        self.least = i64::MIN;
        self.greatest = i64::MAX;
        self.first_id = 0;
        self.last_id = u64::MAX;
    }

    pub(super) fn to_bytes(self) -> [u8; SPAN_BYTES] {
        let parts = [
            self.least.to_be_bytes(),
            self.greatest.to_be_bytes(),
            self.first_id.to_be_bytes(),
            self.last_id.to_be_bytes(),
        ];
        let mut bytes = [0; SPAN_BYTES];
        for (to, from) in bytes.iter_mut().zip(parts.as_flattened()) {
            *to = *from;
        }
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self {
            least: number::<8>(bytes, 0).cast_signed(),
            greatest: number::<8>(bytes, 8).cast_signed(),
            first_id: number::<8>(bytes, 16),
            last_id: number::<8>(bytes, 24),
        }
    }
}

/// The last bytes of a segment's content: how long each part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Foot {
    pub(super) rows: u64,
    pub(super) common: u64,
    pub(super) ids: u64,
    pub(super) postings: u64,
    /// From when on seconds of records count.
    pub(super) earliest: i64,
    pub(super) span: Span,
}

impl Foot {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let counts = [self.rows, self.common, self.ids, self.postings];
        let mut bytes: Vec<u8> = counts.map(u64::to_be_bytes).as_flattened().to_vec();
        bytes.extend_from_slice(&self.earliest.to_be_bytes());
        bytes.extend_from_slice(&self.span.to_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Self {
        Self {
            rows: number::<8>(bytes, 0),
            common: number::<8>(bytes, 8),
            ids: number::<8>(bytes, 16),
            postings: number::<8>(bytes, 24),
            earliest: number::<8>(bytes, 32).cast_signed(),
            span: Span::parse(bytes.get(40..).unwrap_or_default()),
        }
    }
}

/// What the index of a closed segment is about: the segment, and everything in it.
pub(super) fn about(header: &Header, closed: Closed) -> Head {
    subject(&[
        b"segment",
        header.segment.as_bytes(),
        &header.first.to_be_bytes(),
        &closed.last.to_be_bytes(),
        closed.head.as_bytes(),
    ])
}

/// The index of a closed segment.
#[derive(Debug)]
pub(super) struct Stored {
    sheet: Sheet,
    foot: Foot,
    rows: Table,
    common: Table,
    ids: Table,
    /// Where the lists of records are.
    postings: u64,
}

impl Stored {
    /// Opens it.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn open(source: Source, key: &DerivedKey, about: Head) -> Result<Self, Fault> {
        let sheet = Sheet::open(source, key, about)?;
        let length = sheet.length();
        let at = length
            .checked_sub(FOOT_BYTES as u64)
            .ok_or(Fault::Damaged)?;
        let foot = Foot::parse(&sheet.read(at, FOOT_BYTES)?);
        let table = |from, rows, width| Table { from, rows, width };
        let rows = table(0, foot.rows, ROW_BYTES);
        let common = table(rows.end(), foot.common, ID_BYTES);
        let ids = table(common.end(), foot.ids, ID_BYTES);
        let postings = ids.end();
        if postings.checked_add(foot.postings) != Some(at) {
            return Err(Fault::Damaged);
        }
        Ok(Self {
            sheet,
            foot,
            rows,
            common,
            ids,
            postings,
        })
    }

    /// The terms that many records may have, in order.
    pub(super) fn common_terms(&self) -> impl Iterator<Item = Result<Term, Fault>> {
        let rows = self.common.terms(&self.sheet);
        rows.map(|row| row.map(|row| number::<8>(&row, 0)))
    }

    fn find(&self, on: Shelf, term: Term) -> Result<Option<(u64, usize)>, Fault> {
        let table = match on {
            Shelf::Common => self.common,
            Shelf::Ids => self.ids,
        };
        let row = table.find(&self.sheet, term)?;
        Ok(row.map(|row| {
            let count = usize::try_from(number::<4>(&row, 12)).unwrap_or_default();
            (number::<4>(&row, 8), count)
        }))
    }
}

impl Part for Stored {
    fn count(&self, on: Shelf, term: Term) -> Result<usize, Fault> {
        Ok(self.find(on, term)?.map_or(0, |(_, count)| count))
    }

    fn list(&self, on: Shelf, term: Term) -> Result<Vec<u32>, Fault> {
        let Some((place, count)) = self.find(on, term)? else {
            return Ok(Vec::new());
        };
        if count as u64 > self.foot.rows {
            return Err(Fault::Damaged);
        }
        if count == 1 {
            return Ok(vec![u32::try_from(place).ok().ok_or(Fault::Damaged)?]);
        }
        let left = self.foot.postings.saturating_sub(place);
        // No number of these takes more than five bytes.
        let most = (count as u64).saturating_mul(5).min(left);
        let most = usize::try_from(most).ok().ok_or(Fault::Damaged)?;
        let bytes = self.sheet.read(self.postings.saturating_add(place), most)?;
        let mut bytes = bytes.iter();
        let mut ordinals = Vec::with_capacity(count);
        let mut before = 0_u32;
        for _ in 0..count {
            let step = varint(&mut bytes).ok_or(Fault::Damaged)?;
            before = before.checked_add(step).ok_or(Fault::Damaged)?;
            ordinals.push(before);
        }
        Ok(ordinals)
    }

    fn row(&self, ordinal: u32) -> Result<Row, Fault> {
        if u64::from(ordinal) >= self.foot.rows {
            return Err(Fault::Damaged);
        }
        let bytes = self.rows.row(&self.sheet, u64::from(ordinal))?;
        Row::parse(&bytes, self.foot.earliest)
    }

    fn rows(&self) -> u32 {
        u32::try_from(self.foot.rows).unwrap_or(u32::MAX)
    }

    fn span(&self) -> Span {
        self.foot.span
    }
}

fn varint<'b>(bytes: &mut impl Iterator<Item = &'b u8>) -> Option<u32> {
    let mut number = 0_u32;
    for shift in [0_u32, 7, 14, 21, 28] {
        let byte = u32::from(*bytes.next()?);
        number |= (byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
