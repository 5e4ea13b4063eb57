//! What verifying found: problems, each with the first record in doubt, and things on record.

use std::fmt;

use super::crypt::Head;
use super::header::{AcceptedLoss, Cut};
use super::note::NoteError;
use super::retired::Retired;
use super::walk::Flaw;

/// More problems than this are counted, not listed.
const LISTED: usize = 100;

/// What was done to a log, as far as what stands there tells. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// Records, or a whole segment, are missing between others.
    Dropped,
    /// Bytes were altered in place.
    Flipped,
    /// A record stands where none was.
    Inserted,
    /// Records or a segment give way to others that are whole in themselves.
    Replaced,
    /// The log and its own checkpoints are an older state.
    RolledBack,
    /// Records stand in another order.
    Swapped,
    /// The end of a segment or of the log is missing.
    Truncated,
    /// Segments are gone, and what is on record of their removal is not believed.
    Unaccounted,
    /// Another key was used than the one given.
    WrongKey,
}

impl Damage {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Flipped => "flipped",
            Self::Inserted => "inserted",
            Self::Replaced => "replaced",
            Self::RolledBack => "rolled-back",
            Self::Swapped => "swapped",
            Self::Truncated => "truncated",
            Self::Unaccounted => "unaccounted",
            Self::WrongKey => "wrong-key",
        }
    }
}

/// What kind of problem was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A checkpoint is signed by another key, or was altered.
    Checkpoint(NoteError),
    /// A checkpoint contradicts the records: they were replaced and chained anew.
    Contradicted,
    /// A record does not open with its key: it was written by someone without the key.
    Forged,
    /// Frames were altered, dropped, inserted or swapped.
    Frame(Flaw),
    /// The segment's header was altered.
    Header(String),
    /// The segment before ends earlier than this one says.
    EndsEarly,
    /// A segment is missing before this one.
    MissingSegment,
    /// The file has another segment's name.
    Name,
    /// Removed segments are not accounted for: a note is not believed, or retention was not over.
    Retired(String),
    /// The segment does not continue the one before: it, or the one before, was replaced or cut.
    ReplacedSegment,
    /// The header states another tree of the segment before than that of its records.
    Tree,
    /// The log ends before a checkpoint: it was cut or rolled back.
    Truncated,
    /// The master key is not the one that the segment was written under.
    WrongMasterKey,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(error) => write!(f, "a checkpoint is not believed: {error}"),
            Self::Contradicted => f.write_str("a checkpoint contradicts the records"),
            Self::Forged => f.write_str("the record does not open with its key"),
            Self::Frame(flaw) => write!(f, "{flaw}"),
            Self::Header(error) => f.write_str(error),
            Self::EndsEarly => f.write_str("the segment before ends earlier than this one says"),
            Self::Name => f.write_str("the file name does not fit the header"),
            Self::Tree => {
                f.write_str("the tree of the segment before is another than this one says")
            }
            Self::MissingSegment => f.write_str("a segment is missing before this one"),
            Self::Retired(reason) => write!(f, "removed segments are not accounted for: {reason}"),
            Self::ReplacedSegment => f.write_str("the segment does not continue the one before"),
            Self::Truncated => f.write_str("the log ends before a checkpoint"),
            Self::WrongMasterKey => f.write_str("another master key is needed"),
        }
    }
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The first record that it puts in doubt.
    pub first_bad: u64,
    /// The segment's file name, or where the checkpoint was.
    pub place: String,
    /// What it is.
    pub fault: Fault,
    /// What was done, as far as that can be told.
    pub damage: Damage,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "record {}: {} ({})",
            self.first_bad, self.fault, self.place
        )
    }
}

/// Something worth knowing that is on record and no problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An operator accepted a loss.
    AcceptedLoss(AcceptedLoss),
    /// A torn tail was cut off after a crash.
    Cut(Cut),
    /// Segments were removed because their retention was over; this is the newest of them.
    Retired(Retired),
    /// A checkpoint text that is not whole, as a crash leaves it.
    TornCheckpoint(String),
}

/// How the newest segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// There is no segment.
    Empty,
    /// The gateway closed it.
    Sealed,
    /// Unsealed and torn, as a crash leaves it: the bytes behind the last whole record.
    Torn {
        /// Where they begin.
        offset: u64,
        /// How many there are.
        bytes: u64,
    },
    /// Unsealed, as a running gateway or a crash leaves it.
    Unsealed,
}

/// What verifying found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// The first record that was looked at; 0 where that is the first there is.
    pub from: u64,
    /// Segments looked at.
    pub segments: u64,
    /// Whole records in them.
    pub records: u64,
    /// The last record that is proven to follow from the first without a break.
    pub last: u64,
    /// The chain value behind it.
    pub head: Head,
    /// How the newest segment ends.
    pub end: LogEnd,
    /// Checkpoints that were found in the log.
    pub checkpoints: u64,
    /// The newest record that a checkpoint vouches for; those behind it rest on the chain alone,
    /// which anyone can compute.
    pub vouched: u64,
    /// The newest checkpoint that the caller gave, from a witness.
    pub newest_witnessed: Option<u64>,
    /// Problems, at most 100 of them.
    pub problems: Vec<Problem>,
    /// Problems beyond those listed.
    pub unlisted: u64,
    /// Things on record.
    pub notices: Vec<Notice>,
}

impl VerifyReport {
    /// A report of nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            from: 0,
            segments: 0,
            records: 0,
            last: 0,
            head: Head::ZERO,
            end: LogEnd::Empty,
            checkpoints: 0,
            vouched: 0,
            newest_witnessed: None,
            problems: Vec::new(),
            unlisted: 0,
            notices: Vec::new(),
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_intact(&self) -> bool {
        self.problems.is_empty()
    }

    /// The first record that is in doubt.
    #[must_use]
    pub fn first_bad(&self) -> Option<u64> {
        self.problems.iter().map(|problem| problem.first_bad).min()
    }

    /// What was done where the first record is in doubt.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        let first = self.first_bad()?;
        let mut there = self.problems.iter();
        there
            .find(|problem| problem.first_bad == first)
            .map(|problem| problem.damage)
    }

    pub(super) fn add(&mut self, first_bad: u64, place: &str, fault: Fault, damage: Damage) {
        if self.problems.len() >= LISTED {
            self.unlisted = self.unlisted.saturating_add(1);
            return;
        }
        self.problems.push(Problem {
            first_bad,
            place: place.to_owned(),
            fault,
            damage,
        });
    }
}
