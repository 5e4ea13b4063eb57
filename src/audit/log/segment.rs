//! One segment being written: frames are built in memory, then written and synced as one batch.
//!
//! *Owns*: the open file, the chain, and the segment's data key.
//! *On failure*: the segment must not be used again; the writer begins a new one.

use std::path::{Path, PathBuf};

use super::crypt::{DataKey, Head};
use super::error::LogError;
use super::files::{Files, LogFile};
use super::header::{Draft, Header};
use super::keys::MasterKey;
use super::sealing::Frames;
use super::segment_key::{self, SegmentKey};
use super::tree::{Tree, TreeHead};
use super::walk::Seal;

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
    frames: Frames,
    /// The chain value and next sequence number behind everything in `frames`.
    head: Head,
    next: u64,
    /// The tree over the header and every record in `frames` and before.
    tree: Tree,
    /// The end of what is durable.
    durable: u64,
    allocated: u64,
    allocate_step: u64,
}

impl Segment {
    /// Makes a new segment; when this returns, its own key, its header and its name are durable.
    pub(super) fn create(
        files: &dyn Files,
        directory: &Path,
        draft: Draft<'_>,
        master: &MasterKey,
        allocate_step: u64,
    ) -> Result<Self, LogError> {
        let own = SegmentKey::generate().map_err(LogError::crypt("making a segment's key"))?;
        Self::create_under(files, directory, draft, (master, Some(&own)), allocate_step)
    }

    /// The same with the segment's own key given, or none.
    pub(super) fn create_under(
        files: &dyn Files,
        directory: &Path,
        draft: Draft<'_>,
        (master, own): (&MasterKey, Option<&SegmentKey>),
        allocate_step: u64,
    ) -> Result<Self, LogError> {
        let made = Header::create(draft, master, own);
        let (bytes, parsed, key) = made.map_err(LogError::crypt("making a segment header"))?;
        // INVARIANT: the key first. A key without a segment opens nothing; a segment without its key is lost.
        if let Some(own) = own {
            own.keep(files, directory, &parsed.header, master)?;
        }
        let folder = directory.join(SEGMENTS);
        let name = parsed.header.file_name();
        let path = folder.join(&name);
        let unfinished = folder.join(name.replace(SUFFIX, UNFINISHED));
        let file = files.create(&unfinished).map_err(|source| {
            segment_key::give_up(files, directory, &parsed.header);
            LogError::io("creating", &unfinished)(source)
        })?;
        let durable = bytes.len() as u64;
        let allocated = durable.saturating_add(allocate_step);
        let written = file
            .allocate(allocated)
            .and_then(|()| file.write_all_at(0, &bytes))
            .and_then(|()| file.sync_data());
        if let Err(source) = written {
            // What is left of it holds no record and is removed at the next opening, if not now.
            let _left_behind = files.remove(&unfinished);
            segment_key::give_up(files, directory, &parsed.header);
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
            header: parsed.header,
            key,
            frames: Frames::default(),
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

    pub(super) fn pending_bytes(&self) -> usize {
        self.frames.bytes().len()
    }

    /// Adds a record to the batch and returns its sequence number.
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<u64, LogError> {
        let sequence = self.next;
        let behind = (self.head, &mut self.tree);
        self.head = self
            .frames
            .add_record(&self.key, behind, sequence, payload)?;
        self.next = sequence.saturating_add(1);
        Ok(sequence)
    }

    /// Writes and syncs the batch; when this returns, every record in it is durable.
    pub(super) fn commit(&mut self) -> Result<(), LogError> {
        let bytes = self.frames.bytes();
        let end = self.durable.saturating_add(bytes.len() as u64);
        if end > self.allocated {
            let size = end.saturating_add(self.allocate_step);
            self.file
                .allocate(size)
                .map_err(LogError::io("allocating", &self.path))?;
            self.allocated = size;
        }
        self.file
            .write_all_at(self.durable, bytes)
            .map_err(LogError::io("writing", &self.path))?;
        self.file
            .sync_data()
            .map_err(LogError::io("syncing", &self.path))?;
        self.durable = end;
        self.frames.clear();
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
        self.head = self.frames.add_seal(self.head, &seal)?;
        self.commit()?;
        self.file
            .truncate(self.durable)
            .and_then(|()| self.file.sync_data())
            .map_err(LogError::io("closing", &self.path))
    }
}
