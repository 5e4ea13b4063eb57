//! Why the trail could not be archived, or an archive not be read.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::audit::hold::HoldError;
use crate::audit::log::{KeyError, LogError};
use crate::audit::retention::RetentionError;
use crate::audit::trail::AuditError;
use crate::outbound::s3::S3Error;
use crate::store::StoreError;

/// Why the trail could not be archived, or an archive not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file.
    #[error("`{path}`: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The trail.
    #[error("the trail: {0}")]
    Log(#[from] LogError),
    /// The records of a segment.
    #[error("the trail: {0}")]
    Records(#[from] RetentionError),
    /// The key of its checkpoints.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What is remembered of the archive.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Legal holds.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// It could not be put on record.
    #[error("it could not be put on record: {0}")]
    Audit(#[from] AuditError),
    /// There is no archive.
    #[error(
        "there is no archive at `{0}`: no such directory; is it mounted, and is the path the right one?"
    )]
    Absent(PathBuf),
    /// The object store.
    #[error(transparent)]
    Bucket(#[from] S3Error),
    /// What lies in the archive is not what was put there.
    #[error("{name}: {problem}")]
    Altered {
        /// Its name in the archive.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The store took an object and did not lock it.
    #[error(
        "{0}: the store does not say that it is locked in compliance mode until {1}: the bucket must be made with Object Lock, and the account may need s3:GetObjectRetention"
    )]
    Unlocked(String, Timestamp),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(String),
}

impl ArchiveError {
    /// A failure at a file.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Something archived that is wrong.
    pub(super) fn altered(name: &str, problem: impl Into<String>) -> Self {
        Self::Altered {
            name: name.to_owned(),
            problem: problem.into(),
        }
    }
}
