//! Answers questions about the trail: who did what to whose chart, and what became of it.
//!
//! The trail is read once, from the segment where the time asked for begins, and an admission is joined with its
//! outcome on the way, in memory that does not grow with the trail.
//!
//! *Never*: a reading without a record of it; [`super::answers`] records it first.

pub mod answer;
pub mod join;
pub mod sort;
pub mod table;

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::entry::Entry;
use super::log::{Files, Header, LogError, MasterKey, Reader, Sequences, headers};
use super::show::{Filter, ShowError};
use join::{Join, Joined};

/// How far a clock may have jumped without a record being missed: segments are left out, and reading stops, only
/// this far beyond the time asked for.
const SLACK: SignedDuration = SignedDuration::from_hours(24);

/// What a look at the next record gave.
#[derive(Debug)]
pub enum Look {
    /// An answer.
    Answer(Box<Joined>),
    /// No answer yet.
    Nothing,
    /// There are no more.
    End,
}

/// Walks the trail and gives the answers that match, oldest first.
#[derive(Debug)]
pub struct Query {
    reader: Reader,
    join: Join,
    /// From this record on everything is later than what is asked for.
    late: u64,
    ended: bool,
}

impl Query {
    /// Reads up to the record `to`.
    ///
    /// # Errors
    /// [`LogError`] for segments that cannot be listed.
    pub fn new(
        files: Arc<dyn Files>,
        directory: &Path,
        master: Arc<MasterKey>,
        filter: Filter,
        to: u64,
    ) -> Result<Self, LogError> {
        let (from, late) = if filter.since.is_some() || filter.until.is_some() {
            let headers = headers(&*files, directory)?;
            let from = filter.since.map_or(0, |since| first_of(&headers, since));
            let late = filter.until.map(|until| late_from(&headers, until));
            (from, late.unwrap_or(u64::MAX))
        } else {
            (0, u64::MAX)
        };
        Ok(Self {
            reader: Reader::new(files, directory, master, Sequences { from, to }),
            join: Join::new(filter),
            late,
            ended: false,
        })
    }

    /// Looks at one record.
    ///
    /// # Errors
    /// [`ShowError`] for a log or a record that cannot be read.
    pub fn look(&mut self) -> Result<Look, ShowError> {
        if let Some(ready) = self.join.next_ready() {
            return Ok(Look::Answer(Box::new(ready)));
        }
        if self.ended {
            return Ok(Look::End);
        }
        let Some(record) = self.reader.next_record()? else {
            self.end();
            return Ok(Look::Nothing);
        };
        let seq = record.sequence;
        let entry = Entry::from_bytes(&record.payload).map_err(|source| ShowError::Entry {
            sequence: seq,
            source,
        })?;
        if seq >= self.late && self.join.awaits_nothing() {
            self.end();
        } else {
            self.join.push(seq, entry);
        }
        Ok(Look::Nothing)
    }

    fn end(&mut self) {
        self.ended = true;
        self.join.end();
    }
}

/// The first record that has to be read for what happened at `since` or later.
///
/// # Errors
/// [`LogError`] for a segment that is missing, replaced or unreadable.
pub fn first_sequence(
    files: &dyn Files,
    directory: &Path,
    since: Option<Timestamp>,
) -> Result<u64, LogError> {
    match since {
        None => Ok(0),
        Some(since) => Ok(first_of(&headers(files, directory)?, since)),
    }
}

/// A segment holds nothing newer than the beginning of the next, give or take a jump of the clock. Where the next one
/// begins earlier, the clock was set back in between, and when the segment ended is not known.
fn first_of(headers: &[Header], since: Timestamp) -> u64 {
    let began_before = |header: &&Header| since.duration_since(header.created) > SLACK;
    let mut before: Option<&Header> = None;
    for header in headers.iter().take_while(began_before) {
        if before.is_some_and(|before| header.created < before.created) {
            break;
        }
        before = Some(header);
    }
    before.map_or(0, |header| header.first)
}

/// The first record of the segments that all begin later than `until`.
///
/// A single record tells nothing: the clock may have been wrong when it was written.
fn late_from(headers: &[Header], until: Timestamp) -> u64 {
    headers
        .iter()
        .rev()
        .take_while(|header| header.created.duration_since(until) > SLACK)
        .last()
        .map_or(u64::MAX, |header| header.first)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::audit::log::{Opened, Previous};

    fn header(number: u64, created: &str) -> Header {
        Header {
            segment: Uuid::from_u128(u128::from(number)),
            number,
            node: "gw1".to_owned(),
            first: number.saturating_mul(100),
            created: created.parse().unwrap(),
            opened: Opened::Rotate,
            cipher: String::new(),
            derivation: String::new(),
            hash: String::new(),
            master_key: String::new(),
            wrapped_key: String::new(),
            previous: Previous::default(),
            cut: None,
            accepted_loss: None,
        }
    }

    #[test]
    fn segments_that_ended_a_day_before_are_not_read() {
        let headers = [
            header(1, "2026-03-01T00:00:00Z"),
            header(2, "2026-03-03T00:00:00Z"),
            header(3, "2026-03-05T00:00:00Z"),
        ];
        let first = |since: &str| first_of(&headers, since.parse().unwrap());
        assert_eq!(first("2026-02-01T00:00:00Z"), 0);
        assert_eq!(first("2026-03-02T12:00:00Z"), 100);
        assert_eq!(first("2026-03-03T12:00:00Z"), 100);
        assert_eq!(first("2026-03-04T00:00:01Z"), 200);
        assert_eq!(first("2026-04-01T00:00:00Z"), 300);
        let late = |until: &str| late_from(&headers, until.parse().unwrap());
        assert_eq!(late("2026-02-01T00:00:00Z"), 100);
        assert_eq!(late("2026-03-01T12:00:00Z"), 200);
        assert_eq!(late("2026-03-03T00:00:00Z"), 300);
        assert_eq!(late("2026-03-04T12:00:00Z"), u64::MAX);
    }

    #[test]
    fn a_clock_that_was_wrong_for_a_while_hides_nothing() {
        // No battery at a start, then the right time; later a leap to the year after, and back.
        let headers = [
            header(1, "2026-03-01T00:00:00Z"),
            header(2, "2026-03-03T00:00:00Z"),
            header(3, "1970-01-01T00:00:00Z"),
            header(4, "2026-03-05T00:00:00Z"),
            header(5, "2027-03-06T00:00:00Z"),
            header(6, "2026-03-07T00:00:00Z"),
        ];
        let first = |since: &str| first_of(&headers, since.parse().unwrap());
        assert_eq!(first("2026-03-04T12:00:00Z"), 200);
        assert_eq!(first("2026-06-01T00:00:00Z"), 200);
        let late = |until: &str| late_from(&headers, until.parse().unwrap());
        assert_eq!(late("2026-03-05T00:00:00Z"), 500);
        assert_eq!(late("2026-03-06T12:00:00Z"), u64::MAX);
    }
}
