//! A target with the keys that open what lies there.

use std::io::Write;

use super::error::BackupError;
use super::manifest::{File, Link, Manifest};
use super::seal::{self, Digests, Keys, Kind};
use super::target::Target;
use crate::audit::log::{KeyError, MasterKey, SigningKey, VerifierKey};
use crate::clock::SharedClock;
use crate::config::{Backup, Config};
use crate::outbound::sigv4::sha256;

/// The most that a manifest may be.
const MANIFEST: usize = 256 * 1024 * 1024;

/// A target with the keys that open what lies there.
#[derive(Debug)]
pub struct Vault {
    /// Where backups lie.
    pub target: Target,
    /// What opens them.
    pub keys: Keys,
    /// Who signs their manifests.
    pub verifier: VerifierKey,
}

/// A manifest with what the next one says of it.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The manifest.
    pub manifest: Manifest,
    /// SHA-256 of its signed text, hex.
    pub digest: String,
}

impl Kept {
    pub(super) fn link(&self) -> Link {
        Link {
            id: self.manifest.id.clone(),
            digest: self.digest.clone(),
        }
    }
}

impl Vault {
    /// The vault of a configuration.
    ///
    /// # Errors
    /// [`BackupError`] where a key cannot be read or the target cannot be set up.
    pub fn of(config: &Config, backup: &Backup, clock: SharedClock) -> Result<Self, BackupError> {
        let signer: Result<SigningKey, KeyError> = SigningKey::read(&config.audit.signing_key);
        Ok(Self {
            target: Target::open(&backup.target, clock)?,
            keys: Keys::of(&MasterKey::read(&backup.key)?),
            verifier: signer?.verifier().clone(),
        })
    }

    /// The names of all backups, oldest first.
    ///
    /// # Errors
    /// [`BackupError`] where the target cannot be listed.
    pub fn ids(&self) -> Result<Vec<String>, BackupError> {
        let names = self.target.list("manifests")?;
        Ok(names
            .iter()
            .filter_map(|name| name.strip_prefix("manifests/"))
            .map(str::to_owned)
            .collect())
    }

    /// One backup; the newest, where none is named.
    ///
    /// # Errors
    /// [`BackupError`] where there is none, or its manifest is not what it must be.
    pub fn backup(&self, id: Option<&str>) -> Result<Kept, BackupError> {
        if let Some(id) = id {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if id.is_empty() || !id.chars().all(plain) {
                return Err(BackupError::Refused(format!(
                    "`{id}` is not the name of a backup"
                )));
            }
            return self.manifest(id);
        }
        let newest = self.ids()?.pop();
        let newest = newest
            .ok_or_else(|| BackupError::Refused("there is no backup at the target".to_owned()))?;
        self.manifest(&newest)
    }

    pub(super) fn manifest(&self, id: &str) -> Result<Kept, BackupError> {
        let name = Manifest::place(id);
        let mut text = Bounded(Vec::new());
        let from = self.target.read(&name)?;
        seal::open(&self.keys, Kind::Manifest, from, &mut text).map_err(|source| {
            BackupError::Sealed {
                name: name.clone(),
                source,
            }
        })?;
        let note = String::from_utf8(text.0)
            .map_err(|_utf8| BackupError::altered(&name, "it is not text"))?;
        Ok(Kept {
            manifest: Manifest::open(&name, &note, &self.verifier)?,
            digest: sha256(note.as_bytes()),
        })
    }

    /// Writes the content of a file, and proves that it is what the manifest says.
    pub(super) fn content(&self, file: &File, to: impl Write) -> Result<(), BackupError> {
        let from = self.target.read(&file.object)?;
        let found: Digests = seal::open(&self.keys, Kind::Object, from, to).map_err(|source| {
            BackupError::Sealed {
                name: file.object.clone(),
                source,
            }
        })?;
        if found == file.digests() {
            Ok(())
        } else {
            Err(BackupError::altered(
                &file.object,
                format!("it is not the content of {}", file.path),
            ))
        }
    }
}

/// A text that does not grow without bounds.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > MANIFEST {
            return Err(std::io::Error::other("a manifest is never that long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
