//! Rows on their way.

use super::ask::Piece;
use super::{AnswerError, LISTED, PIECES, RECORDS};
use crate::audit::query::{Look, Query};

#[derive(Debug)]
pub(super) struct Rows {
    query: Query,
    left: u64,
    read_through: ReadThrough,
}

impl Rows {
    pub(super) fn new(query: Query, limit: Option<u64>) -> Self {
        Self {
            query,
            left: limit.unwrap_or(u64::MAX),
            read_through: ReadThrough::default(),
        }
    }

    pub(super) fn step(&mut self) -> Result<Option<Vec<Piece>>, AnswerError> {
        let mut pieces = Vec::new();
        let mut listed = 0_usize;
        let mut ended = self.left == 0;
        for _ in 0..RECORDS {
            if ended || pieces.len() >= PIECES || listed >= LISTED {
                break;
            }
            match self.query.look()? {
                Look::Answer(joined) => {
                    listed = listed.saturating_add(joined.listed());
                    pieces.push(Piece::Row(joined));
                    self.left = self.left.saturating_sub(1);
                    ended = self.left == 0;
                }
                Look::Nothing => {}
                Look::End => ended = true,
            }
        }
        pieces.extend(self.read_through.more(&self.query));
        Ok((!pieces.is_empty() || !ended).then_some(pieces))
    }
}

/// How many segments were said to be read through for want of an index.
#[derive(Debug, Default)]
pub(super) struct ReadThrough(usize);

impl ReadThrough {
    /// The number, where it has grown.
    pub(super) fn more(&mut self, query: &Query) -> Option<Piece> {
        let now = query.unindexed();
        let more = now > self.0;
        self.0 = now;
        more.then_some(Piece::ReadThrough(now))
    }
}
