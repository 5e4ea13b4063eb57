//! Segments whose retention is over: what the notes about them are worth, and which segments open no more.

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;
use uuid::Uuid;

use super::super::crypt::DataKey;
use super::super::error::LogError;
use super::super::files::Files;
use super::super::header::Header;
use super::super::note::VerifierKey;
use super::super::report::{Damage, Fault, Notice};
use super::super::retired::{self, FEWEST_YEARS, Fate, RETIRED, Retired};
use super::super::segment_key::{Kept, look};
use super::{Check, DAY, Segment};

impl Check<'_> {
    /// Reads the notes about segments whose retention was over.
    pub(super) fn read_retired(
        &mut self,
        files: &dyn Files,
        directory: &Path,
        key: &VerifierKey,
    ) -> Result<(), LogError> {
        retired::each(files, directory, |note| match Retired::open(note, key) {
            Ok(retired) => self.retired.push(retired),
            Err(error) => self.unaccounted(error.to_string()),
        })
    }

    fn unaccounted(&mut self, reason: String) {
        self.report
            .add(1, RETIRED, Fault::Retired(reason), Damage::Unaccounted);
    }

    /// Whether the log may begin with this segment because what was before it is retired.
    pub(super) fn begins(&mut self, header: &Header) -> bool {
        let Some(note) = self.retired.iter().find(|note| note.precedes(header)) else {
            return false;
        };
        let note = note.clone();
        self.in_time(&note, header);
        self.retired.retain(|other| other.number <= note.number);
        self.report.notices.push(Notice::Retired(note));
        true
    }

    /// Checks that retention was over when a note was signed; `next` follows the segment that it is about.
    fn in_time(&mut self, note: &Retired, next: &Header) {
        let time = note.time;
        if !retired::is_over(next.created, FEWEST_YEARS, time) {
            self.unaccounted(format!(
                "{FEWEST_YEARS} calendar years were not over at {time}"
            ));
        }
        // It waits for the checkpoint that covers it, so a later date than any checkpoint's was made up.
        // SECURITY: whoever has the signing key can date a checkpoint of the log itself as they like. Only one that was
        // given away says what was the time.
        let newest = self.notes.witnessed_time().unwrap_or_else(|| {
            let said = &mut self.report.notices;
            if !said.contains(&Notice::RemovalUnwitnessed) {
                said.push(Notice::RemovalUnwitnessed);
            }
            self.notes.own_time().unwrap_or(Timestamp::MIN)
        });
        if time.duration_since(newest) > DAY {
            self.unaccounted(format!(
                "it is dated {time}, after the newest checkpoint that it has to wait for ({newest})"
            ));
        }
    }

    /// Sets the notes about segments that are there apart, and judges them: these segments were shredded, or a removal was
    /// interrupted. What they explain of segments that are gone they do not explain of these.
    pub(super) fn stays(&mut self, segments: &[Segment]) {
        let all = std::mem::take(&mut self.retired);
        let mut places: HashMap<Uuid, usize> = HashMap::new();
        for (at, segment) in segments.iter().enumerate() {
            places.entry(segment.parsed.header.segment).or_insert(at);
        }
        for note in all {
            let Some(at) = places.get(&note.segment) else {
                self.retired.push(note);
                continue;
            };
            let next = segments.get(at.saturating_add(1));
            match next.filter(|next| note.precedes(&next.parsed.header)) {
                Some(next) => self.in_time(&note, &next.parsed.header),
                None => self.unaccounted(format!(
                    "the note about segment {} does not fit what is there",
                    note.number
                )),
            }
            self.shredded.push(note);
        }
        self.shredded.sort_by_key(|note| note.number);
        let mut run: Option<(u64, u64, u64, u64)> = None;
        let shredded = self.shredded.iter();
        for note in shredded.filter(|note| note.fate == Fate::Shredded) {
            run = match run {
                Some((from, to, first, _)) if to.checked_add(1) == Some(note.number) => {
                    Some((from, note.number, first, note.last))
                }
                before => {
                    self.report.notices.extend(before.map(notice));
                    Some((note.number, note.number, note.first, note.last))
                }
            };
        }
        self.report.notices.extend(run.map(notice));
    }

    /// The key of a segment's records, where the master key was given and the segment is not shredded.
    pub(super) fn key_of(
        &mut self,
        files: &dyn Files,
        directory: &Path,
        segment: &Segment,
    ) -> Result<Option<DataKey>, LogError> {
        let Some(master) = self.master else {
            return Ok(None);
        };
        let parsed = &segment.parsed;
        let header = &parsed.header;
        let own = if master.opens(&header.master_key) {
            look(files, directory, header, master)?
        } else {
            Kept::Keyless
        };
        let own = match own {
            Kept::Keyless => None,
            Kept::Key(own) => Some(own),
            // The notes were read already, and only those that this log's key signed are believed.
            Kept::Gone(_) if self.shredded.iter().any(|note| note.is_of(header)) => {
                return Ok(None);
            }
            Kept::Gone(_) => {
                let (first, fault) = (header.first, Fault::SegmentKey);
                self.report
                    .add(first, &segment.name, fault, Damage::Unaccounted);
                return Ok(None);
            }
        };
        let key = header.data_key(parsed.start, master, own.as_ref()).ok();
        if key.is_none() {
            let (first, fault) = (header.first, Fault::WrongMasterKey);
            self.report
                .add(first, &segment.name, fault, Damage::WrongKey);
        }
        Ok(key)
    }
}

const fn notice((from, to, first, last): (u64, u64, u64, u64)) -> Notice {
    Notice::Shredded {
        from,
        to,
        first,
        last,
    }
}
