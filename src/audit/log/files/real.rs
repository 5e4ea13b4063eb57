//! The operating system's file system.
//!
//! A file in which space is reserved is one that is appended to: it is written past the page cache where the file
//! system can do that ([`Direct`]), through it where not.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FallocateFlags, FlockOperation};

use super::direct::{BLOCK, Direct, Written};
use super::{Access, Files, LockGuard, LogFile, ReadAt};

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
    direct: Mutex<Way>,
    /// Something was written that is not durable yet.
    // INVARIANT: what is written past the page cache is durable when the write returns.
    dirty: AtomicBool,
}

/// How bytes get into a file.
#[derive(Debug)]
enum Way {
    /// Through the page cache: nothing is reserved in it, or the file system knows no other way.
    Cached,
    /// Past it.
    Direct(Direct),
}

#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl LockGuard for RealLock {}

impl RealFile {
    fn new(file: File, path: &Path) -> Self {
        Self {
            file,
            path: path.to_owned(),
            direct: Mutex::new(Way::Cached),
            dirty: AtomicBool::new(false),
        }
    }

    fn way(&self) -> std::sync::MutexGuard<'_, Way> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_cached(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.dirty.store(true, Ordering::Relaxed);
        self.file.write_all_at(bytes, offset)
    }
}

impl ReadAt for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

impl LogFile for RealFile {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut way = self.way();
        let written = match &mut *way {
            Way::Cached => Written::NotThisWay,
            Way::Direct(direct) => direct.write(&self.file, offset, bytes)?,
        };
        match written {
            Written::Durably => Ok(()),
            Written::NotThisWay => {
                *way = Way::Cached;
                self.write_cached(offset, bytes)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.dirty.load(Ordering::Relaxed) {
            rustix::fs::fdatasync(&self.file)?;
            self.dirty.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let size = size.next_multiple_of(BLOCK);
        let held = self.size()?;
        let Some(more) = size.checked_sub(held).filter(|more| *more > 0) else {
            return Ok(());
        };
        self.dirty.store(true, Ordering::Relaxed);
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), held, more) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut way = self.way();
        if held == 0 {
            *way = Direct::open(&self.path)?.map_or(Way::Cached, Way::Direct);
        }
        let written = match &mut *way {
            Way::Cached => Written::NotThisWay,
            Way::Direct(direct) => direct.fill_with_zeroes(held, size)?,
        };
        match written {
            Written::Durably => Ok(()),
            Written::NotThisWay => {
                *way = Way::Cached;
                fill_with_zeroes(&self.file, held, size)
            }
        }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.dirty.store(true, Ordering::Relaxed);
        self.file.set_len(size)
    }
}

fn fill_with_zeroes(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeroes = vec![0_u8; 256 * 1024];
    let mut at = from;
    while at < to {
        let left = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
        let chunk = zeroes.get(..left).unwrap_or(&zeroes);
        file.write_all_at(chunk, at)?;
        at = at.saturating_add(chunk.len() as u64);
    }
    Ok(())
}

impl Files for RealFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Box::new(RealFile::new(file, path)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn LogFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::Write)
            .open(path)?;
        Ok(Box::new(RealFile::new(file, path)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn stand_in(&self, old: &Path, new: &Path) -> io::Result<()> {
        let metadata = std::fs::symlink_metadata(old)?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        std::fs::set_permissions(new, metadata.permissions())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create_dir(&self, directory: &Path) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn free_space(&self, directory: &Path) -> io::Result<u64> {
        let space = rustix::fs::statvfs(directory)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(RealLock { _file: file }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_direct(file: &RealFile) -> bool {
        matches!(&*file.way(), Way::Direct(_))
    }

    fn created(directory: &Path) -> RealFile {
        let path = directory.join("file");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true);
        RealFile::new(options.open(&path).unwrap(), &path)
    }

    fn content(file: &RealFile) -> Vec<u8> {
        std::fs::read(&file.path).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whichever way it is written: the bytes that were appended, and zeroes up to the reserved end.
        #[test]
        fn what_is_appended_is_what_is_there(
            pieces in proptest::collection::vec((1_usize..9000, any::<u8>()), 1..20),
            step in 1_u64..20_000,
            cached_from in 0_usize..24,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let file = created(directory.path());
            let mut expected = Vec::new();
            let mut reserved = 0_u64;
            for (index, (length, byte)) in pieces.into_iter().enumerate() {
                if index == cached_from {
                    *file.way() = Way::Cached;
                }
                let end = expected.len().saturating_add(length) as u64;
                if end > reserved {
                    reserved = end.saturating_add(step);
                    file.allocate(reserved).unwrap();
                }
                file.write_all_at(expected.len() as u64, &vec![byte; length]).unwrap();
                file.sync_data().unwrap();
                expected.extend(vec![byte; length]);
                let there = content(&file);
                prop_assert_eq!(&there[..expected.len()], &expected[..]);
                prop_assert!(there[expected.len()..].iter().all(|byte| *byte == 0));
                prop_assert_eq!(there.len() as u64, reserved.next_multiple_of(BLOCK));
            }
            file.truncate(expected.len() as u64).unwrap();
            file.sync_data().unwrap();
            prop_assert_eq!(content(&file), expected);
        }
    }

    #[test]
    fn a_file_without_reserved_space_is_written_through_the_cache_and_synced() {
        let directory = tempfile::tempdir().unwrap();
        let file = created(directory.path());
        file.write_all_at(0, b"a note").unwrap();
        assert!(!is_direct(&file) && file.dirty.load(Ordering::Relaxed));
        file.sync_data().unwrap();
        assert!(!file.dirty.load(Ordering::Relaxed));
    }

    #[test]
    fn a_write_elsewhere_keeps_what_is_before_it_in_its_block() {
        let directory = tempfile::tempdir().unwrap();
        let file = created(directory.path());
        file.allocate(20_000).unwrap();
        file.write_all_at(0, &[1; 5000]).unwrap();
        file.write_all_at(4500, &[2; 100]).unwrap();
        let there = content(&file);
        assert_eq!(there[..4500], [1; 4500]);
        assert_eq!(there[4500..4600], [2; 100]);
        assert!(
            there[4600..].iter().all(|byte| *byte == 0),
            "it was the end"
        );
    }

    #[test]
    fn what_was_written_directly_leaves_nothing_to_sync() {
        let directory = tempfile::tempdir().unwrap();
        let file = created(directory.path());
        file.allocate(20_000).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(0, &[7; 300]).unwrap();
        assert_eq!(is_direct(&file), !file.dirty.load(Ordering::Relaxed));
    }
}
