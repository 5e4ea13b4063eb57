//! Giving single records away, with a proof that they stand in the log.
//!
//! A record is opened by its own key, which opens no other. What proves it is the run of frames, still encrypted, from
//! the record to the next signed checkpoint: the chain over them ends in the value that the checkpoint states.
//!
//! *Never*: the key of a record that was not asked for, or a data key.

use std::collections::{BTreeSet, HashMap};
use std::io::BufReader;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::checkpoint::{Checkpoint, Cursor, each_note};
use super::crypt::{Head, open_disclosed};
use super::error::LogError;
use super::files::{Access, Files, LogFile};
use super::format::Format;
use super::header::{self, HeaderError};
use super::keys::MasterKey;
use super::notary::CHECKPOINTS;
use super::note::{NoteError, VerifierKey};
use super::recover::{Known, damaged, open, survey};
use super::tail::fill;
use super::unlock::unlock;
use super::walk::{CHAIN_BYTES, KIND_RECORD, KIND_SEAL, Step, Walk, frame_length, frame_parts};
use crate::secret::Secret;

/// Why records were not disclosed.
#[derive(Debug, thiserror::Error)]
pub enum DiscloseError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No checkpoint vouches for a record yet.
    #[error("no checkpoint of this signing key vouches for record {0} yet")]
    Unproven(u64),
    /// The proof would be too large.
    #[error("the records and their proof have more than {0} bytes; ask for a shorter time")]
    TooLarge(usize),
}

/// A record with the key that opens it.
#[derive(Debug)]
pub struct Disclosed {
    /// Its sequence number.
    pub sequence: u64,
    /// Its segment.
    pub segment: Uuid,
    /// Its key, in hexadecimal: it opens this record alone.
    pub key: Secret<String>,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// A part of a run, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// Whole frames.
    Frames(String),
    /// The head of a segment file: the run goes on in the next segment.
    Header(String),
}

/// Frames of the log without a gap, up to a signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The version of the trail's format that it begins in.
    #[serde(default = "first_version")]
    pub format: u32,
    /// The segment it begins in.
    pub segment: Uuid,
    /// That segment's start value.
    pub start: Head,
    /// The chain value before its first frame.
    pub before: Head,
    /// The sequence number of its first record.
    pub first: u64,
    /// The frames.
    pub pieces: Vec<Piece>,
    /// The checkpoint, as signed.
    pub checkpoint: String,
}

/// Runs did not state their version when there was only one.
const fn first_version() -> u32 {
    Format::One.number()
}

/// What [`disclose`] found.
#[derive(Debug, Default)]
pub struct Disclosure {
    /// The records, in order.
    pub records: Vec<Disclosed>,
    /// What proves them.
    pub runs: Vec<Run>,
}

/// Opens the records `wanted` and proves them, in at most `most` bytes.
///
/// # Errors
/// [`DiscloseError`].
pub fn disclose(
    files: &dyn Files,
    directory: &Path,
    master: &MasterKey,
    key: &VerifierKey,
    wanted: &BTreeSet<u64>,
    most: usize,
) -> Result<Disclosure, DiscloseError> {
    let known = survey(files, directory)?;
    let mut packing = Packing {
        notes: notes(files, directory, key)?,
        wanted,
        left: most,
        most,
        open: None,
        found: Disclosure::default(),
    };
    for (index, segment) in known.iter().enumerate() {
        let next = known.get(index.saturating_add(1));
        let end = next.map_or(u64::MAX, |next| next.header().first);
        let first = segment.header().first;
        // Segments without a record begin where the next one does.
        let holds = first < end && wanted.range(first..end).next().is_some();
        if holds || packing.open.is_some() {
            packing.segment(files, segment, master)?;
        }
    }
    match packing.open {
        Some(open) => Err(DiscloseError::Unproven(open.run.first)),
        None => Ok(packing.found),
    }
}

/// Every believed checkpoint of the trail's own file, by the chain value that it vouches for.
fn notes(
    files: &dyn Files,
    directory: &Path,
    key: &VerifierKey,
) -> Result<HashMap<Head, String>, LogError> {
    let path = directory.join(CHECKPOINTS);
    let mut notes = HashMap::new();
    let file = match files.open(&path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(notes),
        Err(error) => return Err(LogError::io("opening", &path)(error)),
    };
    each_note(BufReader::new(Cursor::new(&*file)), |note| {
        if let Ok(checkpoint) = Checkpoint::open(note, key) {
            notes.insert(checkpoint.head, note.to_owned());
        }
    })
    .map_err(LogError::io("reading", &path))?;
    Ok(notes)
}

/// A run that has not reached its checkpoint.
struct OpenRun {
    run: Run,
    frames: Vec<u8>,
}

impl OpenRun {
    fn close_piece(&mut self) {
        if !self.frames.is_empty() {
            let frames = BASE64.encode(std::mem::take(&mut self.frames));
            self.run.pieces.push(Piece::Frames(frames));
        }
    }
}

struct Packing<'w> {
    notes: HashMap<Head, String>,
    wanted: &'w BTreeSet<u64>,
    left: usize,
    most: usize,
    open: Option<OpenRun>,
    found: Disclosure,
}

impl Packing<'_> {
    fn segment(
        &mut self,
        files: &dyn Files,
        known: &Known,
        master: &MasterKey,
    ) -> Result<(), DiscloseError> {
        let file = open(files, &known.path, Access::Read)?;
        let reading = |source| LogError::io("reading", &known.path)(source);
        let header = known.header();
        let unlocked = unlock(files, &known.path, &known.parsed, master)?;
        self.begin_segment(&*file, known)?;
        let mut walk = Walk::at_start(&*file, known.parsed.clone());
        loop {
            let (at, before) = (walk.offset, walk.head);
            let record = match walk.step().map_err(reading)? {
                Step::Record { sequence, body } => self
                    .wanted
                    .contains(&sequence)
                    .then(|| (sequence, body.to_vec())),
                Step::Sealed => None,
                Step::End => return Ok(()),
                Step::Broken(flaw) => {
                    let next = walk.last().saturating_add(1);
                    return Err(damaged(&known.name, next, &flaw.to_string()).into());
                }
            };
            if let Some((sequence, mut body)) = record {
                let data_key = unlocked.key()?;
                let record_key = data_key
                    .disclosed_key(sequence)
                    .map_err(LogError::crypt("deriving a record's key"))?;
                data_key
                    .open_record(KIND_RECORD, sequence, &mut body)
                    .map_err(LogError::crypt("opening a record"))?;
                self.spend(body.len())?;
                self.found.records.push(Disclosed {
                    sequence,
                    segment: header.segment,
                    key: Secret::new(hex::encode(record_key.expose())),
                    payload: body,
                });
                self.open.get_or_insert_with(|| OpenRun {
                    run: Run {
                        format: known.parsed.format.number(),
                        segment: header.segment,
                        start: known.parsed.start,
                        before,
                        first: sequence,
                        pieces: Vec::new(),
                        checkpoint: String::new(),
                    },
                    frames: Vec::new(),
                });
            }
            if self.open.is_some() {
                let frame = read(&*file, at, walk.offset).map_err(reading)?;
                self.go_on(&frame, walk.head)?;
            }
            // What a live writer has not finished is not looked at.
            if self.open.is_none() && self.wanted.range(walk.next..).next().is_none() {
                return Ok(());
            }
        }
    }

    /// An open run goes on in the next segment, or ends at its start.
    fn begin_segment(&mut self, file: &dyn LogFile, known: &Known) -> Result<(), DiscloseError> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let length = known.parsed.length as u64;
        let bytes = read(file, 0, length).map_err(LogError::io("reading", &known.path))?;
        open.close_piece();
        let held = bytes.len();
        open.run.pieces.push(Piece::Header(BASE64.encode(bytes)));
        self.spend(held)?;
        self.try_close(known.parsed.start);
        Ok(())
    }

    fn go_on(&mut self, frame: &[u8], head: Head) -> Result<(), DiscloseError> {
        self.spend(frame.len())?;
        if let Some(open) = &mut self.open {
            open.frames.extend_from_slice(frame);
        }
        self.try_close(head);
        Ok(())
    }

    fn try_close(&mut self, head: Head) {
        let Some(note) = self.notes.get(&head) else {
            return;
        };
        if let Some(mut open) = self.open.take() {
            open.close_piece();
            open.run.checkpoint.clone_from(note);
            self.found.runs.push(open.run);
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), DiscloseError> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(DiscloseError::TooLarge(self.most))?;
        Ok(())
    }
}

fn read(file: &dyn LogFile, from: u64, to: u64) -> std::io::Result<Vec<u8>> {
    let count = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; count];
    fill(file, from, &mut bytes)?;
    Ok(bytes)
}

/// Why a run proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A piece is not base64.
    #[error("a piece is not base64")]
    Base64,
    /// It is of a version of the format that this program does not know.
    #[error("format version {0} is not known to this program")]
    Format(u32),
    /// A frame is not whole.
    #[error("the frame of record {0} is not whole")]
    Frame(u64),
    /// A frame stands in the wrong place.
    #[error("where record {wanted} should stand, another one does")]
    OutOfPlace {
        /// The record that should stand there.
        wanted: u64,
    },
    /// A chain value does not fit.
    #[error("the chain does not fit at record {0}")]
    Chain(u64),
    /// A header is not one.
    #[error("a segment's header: {0}")]
    Header(#[from] HeaderError),
    /// A segment does not continue the one before.
    #[error("segment {0} does not continue the one before")]
    Continues(Uuid),
    /// The checkpoint is not believed.
    #[error("the checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint states another place.
    #[error("the frames do not end where the checkpoint of record {0} says")]
    Checkpoint(u64),
    /// A record does not open under its key.
    #[error("record {0} does not open under the key that was given for it")]
    Sealed(u64),
}

/// A record whose place in the log is proven, still encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Its segment.
    pub segment: Uuid,
    /// Its sequence number.
    pub sequence: u64,
    start: Head,
    body: Vec<u8>,
}

impl Proven {
    pub(super) const fn new(segment: Uuid, sequence: u64, start: Head, body: Vec<u8>) -> Self {
        Self {
            segment,
            sequence,
            start,
            body,
        }
    }

    /// Opens it with the key that was disclosed.
    ///
    /// # Errors
    /// [`RunError::Sealed`] where the key does not fit.
    pub fn open(&self, key: &str) -> Result<Vec<u8>, RunError> {
        let wrong = || RunError::Sealed(self.sequence);
        let mut bytes = Secret::new([0; 32]);
        let mut decoded = hex::decode(key).ok().ok_or_else(wrong)?;
        if let Ok(exact) = <[u8; 32]>::try_from(decoded.as_slice()) {
            bytes = Secret::new(exact);
        }
        zeroize::Zeroize::zeroize(&mut decoded);
        open_disclosed(
            bytes.expose(),
            self.start,
            KIND_RECORD,
            self.sequence,
            &self.body,
        )
        .ok()
        .ok_or_else(wrong)
    }
}

/// Checks a run against the public key alone; the records that it proves.
///
/// # Errors
/// [`RunError`] for the first thing that does not fit.
pub fn check_run(run: &Run, key: &VerifierKey) -> Result<Vec<Proven>, RunError> {
    let mut check = Checking {
        format: Format::of(run.format).ok_or(RunError::Format(run.format))?,
        segment: run.segment,
        start: run.start,
        head: run.before,
        next: run.first,
        proven: Vec::new(),
    };
    for piece in &run.pieces {
        match piece {
            Piece::Frames(text) => check.frames(&decoded(text)?)?,
            Piece::Header(text) => check.header(&decoded(text)?)?,
        }
    }
    let checkpoint = Checkpoint::open(&run.checkpoint, key)?;
    let ends_there = checkpoint.head == check.head
        && checkpoint.segment == check.segment
        && checkpoint.sequence == check.next.saturating_sub(1);
    if ends_there {
        Ok(check.proven)
    } else {
        Err(RunError::Checkpoint(checkpoint.sequence))
    }
}

struct Checking {
    format: Format,
    segment: Uuid,
    start: Head,
    head: Head,
    next: u64,
    proven: Vec<Proven>,
}

impl Checking {
    fn frames(&mut self, mut bytes: &[u8]) -> Result<(), RunError> {
        while !bytes.is_empty() {
            let next = self.next;
            let cut = || RunError::Frame(next);
            let word = bytes.first_chunk::<4>().ok_or_else(cut)?;
            let length = frame_length(u32::from_be_bytes(*word)).ok_or_else(cut)?;
            let (frame, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
            bytes = rest;
            let (committed, stored) = frame.split_last_chunk::<CHAIN_BYTES>().ok_or_else(cut)?;
            let (kind, sequence, body) = frame_parts(committed).ok_or_else(cut)?;
            let wanted = match kind {
                KIND_RECORD => next,
                KIND_SEAL => next.saturating_sub(1),
                _ => return Err(cut()),
            };
            if sequence != wanted {
                return Err(RunError::OutOfPlace { wanted });
            }
            self.head = self.format.chain(self.head, committed);
            if self.head != Head::from_bytes(*stored) {
                return Err(RunError::Chain(next));
            }
            if kind == KIND_RECORD {
                self.next = next.saturating_add(1);
                self.proven.push(Proven {
                    segment: self.segment,
                    sequence,
                    start: self.start,
                    body: body.to_vec(),
                });
            }
        }
        Ok(())
    }

    fn header(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        let parsed = header::parse(bytes)?;
        let previous = &parsed.header.previous;
        let continues = previous.segment == self.segment
            && previous.head == self.head
            && previous.sequence.saturating_add(1) == self.next
            && parsed.length == bytes.len();
        if !continues {
            return Err(RunError::Continues(parsed.header.segment));
        }
        self.format = parsed.format;
        self.segment = parsed.header.segment;
        self.start = parsed.start;
        self.head = parsed.start;
        self.next = parsed.header.first;
        Ok(())
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, RunError> {
    BASE64.decode(text).ok().ok_or(RunError::Base64)
}
