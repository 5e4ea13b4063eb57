//! Where backups lie: a directory, or a bucket. Both hold the same names with the same bytes.
//!
//! *Never*: overwrites a manifest, or leaves half an object under its name.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::seal::Digests;
use crate::clock::SharedClock;
use crate::config::BackupTarget;
use crate::outbound::s3::{Bucket, Upload};

/// A place for backups.
#[derive(Debug)]
pub enum Target {
    /// A directory of this machine, or one that is mounted.
    Directory(PathBuf),
    /// A bucket of an S3-compatible store.
    Bucket(Box<Bucket>),
}

impl Target {
    /// The target that is configured.
    ///
    /// # Errors
    /// [`BackupError::Bucket`] where no connection to an object store can be set up.
    pub fn open(target: &BackupTarget, clock: SharedClock) -> Result<Self, BackupError> {
        match target {
            BackupTarget::Directory(path) => Ok(Self::Directory(path.clone())),
            BackupTarget::S3(s3) => Ok(Self::Bucket(Box::new(Bucket::new(s3, clock)?))),
        }
    }

    /// Its name for a person and for the state that is kept about it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Bucket(bucket) => bucket.describe(),
        }
    }

    /// A directory on the target's own disk where objects are prepared, if it has one.
    pub(super) fn spool(&self) -> Option<PathBuf> {
        match self {
            Self::Directory(path) => Some(path.join("chartgate-spool")),
            Self::Bucket(_) => None,
        }
    }

    /// How long the object is, if it is there.
    pub(super) fn size_of(&self, name: &str) -> Result<Option<u64>, BackupError> {
        match self {
            Self::Directory(path) => {
                let path = path.join(name);
                match std::fs::metadata(&path) {
                    Ok(metadata) => Ok(Some(metadata.len())),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(BackupError::io(&path)(error)),
                }
            }
            Self::Bucket(bucket) => Ok(bucket.size_of(name)?),
        }
    }

    /// Stores a prepared file durably under a name; the file is then gone.
    pub(super) fn put(
        &self,
        name: &str,
        prepared: &Path,
        digests: &Digests,
    ) -> Result<(), BackupError> {
        match self {
            Self::Directory(root) => {
                let to = root.join(name);
                let parent = to.parent().unwrap_or(root);
                private_directory(parent)?;
                std::fs::rename(prepared, &to).map_err(BackupError::io(&to))?;
                let synced = File::open(parent).and_then(|directory| directory.sync_all());
                synced.map_err(BackupError::io(parent))
            }
            Self::Bucket(bucket) => {
                let (size, sha256) = (digests.sealed_size, digests.sealed.clone());
                let object = Upload::file(prepared, size, sha256)?;
                bucket.put(name, object, Vec::new())?;
                std::fs::remove_file(prepared).map_err(BackupError::io(prepared))
            }
        }
    }

    /// Reads an object.
    pub(super) fn read(&self, name: &str) -> Result<Box<dyn Read + '_>, BackupError> {
        match self {
            Self::Directory(root) => {
                let path = root.join(name);
                match File::open(&path) {
                    Ok(file) => Ok(Box::new(file)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        Err(BackupError::Missing(name.to_owned()))
                    }
                    Err(error) => Err(BackupError::io(&path)(error)),
                }
            }
            Self::Bucket(bucket) => Ok(bucket.read(name)?),
        }
    }

    /// The names in a folder, in order.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<String>, BackupError> {
        let mut names = match self {
            Self::Directory(root) => names_in(&root.join(folder), folder)?,
            Self::Bucket(bucket) => bucket.list(folder)?,
        };
        names.sort();
        Ok(names)
    }
}

fn names_in(directory: &Path, folder: &str) -> Result<Vec<String>, BackupError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(BackupError::io(directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(BackupError::io(directory))?;
        names.push(format!("{folder}/{}", entry.file_name().to_string_lossy()));
    }
    Ok(names)
}

/// Makes a directory that only its owner may enter, with its parents.
pub(super) fn private_directory(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(BackupError::io(path))
}

/// Makes a directory afresh: what an interrupted run left in it is removed.
pub(super) fn fresh_directory(path: &Path) -> Result<(), BackupError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(BackupError::io(path)(error));
        }
        Ok(()) | Err(_) => {}
    }
    private_directory(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(BackupError::io(path))
}
