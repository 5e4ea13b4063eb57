//! Test support: a file system in memory that fails and crashes where a test says.
//!
//! It keeps what was written apart from what is durable: writes, cuts and names become durable by
//! a sync, as on a disk. A crash keeps, loses or tears what was not. After a failed sync the
//! written bytes are still read but will never be durable, as Linux has it.

mod disk;
mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, Inode, Machine};

/// What happens at the chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Injection {
    /// The machine stops before the operation; every later one fails.
    CrashBefore,
    /// The machine stops after the operation, before anything else.
    CrashAfter,
    /// The operation fails once with an I/O error; a sync loses what it should have made durable.
    Fail,
    /// From here on every operation that needs space fails with `StorageFull`, until
    /// [`FaultyFiles::repair`].
    Full,
    /// From here on every write and sync fails with an I/O error, until [`FaultyFiles::repair`].
    Broken,
    /// From here on nothing can be changed, as where the kernel has mounted the file system read-only, until
    /// [`FaultyFiles::repair`].
    ReadOnly,
    /// This operation and every later one neither fails nor returns, until [`FaultyFiles::repair`]. A disk that is only
    /// slow is one that is repaired soon.
    Hang,
}

/// What of the unsynced survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survival {
    /// Everything.
    All,
    /// Nothing.
    Nothing,
    /// Writes in order up to the middle of the last one; names not synced are lost.
    Prefix,
    /// Every other 512-byte sector of every write, the odd ones where set; all names.
    Sectors {
        /// Which half survives.
        odd: bool,
    },
}

/// The file system. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyFiles(Arc<Machine>);

impl FaultyFiles {
    /// An empty disk with plenty of free space.
    #[must_use]
    pub(crate) fn new() -> Self {
        let files = Self::default();
        files.0.disk().free = u64::MAX;
        files
    }

    /// Plans an injection at the `at`-th changing operation from the disk's first.
    pub(crate) fn plan(&self, at: u64, injection: Injection) {
        self.0.disk().plan = Some((at, injection));
    }

    /// Begins now what lasts: [`Injection::Full`], [`Injection::Broken`], [`Injection::ReadOnly`], [`Injection::Hang`].
    pub(crate) fn begin(&self, injection: Injection) {
        self.0.begin(injection);
    }

    /// How many changing operations there were.
    #[must_use]
    pub(crate) fn operations(&self) -> u64 {
        self.0.disk().operations
    }

    /// Whether the planned crash has happened.
    #[must_use]
    pub(crate) fn has_crashed(&self) -> bool {
        self.0.disk().crashed
    }

    /// How often a file was synced again whose sync had failed.
    #[must_use]
    pub(crate) fn resynced(&self) -> u64 {
        self.0.disk().resynced
    }

    /// Says how much space is free.
    pub(crate) fn set_free(&self, bytes: u64) {
        self.0.disk().free = bytes;
    }

    /// Ends what began with an injection; what hangs goes on.
    pub(crate) fn repair(&self) {
        self.0.repair();
    }

    /// Waits until an operation hangs.
    pub(crate) fn wait_until_held(&self) {
        self.0.wait_until_held();
    }

    /// The disk as a new machine finds it after a crash: a separate disk.
    #[must_use]
    pub(crate) fn after_crash(&self, survival: Survival) -> Self {
        let disk = self.0.disk();
        let inodes = disk.inodes.iter().map(|inode| inode.after_crash(survival));
        let names = match survival {
            Survival::All | Survival::Sectors { .. } => disk.names.clone(),
            Survival::Nothing | Survival::Prefix => disk.durable_names.clone(),
        };
        Self(Arc::new(Machine::new(Disk {
            inodes: inodes.collect(),
            durable_names: names.clone(),
            names,
            free: disk.free,
            ..Disk::default()
        })))
    }

    /// A copy of everything as it is read now.
    #[must_use]
    pub(crate) fn copy(&self) -> Self {
        self.after_crash(Survival::All)
    }

    /// A file's bytes.
    #[must_use]
    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.0.disk();
        let id = disk.names.get(path)?;
        disk.inodes.get(*id).map(|inode| inode.live.clone())
    }

    /// Replaces or adds a file, durably.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) {
        let mut disk = self.0.disk();
        let id = disk.inodes.len();
        disk.inodes.push(Inode {
            live: bytes.to_vec(),
            durable: bytes.to_vec(),
            dirty: Vec::new(),
        });
        disk.names.insert(path.to_owned(), id);
        disk.durable_names.insert(path.to_owned(), id);
    }

    /// Removes a file, durably.
    pub(crate) fn delete(&self, path: &Path) {
        let mut disk = self.0.disk();
        disk.names.remove(path);
        disk.durable_names.remove(path);
    }

    /// Every file's path.
    #[must_use]
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.0.disk().names.keys().cloned().collect()
    }
}
