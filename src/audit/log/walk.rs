//! Walking over a segment's frames: the one parser that recovery, reader and verifier share.
//!
//! *Never*: decrypts, allocates by an unchecked length, or goes past the first frame that is not
//! whole: everything behind it is unproven.

use std::io;

use serde::{Deserialize, Serialize};

use super::crypt::{Head, TAG_BYTES};
use super::files::ReadAt;
use super::format::Format;
use super::header::{self, Header, HeaderError, Parsed};
use super::tree::{Tree, TreeHead};

/// The longest payload of a record.
pub const MAX_PAYLOAD: usize = 1024 * 1024;
/// The most bytes that a writer leaves unsynced; a torn tail is never longer.
pub(super) const BATCH_LIMIT: usize = 4 * 1024 * 1024;
/// Length word, kind, sequence number.
pub(super) const FRAME_HEAD: usize = 4 + 1 + 8;
pub(super) const CHAIN_BYTES: usize = 32;
/// Everything of a frame but its body.
pub(super) const FRAME_EXTRA: usize = FRAME_HEAD + CHAIN_BYTES;
const LONGEST_BODY: usize = MAX_PAYLOAD + TAG_BYTES;
const READ_BYTES: usize = 256 * 1024;

/// A frame with a record.
pub(super) const KIND_RECORD: u8 = 1;
/// The frame that closes a segment.
pub(super) const KIND_SEAL: u8 = 3;

/// What a seal says, in clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// How many records the segment has.
    pub records: u64,
    /// The sequence number of the last; the one before `first` where there is none.
    pub last: u64,
    /// When it was closed.
    pub closed: jiff::Timestamp,
    /// The segment's whole tree; format 1 has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeHead>,
}

/// What is wrong with the bytes behind the last whole frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The chain value does not fit: the frame, or one before it, was altered.
    #[error("the chain does not fit")]
    Chain,
    /// The frame goes on past the end of the file.
    #[error("the frame is cut off")]
    CutOff,
    /// There are bytes where the segment should have ended.
    #[error("there are bytes after the end")]
    Excess,
    /// The kind is none that this format has.
    #[error("frame kind {0} is not known")]
    Kind(u8),
    /// The length is none that a frame can have.
    #[error("the length {0} is impossible")]
    Length(u32),
    /// The frame belongs elsewhere.
    #[error("record {0} stands here")]
    OutOfPlace(u64),
    /// The seal does not fit what it closes.
    #[error("the seal does not fit the records")]
    Seal,
    /// The seal states another tree than that of the records.
    #[error("the seal states another tree than that of the records")]
    Tree,
}

/// One step of a walk.
#[derive(Debug)]
pub(super) enum Step<'w> {
    /// A whole record, still encrypted.
    Record { sequence: u64, body: &'w [u8] },
    /// The segment was closed.
    Sealed,
    /// No frame here: the end mark or the end of the file.
    End,
    /// Bytes that are no whole frame.
    Broken(Flaw),
}

/// A place in a segment and everything proven up to it.
pub(super) struct Walk<'f> {
    source: &'f dyn ReadAt,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    origin: u64,
    pub(super) header: Header,
    pub(super) start: Head,
    pub(super) format: Format,
    /// The leaf hash of the last record, where the format has a tree.
    pub(super) leaf: Option<Head>,
    /// The tree up to here, for whoever asked for it.
    tree: Option<Tree>,
    scratch: Vec<u8>,
    /// The end of the last whole frame.
    pub(super) offset: u64,
    /// The chain value there.
    pub(super) head: Head,
    /// The sequence number that the next record must have.
    pub(super) next: u64,
    pub(super) sealed: Option<Seal>,
    /// Nothing at or behind this place is looked at.
    limit: u64,
}

impl std::fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk")
            .field("offset", &self.offset)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Why a walk could not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Reads and checks the header of a segment.
pub(super) fn read_header(source: &dyn ReadAt) -> Result<Parsed, WalkError> {
    let mut bytes = Vec::new();
    read_into(source, 0, 4096, &mut bytes)?;
    let length = header::length_of(&bytes)?;
    if length > bytes.len() {
        let from = bytes.len() as u64;
        read_into(source, from, length.saturating_sub(bytes.len()), &mut bytes)?;
    }
    Ok(header::parse(&bytes)?)
}

/// Appends up to `count` bytes from `offset` to `bytes`.
fn read_into(
    source: &dyn ReadAt,
    offset: u64,
    count: usize,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    let held = bytes.len();
    bytes.resize(held.saturating_add(count), 0);
    let mut filled = held;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(filled.saturating_sub(held) as u64);
        let count = source.read_at(at, rest)?;
        if count == 0 {
            break;
        }
        filled = filled.saturating_add(count);
    }
    bytes.truncate(filled);
    Ok(())
}

impl<'f> Walk<'f> {
    /// Begins a walk at the first frame.
    pub(super) fn begin(source: &'f dyn ReadAt) -> Result<Self, WalkError> {
        let parsed = read_header(source)?;
        Ok(Self::at_start(source, parsed))
    }

    /// Begins a walk over a segment whose header is known.
    pub(super) fn at_start(source: &'f dyn ReadAt, parsed: Parsed) -> Self {
        let offset = parsed.length as u64;
        Self {
            source,
            buffer: Vec::new(),
            origin: offset,
            next: parsed.header.first,
            header: parsed.header,
            start: parsed.start,
            format: parsed.format,
            leaf: parsed.leaf,
            tree: None,
            scratch: Vec::new(),
            offset,
            head: parsed.start,
            sealed: None,
            limit: u64::MAX,
        }
    }

    /// From the start of a segment on, also computes its tree, where the format has one.
    pub(super) fn with_tree(mut self) -> Self {
        self.tree = self.leaf.map(|header| {
            let mut tree = Tree::default();
            tree.push(header);
            tree
        });
        self
    }

    /// The tree up to here, of a walk [`Self::with_tree`].
    pub(super) fn tree_head(&self) -> Option<TreeHead> {
        self.tree.as_ref().map(Tree::head)
    }

    /// Treats the file as if it ended at `limit`.
    pub(super) const fn until(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Takes up a walk where an earlier one was.
    pub(super) fn resume(source: &'f dyn ReadAt, place: Place) -> Self {
        Self {
            source,
            buffer: place.buffer,
            origin: place.origin,
            header: place.header,
            start: place.start,
            format: place.format,
            leaf: place.leaf,
            tree: place.tree,
            scratch: place.scratch,
            offset: place.offset,
            head: place.head,
            next: place.next,
            sealed: place.sealed,
            limit: u64::MAX,
        }
    }

    /// Leaves the walk, to be taken up later.
    pub(super) fn leave(self) -> Place {
        Place {
            buffer: self.buffer,
            origin: self.origin,
            header: self.header,
            start: self.start,
            format: self.format,
            leaf: self.leaf,
            tree: self.tree,
            scratch: self.scratch,
            offset: self.offset,
            head: self.head,
            next: self.next,
            sealed: self.sealed,
        }
    }

    /// The newest record passed.
    pub(super) const fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Goes over one frame.
    pub(super) fn step(&mut self) -> io::Result<Step<'_>> {
        if self.sealed.is_some() {
            return Ok(Step::End);
        }
        if !self.reach(4)? {
            return Ok(Step::End);
        }
        let word = self.buffered_bytes(4).first_chunk::<4>();
        let word = word.map_or(0, |word| u32::from_be_bytes(*word));
        if word == 0 {
            return Ok(Step::End);
        }
        let Some(length) = frame_length(word) else {
            return Ok(Step::Broken(Flaw::Length(word)));
        };
        if !self.reach(length)? {
            return Ok(Step::Broken(Flaw::CutOff));
        }
        let from = self.buffered();
        let frame = self.buffer.get(from..from.saturating_add(length));
        let Some((committed, stored)) = frame.and_then(<[u8]>::split_last_chunk::<CHAIN_BYTES>)
        else {
            return Ok(Step::Broken(Flaw::Length(word)));
        };
        let Some((kind, sequence, body)) = frame_parts(committed) else {
            return Ok(Step::Broken(Flaw::Length(word)));
        };
        let expected = match kind {
            KIND_RECORD => self.next,
            KIND_SEAL => self.next.saturating_sub(1),
            other => return Ok(Step::Broken(Flaw::Kind(other))),
        };
        if sequence != expected {
            return Ok(Step::Broken(Flaw::OutOfPlace(sequence)));
        }
        let link = self.format.link(self.head, committed, &mut self.scratch);
        if link.head != Head::from_bytes(*stored) {
            return Ok(Step::Broken(Flaw::Chain));
        }
        if kind == KIND_SEAL {
            match self.fitting(body, sequence) {
                Ok(seal) => self.sealed = Some(seal),
                Err(flaw) => return Ok(Step::Broken(flaw)),
            }
            self.advance(length, link.head);
            return Ok(Step::Sealed);
        }
        let body = from.saturating_add(FRAME_HEAD)
            ..from.saturating_add(length.saturating_sub(CHAIN_BYTES));
        self.leaf = link.leaf;
        if let (Some(tree), Some(leaf)) = (&mut self.tree, link.leaf) {
            tree.push(leaf);
        }
        self.advance(length, link.head);
        self.next = sequence.saturating_add(1);
        let body = self.buffer.get(body).unwrap_or_default();
        Ok(Step::Record { sequence, body })
    }

    /// The seal, if it fits the records.
    fn fitting(&self, body: &[u8], last: u64) -> Result<Seal, Flaw> {
        let records = self.next.saturating_sub(self.header.first);
        let seal = serde_json::from_slice::<Seal>(body).ok();
        let seal = seal
            .filter(|seal| seal.records == records && seal.last == last)
            .ok_or(Flaw::Seal)?;
        match (self.format, seal.tree) {
            (Format::One, _) => Ok(seal),
            (Format::Two, None) => Err(Flaw::Tree),
            (Format::Two, stated) => match self.tree_head() {
                Some(_) if self.tree_head() != stated => Err(Flaw::Tree),
                Some(_) | None => Ok(seal),
            },
        }
    }

    /// Moves behind a frame.
    const fn advance(&mut self, length: usize, head: Head) {
        self.offset = self.offset.saturating_add(length as u64);
        self.head = head;
    }

    fn buffered(&self) -> usize {
        usize::try_from(self.offset.saturating_sub(self.origin)).unwrap_or(usize::MAX)
    }

    /// The next `count` bytes of the buffer.
    fn buffered_bytes(&self, count: usize) -> &[u8] {
        let from = self.buffered();
        let bytes = self.buffer.get(from..from.saturating_add(count));
        bytes.unwrap_or_default()
    }

    /// Reads on until the next `count` bytes are in the buffer; not where the file (or the limit) has fewer.
    fn reach(&mut self, count: usize) -> io::Result<bool> {
        if self.limit.saturating_sub(self.offset) < count as u64 {
            return Ok(false);
        }
        let from = self.buffered();
        if self.buffer.len().saturating_sub(from) < count {
            self.buffer.drain(..from.min(self.buffer.len()));
            self.origin = self.offset;
            let held = self.buffer.len();
            let want = count.max(READ_BYTES).saturating_sub(held);
            let at = self.offset.saturating_add(held as u64);
            let there = usize::try_from(self.source.size()?.saturating_sub(at)).unwrap_or(want);
            read_into(self.source, at, want.min(there), &mut self.buffer)?;
        }
        Ok(self.buffered_bytes(count).len() == count)
    }

    /// Says which record comes next, without passing it; a seal is passed.
    pub(super) fn probe(&mut self) -> io::Result<Result<u64, Option<Flaw>>> {
        let (offset, head, next) = (self.offset, self.head, self.next);
        let (leaf, tree) = (self.leaf, self.tree.clone());
        let found = match self.step()? {
            Step::Record { sequence, .. } => Ok(sequence),
            Step::Sealed | Step::End => Err(None),
            Step::Broken(flaw) => Err(Some(flaw)),
        };
        if found.is_ok() {
            (self.offset, self.head, self.next) = (offset, head, next);
            (self.leaf, self.tree) = (leaf, tree);
        }
        Ok(found)
    }

    /// Forgets bytes that were read ahead, so that what a live writer adds is seen.
    pub(super) fn refresh(&mut self) {
        self.buffer.clear();
        self.origin = self.offset;
    }
}

/// A walk that was left; see [`Walk::leave`].
#[derive(Debug)]
pub(super) struct Place {
    buffer: Vec<u8>,
    origin: u64,
    pub(super) header: Header,
    pub(super) start: Head,
    format: Format,
    leaf: Option<Head>,
    tree: Option<Tree>,
    scratch: Vec<u8>,
    offset: u64,
    head: Head,
    next: u64,
    pub(super) sealed: Option<Seal>,
}

/// The whole frame's length from its length word, where a frame can have it.
pub(super) fn frame_length(word: u32) -> Option<usize> {
    let length = usize::try_from(word).ok()?.checked_add(4)?;
    (FRAME_EXTRA..=FRAME_EXTRA + LONGEST_BODY)
        .contains(&length)
        .then_some(length)
}

/// Kind, sequence number and body of a frame without its chain value.
pub(super) fn frame_parts(committed: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (_, rest) = committed.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first()?;
    let (sequence, body) = rest.split_first_chunk::<8>()?;
    Some((*kind, u64::from_be_bytes(*sequence), body))
}

/// What a segment's bytes hold, as far as they can be proven without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The header.
    pub header: Header,
    /// How many whole records follow it.
    pub records: u64,
    /// The chain value behind the last whole frame.
    pub head: Head,
    /// Where the last whole frame ends.
    pub end: u64,
    /// The seal, where the segment was closed.
    pub seal: Option<Seal>,
    /// What stands behind the last whole frame, where that is not an end.
    pub flaw: Option<Flaw>,
}

/// Parses the bytes of a segment file. Total: any bytes give an answer; the entry for fuzzing.
///
/// # Errors
/// [`HeaderError`] where the header is not whole.
pub fn parse_segment(bytes: &[u8]) -> Result<Outline, HeaderError> {
    let mut walk = match Walk::begin(&bytes) {
        Ok(walk) => walk.with_tree(),
        Err(WalkError::Header(error)) => return Err(error),
        // Reading from memory has no errors of its own.
        Err(WalkError::Io(_)) => return Err(HeaderError::Short),
    };
    let flaw = loop {
        match walk.step() {
            Ok(Step::Record { .. } | Step::Sealed) => {}
            Ok(Step::End) | Err(_) => break None,
            Ok(Step::Broken(flaw)) => break Some(flaw),
        }
    };
    Ok(Outline {
        records: walk.next.saturating_sub(walk.header.first),
        head: walk.head,
        end: walk.offset,
        seal: walk.sealed.take(),
        flaw,
        header: walk.header,
    })
}
