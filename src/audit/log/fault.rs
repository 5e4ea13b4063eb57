//! Test support: a file system in memory that fails and crashes where a test says.
//!
//! It keeps what was written apart from what is durable: writes, cuts and names become durable by
//! a sync, as on a disk. A crash keeps, loses or tears what was not. After a failed sync the
//! written bytes are still read but will never be durable, as Linux has it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::files::{Access, Files, LockGuard, LogFile, ReadAt};
use super::waiting::lock;

/// What happens at the chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injection {
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
}

/// What of the unsynced survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
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

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Size(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: Vec<Change>,
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Size(size) => to.resize(*size, 0),
            Self::Write { offset, bytes } => put(to, *offset, bytes),
        }
    }

    fn apply_part(&self, to: &mut Vec<u8>, survival: Survival, last: Last) {
        match (survival, self) {
            (Survival::Nothing, _) => {}
            (Survival::Prefix, Self::Write { offset, bytes }) if last == Last::Yes => {
                put(
                    to,
                    *offset,
                    bytes.get(..bytes.len() / 2).unwrap_or_default(),
                );
            }
            (Survival::Sectors { odd }, Self::Write { offset, bytes }) => {
                for (index, byte) in bytes.iter().enumerate() {
                    let at = offset.saturating_add(index);
                    if (at / 512 % 2 == 1) == odd {
                        put(to, at, std::slice::from_ref(byte));
                    }
                }
            }
            (Survival::All | Survival::Prefix, _) | (Survival::Sectors { .. }, Self::Size(_)) => {
                self.apply(to);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    No,
    Yes,
}

fn put(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if to.len() < end {
        to.resize(end, 0);
    }
    if let Some(room) = to.get_mut(offset..end) {
        room.copy_from_slice(bytes);
    }
}

#[derive(Debug, Default)]
struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    operations: u64,
    plan: Option<(u64, Injection)>,
    crashed: bool,
    full: bool,
    broken: bool,
    free: u64,
    locked: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Space,
    Sync,
}

impl Disk {
    /// Counts an operation that changes something, and injects what is planned for it.
    fn change<T>(
        &mut self,
        kind: Kind,
        act: impl FnOnce(&mut Self) -> io::Result<T>,
        lose: impl FnOnce(&mut Self),
    ) -> io::Result<T> {
        self.alive()?;
        self.operations = self.operations.saturating_add(1);
        let planned = self.plan.filter(|(at, _)| *at == self.operations);
        match planned.map(|(_, injection)| injection) {
            Some(Injection::CrashBefore) => {
                self.crashed = true;
                return Err(crash());
            }
            Some(Injection::CrashAfter) => {
                let _done = act(self);
                self.crashed = true;
                return Err(crash());
            }
            Some(Injection::Fail) => {
                lose(self);
                return Err(io::Error::other("injected"));
            }
            Some(Injection::Full) => self.full = true,
            Some(Injection::Broken) => self.broken = true,
            None => {}
        }
        if self.broken {
            lose(self);
            return Err(io::Error::other("the device is broken"));
        }
        if self.full && kind == Kind::Space {
            return Err(io::ErrorKind::StorageFull.into());
        }
        act(self)
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(crash()) } else { Ok(()) }
    }

    fn inode(&mut self, id: usize) -> io::Result<&mut Inode> {
        self.inodes
            .get_mut(id)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn crash() -> io::Error {
    io::Error::other("the machine has stopped")
}

/// The file system. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct FaultyFiles(Arc<Mutex<Disk>>);

impl FaultyFiles {
    /// An empty disk with plenty of free space.
    #[must_use]
    pub fn new() -> Self {
        let files = Self::default();
        lock(&files.0).free = u64::MAX;
        files
    }

    /// Plans an injection at the `at`-th changing operation from the disk's first.
    pub fn plan(&self, at: u64, injection: Injection) {
        lock(&self.0).plan = Some((at, injection));
    }

    /// How many changing operations there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        lock(&self.0).operations
    }

    /// Whether the planned crash has happened.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        lock(&self.0).crashed
    }

    /// Says how much space is free.
    pub fn set_free(&self, bytes: u64) {
        lock(&self.0).free = bytes;
    }

    /// Ends [`Injection::Full`] and [`Injection::Broken`].
    pub fn repair(&self) {
        let mut disk = lock(&self.0);
        disk.full = false;
        disk.broken = false;
        disk.plan = None;
    }

    /// The disk as a new machine finds it after a crash: a separate disk.
    #[must_use]
    pub fn after_crash(&self, survival: Survival) -> Self {
        let disk = lock(&self.0);
        let inodes = disk.inodes.iter().map(|inode| {
            let mut durable = inode.durable.clone();
            let count = inode.dirty.len();
            for (index, change) in inode.dirty.iter().enumerate() {
                let last = if index.saturating_add(1) == count {
                    Last::Yes
                } else {
                    Last::No
                };
                change.apply_part(&mut durable, survival, last);
            }
            Inode {
                live: durable.clone(),
                durable,
                dirty: Vec::new(),
            }
        });
        let names = match survival {
            Survival::All | Survival::Sectors { .. } => disk.names.clone(),
            Survival::Nothing | Survival::Prefix => disk.durable_names.clone(),
        };
        Self(Arc::new(Mutex::new(Disk {
            inodes: inodes.collect(),
            durable_names: names.clone(),
            names,
            free: disk.free,
            ..Disk::default()
        })))
    }

    /// A copy of everything as it is read now.
    #[must_use]
    pub fn copy(&self) -> Self {
        self.after_crash(Survival::All)
    }

    /// A file's bytes.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = lock(&self.0);
        let id = disk.names.get(path)?;
        disk.inodes.get(*id).map(|inode| inode.live.clone())
    }

    /// Replaces or adds a file, durably.
    pub fn replace(&self, path: &Path, bytes: &[u8]) {
        let mut disk = lock(&self.0);
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
    pub fn delete(&self, path: &Path) {
        let mut disk = lock(&self.0);
        disk.names.remove(path);
        disk.durable_names.remove(path);
    }

    /// Every file's path.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        lock(&self.0).names.keys().cloned().collect()
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: Arc<Mutex<Disk>>,
    id: usize,
}

#[derive(Debug)]
struct FaultyLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl LockGuard for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        lock(&self.disk).locked.retain(|path| *path != self.path);
    }
}

impl ReadAt for FaultyFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = lock(&self.disk);
        disk.alive()?;
        disk.inode(self.id)?.live.as_slice().read_at(offset, buffer)
    }

    fn size(&self) -> io::Result<u64> {
        let mut disk = lock(&self.disk);
        disk.alive()?;
        Ok(disk.inode(self.id)?.live.len() as u64)
    }
}

impl FaultyFile {
    fn change(&self, kind: Kind, change: Change) -> io::Result<()> {
        let id = self.id;
        lock(&self.disk).change(
            kind,
            |disk| {
                let inode = disk.inode(id)?;
                change.apply(&mut inode.live);
                inode.dirty.push(change);
                Ok(())
            },
            |_| {},
        )
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl LogFile for FaultyFile {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = place(offset)?;
        let bytes = bytes.to_vec();
        self.change(Kind::Space, Change::Write { offset, bytes })
    }

    fn sync_data(&self) -> io::Result<()> {
        let id = self.id;
        lock(&self.disk).change(
            Kind::Sync,
            |disk| {
                let inode = disk.inode(id)?;
                for change in std::mem::take(&mut inode.dirty) {
                    change.apply(&mut inode.durable);
                }
                Ok(())
            },
            |disk| {
                if let Some(inode) = disk.inodes.get_mut(id) {
                    inode.dirty.clear();
                }
            },
        )
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        if size <= self.size()? {
            return Ok(());
        }
        self.change(Kind::Space, Change::Size(place(size)?))
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.change(Kind::Name, Change::Size(place(size)?))
    }
}

impl Files for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let id = lock(&self.0).change(
            Kind::Space,
            |disk| {
                if disk.names.contains_key(path) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                let id = disk.inodes.len();
                disk.inodes.push(Inode::default());
                disk.names.insert(path.to_owned(), id);
                Ok(id)
            },
            |_| {},
        )?;
        let disk = Arc::clone(&self.0);
        Ok(Box::new(FaultyFile { disk, id }))
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Box<dyn LogFile>> {
        let disk = lock(&self.0);
        disk.alive()?;
        let id = disk.names.get(path).copied();
        drop(disk);
        let disk = Arc::clone(&self.0);
        match id {
            Some(id) => Ok(Box::new(FaultyFile { disk, id })),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        lock(&self.0).change(
            Kind::Name,
            |disk| {
                let id = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
                disk.names.insert(to.to_owned(), id);
                Ok(())
            },
            |_| {},
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.0).change(
            Kind::Name,
            |disk| {
                let removed = disk.names.remove(path);
                removed
                    .map(drop)
                    .ok_or_else(|| io::ErrorKind::NotFound.into())
            },
            |_| {},
        )
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let disk = lock(&self.0);
        disk.alive()?;
        let below = disk
            .names
            .keys()
            .filter(|path| path.parent() == Some(directory));
        Ok(below
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }

    fn create_dir(&self, _directory: &Path) -> io::Result<()> {
        lock(&self.0).alive()
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        lock(&self.0).change(
            Kind::Sync,
            |disk| {
                let within = |path: &Path| path.parent() == Some(directory);
                disk.durable_names.retain(|path, _| !within(path));
                for (path, id) in disk.names.iter().filter(|(path, _)| within(path)) {
                    disk.durable_names.insert(path.clone(), *id);
                }
                Ok(())
            },
            |_| {},
        )
    }

    fn free_space(&self, _directory: &Path) -> io::Result<u64> {
        let disk = lock(&self.0);
        disk.alive()?;
        Ok(disk.free)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let mut disk = lock(&self.0);
        disk.alive()?;
        if disk.locked.iter().any(|locked| locked == path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        disk.locked.push(path.to_owned());
        drop(disk);
        let disk = Arc::clone(&self.0);
        let path = path.to_owned();
        Ok(Box::new(FaultyLock { disk, path }))
    }
}
