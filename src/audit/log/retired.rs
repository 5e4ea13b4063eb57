//! Segments that were removed, or shredded, because their retention is over, as signed notes that say so.
//!
//! *Owns*: the `retired` file. A note stands for one segment: its number, records and last chain value, which commits
//! to everything in it and before it. The log may begin behind a segment whose note fits.
//! *Never*: removes a segment, or destroys its own key, before its note is durable; removes out of order, or the newest.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::checkpoint::{Cursor, each_note};
use super::crypt::Head;
use super::error::LogError;
use super::files::{Access, Files};
use super::header::Header;
use super::newest::mend;
use super::note::{NoteError, SigningKey, VerifierKey};
use super::recover::damaged;
use super::segment::SEGMENTS;
use super::segment_key;

/// The file that collects notes of removal, below the trail's directory.
pub const RETIRED: &str = "retired";
/// The fewest calendar years that a record is kept: 45 CFR 164.316(b)(2)(i), and the reach of 164.528.
pub const FEWEST_YEARS: u16 = 6;

/// What became of a segment whose retention is over. Its own key is destroyed in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Its file went, too.
    #[default]
    Removed,
    /// Its file stays: what is in it is proven as ever, and nobody reads it.
    Shredded,
}

/// The line that says so.
const SHREDDED: &str = "shredded";

/// A segment whose retention is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// The segment's place in the log.
    pub number: u64,
    /// Its id.
    pub segment: Uuid,
    /// Its first record.
    pub first: u64,
    /// Its last record.
    pub last: u64,
    /// The chain value that it ended with.
    pub head: Head,
    /// When it was removed, or shredded.
    pub time: Timestamp,
    /// Which of these.
    #[serde(default)]
    pub fate: Fate,
}

impl Retired {
    /// The segment before `next`, as `next` knows it.
    fn between(header: &Header, next: &Header, time: Timestamp) -> Self {
        Self {
            number: header.number,
            segment: header.segment,
            first: header.first,
            last: next.previous.sequence,
            head: next.previous.head,
            time,
            fate: Fate::Removed,
        }
    }

    /// Whether this is about the segment with that header.
    #[must_use]
    pub fn is_of(&self, header: &Header) -> bool {
        (self.number, self.segment, self.first) == (header.number, header.segment, header.first)
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{:020}-{}.cgseg", self.first, self.segment)
    }

    /// Whether `header` continues right behind this segment.
    #[must_use]
    pub fn precedes(&self, header: &Header) -> bool {
        self.number.checked_add(1) == Some(header.number)
            && self.segment == header.previous.segment
            && self.last == header.previous.sequence
            && self.head == header.previous.head
    }

    /// SECURITY: the first line is no key name, so this is never taken for a checkpoint, nor the other way round.
    fn origin(key: &VerifierKey) -> String {
        format!("{} retired", key.name())
    }

    pub(super) fn sign(&self, key: &SigningKey) -> String {
        let fate = match self.fate {
            Fate::Removed => String::new(),
            Fate::Shredded => format!("{SHREDDED}\n"),
        };
        key.sign(&format!(
            "{}\n{}\n{}\ntime {}\nsegment {}\nrecords {} {}\n{fate}",
            Self::origin(key.verifier()),
            self.number,
            BASE64.encode(self.head.as_bytes()),
            self.time,
            self.segment,
            self.first,
            self.last,
        ))
    }

    /// Checks the signature and reads the note.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let text = key.open(note)?;
        if text.lines().next() != Some(&Self::origin(key)) {
            return Err(NoteError::Malformed(
                "it is no note of a removal from this log",
            ));
        }
        Self::parse(text).ok_or(NoteError::Malformed("the lines of a removal"))
    }

    /// Reads what a note says, whoever signed it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip(1);
        let number = lines.next()?.parse().ok()?;
        let head = BASE64.decode(lines.next()?).ok()?;
        let time = lines.next()?.strip_prefix("time ")?.parse().ok()?;
        let segment = lines.next()?.strip_prefix("segment ")?.parse().ok()?;
        let records = lines.next()?.strip_prefix("records ")?;
        let (first, last) = records.split_once(' ')?;
        let fate = match lines.next() {
            Some(SHREDDED) => Fate::Shredded,
            Some(_) | None => Fate::Removed,
        };
        Some(Self {
            number,
            segment,
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            head: Head::from_bytes(<[u8; 32]>::try_from(head).ok()?),
            time,
            fate,
        })
    }
}

/// The last day (UTC) on which a record of `time` must still be there: the same date so many years later. A record of
/// 29 February is kept through 1 March where that year has no such day, so that no year is shorter than a year.
#[must_use]
pub fn kept_through(time: Timestamp, years: u16) -> Date {
    let date = time.to_zoned(TimeZone::UTC).date();
    let later = date.saturating_add(i32::from(years).years());
    if later.day() == date.day() {
        later
    } else {
        later.saturating_add(1.days())
    }
}

/// Whether retention of what happened at `time` is over at `now`.
#[must_use]
pub fn is_over(time: Timestamp, years: u16, now: Timestamp) -> bool {
    now.to_zoned(TimeZone::UTC).date() > kept_through(time, years)
}

/// The segments, in order, that another follows, each with the time at which that one was begun: nothing is written in
/// them any more.
#[must_use]
pub fn ended(headers: &[Header], now: Timestamp) -> Vec<(Retired, Timestamp)> {
    headers
        .iter()
        .zip(headers.iter().skip(1))
        .map(|(header, next)| (Retired::between(header, next, now), next.created))
        .collect()
}

/// The oldest segments, in order, that were ended so long ago that retention is over. The newest never is among them.
#[must_use]
pub fn retirable(headers: &[Header], years: u16, now: Timestamp) -> Vec<Retired> {
    ended(headers, now)
        .into_iter()
        .take_while(|(_, end)| is_over(*end, years, now))
        .map(|(segment, _)| segment)
        .collect()
}

/// Makes a signed note for each segment durable, and only then destroys their own keys and removes the files, oldest
/// first. An interruption leaves a log that may begin at any of the segments that have a note.
///
/// # Errors
/// [`LogError`] for a file that cannot be written or removed.
pub fn retire(
    files: &dyn Files,
    directory: &Path,
    signer: &SigningKey,
    segments: &[Retired],
) -> Result<(), LogError> {
    note(files, directory, signer, segments)?;
    let folder = directory.join(SEGMENTS);
    for segment in segments {
        segment_key::destroy(files, directory, segment)?;
        let path = folder.join(segment.file_name());
        match files.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::io("removing", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        // One by one: what is left after an interruption must be without a gap.
        files
            .sync_dir(&folder)
            .map_err(LogError::io("syncing", &folder))?;
    }
    Ok(())
}

/// Makes a signed note for each segment durable, and only then destroys their own keys: the files stay. An interruption
/// leaves each segment as it was or shredded, and doing it again finishes it.
///
/// # Errors
/// [`LogError`] for a file that cannot be written or removed.
pub fn shred(
    files: &dyn Files,
    directory: &Path,
    signer: &SigningKey,
    segments: &[Retired],
) -> Result<(), LogError> {
    note(files, directory, signer, segments)?;
    segments
        .iter()
        .try_for_each(|segment| segment_key::destroy(files, directory, segment))
}

/// Makes a signed note durable for each segment that has none.
fn note(
    files: &dyn Files,
    directory: &Path,
    signer: &SigningKey,
    segments: &[Retired],
) -> Result<(), LogError> {
    let known = believed(files, directory, signer.verifier())?;
    let known: HashSet<Uuid> = known.into_iter().map(|known| known.segment).collect();
    let mut notes = String::new();
    let is_new = |segment: &&Retired| !known.contains(&segment.segment);
    for segment in segments.iter().filter(is_new) {
        notes.push('\n');
        notes.push_str(&segment.sign(signer));
    }
    let path = directory.join(RETIRED);
    append(files, directory, &notes).map_err(LogError::io("writing", &path))
}

fn append(files: &dyn Files, directory: &Path, notes: &str) -> io::Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    let path = directory.join(RETIRED);
    let (file, end) = match files.open(&path, Access::Write) {
        Ok(file) => {
            let end = mend(&*file)?;
            (file, end)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (files.create(&path)?, 0),
        Err(error) => return Err(error),
    };
    file.write_all_at(end, notes.as_bytes())?;
    file.sync_data()?;
    files.sync_dir(directory)
}

/// Calls `found` with each whole note.
pub(super) fn each(
    files: &dyn Files,
    directory: &Path,
    found: impl FnMut(&str),
) -> Result<(), LogError> {
    let path = directory.join(RETIRED);
    match files.open(&path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LogError::io("opening", &path)(error)),
        Ok(file) => each_note(io::BufReader::new(Cursor::new(&*file)), found)
            .map_err(LogError::io("reading", &path)),
    }
}

/// What the notes say, whoever signed them: [`super::Log::open`] asks for signatures where it depends on them.
pub(super) fn notes(files: &dyn Files, directory: &Path) -> Result<Vec<Retired>, LogError> {
    let mut notes = Vec::new();
    each(files, directory, |note| notes.extend(Retired::parse(note)))?;
    Ok(notes)
}

/// The note about the segment with this header, whoever signed it.
pub(super) fn note_of(
    files: &dyn Files,
    directory: &Path,
    header: &Header,
) -> Result<Option<Retired>, LogError> {
    let notes = notes(files, directory)?;
    Ok(notes.into_iter().find(|note| note.is_of(header)))
}

/// The notes that this key signed.
pub(super) fn believed(
    files: &dyn Files,
    directory: &Path,
    key: &VerifierKey,
) -> Result<Vec<Retired>, LogError> {
    let mut notes = Vec::new();
    each(files, directory, |note| {
        notes.extend(Retired::open(note, key).ok());
    })?;
    Ok(notes)
}

/// Whether a note, whoever signed it, explains that the log begins with `header`: enough to go through the headers.
/// [`check_beginning`] asks for the signature before the log is opened.
pub(super) fn explains(
    files: &dyn Files,
    directory: &Path,
    header: &Header,
) -> Result<bool, LogError> {
    let mut fits = false;
    each(files, directory, |note| {
        fits |= Retired::parse(note).is_some_and(|retired| retired.precedes(header));
    })?;
    Ok(fits)
}

/// Checks that a log which does not begin with its first segment has a signed note for what is missing.
pub(super) fn check_beginning(
    files: &dyn Files,
    directory: &Path,
    first: Option<&Header>,
    key: &VerifierKey,
) -> Result<(), LogError> {
    let Some(header) = first.filter(|header| header.number > 1) else {
        return Ok(());
    };
    let notes = believed(files, directory, key)?;
    if notes.iter().any(|note| note.precedes(header)) {
        return Ok(());
    }
    Err(damaged(
        &header.file_name(),
        header.first,
        "the segments before it are gone, and no note signed by this trail's key says that their retention was over",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn years_are_calendar_years_and_none_is_short() {
        let through = |time: &str| kept_through(at(time), 6).to_string();
        assert_eq!(through("2024-11-25T12:00:00Z"), "2030-11-25");
        assert_eq!(through("2024-02-29T23:59:59Z"), "2030-03-01");
        assert_eq!(through("2022-02-28T00:00:00Z"), "2028-02-28");
        let over = |now: &str| is_over(at("2024-11-25T12:00:00Z"), 6, at(now));
        assert!(!over("2030-11-25T23:59:59Z"), "through that day");
        assert!(over("2030-11-26T00:00:00Z"));
    }

    #[test]
    fn a_note_reads_back_and_is_no_checkpoint() {
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        let retired = Retired {
            number: 3,
            segment: Uuid::from_u128(7),
            first: 21,
            last: 30,
            head: Head::from_bytes([9; 32]),
            time: at("2032-03-01T10:00:00Z"),
            fate: Fate::Removed,
        };
        let mut shredded = retired.clone();
        shredded.fate = Fate::Shredded;
        let other_fate = shredded.sign(&key);
        assert!(
            other_fate.contains("\nrecords 21 30\nshredded\n\n"),
            "{other_fate}"
        );
        assert_eq!(Retired::open(&other_fate, key.verifier()), Ok(shredded));
        let note = retired.sign(&key);
        assert_eq!(Retired::open(&note, key.verifier()), Ok(retired));
        assert!(super::super::Checkpoint::open(&note, key.verifier()).is_err());
        let other = SigningKey::generate("hospital.example/gw").unwrap();
        assert!(Retired::open(&note, other.verifier()).is_err());
    }
}
