//! The master key: its file, its recovery wrap, and the wrapping of data keys.
//!
//! *Owns*: the formats of `master.key` and `master.recovery`.
//! *Never*: writes a key where anyone but the owner can read it, overwrites a key file, or shows a
//! key; the recovery code is returned once, at generation.
//! *On failure*: refuses; a key file that others can read is treated as lost, not as usable.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::{Zeroize, Zeroizing};

use super::code::RecoveryCode;
use super::crypt::{self, CryptError};
use crate::config::secrets;
use crate::secret::Secret;

const MASTER_HEADER: &str = "chartgate-master-key-v1";
const RECOVERY_HEADER: &str = "chartgate-master-recovery-v1";
const KEY_ID_DOMAIN: &[u8] = b"chartgate/audit/master-key-id/v1\0";
const RECOVERY_DOMAIN: &[u8] = b"chartgate/audit/master-recovery/v1\0";
/// Key files are a few lines; anything longer is not one.
const KEY_FILE_LIMIT: u64 = 4096;

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
    /// The recovery code has a typing error.
    #[error("the recovery code is not valid: {0}")]
    Code(&'static str),
    /// A key name breaks the signed-note rules.
    #[error("the key name {0:?} must be non-empty, without spaces, plus signs or line breaks")]
    Name(String),
}

/// Names a master key without saying anything about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key under which every segment's data key is wrapped.
#[derive(Debug)]
pub struct MasterKey {
    key: Secret<[u8; 32]>,
    id: KeyId,
}

impl MasterKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`KeyError::Crypt`] where the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let bytes = crypt::random().map_err(|source| KeyError::Crypt {
            what: "generating the master key",
            source,
        })?;
        Ok(Self::from_bytes(bytes))
    }

    fn from_bytes(bytes: [u8; 32]) -> Self {
        let digest = crypt::sha256(&[KEY_ID_DOMAIN, &bytes]);
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(digest.as_bytes()) {
            *to = *from;
        }
        Self {
            key: Secret::new(bytes),
            id: KeyId(id),
        }
    }

    /// The key's public name, as segment headers carry it.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// What other owners derive keys of their own from, each under its own domain.
    #[must_use]
    pub fn derive_input(&self) -> Secret<Vec<u8>> {
        Secret::new(self.key.expose().to_vec())
    }

    /// Writes the key to a new file that only the owner can read.
    ///
    /// # Errors
    /// [`KeyError::Io`]; an existing file is never overwritten.
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        let mut text = Zeroizing::new(format!("{MASTER_HEADER}\n"));
        BASE64.encode_string(self.key.expose(), &mut text);
        text.push('\n');
        write_private(path, text.as_bytes())
    }

    /// Reads the key from its file.
    ///
    /// # Errors
    /// [`KeyError::Exposed`] where others may read it, [`KeyError::Malformed`], [`KeyError::Io`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = read_private(path)?;
        let bytes = text
            .strip_prefix(MASTER_HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .and_then(|rest| decode_key(rest.trim_end()));
        bytes.map(Self::from_bytes).ok_or(KeyError::Malformed {
            path: path.to_owned(),
            expected: MASTER_HEADER,
        })
    }

    /// Seals the key under a new recovery code, writes `master.recovery`, and returns the code,
    /// which nothing keeps: show it once and have it put on paper.
    ///
    /// # Errors
    /// [`KeyError::Io`]; an existing file is never overwritten.
    pub fn write_recovery(&self, path: &Path) -> Result<RecoveryCode, KeyError> {
        let failed = |source| KeyError::Crypt {
            what: "sealing the master key",
            source,
        };
        let code = RecoveryCode::generate()?;
        let salt = crypt::random::<16>().map_err(failed)?;
        let key = crypt::derive(&salt, code.expose(), RECOVERY_DOMAIN).map_err(failed)?;
        let aad = recovery_aad(self.id);
        let sealed = crypt::seal(key.expose(), &aad, self.key.expose()).map_err(failed)?;
        let text = format!(
            "{RECOVERY_HEADER}\n{}\n{}\n{}\n",
            self.id,
            BASE64.encode(salt),
            BASE64.encode(sealed)
        );
        write_private(path, text.as_bytes())?;
        Ok(code)
    }

    /// Gets the master key back from its recovery file and the code on paper.
    ///
    /// # Errors
    /// [`KeyError::Crypt`] for a code that belongs to another key; [`KeyError::Malformed`].
    pub fn recover(path: &Path, code: &RecoveryCode) -> Result<Self, KeyError> {
        let text = read_limited(path)?;
        let malformed = || KeyError::Malformed {
            path: path.to_owned(),
            expected: RECOVERY_HEADER,
        };
        let mut lines = text.lines();
        let (Some(RECOVERY_HEADER), Some(id), Some(salt), Some(sealed)) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed());
        };
        let mut id_bytes = [0; 8];
        hex::decode_to_slice(id, &mut id_bytes)
            .ok()
            .ok_or_else(malformed)?;
        let salt = BASE64.decode(salt).ok().ok_or_else(malformed)?;
        let sealed = BASE64.decode(sealed).ok().ok_or_else(malformed)?;
        let failed = |source| KeyError::Crypt {
            what: "opening the recovery file with this code",
            source,
        };
        let key = crypt::derive(&salt, code.expose(), RECOVERY_DOMAIN).map_err(failed)?;
        let aad = recovery_aad(KeyId(id_bytes));
        let plain = crypt::open(key.expose(), &aad, &sealed).map_err(failed)?;
        let bytes = <[u8; 32]>::try_from(plain.expose().as_slice())
            .ok()
            .ok_or_else(malformed)?;
        Ok(Self::from_bytes(bytes))
    }

    /// Wraps a segment's data key; `aad` binds it to the header it stands in.
    pub(super) fn wrap(&self, aad: &[u8], data_key: &[u8; 32]) -> Result<Vec<u8>, CryptError> {
        crypt::seal(self.key.expose(), aad, data_key)
    }

    /// Unwraps what [`Self::wrap`] made.
    pub(super) fn unwrap(
        &self,
        aad: &[u8],
        wrapped: &[u8],
    ) -> Result<Secret<[u8; 32]>, CryptError> {
        let plain = crypt::open(self.key.expose(), aad, wrapped)?;
        let bytes = <[u8; 32]>::try_from(plain.expose().as_slice());
        Ok(Secret::new(bytes.ok().ok_or(CryptError)?))
    }
}

fn recovery_aad(id: KeyId) -> Vec<u8> {
    let mut aad = RECOVERY_DOMAIN.to_vec();
    aad.extend_from_slice(&id.0);
    aad
}

fn decode_key(text: &str) -> Option<[u8; 32]> {
    let mut bytes = BASE64.decode(text).ok()?;
    let key = <[u8; 32]>::try_from(bytes.as_slice()).ok();
    bytes.zeroize();
    key
}

/// Writes a new file with mode 0600 and makes it durable.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    write_new(path, bytes, 0o600)
}

/// Writes a new file that everyone may read and makes it durable.
pub(super) fn write_public(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    write_new(path, bytes, 0o644)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|source| KeyError::Io {
            path: path.to_owned(),
            source,
        })
}

fn read_limited(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(KEY_FILE_LIMIT).read_to_string(&mut text))
        .map_err(|source| KeyError::Io {
            path: path.to_owned(),
            source,
        })?;
    Ok(text)
}

/// Reads a file that others than its owner cannot read or write.
pub(super) fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let io_error = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    // SECURITY: the mode is taken from the opened file, so that the name cannot be swapped
    // between the check and the reading.
    let file = std::fs::File::open(path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    if secrets::is_exposed(&metadata) {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode: metadata.mode() & 0o777,
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(KEY_FILE_LIMIT)
        .read_to_string(&mut text)
        .map_err(io_error)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let key = MasterKey::generate().unwrap();
        key.write(&path).unwrap();
        let read = MasterKey::read(&path).unwrap();
        assert_eq!(read.id(), key.id());
        assert_eq!(read.key.expose(), key.key.expose());
        assert!(matches!(key.write(&path), Err(KeyError::Io { .. })));
        assert_eq!(format!("{:?}", key.key), "[redacted]");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        MasterKey::generate().unwrap().write(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = MasterKey::read(&path).unwrap_err();
            assert!(matches!(refused, KeyError::Exposed { mode: found, .. } if found == mode));
        }
    }

    #[test]
    fn anything_else_is_not_a_key() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("empty", ""),
            ("header", "chartgate-master-key-v1\n"),
            ("short", "chartgate-master-key-v1\nAAAA\n"),
            ("other", "chartgate-master-recovery-v1\nAAAA\n"),
        ] {
            let path = dir.path().join(name);
            write_private(&path, text.as_bytes()).unwrap();
            let refused = MasterKey::read(&path).unwrap_err();
            assert!(
                matches!(refused, KeyError::Malformed { .. }),
                "{name}: {refused}"
            );
        }
    }

    #[test]
    fn the_recovery_code_brings_the_key_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.recovery");
        let key = MasterKey::generate().unwrap();
        let code = key.write_recovery(&path).unwrap();
        let typed = RecoveryCode::parse(&code.reveal().to_lowercase().replace('-', " ")).unwrap();
        let recovered = MasterKey::recover(&path, &typed).unwrap();
        assert_eq!(recovered.key.expose(), key.key.expose());

        let other = RecoveryCode::generate().unwrap();
        let refused = MasterKey::recover(&path, &other).unwrap_err();
        assert!(matches!(refused, KeyError::Crypt { .. }));
    }
}
