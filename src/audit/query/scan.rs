//! Reads the trail in order, from the segment where the time asked for begins, and joins on the way.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Look;
use super::join::Join;
use crate::audit::entry::Entry;
use crate::audit::filter::Filter;
use crate::audit::log::{Files, Header, LogError, MasterKey, Reader, Retired, Sequences, headers};
use crate::audit::show::ShowError;

/// How far a clock may have jumped without a record being missed: segments are left out, and reading stops, only
/// this far beyond the time asked for.
const SLACK: SignedDuration = SignedDuration::from_hours(24);

/// A reading on its way.
#[derive(Debug)]
pub(super) struct Scan {
    reader: Reader,
    join: Join,
    /// From this record on everything is later than what is asked for.
    late: u64,
    ended: bool,
}

impl Scan {
    /// Reads up to the record `to`.
    ///
    /// # Errors
    /// [`LogError`] for segments that cannot be listed.
    pub(super) fn new(
        files: Arc<dyn Files>,
        directory: &Path,
        master: Arc<MasterKey>,
        filter: Filter,
        to: u64,
    ) -> Result<Self, LogError> {
        let (from, late) = if filter.since.is_some() || filter.until.is_some() {
            let begun = begun(&headers(&*files, directory)?);
            let from = filter.since.map_or(0, |since| first_of(&begun, since));
            let late = filter.until.map(|until| late_from(&begun, until));
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
    pub(super) fn look(&mut self) -> Result<Look, ShowError> {
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

    /// The shredded segments that were passed over since this was last asked.
    pub(super) fn take_shredded(&mut self) -> Vec<Retired> {
        self.reader.take_shredded()
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
        Some(since) => Ok(first_of(&begun(&headers(files, directory)?), since)),
    }
}

/// When segments were begun, and the first record of each.
fn begun(headers: &[Header]) -> Vec<(Timestamp, u64)> {
    headers
        .iter()
        .map(|header| (header.created, header.first))
        .collect()
}

/// What stands beside the segment in which the time asked for begins, of when each was begun; 0 for the beginning.
///
/// A segment holds nothing newer than the beginning of the next, give or take a jump of the clock. Where the next one
/// begins earlier, the clock was set back in between, and when the segment ended is not known.
pub(in crate::audit) fn first_of(begun: &[(Timestamp, u64)], since: Timestamp) -> u64 {
    let began_before = |(created, _): &&(Timestamp, u64)| since.duration_since(*created) > SLACK;
    let mut before: Option<&(Timestamp, u64)> = None;
    for next in begun.iter().take_while(began_before) {
        if before.is_some_and(|before| next.0 < before.0) {
            break;
        }
        before = Some(next);
    }
    before.map_or(0, |(_, first)| *first)
}

/// What stands beside the first of the segments that all begin later than `until`.
///
/// A single record tells nothing: the clock may have been wrong when it was written.
pub(in crate::audit) fn late_from(begun: &[(Timestamp, u64)], until: Timestamp) -> u64 {
    begun
        .iter()
        .rev()
        .take_while(|(created, _)| created.duration_since(until) > SLACK)
        .last()
        .map_or(u64::MAX, |(_, first)| *first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(number: u64, created: &str) -> (Timestamp, u64) {
        (created.parse().unwrap(), number.saturating_mul(100))
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
