//! Key files, and what seals them. `[keys]`

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::secret::Secret;

/// A file with a symmetric key, and what it is sealed by.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
    home: Option<Arc<KeyHome>>,
}

impl KeyFile {
    /// The same file, sealed by `home`, or in clear.
    #[must_use]
    pub fn sealed_by(self, home: Option<Arc<KeyHome>>) -> Self {
        Self { home, ..self }
    }

    /// What seals it; nothing where it lies in clear.
    #[must_use]
    pub fn home(&self) -> Option<&KeyHome> {
        self.home.as_deref()
    }
}

impl Deref for KeyFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for KeyFile {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl PartialEq for KeyFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl From<PathBuf> for KeyFile {
    fn from(path: PathBuf) -> Self {
        Self { path, home: None }
    }
}

impl From<&str> for KeyFile {
    fn from(path: &str) -> Self {
        PathBuf::from(path).into()
    }
}

impl From<&PathBuf> for KeyFile {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<&Path> for KeyFile {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<&Self> for KeyFile {
    fn from(file: &Self) -> Self {
        file.clone()
    }
}

/// Where the key lies that seals key files.
#[derive(Debug)]
pub enum KeyHome {
    /// A key management service.
    Kms(Kms),
    /// A hardware security module.
    #[cfg(feature = "pkcs11")]
    Token(Token),
}

impl fmt::Display for KeyHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kms(kms) => write!(f, "kms {}", kms.key_id),
            #[cfg(feature = "pkcs11")]
            Self::Token(token) => write!(f, "pkcs11 {}/{}", token.token, token.key),
        }
    }
}

/// A key of a service that speaks the AWS KMS API. `[keys.kms]`
#[derive(Debug)]
pub struct Kms {
    /// The service.
    pub endpoint: url::Url,
    /// The region that requests are signed for.
    pub region: String,
    /// The key: an ARN, an id or an alias (`alias/chartgate`).
    pub key_id: String,
    /// The account.
    pub access_key_id: String,
    /// Its secret, read from the named file.
    pub secret_access_key: Secret<String>,
    /// Private CA of the service, PEM; else the system's roots.
    pub ca: Option<PathBuf>,
}

/// A key of a PKCS #11 token. `[keys.pkcs11]`
#[cfg(feature = "pkcs11")]
#[derive(Debug)]
pub struct Token {
    /// The library of its manufacturer.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// The label of an AES-256 key on it.
    pub key: String,
    /// The PIN of its user, read from the named file.
    pub pin: Secret<String>,
}
