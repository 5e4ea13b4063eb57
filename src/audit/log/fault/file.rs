//! The operations of a disk in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::FaultyFiles;
use super::disk::{Change, Inode, Kind, Machine};
use crate::audit::log::files::{Access, Files, LockGuard, LogFile, ReadAt};

#[derive(Debug)]
struct FaultyFile {
    machine: Arc<Machine>,
    id: usize,
    /// A sync of this open file failed.
    failed: AtomicBool,
}

#[derive(Debug)]
struct FaultyLock {
    machine: Arc<Machine>,
    path: PathBuf,
}

impl LockGuard for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        self.machine.disk().locked.retain(|path| *path != self.path);
    }
}

impl ReadAt for FaultyFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.machine.disk();
        disk.alive()?;
        disk.inode(self.id)?.live.as_slice().read_at(offset, buffer)
    }

    fn size(&self) -> io::Result<u64> {
        let mut disk = self.machine.disk();
        disk.alive()?;
        Ok(disk.inode(self.id)?.live.len() as u64)
    }
}

impl FaultyFile {
    fn boxed(machine: &Arc<Machine>, id: usize) -> Box<dyn LogFile> {
        Box::new(Self {
            machine: Arc::clone(machine),
            id,
            failed: AtomicBool::new(false),
        })
    }

    fn change(&self, kind: Kind, change: Change) -> io::Result<()> {
        let id = self.id;
        self.machine.change(
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
        if self.failed.load(Ordering::Relaxed) {
            let mut disk = self.machine.disk();
            disk.resynced = disk.resynced.saturating_add(1);
        }
        let synced = self.machine.change(
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
        );
        self.failed.fetch_or(synced.is_err(), Ordering::Relaxed);
        synced
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
        let id = self.0.change(
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
        Ok(FaultyFile::boxed(&self.0, id))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn LogFile>> {
        let disk = self.0.disk();
        match access {
            Access::Read => disk.alive()?,
            Access::Write => disk.writable()?,
        }
        let id = disk.names.get(path).copied();
        drop(disk);
        match id {
            Some(id) => Ok(FaultyFile::boxed(&self.0, id)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.change(
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
        self.0.change(
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
        let disk = self.0.disk();
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
        self.0.disk().alive()
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.0.change(
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
        let disk = self.0.disk();
        disk.alive()?;
        Ok(disk.free)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let mut disk = self.0.disk();
        disk.writable()?;
        if disk.locked.iter().any(|locked| locked == path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        disk.locked.push(path.to_owned());
        drop(disk);
        let machine = Arc::clone(&self.0);
        let path = path.to_owned();
        Ok(Box::new(FaultyLock { machine, path }))
    }
}
