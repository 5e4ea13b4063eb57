//! Where an archive lies: a directory, or a bucket with Object Lock. Both hold the same names with the same bytes.
//!
//! *Never*: overwrites what lies under a name, or removes anything; a bucket gets another version then, and the first one
//! stays.

use std::fs::{DirBuilder, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest;
use jiff::Timestamp;

use super::error::ArchiveError;
use crate::clock::SharedClock;
use crate::config::ArchiveTarget;
use crate::outbound::s3::versions::{Version, locking};
use crate::outbound::s3::{Bucket, S3Error, Upload};

/// How much is read at once.
const CHUNK: usize = 256 * 1024;
/// What the name of a file begins with that is not whole yet.
const PARTIAL: &str = ".partial-";

/// A place for an archive.
#[derive(Debug)]
pub enum Target {
    /// A directory of this machine, or one that is mounted.
    Directory(PathBuf),
    /// A bucket of an S3-compatible store.
    Bucket(Box<Bucket>),
}

/// Bytes with what proves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum {
    /// How many.
    pub(super) bytes: u64,
    /// SHA-256 of them, hex.
    pub(super) sha256: String,
}

/// An object as the archive describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its length.
    pub(super) bytes: u64,
    /// Its version, where the archive has versions.
    pub(super) version: Option<String>,
    /// SHA-256, hex, where the archive says it.
    pub(super) sha256: Option<String>,
    /// The end of its lock, where the archive has locks.
    pub(super) locked_until: Option<Timestamp>,
    /// Whether the archive knows a legal hold on it.
    pub(super) held: bool,
}

impl Target {
    /// The target that is configured.
    ///
    /// # Errors
    /// [`ArchiveError::Bucket`] where no connection to an object store can be set up.
    pub fn open(target: &ArchiveTarget, clock: SharedClock) -> Result<Self, ArchiveError> {
        match target {
            ArchiveTarget::Directory(path) => Ok(Self::Directory(path.clone())),
            ArchiveTarget::S3(s3) => Ok(Self::Bucket(Box::new(Bucket::new(s3, clock)?))),
        }
    }

    /// Whether it keeps everybody from removing what is there.
    pub(super) const fn locks(&self) -> bool {
        matches!(self, Self::Bucket(_))
    }

    /// Makes sure that there is a place to look at: an archive that is not there is none in which nothing is wrong.
    ///
    /// # Errors
    /// [`ArchiveError::Absent`].
    pub(super) fn present(&self) -> Result<(), ArchiveError> {
        match self {
            Self::Directory(root) => match std::fs::metadata(root) {
                Ok(metadata) if metadata.is_dir() => Ok(()),
                Ok(_) => Err(ArchiveError::Absent(root.clone())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(ArchiveError::Absent(root.clone()))
                }
                Err(error) => Err(ArchiveError::io(root)(error)),
            },
            // A bucket that is not there answers with an error.
            Self::Bucket(_) => Ok(()),
        }
    }

    /// What a person calls the object of this name.
    pub(super) fn shown(&self, name: &str) -> String {
        match self {
            Self::Directory(root) => root.join(name).display().to_string(),
            Self::Bucket(_) => name.to_owned(),
        }
    }

    /// What lies under a name: a version of it, or the newest.
    pub(super) fn find(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Option<Stored>, ArchiveError> {
        match self {
            Self::Directory(root) => {
                let path = root.join(name);
                match std::fs::metadata(&path) {
                    Ok(metadata) => Ok(Some(Stored {
                        bytes: metadata.len(),
                        version: None,
                        sha256: None,
                        locked_until: None,
                        held: false,
                    })),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(ArchiveError::io(&path)(error)),
                }
            }
            Self::Bucket(bucket) => {
                let found = bucket.describe_version(name, version)?;
                Ok(found.map(|found| Stored {
                    bytes: found.size,
                    version: found.version,
                    sha256: found.sha256.and_then(|sum| digits(&sum)),
                    locked_until: found.locked_until,
                    held: found.held,
                }))
            }
        }
    }

    /// Stores a file under a name that nothing has yet, locked until then.
    pub(super) fn put(
        &self,
        name: &str,
        (from, sum): (&Path, &Sum),
        until: Timestamp,
    ) -> Result<(), ArchiveError> {
        match self {
            Self::Directory(root) => {
                let to = root.join(name);
                copy(from, &to)?;
                close(&to, until)
            }
            Self::Bucket(bucket) => {
                let object = Upload::file(from, sum.bytes, sum.sha256.clone())?;
                Ok(bucket.put(name, object, locking(until))?)
            }
        }
    }

    /// The same for a short text.
    pub(super) fn put_text(
        &self,
        name: &str,
        text: &str,
        until: Timestamp,
    ) -> Result<(), ArchiveError> {
        match self {
            Self::Directory(root) => {
                let to = root.join(name);
                write(&to, |file| file.write_all(text.as_bytes()))?;
                close(&to, until)
            }
            Self::Bucket(bucket) => {
                let object = Upload::bytes(text.as_bytes().to_vec());
                Ok(bucket.put(name, object, locking(until))?)
            }
        }
    }

    /// Locks an object until then. A lock is prolonged, never shortened.
    pub(super) fn lock(
        &self,
        name: &str,
        version: Option<&str>,
        until: Timestamp,
    ) -> Result<(), ArchiveError> {
        match self {
            Self::Directory(root) => close(&root.join(name), until),
            Self::Bucket(bucket) => Ok(bucket.lock_version(name, version, until)?),
        }
    }

    /// Tells the archive of a legal hold on an object, or of its end. A directory knows none.
    pub(super) fn hold(
        &self,
        name: &str,
        version: Option<&str>,
        status: &'static str,
    ) -> Result<(), ArchiveError> {
        match self {
            Self::Directory(_) => Ok(()),
            Self::Bucket(bucket) => Ok(bucket.hold_version(name, version, status)?),
        }
    }

    /// Reads an object: a version of it, or the newest.
    pub(super) fn read(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Box<dyn Read + '_>, ArchiveError> {
        match self {
            Self::Directory(root) => {
                let path = root.join(name);
                match File::open(&path) {
                    Ok(file) => Ok(Box::new(file)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        Err(S3Error::Missing(name.to_owned()).into())
                    }
                    Err(error) => Err(ArchiveError::io(&path)(error)),
                }
            }
            Self::Bucket(bucket) => Ok(bucket.read_version(name, version)?),
        }
    }

    /// A file with an object's bytes, and what they are: of a bucket, a copy in `scratch`.
    pub(super) fn fetch(
        &self,
        name: &str,
        version: Option<&str>,
        scratch: &Path,
    ) -> Result<(PathBuf, Sum), ArchiveError> {
        let mut from = self.read(name, version)?;
        match self {
            Self::Directory(root) => Ok((root.join(name), sum_of(name, &mut from, |_| Ok(()))?)),
            Self::Bucket(_) => {
                let to = scratch.join("fetched");
                let mut file = File::create(&to).map_err(ArchiveError::io(&to))?;
                let sum = sum_of(name, &mut from, |piece| file.write_all(piece))?;
                Ok((to, sum))
            }
        }
    }

    /// The versions in a folder, by name, the oldest of each first.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<(String, Option<String>)>, ArchiveError> {
        match self {
            Self::Directory(root) => {
                let names = names_in(&root.join(folder), folder)?;
                Ok(names.into_iter().map(|name| (name, None)).collect())
            }
            Self::Bucket(bucket) => {
                let versions = bucket.versions(folder)?.into_iter();
                let named = |Version { name, id }| (name, Some(id));
                Ok(versions.map(named).collect())
            }
        }
    }
}

/// SHA-256 in base64 as hexadecimal digits.
fn digits(base64: &str) -> Option<String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64);
    bytes.ok().map(hex::encode)
}

/// What is read, piece by piece, and proven to be.
pub(super) fn sum_of(
    name: &str,
    from: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Sum, ArchiveError> {
    let failed = |source| ArchiveError::io(Path::new(name))(source);
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut bytes = 0_u64;
    let mut piece = vec![0; CHUNK];
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        let read = piece.get(..count).unwrap_or_default();
        digest.update(read);
        each(read).map_err(failed)?;
        bytes = bytes.saturating_add(count as u64);
    }
    Ok(Sum {
        bytes,
        sha256: hex::encode(digest.finish()),
    })
}

/// What a file is.
pub(super) fn sum_of_file(path: &Path) -> Result<Sum, ArchiveError> {
    let mut file = File::open(path).map_err(ArchiveError::io(path))?;
    sum_of(&path.display().to_string(), &mut file, |_| Ok(()))
}

/// Copies a file durably to a name that nothing has yet.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), ArchiveError> {
    let mut source = File::open(from).map_err(ArchiveError::io(from))?;
    write(to, |file| io::copy(&mut source, file).map(drop))
}

/// Writes a file durably under a name that nothing has yet: never half of one.
pub(super) fn write(
    to: &Path,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), ArchiveError> {
    let (Some(parent), Some(name)) = (to.parent(), to.file_name()) else {
        return Err(ArchiveError::altered(
            &to.display().to_string(),
            "it is no path",
        ));
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(ArchiveError::io(parent))?;
    let partial = parent.join(format!("{PARTIAL}{}", name.to_string_lossy()));
    let failed = || ArchiveError::io(&partial);
    // What an interrupted run left of it is written anew.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .map_err(failed())?;
    content(&mut file).map_err(failed())?;
    file.sync_all().map_err(failed())?;
    // A renaming would overwrite; links are not to be had on every share.
    let free = match std::fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    let named = free.and_then(|()| std::fs::rename(&partial, to));
    named.map_err(ArchiveError::io(to))?;
    let synced = File::open(parent).and_then(|directory| directory.sync_all());
    synced.map_err(ArchiveError::io(parent))
}

/// Takes away the right to write, after stating until when in the time of access: where the file system keeps files
/// unchangeable (`SnapLock`, `SmartLock` and their like), this is how it is told.
fn close(path: &Path, until: Timestamp) -> Result<(), ArchiveError> {
    let times = FileTimes::new().set_accessed(SystemTime::from(until));
    let file = File::open(path).map_err(ArchiveError::io(path))?;
    file.set_times(times).map_err(ArchiveError::io(path))?;
    file.set_permissions(Permissions::from_mode(0o400))
        .map_err(ArchiveError::io(path))
}

fn names_in(directory: &Path, folder: &str) -> Result<Vec<String>, ArchiveError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ArchiveError::io(directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(ArchiveError::io(directory))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(PARTIAL) {
            names.push(format!("{folder}/{name}"));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_and_closed_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::Directory(dir.path().to_owned());
        let until = "2036-01-01T00:00:00Z".parse().unwrap();
        // What an interrupted run left.
        std::fs::create_dir(dir.path().join("retired")).unwrap();
        std::fs::write(dir.path().join("retired/.partial-1.note"), "half").unwrap();
        assert_eq!(target.list("retired").unwrap(), []);
        target.put_text("retired/1.note", "one", until).unwrap();
        let path = dir.path().join("retired/1.note");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o400);
        assert_eq!(metadata.accessed().unwrap(), SystemTime::from(until));
        assert!(target.put_text("retired/1.note", "two", until).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        let names = target.list("retired").unwrap();
        assert_eq!(names, [("retired/1.note".to_owned(), None)]);
    }
}
