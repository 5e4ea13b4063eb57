//! Appending past the page cache: each write is durable when it returns (`O_DIRECT`, `RWF_DSYNC`).
//!
//! That spares the copy into the cache, and the journal where only data changes: about half of what a sync costs. Such
//! writes are whole blocks: the last block of the file, when it is not full, is written again with what is added, and
//! zeroes behind. It holds the same bytes at the same place then, so a write that is torn harms nothing that was there,
//! as when the cache writes its pages.
//!
//! *Owns*: the bytes of the last block.
//! *On failure*: the write may have happened in part, as through the cache. A file system that cannot do this says so
//! before it writes anything, and the file is written through the cache then.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

/// What is written is a multiple of this, in file and memory: no less than what any disk in use asks for.
pub(super) const BLOCK: u64 = 4096;
const BLOCK_BYTES: usize = 4096;
/// Zeroes are written in pieces of this size.
const PIECE: usize = 1024 * 1024;

/// Whether something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is, and what was appended is durable.
    Durably,
    /// The file system cannot do it; nothing was written.
    NotThisWay,
}

/// A file that is written past the page cache.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// The end of what was appended.
    end: u64,
    /// The bytes from the beginning of the last block to `end`.
    tail: Vec<u8>,
    space: Aligned,
}

impl Direct {
    /// Opens `path` once more for this; nothing, where its file system cannot.
    ///
    /// # Errors
    /// The device's own.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or_default();
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open(path);
        match opened {
            Ok(file) => Ok(Some(Self {
                file,
                end: 0,
                tail: Vec::new(),
                space: Aligned::default(),
            })),
            Err(error) if is_unable(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes `bytes` at `offset`, and zeroes up to the end of their last block; durable when this returns. `cached` is
    /// the same file, to read what else is in the first block.
    ///
    /// # Errors
    /// The device's own; how much was written is then unknown.
    pub(super) fn write(
        &mut self,
        cached: &File,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<Written> {
        let inside = usize::try_from(offset % BLOCK).unwrap_or_default();
        let base = offset.saturating_sub(inside as u64);
        if offset != self.end || self.tail.len() != inside {
            self.tail.resize(inside, 0);
            cached.read_exact_at(&mut self.tail, base)?;
        }
        let length = inside.saturating_add(bytes.len());
        let whole = length.next_multiple_of(BLOCK_BYTES);
        let space = self.space.of(whole);
        let (data, zeroes) = space.split_at_mut(length);
        let (first, rest) = data.split_at_mut(inside);
        first.copy_from_slice(&self.tail);
        rest.copy_from_slice(bytes);
        zeroes.fill(0);
        if write_all(&self.file, base, space, ReadWriteFlags::DSYNC)? == Written::NotThisWay {
            return Ok(Written::NotThisWay);
        }
        let full = length.saturating_sub(length % BLOCK_BYTES);
        self.tail.clear();
        self.tail
            .extend_from_slice(space.get(full..length).unwrap_or_default());
        self.end = offset.saturating_add(bytes.len() as u64);
        Ok(Written::Durably)
    }

    /// Writes zeroes; they are not durable when this returns.
    ///
    /// # Errors
    /// The device's own.
    pub(super) fn fill_with_zeroes(&mut self, from: u64, to: u64) -> io::Result<Written> {
        if !from.is_multiple_of(BLOCK) || !to.is_multiple_of(BLOCK) {
            return Ok(Written::NotThisWay);
        }
        let mut at = from;
        let mut zeroes = Aligned::default();
        while at < to {
            let left = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
            let piece = zeroes.of(left.min(PIECE));
            if write_all(&self.file, at, piece, ReadWriteFlags::empty())? == Written::NotThisWay {
                return Ok(Written::NotThisWay);
            }
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(Written::Durably)
    }
}

/// Whether the file system says that it cannot do this at all.
fn is_unable(error: &io::Error) -> bool {
    let unable = [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS];
    unable
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Writes whole blocks.
fn write_all(file: &File, offset: u64, bytes: &[u8], flags: ReadWriteFlags) -> io::Result<Written> {
    let mut done = 0_usize;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(done as u64);
        match pwritev2(file, &[IoSlice::new(rest)], at, flags) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done = done.saturating_add(count),
            Err(Errno::INTR) => {}
            Err(errno) => {
                let error = io::Error::from(errno);
                if done == 0 && is_unable(&error) {
                    return Ok(Written::NotThisWay);
                }
                return Err(error);
            }
        }
    }
    Ok(Written::Durably)
}

/// Memory that begins at a multiple of [`BLOCK`].
#[derive(Debug, Default)]
struct Aligned {
    memory: Vec<u8>,
}

impl Aligned {
    /// So many bytes of it; what is in them is what was there, or zeroes.
    fn of(&mut self, length: usize) -> &mut [u8] {
        let needed = length.saturating_add(BLOCK_BYTES);
        if self.memory.len() < needed {
            self.memory = vec![0; needed];
        }
        let skipped = self.memory.as_ptr().align_offset(BLOCK_BYTES);
        let end = skipped.saturating_add(length);
        self.memory.get_mut(skipped..end).unwrap_or_default()
    }
}
