//! Why a key could not be read, written or used.

use std::io;
use std::path::PathBuf;

use crate::audit::log::crypt::CryptError;
use crate::outbound::kms::KmsError;

/// Why a key could not be read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A cryptographic step failed: wrong key or altered bytes.
    #[error("{what}: {source}")]
    Crypt {
        /// What was attempted.
        what: &'static str,
        /// The failure.
        source: CryptError,
    },
    /// The file could not be read or written.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The content is not what the format says.
    #[error("key file {path} is not a {expected} file")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The header that was expected.
        expected: &'static str,
    },
    /// Others than the owner may read the file.
    #[error(
        "key file {path} can be read or written by others than its owner (mode {mode:o}); \
         make it `chmod 600` after making sure that nobody copied it"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is sealed, and nothing is configured that opens it.
    #[error(
        "key file {path} is sealed by {by}, and the configuration does not say how to reach that: add `[keys.{section}]`"
    )]
    Homeless {
        /// The file.
        path: PathBuf,
        /// What sealed it.
        by: String,
        /// The section that is missing.
        section: &'static str,
    },
    /// It lies in clear, and must not.
    #[error(
        "key file {path} lies in clear, though `[keys]` says what seals it: stop the gateway and run `chartgate keys protect`"
    )]
    InClear {
        /// The file.
        path: PathBuf,
    },
    /// The key management service did not seal or open it.
    #[error("key file {path}: {source}")]
    Kms {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: KmsError,
    },
    /// The hardware security module did not seal or open it.
    #[error("key file {path}: the token: {problem}")]
    Token {
        /// The file.
        path: PathBuf,
        /// What happened.
        problem: String,
    },
    /// The recovery code has a typing error.
    #[error("the recovery code is not valid: {0}")]
    Code(&'static str),
    /// A key name breaks the signed-note rules.
    #[error("the key name {0:?} must be non-empty, without spaces, plus signs or line breaks")]
    Name(String),
}
