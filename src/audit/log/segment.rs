//! One segment being written: frames are built in memory, then written and synced as one batch.
//!
//! *Owns*: the open file, the chain, and the segment's data key.
//! *On failure*: the segment must not be used again; the writer begins a new one.

use std::path::{Path, PathBuf};

use super::crypt::{DataKey, Head};
use super::error::LogError;
use super::files::{Files, LogFile};
use super::format::Format;
use super::header::{Draft, Header};
use super::keys::MasterKey;
use super::tree::{Tree, TreeHead};
use super::walk::{CHAIN_BYTES, FRAME_EXTRA, KIND_RECORD, KIND_SEAL, Seal};

/// Where segments are, below the trail's directory.
pub(super) const SEGMENTS: &str = "segments";
/// What a segment's name ends with.
pub(super) const SUFFIX: &str = ".cgseg";
/// What a segment's name ends with until its header is durable.
pub(super) const UNFINISHED: &str = ".cgseg.new";

/// A segment that is open for writing.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: Box<dyn LogFile>,
    header: Header,
    key: DataKey,
    buffer: Vec<u8>,
    /// The chain value and next sequence number behind everything in `buffer`.
    head: Head,
    next: u64,
    /// The tree over the header and every record in `buffer` and before.
    tree: Tree,
    format: Format,
    scratch: Vec<u8>,
    /// The end of what is durable.
    durable: u64,
    allocated: u64,
    allocate_step: u64,
}

impl Segment {
    /// Makes a new segment; when this returns, its header and its name are durable.
    pub(super) fn create(
        files: &dyn Files,
        directory: &Path,
        draft: Draft<'_>,
        master: &MasterKey,
        allocate_step: u64,
    ) -> Result<Self, LogError> {
        let (bytes, parsed, key) =
            Header::create(draft, master).map_err(LogError::crypt("making a segment header"))?;
        let folder = directory.join(SEGMENTS);
        let name = parsed.header.file_name();
        let path = folder.join(&name);
        let unfinished = folder.join(name.replace(SUFFIX, UNFINISHED));
        let file = files
            .create(&unfinished)
            .map_err(LogError::io("creating", &unfinished))?;
        let durable = bytes.len() as u64;
        let allocated = durable.saturating_add(allocate_step);
        let written = file
            .allocate(allocated)
            .and_then(|()| file.write_all_at(0, &bytes))
            .and_then(|()| file.sync_data());
        if let Err(source) = written {
            // What is left of it holds no record and is removed at the next opening, if not now.
            let _left_behind = files.remove(&unfinished);
            return Err(LogError::io("writing", &unfinished)(source));
        }
        files
            .rename(&unfinished, &path)
            .and_then(|()| files.sync_dir(&folder))
            .map_err(LogError::io("naming", &path))?;
        let mut tree = Tree::default();
        if let Some(leaf) = parsed.leaf {
            tree.push(leaf);
        }
        Ok(Self {
            path,
            file,
            head: parsed.start,
            next: parsed.header.first,
            tree,
            format: parsed.format,
            scratch: Vec::new(),
            header: parsed.header,
            key,
            buffer: Vec::new(),
            durable,
            allocated,
            allocate_step,
        })
    }

    pub(super) const fn header(&self) -> &Header {
        &self.header
    }

    /// The newest record in the segment, or the one before its first.
    pub(super) const fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    pub(super) const fn head(&self) -> Head {
        self.head
    }

    /// The tree over the header and every record so far.
    pub(super) fn tree(&self) -> TreeHead {
        self.tree.head()
    }

    /// The end of what is durable, in bytes.
    pub(super) const fn durable(&self) -> u64 {
        self.durable
    }

    pub(super) const fn pending_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Adds a record to the batch and returns its sequence number.
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<u64, LogError> {
        let sequence = self.next;
        self.frame(KIND_RECORD, sequence, payload)?;
        self.next = sequence.saturating_add(1);
        Ok(sequence)
    }

    fn frame(&mut self, kind: u8, sequence: u64, payload: &[u8]) -> Result<(), LogError> {
        let tag_bytes = if kind == KIND_RECORD {
            super::crypt::TAG_BYTES
        } else {
            0
        };
        let word = payload
            .len()
            .saturating_add(tag_bytes)
            .saturating_add(FRAME_EXTRA - 4);
        let word = u32::try_from(word).ok().ok_or(LogError::Option {
            name: "payload",
            problem: "it is longer than a frame can be",
        })?;
        let from = self.buffer.len();
        self.buffer.extend_from_slice(&word.to_be_bytes());
        self.buffer.push(kind);
        self.buffer.extend_from_slice(&sequence.to_be_bytes());
        let body = self.buffer.len();
        self.buffer.extend_from_slice(payload);
        if kind == KIND_RECORD {
            let plain = self.buffer.get_mut(body..).unwrap_or_default();
            let tag = self
                .key
                .seal_record(kind, sequence, plain)
                .map_err(LogError::crypt("sealing a record"))?;
            self.buffer.extend_from_slice(&tag);
        }
        let committed = self.buffer.get(from..).unwrap_or_default();
        let link = self.format.link(self.head, committed, &mut self.scratch);
        self.head = link.head;
        if let Some(leaf) = link.leaf.filter(|_| kind == KIND_RECORD) {
            self.tree.push(leaf);
        }
        let value: [u8; CHAIN_BYTES] = *self.head.as_bytes();
        self.buffer.extend_from_slice(&value);
        Ok(())
    }

    /// Writes and syncs the batch; when this returns, every record in it is durable.
    pub(super) fn commit(&mut self) -> Result<(), LogError> {
        let end = self.durable.saturating_add(self.buffer.len() as u64);
        if end > self.allocated {
            let size = end.saturating_add(self.allocate_step);
            self.file
                .allocate(size)
                .map_err(LogError::io("allocating", &self.path))?;
            self.allocated = size;
        }
        self.file
            .write_all_at(self.durable, &self.buffer)
            .map_err(LogError::io("writing", &self.path))?;
        self.file
            .sync_data()
            .map_err(LogError::io("syncing", &self.path))?;
        self.durable = end;
        self.buffer.clear();
        Ok(())
    }

    /// Closes the segment: nothing can be added any more.
    pub(super) fn seal(&mut self, closed: jiff::Timestamp) -> Result<(), LogError> {
        let seal = Seal {
            records: self.next.saturating_sub(self.header.first),
            last: self.last(),
            closed,
            tree: Some(self.tree()),
        };
        let body = serde_json::to_vec(&seal).ok().ok_or(LogError::Option {
            name: "seal",
            problem: "it could not be rendered",
        })?;
        self.frame(KIND_SEAL, seal.last, &body)?;
        self.commit()?;
        self.file
            .truncate(self.durable)
            .and_then(|()| self.file.sync_data())
            .map_err(LogError::io("closing", &self.path))
    }
}
