//! The few file operations that the log needs, behind a trait so that faults can be injected.
//!
//! *Never*: retries an operation; whether a failure can be survived is the writer's decision.

mod direct;
mod real;

use std::fmt;
use std::io;
use std::path::Path;

pub use self::real::RealFiles;

/// Random access reading, from a file or from memory.
pub trait ReadAt {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 means the end.
    ///
    /// # Errors
    /// The device's own.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// How many bytes there are.
    ///
    /// # Errors
    /// The device's own.
    fn size(&self) -> io::Result<u64>;
}

/// An open file.
pub trait LogFile: ReadAt + Send + Sync + fmt::Debug {
    /// Writes all of `bytes` at `offset`. Where space is reserved nothing but zeroes may follow them: it is where the
    /// file is appended to.
    ///
    /// # Errors
    /// The device's own; how much was written is then unknown.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the written bytes (and the size needed to read them) durable, where they are not already.
    ///
    /// # Errors
    /// The device's own. MUST NOT be called again on this file after an error: the kernel may
    /// have dropped the bytes and would report success.
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves space so that the file reads as zeroes up to `size`; never shrinks it. The zeroes
    /// are written, so that a later write changes data only and its sync needs no journal.
    ///
    /// # Errors
    /// `StorageFull` where the space is not there.
    fn allocate(&self, size: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    ///
    /// # Errors
    /// The device's own.
    fn truncate(&self, size: u64) -> io::Result<()>;
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only; works on a read-only copy.
    Read,
    /// Reading and writing.
    Write,
}

/// Held while this process owns the trail; dropping it gives the trail up.
pub trait LockGuard: Send + Sync + fmt::Debug {}

/// A file system.
pub trait Files: Send + Sync + fmt::Debug {
    /// Makes a new empty file, private to the owner.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken.
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
    /// Opens an existing file.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn LogFile>>;
    /// Moves a file over another name, atomically.
    ///
    /// # Errors
    /// The device's own.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives `new` the permissions of `old`, whose name it is to take, where there are any.
    ///
    /// # Errors
    /// `Unsupported` where `old` is a link: the name would lose what it leads to.
    fn stand_in(&self, _old: &Path, _new: &Path) -> io::Result<()> {
        Ok(())
    }
    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no order.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory and its parents, private to the owner; an existing one is fine.
    ///
    /// # Errors
    /// The device's own.
    fn create_dir(&self, directory: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The device's own.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Bytes that this process may still write below `directory`.
    ///
    /// # Errors
    /// The device's own.
    fn free_space(&self, directory: &Path) -> io::Result<u64>;
    /// Takes the exclusive lock on `path`, creating it.
    ///
    /// # Errors
    /// `WouldBlock` where another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>>;
}

impl ReadAt for &[u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}
