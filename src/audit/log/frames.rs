//! One segment, read by place: frames with their offsets in order, and single records at an offset.
//!
//! What is read in order is proven by the chain, as every reading is. A single record proves itself: it opens only with
//! the key that its sequence number and its segment give.
//!
//! *Never*: a record under another number than the one it was sealed with.
//! *On failure*: [`LogError::Damaged`] names segment and record.

use std::path::Path;
use std::sync::Arc;

use super::crypt::DataKey;
use super::error::LogError;
use super::files::{Access, Files, LogFile};
use super::headers::Shelved;
use super::keys::MasterKey;
use super::reader::Record;
use super::recover::{damaged, open};
use super::tail;
use super::unlock::unlock;
use super::walk::{CHAIN_BYTES, Flaw, KIND_RECORD, Place, Step, Walk, frame_length, frame_parts};

/// What is read at once for a single record: most fit.
const NEAR: usize = 4 * 1024;
/// What is read at once where one record follows close upon the other.
const AHEAD: usize = 128 * 1024;
/// How close that is.
const CLOSE: u64 = 16 * 1024;

/// A record, and where its frame begins in the segment's file.
#[derive(Debug)]
pub struct Framed {
    /// Bytes from the beginning of the file.
    pub offset: u64,
    /// The record.
    pub record: Record,
}

/// A segment that is open for reading.
#[derive(Debug)]
pub struct Frames {
    shelved: Shelved,
    file: Box<dyn LogFile>,
    key: DataKey,
    /// Taken out while a step is made.
    place: Option<Place>,
    /// Bytes that were read for single records, and where they begin.
    window: Vec<u8>,
    window_at: u64,
}

enum Found {
    Record(u64, Vec<u8>),
    Flaw(Option<Flaw>),
}

impl Frames {
    /// Opens a segment.
    ///
    /// # Errors
    /// [`LogError::Shredded`], [`LogError::WrongMasterKey`], [`LogError::SegmentKey`], [`LogError::Io`],
    /// [`LogError::Crypt`].
    pub fn open(
        files: &dyn Files,
        shelved: &Shelved,
        master: &MasterKey,
    ) -> Result<Self, LogError> {
        let (path, _, parsed) = shelved.parts();
        let key = unlock(files, path, parsed, master)?.into_key()?;
        let file = open(files, path, Access::Read)?;
        let place = Walk::at_start(&*file, parsed.clone()).leave();
        Ok(Self {
            shelved: shelved.clone(),
            file,
            key,
            place: Some(place),
            window: Vec::new(),
            window_at: 0,
        })
    }

    /// The segment.
    #[must_use]
    pub const fn shelved(&self) -> &Shelved {
        &self.shelved
    }

    /// The next record in order, or `None` where the record `to` has been passed. The records up to `to` must be durable.
    ///
    /// # Errors
    /// [`LogError::Damaged`] where one of them is not whole, and the device's own.
    pub fn next_record(&mut self, to: u64) -> Result<Option<Framed>, LogError> {
        let mut looked = false;
        loop {
            let Some(place) = self.place.take() else {
                return Err(LogError::Closed);
            };
            let mut walk = Walk::resume(&*self.file, place);
            if walk.next > to {
                self.place = Some(walk.leave());
                return Ok(None);
            }
            if looked {
                // What was read ahead may be older than what the writer made durable since.
                walk.refresh();
            }
            let (offset, next) = (walk.offset, walk.next);
            let found = walk.step().map(|step| match step {
                Step::Record { sequence, body } => Found::Record(sequence, body.to_vec()),
                Step::Sealed | Step::End => Found::Flaw(None),
                Step::Broken(flaw) => Found::Flaw(Some(flaw)),
            });
            self.place = Some(walk.leave());
            match found.map_err(LogError::io("reading", Path::new(self.name())))? {
                Found::Record(sequence, body) => {
                    let record = self.opened(sequence, body)?;
                    return Ok(Some(Framed { offset, record }));
                }
                Found::Flaw(_) if !looked => looked = true,
                Found::Flaw(flaw) => {
                    let flaw = flaw.unwrap_or(Flaw::CutOff);
                    return Err(damaged(self.name(), next, &flaw.to_string()));
                }
            }
        }
    }

    /// The record `sequence`, whose frame begins at `offset`.
    ///
    /// # Errors
    /// [`LogError::Damaged`] where it is not there, and the device's own.
    pub fn record_at(&mut self, sequence: u64, offset: u64) -> Result<Record, LogError> {
        let word = self.bytes(offset, 4)?.and_then(|bytes| {
            bytes
                .first_chunk::<4>()
                .map(|word| u32::from_be_bytes(*word))
        });
        let Some(length) = word.and_then(frame_length) else {
            return Err(damaged(
                self.name(),
                sequence,
                "there is no frame where it should be",
            ));
        };
        let committed = length.saturating_sub(CHAIN_BYTES);
        let body = self.bytes(offset, length)?.and_then(|frame| {
            let (kind, found, body) = frame_parts(frame.get(..committed)?)?;
            (kind == KIND_RECORD && found == sequence).then(|| body.to_vec())
        });
        let Some(body) = body else {
            return Err(damaged(
                self.name(),
                sequence,
                "another frame is where it should be",
            ));
        };
        self.opened(sequence, body)
    }

    fn opened(&self, sequence: u64, mut body: Vec<u8>) -> Result<Record, LogError> {
        self.key
            .open_record(KIND_RECORD, sequence, &mut body)
            .map_err(LogError::crypt("opening a record"))?;
        Ok(Record {
            sequence,
            segment: self.shelved.header().segment,
            payload: body,
        })
    }

    fn name(&self) -> &str {
        self.shelved.parts().1
    }

    /// So many bytes at an offset, or `None` where the file has fewer.
    fn bytes(&mut self, offset: u64, count: usize) -> Result<Option<&[u8]>, LogError> {
        let within = |at: u64, held: usize| {
            let from = usize::try_from(offset.checked_sub(at)?).ok()?;
            (from.checked_add(count)? <= held).then_some(from)
        };
        if within(self.window_at, self.window.len()).is_none() {
            let end = self.window_at.saturating_add(self.window.len() as u64);
            let follows = !self.window.is_empty()
                && (self.window_at..end.saturating_add(CLOSE)).contains(&offset);
            let want = count.max(if follows { AHEAD } else { NEAR });
            let size = self.file.size();
            let name = self.name().to_owned();
            let reading = |source| LogError::io("reading", Path::new(&name))(source);
            let there = size.map_err(reading)?.saturating_sub(offset);
            let want = usize::try_from(there).map_or(want, |there| want.min(there));
            self.window.clear();
            self.window.resize(want, 0);
            self.window_at = offset;
            let read = tail::fill(&*self.file, offset, &mut self.window);
            if read.is_err() {
                self.window.clear();
            }
            read.map_err(reading)?;
        }
        let from = within(self.window_at, self.window.len());
        Ok(from.and_then(|from| self.window.get(from..from.saturating_add(count))))
    }
}

/// Opens segments, and keeps the few that were used last.
#[derive(Debug)]
pub struct OpenSegments {
    files: Arc<dyn Files>,
    master: Arc<MasterKey>,
    kept: Vec<Frames>,
}

/// Segments that are kept open.
const KEPT: usize = 4;

impl OpenSegments {
    /// None is open yet.
    #[must_use]
    pub const fn new(files: Arc<dyn Files>, master: Arc<MasterKey>) -> Self {
        Self {
            files,
            master,
            kept: Vec::new(),
        }
    }

    /// A record of a segment.
    ///
    /// # Errors
    /// As [`Frames::open`] and [`Frames::record_at`].
    pub fn record_at(
        &mut self,
        shelved: &Shelved,
        sequence: u64,
        offset: u64,
    ) -> Result<Record, LogError> {
        let id = shelved.header().segment;
        let known = self
            .kept
            .iter()
            .position(|frames| frames.shelved.header().segment == id);
        let mut frames = match known {
            Some(at) => self.kept.remove(at),
            None => Frames::open(&*self.files, shelved, &self.master)?,
        };
        let record = frames.record_at(sequence, offset);
        if self.kept.len() >= KEPT {
            self.kept.remove(0);
        }
        self.kept.push(frames);
        record
    }
}
