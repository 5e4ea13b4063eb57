//! The checkpoints that a log has to contain: its own and the witnesses', and what became of each.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::audit::log::checkpoint::{Checkpoint, Cursor, each_note};
use crate::audit::log::error::LogError;
use crate::audit::log::files::{Access, Files};
use crate::audit::log::notary::CHECKPOINTS;
use crate::audit::log::note::{NoteError, VerifierKey};
use crate::audit::log::report::{Damage, Fault, Notice, Reach, VerifyReport};
use crate::audit::log::retired::{self, FEWEST_YEARS, Retired};
use crate::audit::log::walk::Walk;

/// Who holds checkpoints: the log itself, then the witnesses in their order.
pub(super) const OWN: usize = 0;

/// A believed checkpoint that has not been found in the log yet.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) checkpoint: Checkpoint,
    /// Who holds it.
    pub(super) holder: usize,
}

impl Wanted {
    /// Whether it is of a segment that was removed, and old enough for that. The witness has the date from the gateway
    /// of that day, so a younger record cannot be passed off as an old one later.
    pub(super) fn is_explained_by(&self, note: &Retired, slack: SignedDuration) -> bool {
        let Checkpoint { time, sequence, .. } = self.checkpoint;
        let time = time.saturating_sub(slack).unwrap_or(time);
        note.segment == self.checkpoint.segment
            && (note.first.saturating_sub(1)..=note.last).contains(&sequence)
            && retired::is_over(time, FEWEST_YEARS, note.time)
    }
}

/// A checkpoint that was found in the log.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) sequence: u64,
    holder: usize,
}

/// The checkpoints of one segment, as its records go by.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// In order; `None` once found.
    wanted: Vec<Option<Wanted>>,
    /// Those before this one are of places that went by.
    at: usize,
}

impl Waiting {
    /// Strikes out the checkpoints that are of this place.
    pub(super) fn meet(&mut self, walk: &Walk<'_>, mut met: impl FnMut(Met)) {
        let last = walk.last();
        let mut index = self.at;
        while let Some(slot) = self.wanted.get_mut(index) {
            index = index.saturating_add(1);
            let Some(wanted) = slot else {
                if self.at.saturating_add(1) == index {
                    self.at = index;
                }
                continue;
            };
            let Checkpoint { sequence, head, .. } = wanted.checkpoint;
            if sequence < last {
                self.at = index;
                continue;
            }
            if sequence > last {
                return;
            }
            // The tree is looked at only here: it costs some hashes.
            let tree_fits = || match wanted.checkpoint.tree {
                None => true,
                Some(stated) => walk.tree_head() == Some(stated),
            };
            if head == walk.head && tree_fits() {
                met(Met {
                    sequence,
                    holder: wanted.holder,
                });
                *slot = None;
            }
        }
    }

    /// Whether one that was not found is of the record `next` or a later one.
    pub(super) fn reaches(&self, next: u64) -> bool {
        let mut left = self.wanted.iter().flatten();
        left.any(|wanted| wanted.checkpoint.sequence >= next)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Notes {
    wanted: HashMap<Uuid, Vec<Wanted>>,
    /// Who held the checkpoints that were found, and their sequence numbers.
    confirmed: BTreeSet<(usize, u64)>,
    holders: Vec<Reach>,
}

impl Notes {
    /// Reads the log's own file.
    pub(super) fn read_own(
        &mut self,
        files: &dyn Files,
        directory: &Path,
        key: &VerifierKey,
        report: &mut VerifyReport,
    ) -> Result<(), LogError> {
        let path = directory.join(CHECKPOINTS);
        match files.open(&path, Access::Read) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.read(CHECKPOINTS, std::io::empty(), key, report)
            }
            Err(error) => Err(LogError::io("opening", &path)(error)),
            Ok(file) => {
                let reader = BufReader::new(Cursor::new(&*file));
                self.read(CHECKPOINTS, reader, key, report)
            }
        }
    }

    /// Reads what a witness holds.
    pub(super) fn read_witness(
        &mut self,
        place: &str,
        text: &str,
        key: &VerifierKey,
        report: &mut VerifyReport,
    ) -> Result<(), LogError> {
        self.read(place, text.as_bytes(), key, report)?;
        let newest = self.holders.last().and_then(|holder| holder.newest);
        report.newest_witnessed = report.newest_witnessed.max(newest);
        Ok(())
    }

    /// Reads the notes of the next holder.
    fn read(
        &mut self,
        place: &str,
        reader: impl BufRead,
        key: &VerifierKey,
        report: &mut VerifyReport,
    ) -> Result<(), LogError> {
        let holder = self.holders.len();
        let (mut before, mut torn) = (0_u64, 0_u64);
        let mut reach = Reach {
            place: place.to_owned(),
            ..Reach::default()
        };
        each_note(reader, |note| match Checkpoint::open(note, key) {
            Ok(checkpoint) => {
                before = checkpoint.sequence;
                reach.checkpoints = reach.checkpoints.saturating_add(1);
                reach.newest = reach.newest.max(Some(before));
                reach.time = reach.time.max(Some(checkpoint.time));
                let of = self.wanted.entry(checkpoint.segment).or_default();
                of.push(Wanted { checkpoint, holder });
            }
            Err(NoteError::Malformed(_)) => torn = torn.saturating_add(1),
            Err(error @ (NoteError::OtherKey(_) | NoteError::BadSignature(_))) => {
                let damage = match error {
                    NoteError::OtherKey(_) => Damage::WrongKey,
                    NoteError::BadSignature(_) | NoteError::Malformed(_) => Damage::Flipped,
                };
                let next = before.saturating_add(1);
                report.add_shown(next, (place, next), Fault::Checkpoint(error), damage);
            }
        })
        .map_err(LogError::io("reading", Path::new(place)))?;
        self.holders.push(reach);
        if torn > 0 {
            report.notices.push(Notice::TornCheckpoints {
                place: place.to_owned(),
                count: torn,
            });
        }
        Ok(())
    }

    /// The latest date on the log's own checkpoints.
    pub(super) fn own_time(&self) -> Option<Timestamp> {
        self.holders.get(OWN).and_then(|own| own.time)
    }

    /// The latest date on the witnesses' checkpoints.
    pub(super) fn witnessed_time(&self) -> Option<Timestamp> {
        let witnesses = self.holders.iter().skip(1);
        witnesses.filter_map(|witness| witness.time).max()
    }

    /// Who it is.
    pub(super) fn place(&self, holder: usize) -> &str {
        self.holders.get(holder).map_or("", |reach| &reach.place)
    }

    /// How far each goes: the log itself first.
    pub(super) fn take_reach(&mut self) -> (Reach, Vec<Reach>) {
        let mut holders = std::mem::take(&mut self.holders).into_iter();
        (holders.next().unwrap_or_default(), holders.collect())
    }

    /// The place of the segment of the last checkpoint before the first that is not from before `since`: by their
    /// places in the log, so that a clock that was wrong for a while hides nothing. `place` knows the segments.
    pub(super) fn last_before(
        &self,
        since: Timestamp,
        place: impl Fn(Uuid) -> Option<usize>,
    ) -> Option<usize> {
        let mut all: Vec<&Checkpoint> = self
            .wanted
            .values()
            .flatten()
            .map(|wanted| &wanted.checkpoint)
            .collect();
        all.sort_by_key(|checkpoint| checkpoint.sequence);
        let older = all
            .into_iter()
            .take_while(|checkpoint| checkpoint.time < since);
        older.filter_map(|older| place(older.segment)).last()
    }

    /// Forgets those of segments that are not looked at: `left` are, from the record `first` on.
    pub(super) fn leave_out(&mut self, first: u64, left: &HashSet<Uuid>) {
        self.wanted.retain(|segment, wanted| {
            if !left.contains(segment) {
                wanted.retain(|wanted| wanted.checkpoint.sequence >= first);
            }
            !wanted.is_empty()
        });
    }

    /// Takes out those of one segment.
    pub(super) fn of(&mut self, segment: Uuid) -> Waiting {
        let mut wanted = self.wanted.remove(&segment).unwrap_or_default();
        wanted.sort_by_key(|wanted| wanted.checkpoint.sequence);
        Waiting {
            wanted: wanted.into_iter().map(Some).collect(),
            at: 0,
        }
    }

    /// Keeps those that were not found.
    pub(super) fn give_back(&mut self, segment: Uuid, waiting: Waiting) {
        let left: Vec<Wanted> = waiting.wanted.into_iter().flatten().collect();
        if !left.is_empty() {
            self.wanted.insert(segment, left);
        }
    }

    /// One was found.
    pub(super) fn confirm(&mut self, met: &Met) {
        self.confirmed.insert((met.holder, met.sequence));
        if let Some(reach) = self.holders.get_mut(met.holder) {
            reach.found = reach.found.max(Some(met.sequence));
        }
    }

    /// Those that were not found, in order.
    pub(super) fn take_missing(&mut self) -> Vec<Wanted> {
        let mut missing: Vec<Wanted> = self.wanted.drain().flat_map(|(_, wanted)| wanted).collect();
        missing.sort_by_key(|wanted| wanted.checkpoint.sequence);
        missing
    }

    /// The last record before a checkpoint that is as its holder saw it: up to the last one that was found.
    pub(super) fn sure_before(&self, missing: &Wanted) -> u64 {
        let of = |sequence: u64| (missing.holder, sequence);
        let sure = self
            .confirmed
            .range(of(0)..=of(missing.checkpoint.sequence))
            .next_back();
        sure.map_or(0, |(_, confirmed)| *confirmed)
    }

    /// Whether the log goes on as the same holder saw it, behind a checkpoint that was not found.
    pub(super) fn goes_on(&self, missing: &Wanted) -> bool {
        let behind = missing.checkpoint.sequence.saturating_add(1);
        let mut later = self
            .confirmed
            .range((missing.holder, behind)..=(missing.holder, u64::MAX));
        later.next().is_some()
    }

    /// Why a log ends at `last`, before a checkpoint: where its own checkpoints end there too, all of it is an older
    /// state; else its end was cut off.
    pub(super) fn cut_or_rolled_back(&self, last: u64) -> Damage {
        match self.holders.get(OWN).and_then(|own| own.newest) {
            Some(own) if own <= last => Damage::RolledBack,
            Some(_) | None => Damage::Truncated,
        }
    }
}
