//! Sorts answers by any column, in bounded memory.
//!
//! *Owns*: at most [`MOST`] answers. With a limit only the first so many in the order asked for are kept, whatever
//! the trail holds. *On failure*: [`TooMany`]; a part of an answer is never taken for the whole.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::answer::{Answer, COLUMNS};

/// Most answers that are sorted at once.
pub const MOST: usize = 100_000;
/// Most patients of lists that they may name in all.
const MOST_LISTED: usize = 2_000_000;

/// More answers than can be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {MOST} records match, or their lists name too many patients to be kept in memory; narrow it down with --since, --until and the other filters, or give --limit"
)]
pub struct TooMany;

/// A column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field(&'static str);

impl Field {
    /// The column of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        COLUMNS
            .iter()
            .find(|column| **column == name)
            .map(|column| Self(column))
    }

    fn compare(self, a: &Answer, b: &Answer) -> Ordering {
        let by_field = match self.0 {
            "time" => a.time.cmp(&b.time),
            "seq" => a.seq.cmp(&b.seq),
            "generation" => a.generation.cmp(&b.generation),
            "status" => a.status.cmp(&b.status),
            "bytes_out" => a.bytes_out.cmp(&b.bytes_out),
            "bytes_in" => a.bytes_in.cmp(&b.bytes_in),
            "millis" => a.millis.cmp(&b.millis),
            "outcome_seq" => a.outcome_seq.cmp(&b.outcome_seq),
            "patients" => natural(&a.patients, &b.patients),
            text => a.column(text).cmp(&b.column(text)),
        };
        by_field.then(a.seq.cmp(&b.seq))
    }
}

/// Identifiers that are numbers sort as numbers.
fn natural(a: &[String], b: &[String]) -> Ordering {
    let key = |id: &String| (id.parse::<u64>().unwrap_or(u64::MAX), id.clone());
    a.iter().map(key).cmp(b.iter().map(key))
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

#[derive(Debug)]
struct Ranked {
    field: Field,
    direction: Direction,
    answer: Answer,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.field.compare(&self.answer, &other.answer);
        match self.direction {
            Direction::Ascending => order,
            Direction::Descending => order.reverse(),
        }
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// Collects answers, the last in order on top.
#[derive(Debug)]
pub struct Sorted {
    field: Field,
    direction: Direction,
    limit: Option<usize>,
    kept: BinaryHeap<Ranked>,
    listed: usize,
}

impl Sorted {
    /// Sorts by a column.
    #[must_use]
    pub const fn by(field: Field, direction: Direction, limit: Option<usize>) -> Self {
        Self {
            field,
            direction,
            limit,
            kept: BinaryHeap::new(),
            listed: 0,
        }
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn push(&mut self, answer: Answer) -> Result<(), TooMany> {
        self.listed = self.listed.saturating_add(answer.appeared.len());
        self.kept.push(Ranked {
            field: self.field,
            direction: self.direction,
            answer,
        });
        if self.kept.len() > self.limit.unwrap_or(usize::MAX).min(MOST) {
            let dropped = self.kept.pop().map_or(0, |last| last.answer.appeared.len());
            self.listed = self.listed.saturating_sub(dropped);
            if self.limit.is_none_or(|limit| limit > MOST) {
                return Err(TooMany);
            }
        }
        if self.listed > MOST_LISTED {
            return Err(TooMany);
        }
        Ok(())
    }

    /// The answers in order.
    #[must_use]
    pub fn into_answers(self) -> Vec<Answer> {
        let sorted = self.kept.into_sorted_vec().into_iter();
        sorted.map(|ranked| ranked.answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(seq: u64, user: &str, patient: &str) -> Answer {
        Answer {
            seq,
            user: user.to_owned(),
            patients: vec![patient.to_owned()],
            ..Answer::default()
        }
    }

    fn order(field: &str, direction: Direction, limit: Option<usize>) -> Vec<u64> {
        let mut sorted = Sorted::by(Field::named(field).unwrap(), direction, limit);
        for (seq, user, patient) in [
            (1, "c", "10"),
            (2, "a", "9"),
            (3, "b", "9"),
            (4, "a", "100"),
        ] {
            sorted.push(answer(seq, user, patient)).unwrap();
        }
        sorted.into_answers().iter().map(|row| row.seq).collect()
    }

    #[test]
    fn rows_come_in_the_order_asked_for() {
        assert_eq!(order("user", Direction::Ascending, None), [2, 4, 3, 1]);
        assert_eq!(order("user", Direction::Descending, None), [1, 3, 4, 2]);
        assert_eq!(order("patients", Direction::Ascending, None), [2, 3, 1, 4]);
        assert_eq!(order("seq", Direction::Descending, Some(2)), [4, 3]);
    }

    #[test]
    fn every_column_can_be_sorted_by_and_nothing_else() {
        for column in COLUMNS {
            assert_eq!(
                order(column, Direction::Ascending, None).len(),
                4,
                "{column}"
            );
            assert!(Answer::default().column(column).is_some(), "{column}");
        }
        assert_eq!(Field::named("colour"), None);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let mut sorted = Sorted::by(Field("seq"), Direction::Ascending, None);
        for seq in 0..MOST {
            sorted.push(answer(seq as u64, "", "")).unwrap();
        }
        assert_eq!(sorted.push(answer(0, "", "")), Err(TooMany));
    }
}
