//! A real disk that fails, fills up, turns read-only or hangs when a test says so.
//!
//! The files are real, so that whoever else reads the trail finds it. What a crash leaves of a disk is simulated
//! elsewhere, in memory (`src/audit/log/fault`), which no build but that of the unit tests has.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use chartgate::audit::log::{Access, Files, LockGuard, LogFile, ReadAt, RealFiles};
use rustix::io::Errno;

/// What is wrong until it is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every operation that needs space fails with `ENOSPC`.
    Full,
    /// Nothing of a segment returns.
    Hangs,
    /// Every change fails with `EROFS`.
    ReadOnly,
    /// Hardly any space is left.
    Scarce,
    /// Writes succeed, and every sync fails with `EIO`.
    SyncFails,
    /// Every change fails with `EIO`.
    WriteFails,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    held: bool,
    resynced: u64,
}

/// The disk. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<(Mutex<State>, Condvar)>);

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Change,
    Space,
    Sync,
}

impl Disk {
    /// From now on this is wrong.
    pub(crate) fn begin(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// Nothing is wrong any more; what hangs goes on.
    pub(crate) fn repair(&self) {
        let mut state = self.state();
        state.fault = None;
        state.held = false;
        drop(state);
        self.0.1.notify_all();
    }

    /// Waits until an operation hangs.
    pub(crate) async fn wait_until_held(&self) {
        let disk = self.clone();
        let waited = tokio::task::spawn_blocking(move || {
            let held = disk.0.1.wait_while(disk.state(), |state| !state.held);
            drop(held.unwrap());
        });
        waited.await.unwrap();
    }

    /// How often a file was synced again whose sync had failed.
    pub(crate) fn resynced(&self) -> u64 {
        self.state().resynced
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    fn operate(&self, kind: Kind, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let of_a_segment = path
            .parent()
            .is_some_and(|folder| folder.ends_with("segments"));
        if of_a_segment && state.fault == Some(Fault::Hangs) {
            state.held = true;
            self.0.1.notify_all();
            let hanging = |state: &mut State| state.fault == Some(Fault::Hangs);
            state = self.0.1.wait_while(state, hanging).unwrap();
        }
        match state.fault {
            Some(Fault::Full) if kind == Kind::Space => Err(Errno::NOSPC.into()),
            Some(Fault::ReadOnly) => Err(Errno::ROFS.into()),
            Some(Fault::SyncFails) if kind == Kind::Sync => Err(Errno::IO.into()),
            Some(Fault::WriteFails) => Err(Errno::IO.into()),
            Some(Fault::Full | Fault::Hangs | Fault::Scarce | Fault::SyncFails) | None => Ok(()),
        }
    }

    fn opened(&self, path: &Path, file: Box<dyn LogFile>) -> Box<dyn LogFile> {
        Box::new(DiskFile {
            disk: self.clone(),
            path: path.to_owned(),
            file,
            failed: AtomicBool::new(false),
        })
    }
}

#[derive(Debug)]
struct DiskFile {
    disk: Disk,
    path: std::path::PathBuf,
    file: Box<dyn LogFile>,
    failed: AtomicBool,
}

impl ReadAt for DiskFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

impl LogFile for DiskFile {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.operate(Kind::Space, &self.path)?;
        self.file.write_all_at(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            self.disk.state().resynced += 1;
        }
        let synced = self
            .disk
            .operate(Kind::Sync, &self.path)
            .and_then(|()| self.file.sync_data());
        self.failed.fetch_or(synced.is_err(), Ordering::Relaxed);
        synced
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.disk.operate(Kind::Space, &self.path)?;
        self.file.allocate(size)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.disk.operate(Kind::Change, &self.path)?;
        self.file.truncate(size)
    }
}

impl Files for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.operate(Kind::Space, path)?;
        Ok(self.opened(path, RealFiles.create(path)?))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn LogFile>> {
        match access {
            Access::Read => {}
            Access::Write => self.operate(Kind::Change, path)?,
        }
        Ok(self.opened(path, RealFiles.open(path, access)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(Kind::Change, to)?;
        RealFiles.rename(from, to)
    }

    fn stand_in(&self, old: &Path, new: &Path) -> io::Result<()> {
        RealFiles.stand_in(old, new)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate(Kind::Change, path)?;
        RealFiles.remove(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(directory)
    }

    fn create_dir(&self, directory: &Path) -> io::Result<()> {
        RealFiles.create_dir(directory)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.operate(Kind::Sync, directory)?;
        RealFiles.sync_dir(directory)
    }

    fn free_space(&self, directory: &Path) -> io::Result<u64> {
        if self.state().fault == Some(Fault::Scarce) {
            return Ok(1024 * 1024);
        }
        RealFiles.free_space(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        RealFiles.lock(path)
    }
}
