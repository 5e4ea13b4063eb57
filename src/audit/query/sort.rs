//! Sorts answers by any column, in bounded memory.
//!
//! *Owns*: at most [`MOST`] answers that take at most [`MOST_BYTES`]. With a limit only the first so many in the order asked for are kept, whatever
//! the trail holds. *On failure*: [`TooMany`]; a part of an answer is never taken for the whole.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::answer::{Answer, COLUMNS};

/// Most answers that are sorted at once.
pub const MOST: usize = 100_000;
/// Most bytes of memory that they take: patients of lists and what events say included.
pub const MOST_BYTES: usize = MOST_MIB * 1024 * 1024;
const MOST_MIB: usize = 512;

/// More answers than can be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// Too many.
    #[error(
        "more than {MOST} records match, and no more are sorted; narrow it down with --since, --until and the other filters, or give a --limit of at most {MOST}"
    )]
    Records,
    /// Too large.
    #[error(
        "the {0} records to be sorted take more than {MOST_MIB} MiB of memory; narrow it down with --since, --until and the other filters, or give a smaller --limit"
    )]
    Bytes(usize),
}

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
            "appeared" => natural(&a.appeared, &b.appeared),
            "appeared_more" => a.appeared_more.cmp(&b.appeared_more),
            // People of the same name stay apart.
            "user" => (&a.user, &a.user_id).cmp(&(&b.user, &b.user_id)),
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

/// Bytes of memory that an answer takes, to be on the safe side.
#[expect(
    clippy::too_many_lines,
    reason = "every field is named, so that none is forgotten"
)]
fn weight(answer: &Answer) -> usize {
    let Answer {
        time: _,
        seq: _,
        kind: _,
        request,
        user,
        user_id,
        roles,
        client,
        zone,
        session,
        emr,
        method,
        path,
        action,
        section,
        sensitivity,
        patients,
        patient_systems,
        decision,
        refusal,
        policies,
        care_relation,
        purpose,
        grant,
        generation: _,
        event: _,
        detail,
        outcome: _,
        status: _,
        bytes_out: _,
        bytes_in: _,
        millis: _,
        outcome_seq: _,
        node,
        id,
        appeared,
        appeared_systems,
        appeared_more: _,
        appeared_unknown,
        action_type: _,
        recipient,
        disclosed_for,
    } = answer;
    let texts = [
        recipient,
        request,
        user,
        user_id,
        client,
        zone,
        session,
        emr,
        method,
        path,
        action,
        section,
        sensitivity,
        decision,
        refusal,
        care_relation,
        purpose,
        grant,
        node,
        id,
        appeared_unknown,
    ];
    let lists = [
        roles,
        patients,
        patient_systems,
        policies,
        appeared,
        disclosed_for,
    ];
    // A text takes its bytes, and what the allocator and the list that it stands in take for it.
    let of = |text: &String| text.len().saturating_add(BESIDE);
    let texts = texts.into_iter().chain(lists.into_iter().flatten());
    let pairs = detail.iter().flat_map(|(key, value)| [key, value]);
    // Systems of lists share their text.
    let shared = appeared_systems.len().saturating_mul(BESIDE);
    let own = size_of::<Ranked>().saturating_add(shared);
    texts.chain(pairs).map(of).fold(own, usize::saturating_add)
}

/// Bytes that a text takes beside its own.
const BESIDE: usize = 40;

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
    bytes: usize,
    most_bytes: usize,
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
            bytes: 0,
            most_bytes: MOST_BYTES,
        }
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn push(&mut self, answer: Answer) -> Result<(), TooMany> {
        self.bytes = self.bytes.saturating_add(weight(&answer));
        self.kept.push(Ranked {
            field: self.field,
            direction: self.direction,
            answer,
        });
        if self.kept.len() > self.limit.unwrap_or(usize::MAX).min(MOST) {
            let dropped = self.kept.pop().map_or(0, |last| weight(&last.answer));
            self.bytes = self.bytes.saturating_sub(dropped);
            if self.limit.is_none_or(|limit| limit > MOST) {
                return Err(TooMany::Records);
            }
        }
        if self.bytes > self.most_bytes {
            return Err(TooMany::Bytes(self.kept.len()));
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
    use jiff::Timestamp;

    use super::*;
    use crate::audit::fixture as sample;
    use crate::request::Action;

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
        assert_eq!(sorted.push(answer(0, "", "")), Err(TooMany::Records));
    }

    #[test]
    fn memory_is_bounded_whatever_a_record_holds() {
        let long = "x".repeat(1_000);
        let listing = Answer {
            appeared: vec![long.clone(); 20],
            ..Answer::default()
        };
        let telling = Answer {
            detail: [("what".to_owned(), long.repeat(20))].into(),
            ..Answer::default()
        };
        for large in [listing, telling] {
            let mut sorted = Sorted::by(Field("seq"), Direction::Ascending, Some(3));
            sorted.most_bytes = 75_000;
            for seq in 0..10 {
                let seq = 10 - seq;
                let large = Answer {
                    seq,
                    ..large.clone()
                };
                sorted.push(large).unwrap();
            }
            let mut sorted = Sorted::by(Field("seq"), Direction::Ascending, None);
            sorted.most_bytes = 75_000;
            let error = (0..4).find_map(|_| sorted.push(large.clone()).err());
            assert_eq!(error, Some(TooMany::Bytes(4)));
            assert!(error.unwrap().to_string().contains("512 MiB"));
        }
    }

    /// 45 CFR 170.210(e)(1): date and time, patient, user, type of action, and what was accessed.
    #[test]
    fn every_element_of_an_audit_report_has_a_column_that_sorts() {
        let rows = [
            (Action::Print, "notes", "12", "b"),
            (Action::Search, "labs", "7", "a"),
            (Action::Create, "labs", "100", "c"),
            (Action::Delete, "allergies", "8", "a"),
            (Action::Update, "notes", "9", "d"),
            (Action::Export, "zone", "6", "a"),
        ];
        let answers: Vec<Answer> = (1..)
            .zip(rows)
            .map(|(seq, (action, section, patient, user))| {
                let mut joined = sample::done(action, &[patient]);
                joined.seq = seq;
                joined.entry.time =
                    Timestamp::from_second(1_000 - i64::try_from(seq).unwrap()).unwrap();
                let mut answer = Answer::of(&joined);
                answer.section = section.to_owned();
                answer.user = user.to_owned();
                answer
            })
            .collect();
        let order = |field: &str| {
            let mut sorted = Sorted::by(Field::named(field).unwrap(), Direction::Ascending, None);
            for answer in &answers {
                sorted.push(answer.clone()).unwrap();
            }
            let rows = sorted.into_answers().into_iter();
            rows.map(|row| row.seq).collect::<Vec<_>>()
        };
        assert_eq!(order("time"), [6, 5, 4, 3, 2, 1]);
        assert_eq!(order("patients"), [6, 2, 4, 5, 1, 3]);
        assert_eq!(order("user"), [2, 4, 6, 1, 3, 5]);
        assert_eq!(order("action_type"), [3, 5, 6, 4, 1, 2]);
        assert_eq!(order("section"), [4, 2, 3, 1, 5, 6]);
        let types: Vec<&str> = answers.iter().map(|row| row.action_type).collect();
        assert_eq!(
            types,
            ["print", "query", "addition", "deletion", "change", "copy"]
        );
    }
}
