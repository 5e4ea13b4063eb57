//! Verifying a copy of the trail, offline, with the public key only.
//!
//! *Never*: writes, needs a secret (the master key only adds that records open), or stops at the
//! first problem: the report names the first bad record and lists what else is wrong.

mod damage;
mod missing;
mod notes;
mod over;

use std::collections::HashSet;
use std::path::Path;

use uuid::Uuid;

use self::notes::{Met, Notes};
use super::crypt::{DataKey, Head};
use super::error::LogError;
use super::files::{Access, Files, LogFile};
use super::header::{Header, HeaderError, Parsed};
use super::keys::MasterKey;
use super::loss;
use super::note::VerifierKey;
use super::recover::{examined, first_of, names, open};
use super::report::{Damage, Fault, LogEnd, VerifyReport};
use super::retired::Retired;
use super::segment::SEGMENTS;
use super::tail::Tail;
use super::tree::TreeHead;
use super::walk::{Flaw, KIND_RECORD, Step, Walk, WalkError, read_header};

/// How far dates of one clock may differ that were taken one after the other.
const DAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// No header is shorter.
const SHORTEST: u64 = 256;

/// What is to be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    #[default]
    Whole,
    /// From the last segment on that a checkpoint from before this time vouches for.
    Since(jiff::Timestamp),
}

/// Verifies the trail below `directory`: its chain, its own checkpoints, and the `witnessed` ones
/// (place and text of each witness's notes). With the master key, also that every record opens.
///
/// # Errors
/// [`LogError::Io`] where files cannot be read; whatever can be read is in the report.
pub fn verify(
    files: &dyn Files,
    directory: &Path,
    key: &VerifierKey,
    witnessed: &[(&str, &str)],
    master: Option<&MasterKey>,
) -> Result<VerifyReport, LogError> {
    verify_within(Scope::Whole, files, directory, key, witnessed, master)
}

/// As [`verify`], of a part.
///
/// # Errors
/// As [`verify`].
pub fn verify_within(
    scope: Scope,
    files: &dyn Files,
    directory: &Path,
    key: &VerifierKey,
    witnessed: &[(&str, &str)],
    master: Option<&MasterKey>,
) -> Result<VerifyReport, LogError> {
    let mut check = Check {
        report: VerifyReport::new(),
        notes: Notes::default(),
        broken: None,
        torn: None,
        losses: Vec::new(),
        signed_losses: 0,
        sealed: HashSet::new(),
        known: HashSet::new(),
        retired: Vec::new(),
        shredded: Vec::new(),
        master,
    };
    check.read_retired(files, directory, key)?;
    check
        .notes
        .read_own(files, directory, key, &mut check.report)?;
    for (place, text) in witnessed {
        check
            .notes
            .read_witness(place, text, key, &mut check.report)?;
    }
    let segments = check.read_segments(files, directory)?;
    check.stays(&segments);
    let skipped = match scope {
        Scope::Whole => 0,
        Scope::Since(since) => check.skip(since, &segments),
    };
    let count = segments.len();
    let mut before = if skipped > 0 {
        Before::Skipped
    } else {
        Before::Beginning
    };
    for (index, segment) in segments.iter().enumerate().skip(skipped) {
        let newest = index.saturating_add(1) == count;
        let file = open(
            files,
            &directory.join(SEGMENTS).join(&segment.name),
            Access::Read,
        )?;
        let key = check.key_of(files, directory, segment)?;
        before = Before::Ended(check.segment(&before, (segment, key), &*file, newest)?);
    }
    check.missing_checkpoints();
    check.note_losses();
    (check.report.own, check.report.witnesses) = check.notes.take_reach();
    check
        .report
        .problems
        .sort_by_key(|problem| problem.first_bad);
    Ok(check.report)
}

struct Segment {
    name: String,
    parsed: Parsed,
}

/// What a segment has to continue.
enum Before {
    /// It is the first that there is.
    Beginning,
    Ended(Ended),
    /// What is before it is not looked at.
    Skipped,
}

/// How a segment ended, for the link to the next.
struct Ended {
    number: u64,
    segment: Uuid,
    last: u64,
    head: Head,
    tree: Option<TreeHead>,
    size_is_exact: bool,
}

struct Check<'m> {
    report: VerifyReport,
    notes: Notes,
    /// The first record behind which the chain is not proven.
    broken: Option<u64>,
    /// What was done to a torn end, if a crash did not leave it.
    torn: Option<Damage>,
    /// Headers that declare a loss which fits where they stand, in the log's order.
    losses: Vec<Header>,
    /// As many of these have a signed checkpoint behind them.
    signed_losses: usize,
    /// Segments that were closed; nothing was cut from these.
    sealed: HashSet<Uuid>,
    /// Segments that are there.
    known: HashSet<Uuid>,
    /// Segments that were removed, by notes that are believed.
    retired: Vec<Retired>,
    /// The same of segments that are there: of their own keys nothing is left.
    shredded: Vec<Retired>,
    master: Option<&'m MasterKey>,
}

impl Check<'_> {
    /// Reads every header; a segment whose header is not believed is reported and left out.
    fn read_segments(
        &mut self,
        files: &dyn Files,
        directory: &Path,
    ) -> Result<Vec<Segment>, LogError> {
        let mut segments = Vec::new();
        let mut names = names(files, directory)?;
        names.sort();
        for name in names {
            let path = directory.join(SEGMENTS).join(&name);
            let file = open(files, &path, Access::Read)?;
            match read_header(&*file) {
                Ok(parsed) if parsed.header.file_name() == name => {
                    self.known.insert(parsed.header.segment);
                    segments.push(Segment { name, parsed });
                }
                Ok(_) => self.fail(first_of(&name), &name, Fault::Name, Damage::Replaced),
                Err(WalkError::Header(error)) => {
                    let size = file.size().map_err(LogError::io("reading", &path))?;
                    let damage = if error == HeaderError::Short && size < SHORTEST {
                        Damage::Truncated
                    } else {
                        Damage::Flipped
                    };
                    let fault = Fault::Header(error.to_string());
                    self.fail(first_of(&name), &name, fault, damage);
                }
                Err(WalkError::Io(source)) => return Err(LogError::io("reading", &path)(source)),
            }
        }
        segments.sort_by_key(|segment| segment.parsed.header.number);
        Ok(segments)
    }

    /// Leaves out what a checkpoint from before `since` vouches for; says how many segments that is.
    fn skip(&mut self, since: jiff::Timestamp, segments: &[Segment]) -> usize {
        let place = |id: Uuid| {
            let mut all = segments.iter();
            all.position(|segment| segment.parsed.header.segment == id)
        };
        let begin = self.notes.last_before(since, place).unwrap_or(0);
        let (Some(first), true) = (segments.get(begin), begin > 0) else {
            return 0;
        };
        self.report.from = first.parsed.header.first;
        let left: HashSet<Uuid> = segments
            .iter()
            .skip(begin)
            .map(|segment| segment.parsed.header.segment)
            .collect();
        self.notes.leave_out(self.report.from, &left);
        begin
    }

    /// Reports a break in the chain.
    fn fail(&mut self, first_bad: u64, place: &str, fault: Fault, damage: Damage) {
        let broken = self.broken.map_or(first_bad, |at| at.min(first_bad));
        self.broken = Some(broken);
        self.report.add(first_bad, place, fault, damage);
    }

    fn segment(
        &mut self,
        before: &Before,
        (segment, key): (&Segment, Option<DataKey>),
        file: &dyn LogFile,
        newest: bool,
    ) -> Result<Ended, LogError> {
        let header = segment.parsed.header.clone();
        self.link(before, segment);
        self.declared(&header, &segment.name);
        let mut walk = Walk::at_start(file, segment.parsed.clone()).with_tree();
        let mut wanted = self.notes.of(header.segment);
        let mut body = Vec::new();
        let reading = |source| LogError::io("reading", Path::new(&segment.name))(source);
        wanted.meet(&walk, |met| self.met(&met));
        let flaw = loop {
            match walk.step().map_err(reading)? {
                Step::Record {
                    sequence,
                    body: sealed,
                } => {
                    self.report.records = self.report.records.saturating_add(1);
                    if let Some(key) = &key {
                        body.clear();
                        body.extend_from_slice(sealed);
                        if key.open_record(KIND_RECORD, sequence, &mut body).is_err() {
                            let damage = Damage::Replaced;
                            self.report
                                .add(sequence, &segment.name, Fault::Forged, damage);
                        }
                    }
                }
                Step::Sealed => {}
                Step::End => break None,
                Step::Broken(flaw) => break Some(flaw),
            }
            wanted.meet(&walk, |met| self.met(&met));
        };
        if walk.sealed.is_some() {
            self.sealed.insert(header.segment);
        }
        let exact = walk.offset == file.size().map_err(reading)?;
        let place = Place {
            name: &segment.name,
            file,
            walk: &walk,
        };
        // A checkpoint behind this place proves that whole records stood here.
        let proven = wanted.reaches(walk.next);
        self.ending(&place, flaw, newest, proven).map_err(reading)?;
        self.notes.give_back(header.segment, wanted);
        self.report.segments = self.report.segments.saturating_add(1);
        if self.broken.is_none_or(|broken| broken > walk.last()) {
            self.report.last = walk.last();
            self.report.head = walk.head;
        }
        Ok(Ended {
            number: header.number,
            segment: header.segment,
            last: walk.last(),
            head: walk.head,
            tree: walk.tree_head(),
            size_is_exact: exact,
        })
    }

    /// A checkpoint was found in the log.
    fn met(&mut self, met: &Met) {
        self.report.checkpoints = self.report.checkpoints.saturating_add(1);
        self.report.vouched = self.report.vouched.max(met.sequence);
        self.notes.confirm(met);
        // SECURITY: anyone can write a header and compute the chain behind it. A checkpoint behind it commits to it.
        self.signed_losses = self.losses.len();
    }

    /// Checks that a segment continues the one before.
    fn link(&mut self, before: &Before, segment: &Segment) {
        let header = &segment.parsed.header;
        let start = Ended {
            number: 0,
            segment: Uuid::nil(),
            last: 0,
            head: Head::ZERO,
            tree: None,
            size_is_exact: true,
        };
        let (ended, is_first) = match before {
            Before::Skipped => return,
            Before::Beginning if header.number > 1 && self.begins(header) => return,
            Before::Beginning => (&start, true),
            Before::Ended(ended) => (ended, false),
        };
        let previous = &header.previous;
        let lost_to = header.accepted_loss.as_ref().map_or(0, |loss| loss.to);
        let first = previous.sequence.max(lost_to).saturating_add(1);
        let next = ended.last.saturating_add(1);
        let (first_bad, fault, damage) = if header.number > ended.number.saturating_add(1) {
            (next, Fault::MissingSegment, Damage::Dropped)
        } else if header.number <= ended.number && !is_first {
            (header.first, Fault::ReplacedSegment, Damage::Replaced)
        } else if previous.segment == ended.segment && previous.sequence > ended.last {
            (next, Fault::EndsEarly, Damage::Truncated)
        } else if previous.segment != ended.segment
            || previous.head != ended.head
            || previous.sequence != ended.last
            || header.first != first
        {
            // The one before was replaced, or this one begun elsewhere.
            let first_bad = next.min(header.first);
            (first_bad, Fault::ReplacedSegment, Damage::Replaced)
        } else if previous.tree != ended.tree {
            (header.first, Fault::Tree, Damage::Replaced)
        } else if !ended.size_is_exact {
            (next, Fault::Frame(Flaw::Excess), Damage::Inserted)
        } else {
            return;
        };
        self.fail(first_bad, &segment.name, fault, damage);
    }

    /// Notes what the header has on record.
    fn declared(&mut self, header: &Header, name: &str) {
        if let Some(cut) = &header.cut {
            self.report.note_cut(cut);
        }
        if !loss::fits(header) {
            let next = header.previous.sequence.saturating_add(1);
            let first_bad = next.min(header.first);
            self.fail(first_bad, name, Fault::Loss, Damage::Replaced);
        } else if header.accepted_loss.is_some() {
            self.losses.push(header.clone());
        }
    }

    /// Judges what follows the last whole frame.
    fn ending(
        &mut self,
        place: &Place<'_>,
        flaw: Option<Flaw>,
        newest: bool,
        proven: bool,
    ) -> std::io::Result<()> {
        let walk = place.walk;
        if !newest {
            if let Some(flaw) = flaw {
                let damage = damage::of(place.file, walk, &flaw)?;
                self.fail(walk.next, place.name, Fault::Frame(flaw), damage);
            }
            return Ok(());
        }
        let tail = examined(place.file, walk)?;
        let sealed = walk.sealed.is_some();
        self.report.end = match tail {
            Tail::Clean if sealed => LogEnd::Sealed,
            Tail::Clean => LogEnd::Unsealed,
            Tail::Torn(bytes) | Tail::Damaged(bytes) => LogEnd::Torn {
                offset: walk.offset,
                bytes,
            },
        };
        let is_damage = match tail {
            Tail::Clean => false,
            Tail::Torn(_) => sealed || proven,
            Tail::Damaged(_) => true,
        };
        let flaw = flaw.filter(|_| !sealed).unwrap_or(Flaw::Excess);
        if matches!(self.report.end, LogEnd::Torn { .. }) {
            self.torn = Some(damage::of(place.file, walk, &flaw)?);
        }
        if is_damage {
            let damage = damage::of(place.file, walk, &flaw)?;
            self.fail(walk.next, place.name, Fault::Frame(flaw), damage);
        }
        Ok(())
    }
}

/// Where a walk ended.
struct Place<'p> {
    name: &'p str,
    file: &'p dyn LogFile,
    walk: &'p Walk<'p>,
}
