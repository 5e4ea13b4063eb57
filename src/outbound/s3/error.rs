//! Why a request to an object store failed.

use std::io;
use std::path::PathBuf;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The file to be sent.
    #[error("`{path}`: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No such object.
    #[error("{0} is missing at the target")]
    Missing(String),
    /// The store, or the way to it.
    #[error("the object store: {0}")]
    Remote(String),
}

pub(super) fn remote(error: impl std::fmt::Display) -> S3Error {
    S3Error::Remote(error.to_string())
}
