//! The master key: its file, its recovery wrap, and the wrapping of data keys.
//!
//! A key that was rotated stays in its file behind the new one: what it sealed must still open.
//!
//! *Owns*: the files `master.key` and `master.recovery`.
//! *Never*: writes a key where anyone but the owner can read it, overwrites a key file, or shows a
//! key; the recovery code is returned once, at generation.
//! *On failure*: refuses; a key file that others can read is treated as lost, not as usable.

mod error;
mod file;
mod recovery;
mod sealed;
#[cfg(test)]
mod tests;
mod text;
#[cfg(feature = "pkcs11")]
mod token;

use std::fmt;
use std::io;

use jiff::Timestamp;

pub use self::error::KeyError;
use self::file::replace_private;
pub(super) use self::file::{read_private, write_private, write_public};
use super::crypt::{self, CryptError};
use crate::config::keys::KeyFile;
use crate::secret::Secret;

const KEY_ID_DOMAIN: &[u8] = b"chartgate/audit/master-key-id/v1\0";
/// The most keys of one file: a rotation each month for twenty years.
const MOST_KEYS: usize = 240;
const KEY_BYTES: usize = 32;

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
