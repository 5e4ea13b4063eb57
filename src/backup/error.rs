//! Why a backup could not be made, read or restored.

use std::io;
use std::path::{Path, PathBuf};

use super::seal::SealError;
use crate::audit::log::{KeyError, LogError};
use crate::outbound::s3::S3Error;
use crate::store::StoreError;

/// Why a backup could not be made, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file.
    #[error("`{path}`: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The trail.
    #[error("the trail: {0}")]
    Log(#[from] LogError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that is stored does not open.
    #[error("{name}: {source}")]
    Sealed {
        /// Its name at the target.
        name: String,
        /// What is wrong with it.
        source: SealError,
    },
    /// Something that is stored is not what the manifest says, or a manifest is not what it must be.
    #[error("{name}: {problem}")]
    Altered {
        /// Its name at the target.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something is not at the target.
    #[error("{0} is missing at the target")]
    Missing(String),
    /// A source of the operator's.
    #[error("source {name}: {reason}")]
    Source {
        /// Its name.
        name: String,
        /// Why it could not be saved.
        reason: String,
    },
    /// The object store.
    #[error(transparent)]
    Bucket(#[from] S3Error),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(String),
}

impl BackupError {
    /// A failure at a file.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Something stored that is wrong.
    pub(super) fn altered(name: &str, problem: impl Into<String>) -> Self {
        Self::Altered {
            name: name.to_owned(),
            problem: problem.into(),
        }
    }
}
