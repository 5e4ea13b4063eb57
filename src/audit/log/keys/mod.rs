//! The master key: its file, its recovery wrap, and the wrapping of data keys.
//!
//! A key that was rotated stays in its file behind the new one: what it sealed must still open.
//!
//! *Owns*: the formats of `master.key` and `master.recovery`.
//! *Never*: writes a key where anyone but the owner can read it, overwrites a key file, or shows a
//! key; the recovery code is returned once, at generation.
//! *On failure*: refuses; a key file that others can read is treated as lost, not as usable.

mod file;
mod sealed;
#[cfg(feature = "pkcs11")]
mod token;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use zeroize::{Zeroize, Zeroizing};

use self::file::{read_limited, replace_private};
pub(super) use self::file::{read_private, write_private, write_public};
use super::code::RecoveryCode;
use super::crypt::{self, CryptError};
use crate::config::keys::KeyFile;
use crate::outbound::kms::KmsError;
use crate::secret::Secret;

/// One key, age unknown.
const MASTER_HEADER: &str = "chartgate-master-key-v1";
/// Keys with the time of their making, newest first.
const RING_HEADER: &str = "chartgate-master-key-v2";
/// One key.
const RECOVERY_HEADER: &str = "chartgate-master-recovery-v1";
/// Every key of the file, newest first.
const RING_RECOVERY_HEADER: &str = "chartgate-master-recovery-v2";
const KEY_ID_DOMAIN: &[u8] = b"chartgate/audit/master-key-id/v1\0";
const RECOVERY_DOMAIN: &[u8] = b"chartgate/audit/master-recovery/v1\0";
/// The most keys of one file: a rotation each month for twenty years.
const MOST_KEYS: usize = 240;
const KEY_BYTES: usize = 32;

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

/// The key under which every segment's data key is wrapped, with those that it succeeded.
#[derive(Debug)]
pub struct MasterKey {
    key: Secret<[u8; KEY_BYTES]>,
    id: KeyId,
    created: Option<Timestamp>,
    older: Vec<MasterKey>,
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
        Ok(Self::from_bytes(bytes, None))
    }

    fn from_bytes(bytes: [u8; KEY_BYTES], created: Option<Timestamp>) -> Self {
        let digest = crypt::sha256(&[KEY_ID_DOMAIN, &bytes]);
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(digest.as_bytes()) {
            *to = *from;
        }
        Self {
            key: Secret::new(bytes),
            id: KeyId(id),
            created,
            older: Vec::new(),
        }
    }

    /// A key of the first and the rest behind it; `None` of nothing.
    fn ring(keys: Vec<Self>) -> Option<Self> {
        if keys.len() > MOST_KEYS {
            return None;
        }
        let mut keys = keys.into_iter();
        let mut newest = keys.next()?;
        newest.older = keys.collect();
        Some(newest)
    }

    /// A new random key, made `now`, that seals from here on; `self` and what came before it still open.
    ///
    /// # Errors
    /// [`KeyError::Crypt`] where the system has no randomness.
    pub fn succeeded(mut self, now: Timestamp) -> Result<Self, KeyError> {
        let mut newest = Self::generate()?;
        newest.created = Some(now);
        let older = std::mem::take(&mut self.older);
        newest.older.push(self);
        newest.older.extend(older);
        Ok(newest)
    }

    /// The key's public name, as segment headers carry it.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// When the key was made, where its file says so.
    #[must_use]
    pub const fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// Every key of the file, newest first: the first one seals, all of them open.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.older)
    }

    /// Whether what the key of this name sealed can be opened.
    #[must_use]
    pub fn opens(&self, id: &str) -> bool {
        self.named(id).is_some()
    }

    fn named(&self, id: &str) -> Option<&Self> {
        self.all().find(|key| key.id.to_string() == id)
    }

    /// What other owners derive keys of their own from, each under its own domain.
    #[must_use]
    pub fn derive_input(&self) -> Secret<Vec<u8>> {
        Secret::new(self.key.expose().to_vec())
    }

    /// The same of every key of the file, newest first.
    #[must_use]
    pub fn derive_inputs(&self) -> Vec<Secret<Vec<u8>>> {
        self.all().map(Self::derive_input).collect()
    }

    /// Writes the key to a new file that only the owner can read.
    ///
    /// # Errors
    /// [`KeyError::Io`]; an existing file is never overwritten. [`KeyError::Kms`], [`KeyError::Token`] where what seals
    /// it did not.
    pub fn write(&self, file: impl Into<KeyFile>) -> Result<(), KeyError> {
        let file = file.into();
        write_private(&file, sealed::text(&file, self.file_text())?.as_bytes())
    }

    /// Puts the key in place of the file at `path`, all or nothing.
    ///
    /// # Errors
    /// [`KeyError::Io`]; the file is then what it was.
    pub fn replace(&self, file: impl Into<KeyFile>) -> Result<(), KeyError> {
        let file = file.into();
        if self.older.len() >= MOST_KEYS {
            let source = io::Error::other("it holds as many keys as a key file can");
            let path = file.to_path_buf();
            return Err(KeyError::Io { path, source });
        }
        replace_private(&file, sealed::text(&file, self.file_text())?.as_bytes())
    }

    fn file_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(256));
        if self.created.is_none() && self.older.is_empty() {
            text.push_str(MASTER_HEADER);
            text.push('\n');
            BASE64.encode_string(self.key.expose(), &mut text);
            text.push('\n');
            return text;
        }
        text.push_str(RING_HEADER);
        text.push('\n');
        for key in self.all() {
            BASE64.encode_string(key.key.expose(), &mut text);
            text.push(' ');
            match key.created {
                Some(created) => text.push_str(&created.to_string()),
                None => text.push('-'),
            }
            text.push('\n');
        }
        text
    }

    /// Reads the key from its file.
    ///
    /// # Errors
    /// [`KeyError::Exposed`] where others may read it, [`KeyError::InClear`] where it should be sealed and is not,
    /// [`KeyError::Homeless`] where it is the other way round; [`KeyError::Kms`], [`KeyError::Token`] where it is not
    /// opened; [`KeyError::Malformed`], [`KeyError::Io`].
    pub fn read(file: impl Into<KeyFile>) -> Result<Self, KeyError> {
        let file = file.into();
        let text = read_private(&file)?;
        if file.home().is_some() && !sealed::is_sealed(&text) {
            return Err(KeyError::InClear {
                path: file.to_path_buf(),
            });
        }
        Self::parse(&file, &sealed::opened(&file, text)?)
    }

    /// Reads a file that may lie in clear, or be sealed under another key of the same home, to seal it as configured.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_to_protect(file: &KeyFile) -> Result<Self, KeyError> {
        let text = read_private(file)?;
        Self::parse(file, &sealed::opened(file, text)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, KeyError> {
        let parsed = match text.split_once('\n') {
            Some((MASTER_HEADER, rest)) => {
                decode_key(rest.trim_end()).map(|bytes| Self::from_bytes(bytes, None))
            }
            Some((RING_HEADER, rest)) => {
                let keys: Option<Vec<Self>> = rest.lines().map(ring_line).collect();
                keys.and_then(Self::ring)
            }
            Some(_) | None => None,
        };
        parsed.ok_or(KeyError::Malformed {
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
        let code = RecoveryCode::generate()?;
        self.write_recovery_under(path, &code)?;
        Ok(code)
    }

    /// The same under a code that opens other keys too: one sheet of paper for all of them.
    ///
    /// # Errors
    /// [`KeyError::Io`]; an existing file is never overwritten.
    pub fn write_recovery_under(&self, path: &Path, code: &RecoveryCode) -> Result<(), KeyError> {
        write_private(path, self.recovery_text(code)?.as_bytes())
    }

    /// Puts a new recovery file in place of the one at `path`, all or nothing.
    ///
    /// # Errors
    /// [`KeyError::Io`]; the file is then what it was.
    pub fn replace_recovery(&self, path: &Path, code: &RecoveryCode) -> Result<(), KeyError> {
        replace_private(path, self.recovery_text(code)?.as_bytes())
    }

    fn recovery_text(&self, code: &RecoveryCode) -> Result<String, KeyError> {
        let failed = |source| KeyError::Crypt {
            what: "sealing the master key",
            source,
        };
        let salt = crypt::random::<16>().map_err(failed)?;
        let key = crypt::derive(&salt, code.expose(), RECOVERY_DOMAIN).map_err(failed)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(KEY_BYTES.saturating_mul(MOST_KEYS)));
        for key in self.all() {
            plain.extend_from_slice(key.key.expose());
        }
        let aad = recovery_aad(self.id);
        let sealed = crypt::seal(key.expose(), &aad, &plain).map_err(failed)?;
        let header = if self.older.is_empty() {
            RECOVERY_HEADER
        } else {
            RING_RECOVERY_HEADER
        };
        Ok(format!(
            "{header}\n{}\n{}\n{}\n",
            self.id,
            BASE64.encode(salt),
            BASE64.encode(sealed)
        ))
    }

    /// The name of the key that a recovery file brings back, without opening it.
    ///
    /// # Errors
    /// [`KeyError::Io`], [`KeyError::Malformed`].
    pub fn recovered_by(path: &Path) -> Result<String, KeyError> {
        let text = read_limited(path)?;
        let mut lines = text.lines();
        match (lines.next(), lines.next()) {
            (Some(RECOVERY_HEADER | RING_RECOVERY_HEADER), Some(id)) => Ok(id.to_owned()),
            _ => Err(KeyError::Malformed {
                path: path.to_owned(),
                expected: RECOVERY_HEADER,
            }),
        }
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
        let (Some(RECOVERY_HEADER | RING_RECOVERY_HEADER), Some(id), Some(salt), Some(sealed)) =
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
        let (keys, rest) = plain.expose().as_chunks::<KEY_BYTES>();
        let keys = keys.iter().map(|bytes| Self::from_bytes(*bytes, None));
        let ring = Self::ring(keys.collect()).filter(|_| rest.is_empty());
        ring.ok_or_else(malformed)
    }

    /// Wraps a segment's data key; `aad` binds it to the header it stands in.
    pub(super) fn wrap(&self, aad: &[u8], data_key: &[u8; 32]) -> Result<Vec<u8>, CryptError> {
        crypt::seal(self.key.expose(), aad, data_key)
    }

    /// Unwraps what [`Self::wrap`] of the key with the name `id` made.
    pub(super) fn unwrap(
        &self,
        id: &str,
        aad: &[u8],
        wrapped: &[u8],
    ) -> Result<Secret<[u8; 32]>, CryptError> {
        let key = self.named(id).ok_or(CryptError)?;
        let plain = crypt::open(key.key.expose(), aad, wrapped)?;
        let bytes = <[u8; 32]>::try_from(plain.expose().as_slice());
        Ok(Secret::new(bytes.ok().ok_or(CryptError)?))
    }
}

/// A line of a ring: a key and the time of its making.
fn ring_line(line: &str) -> Option<MasterKey> {
    let (key, created) = line.split_once(' ')?;
    let created = match created {
        "-" => None,
        time => Some(time.parse().ok()?),
    };
    decode_key(key).map(|bytes| MasterKey::from_bytes(bytes, created))
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
            ("no ring", "chartgate-master-key-v2\n"),
            ("no time", "chartgate-master-key-v2\nAAAA\n"),
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

    #[test]
    fn a_rotated_key_still_opens_and_comes_back_with_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, recovery) = (dir.path().join("master.key"), dir.path().join("m.recovery"));
        let old = MasterKey::generate().unwrap();
        old.write(&path).unwrap();
        old.write_recovery(&recovery).unwrap();
        let (old_id, wrapped) = (old.id().to_string(), old.wrap(b"aad", &[7; 32]).unwrap());

        let now = "2026-11-25T09:00:00Z".parse().unwrap();
        let new = old.succeeded(now).unwrap();
        assert_ne!(new.id().to_string(), old_id);
        let code = RecoveryCode::generate().unwrap();
        new.replace_recovery(&recovery, &code).unwrap();
        new.replace(&path).unwrap();
        let read = MasterKey::read(&path).unwrap();
        assert_eq!(read.created(), Some(now));
        let recovered = MasterKey::recover(&recovery, &code).unwrap();
        for ring in [read, recovered] {
            let ids: Vec<KeyId> = ring.all().map(MasterKey::id).collect();
            assert_eq!(ids, new.all().map(MasterKey::id).collect::<Vec<_>>());
            assert!(ring.opens(&old_id));
            let opened = ring.unwrap(&old_id, b"aad", &wrapped).unwrap();
            assert_eq!(opened.expose(), &[7; 32]);
            let id = ring.id().to_string();
            assert!(ring.unwrap(&id, b"aad", &wrapped).is_err());
        }
        assert_eq!(
            MasterKey::recovered_by(&recovery).unwrap(),
            new.id().to_string()
        );
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
