//! What verifying found: problems, each with the first record in doubt, and things on record.

use std::fmt;

use super::crypt::Head;
use super::header::{AcceptedLoss, Cut};
use super::note::NoteError;
use super::retired::Retired;
use super::walk::Flaw;

/// More problems than this are counted, not listed; so are tails that were cut.
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
    /// Segments, or their own keys, are gone, and what is on record of that is not believed.
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
    /// The segment declares a loss that does not lie between the record before it and its first.
    Loss,
    /// The segment before ends earlier than this one says.
    EndsEarly,
    /// A segment is missing before this one.
    MissingSegment,
    /// The file has another segment's name.
    Name,
    /// Removed segments are not accounted for: a note is not believed, or retention was not over.
    Retired(String),
    /// The segment's own key is missing or does not fit, and no note that is believed says that it was destroyed.
    SegmentKey,
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
            Self::Loss => {
                f.write_str("the loss that the segment declares does not fit where it stands")
            }
            Self::EndsEarly => f.write_str("the segment before ends earlier than this one says"),
            Self::Name => f.write_str("the file name does not fit the header"),
            Self::Tree => {
                f.write_str("the tree of the segment before is another than this one says")
            }
            Self::MissingSegment => f.write_str("a segment is missing before this one"),
            Self::Retired(reason) => write!(f, "removed segments are not accounted for: {reason}"),
            Self::SegmentKey => f.write_str(
                "the segment's own key is missing or does not fit, and nothing says that it was shredded",
            ),
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
    /// The checkpoints of this place that show it, where any do.
    pub checkpoints: Option<NoteSpan>,
}

/// Checkpoints of one place, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteSpan {
    /// How many.
    pub count: u64,
    /// The record of the first.
    pub from: u64,
    /// The record of the last.
    pub to: u64,
}

impl NoteSpan {
    const fn one(sequence: u64) -> Self {
        Self {
            count: 1,
            from: sequence,
            to: sequence,
        }
    }

    fn and(self, sequence: u64) -> Self {
        Self {
            count: self.count.saturating_add(1),
            from: self.from.min(sequence),
            to: self.to.max(sequence),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, fault, place) = (self.first_bad, &self.fault, &self.place);
        write!(f, "record {first}: {fault} (")?;
        match self.checkpoints {
            None => {}
            Some(NoteSpan { count: 1, from, .. }) => {
                write!(f, "the checkpoint of record {from} in ")?;
            }
            Some(NoteSpan { count, from, to }) => {
                write!(f, "{count} checkpoints of records {from} to {to} in ")?;
            }
        }
        write!(f, "{place})")
    }
}

/// Something worth knowing that is on record and no problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An operator accepted a loss.
    AcceptedLoss {
        /// What is lost.
        loss: AcceptedLoss,
        /// The number of the segment whose header says so.
        segment: u64,
        /// Whether a signed checkpoint vouches for that header; where none does, anyone may have written it.
        signed: bool,
    },
    /// A torn tail was cut off after a crash.
    Cut(Cut),
    /// Segments were removed because their retention was over; this is the newest of them.
    Retired(Retired),
    /// Segments whose own keys were destroyed because their retention was over: they are proven, and open no more.
    Shredded {
        /// The number of the first of them.
        from: u64,
        /// That of the last.
        to: u64,
        /// The first record in them.
        first: u64,
        /// The last.
        last: u64,
    },
    /// No witness's checkpoint was there to check the date of a removal or shredding with.
    RemovalUnwitnessed,
    /// Notes that are not whole, as a crash leaves one.
    TornCheckpoints {
        /// Where.
        place: String,
        /// How many.
        count: u64,
    },
}

impl Notice {
    /// Its name, which is stable.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AcceptedLoss { .. } => "loss-accepted",
            Self::Cut(_) => "tail-cut",
            Self::Retired(_) => "removed",
            Self::Shredded { .. } => "shredded",
            Self::RemovalUnwitnessed => "removal-not-witnessed",
            Self::TornCheckpoints { .. } => "torn-checkpoints",
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AcceptedLoss {
                loss,
                segment,
                signed,
            } => {
                let AcceptedLoss { from, to, place } = loss;
                if to < from {
                    write!(f, "the end mark behind record {to} is LOST")?;
                } else {
                    write!(f, "records {from} to {to} are LOST for good")?;
                }
                if *signed {
                    write!(
                        f,
                        "; an operator accepted that at the start of segment {segment} (a checkpoint of record {to} \
                         proves that they were there: {place})"
                    )
                } else {
                    write!(
                        f,
                        ", says segment {segment}; NO signed checkpoint vouches for that, so it explains nothing"
                    )
                }
            }
            Self::Cut(Cut {
                segment,
                offset,
                bytes,
                last_seq,
            }) => write!(
                f,
                "a torn end of {bytes} bytes was cut off behind record {last_seq} after a crash or a disk failure \
                 (segment {segment}, from byte {offset})"
            ),
            Self::Retired(Retired {
                number, last, time, ..
            }) => write!(
                f,
                "records 1 to {last} (segments 1 to {number}) were removed on {time} because their retention was over"
            ),
            Self::Shredded {
                from,
                to,
                first,
                last,
            } => write!(
                f,
                "records {first} to {last} (segments {from} to {to}) were shredded because their retention was over: \
                 they are proven, and nobody reads them any more"
            ),
            Self::RemovalUnwitnessed => f.write_str(
                "the date at which retention was over was checked against no witness: whoever has the signing key may have made it up",
            ),
            Self::TornCheckpoints { place, count } => write!(
                f,
                "{count} notes in {place} are not whole, as a crash leaves one; they were not counted"
            ),
        }
    }
}

/// How far the checkpoints of one holder go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Who holds them.
    pub place: String,
    /// Checkpoints that the log's key signed.
    pub checkpoints: u64,
    /// The newest of these: its record.
    pub newest: Option<u64>,
    /// The latest date on one of them.
    pub time: Option<jiff::Timestamp>,
    /// The newest record that one of them vouches for in this log.
    pub found: Option<u64>,
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
    /// How far the log's own checkpoints go.
    pub own: Reach,
    /// How far those of each witness go, in the order in which they were given.
    pub witnesses: Vec<Reach>,
    /// Problems, at most 100 of them.
    pub problems: Vec<Problem>,
    /// Problems beyond those listed.
    pub unlisted: u64,
    /// Things on record.
    pub notices: Vec<Notice>,
    /// Tails that were cut, beyond those listed.
    pub unlisted_notices: u64,
    /// The first record in doubt and what was done there, among all problems.
    worst: Option<(u64, Damage)>,
}

impl VerifyReport {
    /// A report of nothing yet.
    pub(super) fn new() -> Self {
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
            own: Reach::default(),
            witnesses: Vec::new(),
            problems: Vec::new(),
            unlisted: 0,
            notices: Vec::new(),
            unlisted_notices: 0,
            worst: None,
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_intact(&self) -> bool {
        self.worst.is_none()
    }

    /// The newest record that a witness's checkpoint vouches for in this log.
    #[must_use]
    pub fn witnessed(&self) -> Option<u64> {
        self.witnesses.iter().filter_map(|reach| reach.found).max()
    }

    /// The first record that is in doubt.
    #[must_use]
    pub fn first_bad(&self) -> Option<u64> {
        self.worst.map(|(first, _)| first)
    }

    /// What was done where the first record is in doubt.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        self.worst.map(|(_, damage)| damage)
    }

    pub(super) fn add(&mut self, first_bad: u64, place: &str, fault: Fault, damage: Damage) {
        self.list(Problem {
            first_bad,
            place: place.to_owned(),
            fault,
            damage,
            checkpoints: None,
        });
    }

    /// Adds what the checkpoint of record `sequence` shows: to what others of the same place show, where that is the
    /// same.
    pub(super) fn add_shown(
        &mut self,
        first_bad: u64,
        (place, sequence): (&str, u64),
        fault: Fault,
        damage: Damage,
    ) {
        let mut listed = self.problems.iter_mut();
        let same = listed.find(|other| {
            other.checkpoints.is_some()
                && (other.damage, other.place.as_str()) == (damage, place)
                && other.fault == fault
        });
        if let Some(same) = same {
            same.first_bad = same.first_bad.min(first_bad);
            same.checkpoints = same.checkpoints.map(|notes| notes.and(sequence));
            self.note_worst(first_bad, damage);
            return;
        }
        self.list(Problem {
            first_bad,
            place: place.to_owned(),
            fault,
            damage,
            checkpoints: Some(NoteSpan::one(sequence)),
        });
    }

    fn list(&mut self, problem: Problem) {
        self.note_worst(problem.first_bad, problem.damage);
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        } else {
            self.unlisted = self.unlisted.saturating_add(1);
        }
    }

    fn note_worst(&mut self, first_bad: u64, damage: Damage) {
        // That something is unaccounted for says least of what was done.
        let is_told = |(first, known)| {
            first_bad < first || (first_bad == first && known == Damage::Unaccounted)
        };
        if self.worst.is_none_or(is_told) {
            self.worst = Some((first_bad, damage));
        }
    }

    /// A tail that was cut.
    pub(super) fn note_cut(&mut self, cut: &Cut) {
        if self.notices.len() < LISTED {
            self.notices.push(Notice::Cut(cut.clone()));
        } else {
            self.unlisted_notices = self.unlisted_notices.saturating_add(1);
        }
    }
}
