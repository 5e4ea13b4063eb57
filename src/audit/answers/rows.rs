//! Rows on their way.

use super::ask::Piece;
use super::{AnswerError, LISTED, PIECES, RECORDS};
use crate::audit::log::Retired;
use crate::audit::query::{Look, Query};

#[derive(Debug)]
pub(super) struct Rows {
    query: Query,
    left: u64,
    read_through: ReadThrough,
    /// What ended the answer, while rows before it are on their way.
    failure: Option<AnswerError>,
}

impl Rows {
    pub(super) fn new(query: Query, limit: Option<u64>) -> Self {
        Self {
            query,
            left: limit.unwrap_or(u64::MAX),
            read_through: ReadThrough::default(),
            failure: None,
        }
    }

    pub(super) fn step(&mut self) -> Result<Option<Vec<Piece>>, AnswerError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut pieces = Vec::new();
        let ended = match self.gather(&mut pieces) {
            Ok(ended) => ended,
            Err(failure) if pieces.is_empty() => return Err(failure),
            Err(failure) => {
                self.failure = Some(failure);
                false
            }
        };
        let (unindexed, shredded) = (self.query.unindexed(), self.query.take_shredded());
        pieces.extend(self.read_through.more(unindexed, shredded));
        Ok((!pieces.is_empty() || !ended).then_some(pieces))
    }

    /// Adds the rows of one step; says whether they are the last.
    fn gather(&mut self, pieces: &mut Vec<Piece>) -> Result<bool, AnswerError> {
        let mut listed = 0_usize;
        for _ in 0..RECORDS {
            if self.left == 0 {
                self.query.end()?;
                return Ok(true);
            }
            if pieces.len() >= PIECES || listed >= LISTED {
                break;
            }
            match self.query.look()? {
                Look::Answer(joined) => {
                    listed = listed.saturating_add(joined.listed());
                    pieces.push(Piece::Row(joined));
                    self.left = self.left.saturating_sub(1);
                }
                Look::Nothing => {}
                Look::End => return Ok(true),
            }
        }
        Ok(false)
    }
}

/// What is said of shredded segments, where there are any.
pub(super) fn passed_over(shredded: Vec<Retired>) -> Option<Piece> {
    (!shredded.is_empty()).then_some(Piece::Shredded(shredded))
}

/// How many segments were said to be read through for want of an index.
#[derive(Debug, Default)]
pub(super) struct ReadThrough(usize);

impl ReadThrough {
    /// The number, where it has grown, and the shredded segments that were passed over.
    pub(super) fn more(
        &mut self,
        now: usize,
        shredded: Vec<Retired>,
    ) -> impl Iterator<Item = Piece> + use<> {
        let more = now > self.0;
        self.0 = now;
        let more = more.then_some(Piece::ReadThrough(now));
        more.into_iter().chain(passed_over(shredded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::filter::Filter;
    use crate::audit::index::testing::{House, admission};
    use crate::request::facts::Action;

    #[test]
    fn what_was_found_before_a_failure_is_given_out_before_it() {
        let mut house = House::new();
        for _ in 0..3 {
            house.put(&admission("dr.okafor", &["4"], Action::Read, 1));
        }
        let bad = house.put_bytes(br#"{"v":2,"phase":"imagined"}"#.to_vec());
        let index = house.index();
        let filter = Filter {
            patient: Some("4".to_owned()),
            ..Filter::default()
        };
        let rows = |limit| Rows::new(Query::new(&index, filter.clone(), house.last()), limit);

        let mut all = rows(None);
        assert_eq!(all.step().unwrap().unwrap().len(), 3);
        let error = all.step().unwrap_err().to_string();
        assert!(error.contains(&bad.to_string()), "{error}");

        let mut few = rows(Some(2));
        assert_eq!(few.step().unwrap().unwrap().len(), 2);
        assert!(few.step().unwrap().is_none(), "nothing behind was asked");
    }
}
