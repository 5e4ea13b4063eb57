//! Reading the trail: records in order, decrypted, from any sequence number on.
//!
//! *Never*: holds more than one record and a read-ahead in memory, or goes past a break in the
//! chain. What is shredded is passed over, its chain checked, and named. *On failure*: names the segment and the record.
//!
//! A reader may follow a log that is being written: at the end of what is there it returns
//! `None`, and goes on when called again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::crypt::{DataKey, Head};
use super::error::LogError;
use super::files::{Access, Files, LogFile};
use super::header::{Header, Parsed};
use super::keys::MasterKey;
use super::recover::{damaged, first_of, names, open, unreadable};
use super::retired::Retired;
use super::segment::SEGMENTS;
use super::unlock::{Unlocked, unlock};
use super::walk::{Flaw, KIND_RECORD, Place, Step, Walk, read_header};

/// Which records to read, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequences {
    /// The first.
    pub from: u64,
    /// The last. A reader inside the gateway sets this to [`LogStatus::sequence`] so that it shows
    /// nothing that is not durable yet.
    ///
    /// [`LogStatus::sequence`]: super::LogStatus::sequence
    pub to: u64,
}

impl Sequences {
    /// Every record.
    pub const ALL: Self = Self {
        from: 0,
        to: u64::MAX,
    };
}

/// A record as it was handed over.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its sequence number.
    pub sequence: u64,
    /// Its segment.
    pub segment: Uuid,
    /// Its bytes.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Record {
    /// Shows no payload: records name patients.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("sequence", &self.sequence)
            .field("segment", &self.segment)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Current {
    name: String,
    number: u64,
    segment: Uuid,
    file: Box<dyn LogFile>,
    key: Option<DataKey>,
    /// Why there is no key, until that was said.
    shredded: Option<Retired>,
    /// Taken out while a step is made.
    place: Option<Place>,
}

/// Reads the trail below a directory.
#[derive(Debug)]
pub struct Reader {
    files: Arc<dyn Files>,
    directory: PathBuf,
    master: Arc<MasterKey>,
    range: Sequences,
    current: Option<Current>,
    /// Shredded segments that were passed over.
    shredded: Vec<Retired>,
}

/// What one look at the current segment gave.
enum Look {
    Record {
        sequence: u64,
        body: Vec<u8>,
    },
    /// Nothing more for now; with the flaw, where bytes follow that are no whole frame.
    End {
        next: u64,
        head: Head,
        flaw: Option<Flaw>,
    },
}

impl Reader {
    /// Makes a reader; nothing is read yet.
    #[must_use]
    pub fn new(
        files: Arc<dyn Files>,
        directory: &Path,
        master: Arc<MasterKey>,
        range: Sequences,
    ) -> Self {
        Self {
            files,
            directory: directory.to_owned(),
            master,
            range,
            current: None,
            shredded: Vec::new(),
        }
    }

    /// The shredded segments that were passed over since this was last asked: their records are proven, and nobody reads
    /// them any more.
    pub fn take_shredded(&mut self) -> Vec<Retired> {
        std::mem::take(&mut self.shredded)
    }

    /// Sets the last record to read; a follower inside the gateway moves it on.
    pub const fn set_end(&mut self, to: u64) {
        self.range.to = to;
    }

    /// The next record, or `None` at the end of what is there for now.
    ///
    /// # Errors
    /// [`LogError::Damaged`], [`LogError::WrongMasterKey`], [`LogError::SegmentKey`], [`LogError::Io`].
    pub fn next_record(&mut self) -> Result<Option<Record>, LogError> {
        loop {
            let mut current = match self.current.take() {
                Some(current) => current,
                None => match self.first_segment()? {
                    Some(current) => current,
                    None => return Ok(None),
                },
            };
            self.shredded.extend(current.passed_over(self.range));
            let look = current.look(self.range)?;
            match look {
                Look::Record { sequence, body } => {
                    let opened = current.open(sequence, body);
                    self.current = Some(current);
                    return opened.map(Some);
                }
                Look::End { next, .. } if next > self.range.to => {
                    self.current = Some(current);
                    return Ok(None);
                }
                Look::End { .. } => match self.following(&mut current)? {
                    Following::Nothing => {
                        self.current = Some(current);
                        return Ok(None);
                    }
                    Following::MoreHere => self.current = Some(current),
                    Following::Segment(next) => self.current = Some(*next),
                },
            }
        }
    }

    /// The segment that holds the first record asked for.
    fn first_segment(&self) -> Result<Option<Current>, LogError> {
        let mut names = names(&*self.files, &self.directory)?;
        names.sort();
        let from = self.range.from;
        let best = names
            .iter()
            .map(|name| first_of(name))
            .filter(|first| *first <= from)
            .max()
            .or_else(|| names.first().map(|name| first_of(name)));
        let Some(best) = best else {
            return Ok(None);
        };
        // Segments without a record share their first sequence number with the next.
        self.lowest(&names, best, 0)
    }

    /// Of the segments that begin with `first`, the lowest numbered above `above`.
    fn lowest(
        &self,
        names: &[String],
        first: u64,
        above: u64,
    ) -> Result<Option<Current>, LogError> {
        let mut best: Option<(String, Box<dyn LogFile>, Parsed)> = None;
        for name in names.iter().filter(|name| first_of(name) == first) {
            let path = self.directory.join(SEGMENTS).join(name);
            let file = open(&*self.files, &path, Access::Read)?;
            let parsed = read_header(&*file).map_err(|error| unreadable(&path, name, error))?;
            let number = parsed.header.number;
            let lower = best
                .as_ref()
                .is_none_or(|(_, _, best)| number < best.header.number);
            if number > above && lower {
                best = Some((name.clone(), file, parsed));
            }
        }
        let Some((name, file, parsed)) = best else {
            return Ok(None);
        };
        let path = self.directory.join(SEGMENTS).join(&name);
        let unlocked = unlock(&*self.files, &path, &parsed, &self.master)?;
        Ok(Some(Current::new(name, file, parsed, unlocked)))
    }

    /// What follows the end of `current`: a next segment, records that were added meanwhile, or
    /// nothing yet.
    fn following(&self, current: &mut Current) -> Result<Following, LogError> {
        let Look::End { next, .. } = current.peek()? else {
            return Ok(Following::MoreHere);
        };
        let mut names = names(&*self.files, &self.directory)?;
        names.sort();
        let mut firsts: Vec<u64> = names
            .iter()
            .map(|name| first_of(name))
            .filter(|first| *first >= next)
            .collect();
        firsts.dedup();
        for first in firsts {
            let Some(following) = self.lowest(&names, first, current.number)? else {
                continue;
            };
            // The next segment exists, so this one is final; it may have grown since the look.
            return match current.peek()? {
                Look::Record { .. } => Ok(Following::MoreHere),
                Look::End {
                    flaw: Some(flaw),
                    next,
                    ..
                } => Err(damaged(&current.name, next, &flaw.to_string())),
                Look::End {
                    head,
                    next,
                    flaw: None,
                } => {
                    following.check_continues(current, head, next)?;
                    Ok(Following::Segment(Box::new(following)))
                }
            };
        }
        Ok(Following::Nothing)
    }
}

enum Following {
    MoreHere,
    Nothing,
    Segment(Box<Current>),
}

impl Current {
    fn new(name: String, file: Box<dyn LogFile>, parsed: Parsed, unlocked: Unlocked) -> Self {
        let header: &Header = &parsed.header;
        let (number, segment) = (header.number, header.segment);
        let place = Walk::at_start(&*file, parsed).leave();
        let (key, shredded) = match unlocked {
            Unlocked::Open(key) => (Some(*key), None),
            Unlocked::Shredded(note) => (None, Some(note)),
        };
        Self {
            name,
            number,
            segment,
            file,
            key,
            shredded,
            place: Some(place),
        }
    }

    /// The note of this segment, once, where it is shredded and has something in the range.
    fn passed_over(&mut self, range: Sequences) -> Option<Retired> {
        let note = self.shredded.take()?;
        let from = note.first.max(range.from);
        (from <= note.last.min(range.to)).then_some(note)
    }

    /// Checks that this segment was begun where `before` ends.
    fn check_continues(&self, before: &Self, head: Head, next: u64) -> Result<(), LogError> {
        let previous = self.place.as_ref().map(|place| &place.header.previous);
        let fits = previous.is_some_and(|previous| {
            previous.segment == before.segment
                && previous.head == head
                && previous.sequence.saturating_add(1) == next
        });
        if fits {
            return Ok(());
        }
        Err(damaged(
            &self.name,
            next,
            "it does not continue the segment before",
        ))
    }

    /// Goes on to the next record in the range.
    fn look(&mut self, range: Sequences) -> Result<Look, LogError> {
        let Some(place) = self.place.take() else {
            return Err(LogError::Closed);
        };
        let mut walk = Walk::resume(&*self.file, place);
        let look = loop {
            if walk.next > range.to {
                break Ok(end(&walk, None));
            }
            match walk.step() {
                Ok(Step::Record { sequence, body }) => {
                    if sequence >= range.from && self.key.is_some() {
                        let body = body.to_vec();
                        break Ok(Look::Record { sequence, body });
                    }
                }
                Ok(Step::Sealed) => {}
                Ok(Step::End) => break Ok(end(&walk, None)),
                Ok(Step::Broken(flaw)) => break Ok(end(&walk, Some(flaw))),
                Err(source) => break Err(source),
            }
        };
        self.place = Some(walk.leave());
        look.map_err(LogError::io("reading", Path::new(&self.name)))
    }

    /// Looks again at the file itself, without going on.
    fn peek(&mut self) -> Result<Look, LogError> {
        let Some(place) = self.place.take() else {
            return Err(LogError::Closed);
        };
        let mut walk = Walk::resume(&*self.file, place);
        walk.refresh();
        let found = walk.probe();
        let look = found.map(|found| match found {
            Ok(sequence) => Look::Record {
                sequence,
                body: Vec::new(),
            },
            Err(flaw) => end(&walk, flaw),
        });
        self.place = Some(walk.leave());
        look.map_err(LogError::io("reading", Path::new(&self.name)))
    }

    fn open(&self, sequence: u64, mut body: Vec<u8>) -> Result<Record, LogError> {
        let key = self.key.as_ref().ok_or(LogError::Closed)?;
        key.open_record(KIND_RECORD, sequence, &mut body)
            .map_err(LogError::crypt("opening a record"))?;
        Ok(Record {
            sequence,
            segment: self.segment,
            payload: body,
        })
    }
}

fn end(walk: &Walk<'_>, flaw: Option<Flaw>) -> Look {
    Look::End {
        next: walk.next,
        head: walk.head,
        flaw,
    }
}
