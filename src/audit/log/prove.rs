//! Proving single records: the audit path from each to a signed checkpoint.
//!
//! *Never*: gives away more than was asked for: another record, a data key, or, where only the record's being there is to
//! be proven, its own key.

use std::collections::{BTreeSet, HashMap};
use std::io::BufReader;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::checkpoint::{Checkpoint, Cursor, each_note};
use super::error::LogError;
use super::files::{Access, Files, LogFile};
use super::keys::MasterKey;
use super::notary::CHECKPOINTS;
use super::note::VerifierKey;
use super::proof::{self, Hop, MOST_HOPS, MOST_RECORDS, Proof, ProofError, RecordKey, RecordProof};
use super::recover::{Known, damaged, open, survey};
use super::tail::fill;
use super::tree::Tracing;
use super::unlock::unlock;
use super::walk::{CHAIN_BYTES, Step, Walk};

/// Whether what a record says is to be proven, or only that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// With the record's own key.
    Opened,
    /// Without it.
    Sealed,
}

/// Why records were not proven.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There is no such record.
    #[error("there is no record {0} in the trail")]
    NoRecord(u64),
    /// The segment has no tree.
    #[error(
        "record {0} stands in a segment of format 1, which has no tree; `chartgate incident evidence` proves it by a run of frames"
    )]
    NoTree(u64),
    /// No checkpoint vouches for it yet.
    #[error("no checkpoint of this signing key vouches for record {0} yet")]
    Unproven(u64),
    /// Too many at once, or a checkpoint that is too far away.
    #[error("the proof would be larger than a proof may be")]
    TooLarge,
    /// What was made does not hold: the log was altered while it was read.
    #[error("the proof that was made does not hold: {0}")]
    Check(#[from] ProofError),
}

/// The log, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    /// Where its files are.
    pub files: &'s dyn Files,
    /// Its directory.
    pub directory: &'s Path,
    /// The key that opens it.
    pub master: &'s MasterKey,
    /// The key of its checkpoints.
    pub key: &'s VerifierKey,
    /// Notes that witnesses hold: a checkpoint of theirs is preferred.
    pub witnessed: &'s [String],
}

/// Proves the records `wanted`. Reads one segment, and those behind it up to the next checkpoint.
///
/// # Errors
/// [`ProveError`].
pub fn prove(
    subject: &Subject<'_>,
    wanted: &BTreeSet<u64>,
    content: Content,
) -> Result<Proof, ProveError> {
    if wanted.len() > MOST_RECORDS {
        return Err(ProveError::TooLarge);
    }
    let known = survey(subject.files, subject.directory)?;
    let own = own_notes(subject)?;
    let witnessed = subject.witnessed.iter().map(|text| notes(text.as_bytes()));
    let witnessed: Result<Vec<Notes>, _> = witnessed.collect();
    let witnessed = witnessed.map_err(LogError::io("reading", Path::new("a witness's notes")))?;
    let proving = Proving {
        subject,
        known,
        holders: witnessed.into_iter().chain([own]).collect(),
    };
    let mut records = Vec::new();
    for sequence in wanted {
        records.push(proving.record(*sequence, content)?);
    }
    let proof = Proof::new(subject.key, records);
    // Whoever gets it cannot ask again.
    proof.check(subject.key)?;
    Ok(proof)
}

/// Notes of one holder by the segment that each states. Nothing of them is believed yet.
type Notes = HashMap<Uuid, Vec<String>>;

fn notes(reader: impl std::io::BufRead) -> std::io::Result<Notes> {
    let mut notes = Notes::new();
    each_note(reader, |note| {
        let stated = note.lines().find_map(|line| line.strip_prefix("segment "));
        if let Some(segment) = stated.and_then(|text| text.parse().ok()) {
            notes.entry(segment).or_default().push(note.to_owned());
        }
    })?;
    Ok(notes)
}

fn own_notes(subject: &Subject<'_>) -> Result<Notes, LogError> {
    let path = subject.directory.join(CHECKPOINTS);
    match subject.files.open(&path, Access::Read) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Notes::new()),
        Err(error) => Err(LogError::io("opening", &path)(error)),
        Ok(file) => {
            notes(BufReader::new(Cursor::new(&*file))).map_err(LogError::io("reading", &path))
        }
    }
}

struct Proving<'s> {
    subject: &'s Subject<'s>,
    known: Vec<Known>,
    /// The witnesses first, the log itself last.
    holders: Vec<Notes>,
}

/// A checkpoint with a tree, and its segment's place among all.
struct Vouching {
    at: usize,
    checkpoint: Checkpoint,
    size: u64,
    note: String,
}

impl Proving<'_> {
    fn record(&self, sequence: u64, content: Content) -> Result<RecordProof, ProveError> {
        // Segments without a record begin where the next one does.
        let at = self
            .known
            .iter()
            .rposition(|known| known.header().first <= sequence)
            .ok_or(ProveError::NoRecord(sequence))?;
        let known = self.segment(at)?;
        if known.parsed.leaf.is_none() {
            return Err(ProveError::NoTree(sequence));
        }
        let index = sequence
            .saturating_sub(known.header().first)
            .saturating_add(1);
        let vouching = self.vouching(at, sequence);
        let here = vouching.as_ref().filter(|vouching| vouching.at == at);
        let traced = self.traced(known, index, here.map(|vouching| vouching.size))?;
        let frame = traced.frame.ok_or(ProveError::NoRecord(sequence))?;
        let vouching = vouching.ok_or(ProveError::Unproven(sequence))?;
        let mut hops = Vec::new();
        for next in at.saturating_add(1)..=vouching.at {
            if hops.len() >= MOST_HOPS {
                return Err(ProveError::TooLarge);
            }
            let known = self.segment(next)?;
            let size = (next == vouching.at).then_some(vouching.size);
            let file = open(self.subject.files, &known.path, Access::Read)?;
            let reading = |source| LogError::io("reading", &known.path)(source);
            let header = read(&*file, 0, known.parsed.length as u64).map_err(reading)?;
            hops.push(Hop {
                header: BASE64.encode(header),
                path: self.traced(known, 0, size)?.path,
            });
        }
        let opened = match content {
            Content::Opened => Some(self.key_of(known, sequence)?),
            Content::Sealed => None,
        };
        Ok(RecordProof {
            frame: BASE64.encode(frame),
            segment: known.header().segment,
            start: opened.is_some().then_some(known.parsed.start),
            key: opened,
            path: traced.path,
            hops,
            checkpoint: vouching.note,
        })
    }

    fn segment(&self, at: usize) -> Result<&Known, ProveError> {
        self.known.get(at).ok_or(ProveError::TooLarge)
    }

    fn key_of(&self, known: &Known, sequence: u64) -> Result<RecordKey, LogError> {
        let Subject { files, master, .. } = self.subject;
        let key = unlock(*files, &known.path, &known.parsed, master)?;
        let key = key
            .key()?
            .disclosed_key(sequence)
            .map_err(LogError::crypt("deriving a record's key"))?;
        Ok(RecordKey::new(key.expose()))
    }

    /// The first checkpoint that covers the record: of a witness, where one has any.
    fn vouching(&self, at: usize, sequence: u64) -> Option<Vouching> {
        let mut holders = self.holders.iter();
        holders.find_map(|notes| {
            let segments = self.known.iter().enumerate().skip(at);
            segments
                .filter_map(|(at, known)| Some((at, notes.get(&known.header().segment)?)))
                .find_map(|(at, notes)| self.first_of(notes, at, sequence))
        })
    }

    fn first_of(&self, notes: &[String], at: usize, sequence: u64) -> Option<Vouching> {
        let believed = notes.iter().filter_map(|note| {
            let checkpoint = Checkpoint::open(note, self.subject.key).ok()?;
            let size = checkpoint.tree?.size;
            Some(Vouching {
                at,
                checkpoint,
                size,
                note: note.clone(),
            })
        });
        believed
            .filter(|vouching| vouching.checkpoint.sequence >= sequence)
            .min_by_key(|vouching| vouching.checkpoint.sequence)
    }

    /// The path of a leaf in the tree of the first `size` leaves, or of all; and the leaf, where it is a record.
    fn traced(&self, known: &Known, leaf: u64, size: Option<u64>) -> Result<Traced, ProveError> {
        let file = open(self.subject.files, &known.path, Access::Read)?;
        let reading = |source| LogError::io("reading", &known.path)(source);
        let mut walk = Walk::at_start(&*file, known.parsed.clone());
        let mut tracing = Tracing::of(leaf);
        tracing.push(walk.leaf.unwrap_or_default());
        let mut frame = None;
        while size.is_none_or(|size| tracing.size() < size) {
            let from = walk.offset;
            match walk.step().map_err(reading)? {
                Step::Record { .. } => {}
                Step::Sealed | Step::End => break,
                Step::Broken(flaw) => {
                    // Behind the newest durable record stands what is just being written.
                    let next = walk.last().saturating_add(1);
                    if size.is_none() {
                        break;
                    }
                    return Err(damaged(&known.name, next, &flaw.to_string()).into());
                }
            }
            if tracing.size() == leaf {
                let end = walk.offset.saturating_sub(CHAIN_BYTES as u64);
                frame = Some(read(&*file, from, end).map_err(reading)?);
            }
            tracing.push(walk.leaf.unwrap_or_default());
        }
        let (hashes, tree) = tracing.finish();
        Ok(Traced {
            frame,
            path: proof::Path {
                index: leaf,
                size: tree.size,
                hashes,
            },
        })
    }
}

struct Traced {
    frame: Option<Vec<u8>>,
    path: proof::Path,
}

fn read(file: &dyn LogFile, from: u64, to: u64) -> std::io::Result<Vec<u8>> {
    let count = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; count];
    fill(file, from, &mut bytes)?;
    Ok(bytes)
}
