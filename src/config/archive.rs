//! Where ended segments of the trail and its checkpoints are archived.

use std::path::PathBuf;
use std::time::Duration;

use super::S3Target;

/// The archive of the trail. `[audit.archive]`
#[derive(Debug, Clone)]
pub struct Archive {
    /// Where it lies.
    pub target: ArchiveTarget,
    /// For how long nobody may remove what is there. Default: as long as the trail is kept.
    pub lock: ArchiveLock,
    /// How often it is brought up to date. Default 1 h.
    pub every: Duration,
}

/// Where an archive lies. `audit.archive.directory`, `audit.archive.s3`
#[derive(Debug, Clone)]
pub enum ArchiveTarget {
    /// A directory.
    Directory(PathBuf),
    /// A bucket with Object Lock, of an S3-compatible store.
    S3(Box<S3Target>),
}

/// For how long nobody may remove an archived object. `audit.archive.lock`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveLock {
    /// `audit.retention_years` calendar years after the newest record in it.
    Retention,
    /// So many calendar years after the newest record in it.
    Years(u16),
}

impl ArchiveTarget {
    /// Its name for a person, and for what is remembered about it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::S3(s3) => format!(
                "{}/{}/{}",
                s3.endpoint.as_str().trim_end_matches('/'),
                s3.bucket,
                s3.prefix
            ),
        }
    }
}
