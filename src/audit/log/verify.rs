//! Verifying a copy of the trail, offline, with the public key only.
//!
//! *Never*: writes, needs a secret (the master key only adds that records open), or stops at the
//! first problem: the report names the first bad record and lists what else is wrong.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::checkpoint::{Checkpoint, Cursor, each_note};
use super::crypt::{DataKey, Head};
use super::error::LogError;
use super::files::{Access, Files, LogFile};
use super::header::{AcceptedLoss, Header, Parsed};
use super::keys::MasterKey;
use super::notary::CHECKPOINTS;
use super::note::{NoteError, VerifierKey};
use super::recover::{first_of, names, open};
use super::report::{Fault, LogEnd, Notice, VerifyReport};
use super::retired::{self, FEWEST_YEARS, RETIRED, Retired};
use super::segment::SEGMENTS;
use super::tail::{self, Tail};
use super::walk::{Flaw, KIND_RECORD, Step, Walk, WalkError, read_header};

/// How far dates of one clock may differ that were taken one after the other.
const DAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// A believed checkpoint that has not been found in the log yet.
#[derive(Debug)]
struct Wanted {
    checkpoint: Checkpoint,
    place: Arc<str>,
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
    let mut check = Check {
        report: VerifyReport::new(),
        wanted: HashMap::new(),
        confirmed: BTreeSet::new(),
        broken: None,
        losses: Vec::new(),
        sealed: HashSet::new(),
        retired: Vec::new(),
        newest_time: None,
        master,
    };
    check.read_retired(files, directory, key)?;
    check.read_own_checkpoints(files, directory, key)?;
    for (place, text) in witnessed {
        check.read_checkpoints(place, text.as_bytes(), key, Source::Witness)?;
    }
    let segments = check.read_segments(files, directory)?;
    let count = segments.len();
    let mut before: Option<Ended> = None;
    for (index, segment) in segments.into_iter().enumerate() {
        let newest = index.saturating_add(1) == count;
        let ended = check.segment(before.as_ref(), &segment, newest)?;
        before = Some(ended);
    }
    check.missing_checkpoints();
    check
        .report
        .problems
        .sort_by_key(|problem| problem.first_bad);
    Ok(check.report)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Own,
    Witness,
}

struct Segment {
    name: String,
    file: Box<dyn LogFile>,
    parsed: Parsed,
}

/// How a segment ended, for the link to the next.
struct Ended {
    number: u64,
    segment: Uuid,
    last: u64,
    head: Head,
    size_is_exact: bool,
}

struct Check<'m> {
    report: VerifyReport,
    wanted: HashMap<Uuid, Vec<Wanted>>,
    /// Who held the checkpoints that were found, and their sequence numbers.
    confirmed: BTreeSet<(Arc<str>, u64)>,
    /// The first record behind which the chain is not proven.
    broken: Option<u64>,
    losses: Vec<AcceptedLoss>,
    /// Segments that were closed; nothing was cut from these.
    sealed: HashSet<Uuid>,
    /// Segments that were removed, by notes that are believed.
    retired: Vec<Retired>,
    /// The time of the newest checkpoint.
    newest_time: Option<jiff::Timestamp>,
    master: Option<&'m MasterKey>,
}

impl Check<'_> {
    fn read_own_checkpoints(
        &mut self,
        files: &dyn Files,
        directory: &Path,
        key: &VerifierKey,
    ) -> Result<(), LogError> {
        let path = directory.join(CHECKPOINTS);
        match files.open(&path, Access::Read) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(LogError::io("opening", &path)(error)),
            Ok(file) => {
                let reader = BufReader::new(Cursor::new(&*file));
                self.read_checkpoints(CHECKPOINTS, reader, key, Source::Own)
            }
        }
    }

    fn read_checkpoints(
        &mut self,
        place: &str,
        reader: impl std::io::BufRead,
        key: &VerifierKey,
        source: Source,
    ) -> Result<(), LogError> {
        let mut before = 0_u64;
        let holder: Arc<str> = place.into();
        each_note(reader, |note| match Checkpoint::open(note, key) {
            Ok(checkpoint) => {
                before = checkpoint.sequence;
                self.newest_time = self.newest_time.max(Some(checkpoint.time));
                if source == Source::Witness {
                    let newest = self.report.newest_witnessed;
                    self.report.newest_witnessed = newest.max(Some(checkpoint.sequence));
                }
                let wanted = Wanted {
                    place: Arc::clone(&holder),
                    checkpoint,
                };
                self.wanted
                    .entry(wanted.checkpoint.segment)
                    .or_default()
                    .push(wanted);
            }
            Err(NoteError::Malformed(_)) => {
                self.report
                    .notices
                    .push(Notice::TornCheckpoint(place.to_owned()));
            }
            Err(error @ (NoteError::OtherKey(_) | NoteError::BadSignature(_))) => {
                self.report
                    .add(before.saturating_add(1), place, Fault::Checkpoint(error));
            }
        })
        .map_err(LogError::io("reading", Path::new(place)))
    }

    /// Reads the notes about segments that were removed.
    fn read_retired(
        &mut self,
        files: &dyn Files,
        directory: &Path,
        key: &VerifierKey,
    ) -> Result<(), LogError> {
        retired::each(files, directory, |note| match Retired::open(note, key) {
            Ok(retired) => self.retired.push(retired),
            Err(error) => self
                .report
                .add(1, RETIRED, Fault::Retired(error.to_string())),
        })
    }

    /// Whether the log may begin with this segment because what was before it is retired.
    fn begins(&mut self, header: &Header) -> bool {
        let Some(note) = self.retired.iter().find(|note| note.precedes(header)) else {
            return false;
        };
        let note = note.clone();
        if !retired::is_over(header.created, FEWEST_YEARS, note.time) {
            let reason = format!(
                "{FEWEST_YEARS} calendar years were not over at {}",
                note.time
            );
            self.report.add(1, RETIRED, Fault::Retired(reason));
        }
        // A removal waits for the checkpoint that covers it, so a later date than any checkpoint's was made up.
        let newest = self.newest_time.unwrap_or(jiff::Timestamp::MIN);
        if note.time.duration_since(newest) > DAY {
            let reason = "the removal is dated after the newest checkpoint".to_owned();
            self.report.add(1, RETIRED, Fault::Retired(reason));
        }
        self.retired.retain(|other| other.number <= note.number);
        self.report.notices.push(Notice::Retired(note));
        true
    }

    /// Whether a checkpoint is of a segment that was removed, and old enough for that. The witness has the date from
    /// the gateway of that day, so a younger record cannot be passed off as an old one later.
    fn is_retired(&self, checkpoint: &Checkpoint) -> bool {
        let time = checkpoint
            .time
            .saturating_sub(DAY)
            .unwrap_or(checkpoint.time);
        self.retired.iter().any(|note| {
            note.segment == checkpoint.segment
                && (note.first.saturating_sub(1)..=note.last).contains(&checkpoint.sequence)
                && retired::is_over(time, FEWEST_YEARS, note.time)
        })
    }

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
                    segments.push(Segment { name, file, parsed });
                }
                Ok(_) => {
                    let error = "the file name does not fit the header".to_owned();
                    self.fail(first_of(&name), &name, Fault::Header(error));
                }
                Err(WalkError::Header(error)) => {
                    self.fail(first_of(&name), &name, Fault::Header(error.to_string()));
                }
                Err(WalkError::Io(source)) => return Err(LogError::io("reading", &path)(source)),
            }
        }
        segments.sort_by_key(|segment| segment.parsed.header.number);
        Ok(segments)
    }

    /// Reports a break in the chain.
    fn fail(&mut self, first_bad: u64, place: &str, fault: Fault) {
        self.broken = Some(
            self.broken
                .map_or(first_bad, |broken| broken.min(first_bad)),
        );
        self.report.add(first_bad, place, fault);
    }

    fn segment(
        &mut self,
        before: Option<&Ended>,
        segment: &Segment,
        newest: bool,
    ) -> Result<Ended, LogError> {
        let header = segment.parsed.header.clone();
        self.link(before, segment);
        self.declared(&header);
        let key = self.key_of(segment);
        let mut walk = Walk::at_start(&*segment.file, segment.parsed.clone());
        let mut wanted = self.wanted.remove(&header.segment).unwrap_or_default();
        // The next one is at the end, so that striking it out moves little: a quiet log has more checkpoints than records.
        wanted.sort_by_key(|wanted| Reverse(wanted.checkpoint.sequence));
        let mut body = Vec::new();
        let reading = |source| LogError::io("reading", Path::new(&segment.name))(source);
        self.meet(&walk, &mut wanted);
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
                            self.report.add(sequence, &segment.name, Fault::Forged);
                        }
                    }
                }
                Step::Sealed => {}
                Step::End => break None,
                Step::Broken(flaw) => break Some(flaw),
            }
            self.meet(&walk, &mut wanted);
        };
        if walk.sealed.is_some() {
            self.sealed.insert(header.segment);
        }
        let exact = walk.offset == segment.file.size().map_err(reading)?;
        self.ending(segment, &walk, flaw, newest, &wanted)
            .map_err(reading)?;
        if !wanted.is_empty() {
            self.wanted.insert(header.segment, wanted);
        }
        self.report.segments = self.report.segments.saturating_add(1);
        if self.broken.is_none() {
            self.report.last = walk.last();
            self.report.head = walk.head;
        }
        Ok(Ended {
            number: header.number,
            segment: header.segment,
            last: walk.last(),
            head: walk.head,
            size_is_exact: exact,
        })
    }

    /// Strikes out the checkpoints that are of this place. The `wanted` are in order, the last one first.
    fn meet(&mut self, walk: &Walk<'_>, wanted: &mut Vec<Wanted>) {
        let last = walk.last();
        let from = wanted.partition_point(|wanted| wanted.checkpoint.sequence > last);
        let to = wanted.partition_point(|wanted| wanted.checkpoint.sequence >= last);
        let here = |wanted: &mut Wanted| wanted.checkpoint.head == walk.head;
        for met in wanted.extract_if(from..to, here) {
            self.report.checkpoints = self.report.checkpoints.saturating_add(1);
            self.report.vouched = self.report.vouched.max(met.checkpoint.sequence);
            self.confirmed.insert((met.place, met.checkpoint.sequence));
        }
    }

    /// Checks that a segment continues the one before.
    fn link(&mut self, before: Option<&Ended>, segment: &Segment) {
        let header = &segment.parsed.header;
        if before.is_none() && header.number > 1 && self.begins(header) {
            return;
        }
        let (number, id, last, head) = before.map_or((0, Uuid::nil(), 0, Head::ZERO), |before| {
            (before.number, before.segment, before.last, before.head)
        });
        let previous = &header.previous;
        let lost_to = header.accepted_loss.as_ref().map_or(0, |loss| loss.to);
        let first = previous.sequence.max(lost_to).saturating_add(1);
        let next = last.saturating_add(1);
        if header.number > number.saturating_add(1) {
            self.fail(next, &segment.name, Fault::MissingSegment);
        } else if header.number <= number && before.is_some() {
            self.fail(header.first, &segment.name, Fault::ReplacedSegment);
        } else if previous.segment != id {
            self.fail(
                next.min(header.first),
                &segment.name,
                Fault::ReplacedSegment,
            );
        } else if previous.head != head || previous.sequence != last || header.first != first {
            // The one before was cut, or this one begun elsewhere.
            self.fail(
                next.min(header.first),
                &segment.name,
                Fault::ReplacedSegment,
            );
        } else if before.is_some_and(|before| !before.size_is_exact) {
            self.fail(next, &segment.name, Fault::Frame(Flaw::Excess));
        }
    }

    /// Notes what the header has on record.
    fn declared(&mut self, header: &Header) {
        if let Some(cut) = &header.cut {
            self.report.notices.push(Notice::Cut(cut.clone()));
        }
        if let Some(loss) = &header.accepted_loss {
            self.report.notices.push(Notice::AcceptedLoss(loss.clone()));
            self.losses.push(loss.clone());
        }
    }

    fn key_of(&mut self, segment: &Segment) -> Option<DataKey> {
        let master = self.master?;
        let parsed = &segment.parsed;
        let key = parsed.header.data_key(parsed.start, master).ok();
        if key.is_none() {
            let first = parsed.header.first;
            self.report.add(first, &segment.name, Fault::WrongMasterKey);
        }
        key
    }

    /// Judges what follows the last whole frame.
    fn ending(
        &mut self,
        segment: &Segment,
        walk: &Walk<'_>,
        flaw: Option<Flaw>,
        newest: bool,
        wanted: &[Wanted],
    ) -> std::io::Result<()> {
        let name = &segment.name;
        let tail = tail::examine(&*segment.file, walk.offset, walk.head, walk.next)?;
        // A checkpoint behind this place proves that whole records stood here.
        let proven = wanted
            .iter()
            .any(|wanted| wanted.checkpoint.sequence >= walk.next);
        if !newest {
            if let Some(flaw) = flaw {
                self.fail(walk.next, name, Fault::Frame(flaw));
            }
            return Ok(());
        }
        self.report.end = match (tail, walk.sealed.is_some()) {
            (Tail::Clean, true) => LogEnd::Sealed,
            (Tail::Clean, false) => LogEnd::Unsealed,
            (Tail::Torn(bytes) | Tail::Damaged(bytes), true) => {
                self.fail(walk.next, name, Fault::Frame(Flaw::Excess));
                LogEnd::Torn {
                    offset: walk.offset,
                    bytes,
                }
            }
            (Tail::Torn(bytes), false) => {
                if proven {
                    self.fail(walk.next, name, Fault::Frame(flaw.unwrap_or(Flaw::Excess)));
                }
                LogEnd::Torn {
                    offset: walk.offset,
                    bytes,
                }
            }
            (Tail::Damaged(bytes), false) => {
                self.fail(walk.next, name, Fault::Frame(flaw.unwrap_or(Flaw::Excess)));
                LogEnd::Torn {
                    offset: walk.offset,
                    bytes,
                }
            }
        };
        Ok(())
    }

    /// Reports checkpoints that are not in the log.
    fn missing_checkpoints(&mut self) {
        let mut missing: Vec<Wanted> = self.wanted.drain().flat_map(|(_, wanted)| wanted).collect();
        missing.sort_by_key(|wanted| wanted.checkpoint.sequence);
        for Wanted { checkpoint, place } in missing {
            let sequence = checkpoint.sequence;
            let accepted =
                |loss: &AcceptedLoss| (loss.from.saturating_sub(1)..=loss.to).contains(&sequence);
            if self.losses.iter().any(accepted) || self.is_retired(&checkpoint) {
                continue;
            }
            // Records up to this holder's last confirmed checkpoint are as it saw them.
            let sure = self
                .confirmed
                .range((Arc::clone(&place), 0)..=(Arc::clone(&place), sequence))
                .next_back();
            let after_sure = sure
                .map_or(0, |(_, confirmed)| *confirmed)
                .saturating_add(1);
            let last = self.report.last;
            let closed = self.sealed.contains(&checkpoint.segment);
            let behind = sequence > last || (sequence == last && !closed);
            let (first_bad, fault) = match self.broken {
                Some(broken) if broken <= sequence.saturating_add(1) => {
                    // The break already explains it.
                    (broken, Fault::Contradicted)
                }
                Some(_) | None if behind => (last.saturating_add(1), Fault::Truncated),
                Some(_) | None => (after_sure, Fault::Contradicted),
            };
            self.report.add(first_bad, &place, fault);
        }
    }
}
