//! Proofs that single records stand in the log: what is handed over, and how it is checked with the public key alone.
//!
//! *Never*: believes anything that does not lead to a signed checkpoint; takes more than the bounds below.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::checkpoint::{Checkpoint, each_note};
use super::crypt::Head;
use super::disclose::{Proven, RunError};
use super::header::{self, HeaderError};
use super::note::{NoteError, VerifierKey};
use super::tree::{self, LONGEST_PATH, TreeHead};
use super::walk::{CHAIN_BYTES, KIND_RECORD, frame_length, frame_parts};

/// The version of the document.
const VERSION: u32 = 1;
/// The longest document.
const LONGEST: usize = 16 * 1024 * 1024;
/// The most records in one.
pub(super) const MOST_RECORDS: usize = 16;
/// The most segments from a record to its checkpoint.
pub(super) const MOST_HOPS: usize = 4096;

/// A document that proves records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    version: u32,
    /// The name of the signing key.
    log: String,
    records: Vec<RecordProof>,
}

/// What proves one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordProof {
    /// The frame without its chain value (base64): the leaf.
    pub(super) frame: String,
    /// Its segment.
    pub(super) segment: Uuid,
    /// The segment's start value, which the content is sealed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) start: Option<Head>,
    /// The record's own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<RecordKey>,
    pub(super) path: Path,
    pub(super) hops: Vec<Hop>,
    /// The checkpoint, as signed.
    pub(super) checkpoint: String,
}

/// The key of one record, in hexadecimal. It is given away with the proof, and still nothing for a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub(super) struct RecordKey(String);

impl RecordKey {
    pub(super) fn new(bytes: &[u8; 32]) -> Self {
        Self(hex::encode(bytes))
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordKey(…)")
    }
}

/// The audit path of a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Path {
    /// The leaf.
    pub(super) index: u64,
    /// How many leaves the tree has.
    pub(super) size: u64,
    /// From the leaf up.
    pub(super) hashes: Vec<Head>,
}

/// From the tree of one segment to that of the next, whose header states the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hop {
    /// The segment's file up to and with its start value (base64).
    pub(super) header: String,
    /// Of its header, which is leaf 0.
    pub(super) path: Path,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is longer than any.
    #[error("the document is longer than a proof can be")]
    TooLong,
    /// It is no proof.
    #[error("the document is not a proof: {0}")]
    Malformed(String),
    /// It is of a later program.
    #[error("the proof has version {0}; this program reads version {VERSION}")]
    Version(u32),
    /// It is of another log.
    #[error("the proof is of the log of `{0}`, not of this key's")]
    OtherLog(String),
    /// It holds no record, or too many.
    #[error("the proof has {0} records; it may have 1 to {MOST_RECORDS}")]
    Records(usize),
    /// The frame is no record's.
    #[error("the frame is no whole frame of a record")]
    Frame,
    /// The path leads nowhere.
    #[error("record {0}: the path fits no tree of the size that it states")]
    Path(u64),
    /// A header is none.
    #[error("record {sequence}: the header of a segment on the way: {source}")]
    Header {
        /// The record.
        sequence: u64,
        /// Why.
        source: HeaderError,
    },
    /// A header is of another place.
    #[error(
        "record {0}: the next segment on the way states another tree before it: the record does not stand there"
    )]
    Hop(u64),
    /// The checkpoint is not believed.
    #[error("record {sequence}: the checkpoint: {source}")]
    Note {
        /// The record.
        sequence: u64,
        /// Why.
        source: NoteError,
    },
    /// The checkpoint is of other records.
    #[error("record {0}: the checkpoint states another tree: the record does not stand there")]
    Checkpoint(u64),
    /// The record has another number than its place.
    #[error("record {0}: its place in the tree is that of another record")]
    Place(u64),
    /// Content and key do not fit.
    #[error(transparent)]
    Content(#[from] RunError),
}

/// A record that is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Established {
    /// Its sequence number.
    pub sequence: u64,
    /// Its segment.
    pub segment: Uuid,
    /// The checkpoint that vouches for it.
    pub checkpoint: Checkpoint,
    /// What it says, where the proof has its key.
    pub payload: Option<Vec<u8>>,
}

impl Established {
    /// Whether a witness that holds these notes holds the checkpoint.
    #[must_use]
    pub fn is_held_in(&self, notes: &str, key: &VerifierKey) -> bool {
        let head = BASE64.encode(self.checkpoint.head.as_bytes());
        let mut held = false;
        let read = each_note(notes.as_bytes(), |note| {
            // Only a note of this place has a signature that is worth looking at.
            if !held && note.contains(&head) {
                held = Checkpoint::open(note, key).as_ref() == Ok(&self.checkpoint);
            }
        });
        read.is_ok() && held
    }
}

impl Proof {
    pub(super) fn new(key: &VerifierKey, records: Vec<RecordProof>) -> Self {
        Self {
            version: VERSION,
            log: key.name().to_owned(),
            records,
        }
    }

    /// How many records it proves.
    #[must_use]
    pub const fn records(&self) -> usize {
        self.records.len()
    }

    /// Reads a document. Total: any bytes give an answer; the entry for fuzzing.
    ///
    /// # Errors
    /// [`ProofError`] for what is no proof, or larger than one may be.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if bytes.len() > LONGEST {
            return Err(ProofError::TooLong);
        }
        let malformed = |error: serde_json::Error| ProofError::Malformed(error.to_string());
        let Versioned { version } = serde_json::from_slice(bytes).map_err(malformed)?;
        if version != VERSION {
            return Err(ProofError::Version(version));
        }
        let proof: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        let count = proof.records.len();
        if !(1..=MOST_RECORDS).contains(&count) {
            return Err(ProofError::Records(count));
        }
        let paths = proof.records.iter().flat_map(|record| {
            let hops = record.hops.iter().map(|hop| &hop.path);
            hops.chain([&record.path])
        });
        let too_long = |path: &Path| path.hashes.len() > LONGEST_PATH;
        let hops = proof.records.iter().map(|record| record.hops.len()).max();
        if paths.into_iter().any(too_long) || hops > Some(MOST_HOPS) {
            return Err(ProofError::TooLong);
        }
        Ok(proof)
    }

    /// Checks it against the public key alone; the records that it proves.
    ///
    /// # Errors
    /// [`ProofError`] for the first thing that does not fit.
    pub fn check(&self, key: &VerifierKey) -> Result<Vec<Established>, ProofError> {
        if self.log != key.name() {
            return Err(ProofError::OtherLog(self.log.clone()));
        }
        let records = self.records.iter();
        records.map(|record| record.check(key)).collect()
    }
}

/// A tree on the way, and the segment that it is of.
struct Reached {
    segment: Uuid,
    tree: TreeHead,
}

impl RecordProof {
    fn check(&self, key: &VerifierKey) -> Result<Established, ProofError> {
        let frame = BASE64.decode(&self.frame).ok().ok_or(ProofError::Frame)?;
        let (sequence, body) = record_parts(&frame).ok_or(ProofError::Frame)?;
        let leaf = tree::leaf_hash(&frame, &mut Vec::new());
        let mut reached = self.path.lead(self.segment, leaf, sequence)?;
        // What the tree that the record is in ends with.
        let mut last: Option<u64> = None;
        for hop in &self.hops {
            let (next, before) = hop.check(&reached, sequence)?;
            last.get_or_insert(before);
            reached = next;
        }
        let checkpoint = Checkpoint::open(&self.checkpoint, key)
            .map_err(|source| ProofError::Note { sequence, source })?;
        if checkpoint.segment != reached.segment || checkpoint.tree != Some(reached.tree) {
            return Err(ProofError::Checkpoint(sequence));
        }
        // Leaf 0 is the header; the last leaf is the last record.
        let behind = self
            .path
            .size
            .saturating_sub(self.path.index)
            .checked_sub(1);
        let last = last.unwrap_or(checkpoint.sequence);
        let place = behind.and_then(|behind| last.checked_sub(behind));
        if place != Some(sequence) || self.path.index == 0 {
            return Err(ProofError::Place(sequence));
        }
        let payload = match (&self.key, self.start) {
            (Some(key), Some(start)) => {
                let proven = Proven::new(self.segment, sequence, start, body.to_vec());
                Some(proven.open(&key.0)?)
            }
            (Some(_), None) => return Err(RunError::Sealed(sequence).into()),
            (None, Some(_) | None) => None,
        };
        Ok(Established {
            sequence,
            segment: self.segment,
            checkpoint,
            payload,
        })
    }
}

impl Path {
    fn lead(&self, segment: Uuid, leaf: Head, sequence: u64) -> Result<Reached, ProofError> {
        let root = tree::root_of(leaf, self.index, self.size, &self.hashes);
        let root = root.ok_or(ProofError::Path(sequence))?;
        let size = self.size;
        Ok(Reached {
            segment,
            tree: TreeHead { size, root },
        })
    }
}

impl Hop {
    /// The tree that it leads to, and the last record of the segment before.
    fn check(&self, reached: &Reached, sequence: u64) -> Result<(Reached, u64), ProofError> {
        let short = HeaderError::Short;
        let failed = |source| ProofError::Header { sequence, source };
        let bytes = BASE64.decode(&self.header).ok();
        let bytes = bytes.ok_or(failed(short.clone()))?;
        let parsed = header::parse(&bytes).map_err(failed)?;
        if parsed.length != bytes.len() {
            return Err(failed(short));
        }
        let previous = &parsed.header.previous;
        let (Some(leaf), Some(stated)) = (parsed.leaf, previous.tree) else {
            return Err(ProofError::Hop(sequence));
        };
        if previous.segment != reached.segment || stated != reached.tree || self.path.index != 0 {
            return Err(ProofError::Hop(sequence));
        }
        let next = self.path.lead(parsed.header.segment, leaf, sequence)?;
        Ok((next, previous.sequence))
    }
}

/// Sequence number and body of a record's frame without its chain value.
fn record_parts(frame: &[u8]) -> Option<(u64, &[u8])> {
    let word = u32::from_be_bytes(*frame.first_chunk::<4>()?);
    if frame_length(word)? != frame.len().checked_add(CHAIN_BYTES)? {
        return None;
    }
    let (kind, sequence, body) = frame_parts(frame)?;
    (kind == KIND_RECORD).then_some((sequence, body))
}
