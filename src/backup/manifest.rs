//! What a backup consists of: signed by the trail's signing key, sealed like an object, and linked to the one before.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::BackupError;
use super::seal::Digests;
use crate::audit::log::{SigningKey, VerifierKey};

/// The first line of a signed manifest, so that no other statement of the key passes for one.
const STATEMENT: &str = "chartgate-backup-manifest-v1\n";

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name.
    pub id: String,
    /// Its place among the backups at this target, counted from 1.
    pub number: u64,
    /// When it was begun.
    pub time: Timestamp,
    /// The gateway that made it.
    pub node: String,
    /// The version of Chartgate that made it.
    pub version: String,
    /// The backup before.
    pub previous: Option<Link>,
    /// How far the trail in it goes.
    pub trail: TrailEnd,
    /// What is in it.
    pub files: Vec<File>,
    /// What of it could not be saved, for a person.
    pub problems: Vec<String>,
}

/// Which backup, and what its manifest said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its name.
    pub id: String,
    /// SHA-256 of its signed manifest, hex.
    pub digest: String,
}

/// How far the trail in a backup goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrailEnd {
    /// The newest record.
    pub sequence: u64,
    /// The chain value behind it.
    pub head: String,
    /// The newest checkpoint of the run at that time.
    pub checkpoint: Option<u64>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where it belongs, relative, with `/`.
    pub path: String,
    /// Where its content is stored at the target.
    pub object: String,
    /// Bytes in clear.
    pub size: u64,
    /// SHA-256 of them, hex.
    pub plain: String,
    /// Bytes as stored.
    pub sealed_size: u64,
    /// SHA-256 of them, hex.
    pub sealed: String,
}

impl File {
    /// A file whose content is stored as `object`.
    pub(super) fn new(path: String, object: String, digests: Digests) -> Self {
        Self {
            path,
            object,
            size: digests.size,
            plain: digests.plain,
            sealed_size: digests.sealed_size,
            sealed: digests.sealed,
        }
    }

    /// What its object must measure.
    pub(super) fn digests(&self) -> Digests {
        Digests {
            size: self.size,
            plain: self.plain.clone(),
            sealed_size: self.sealed_size,
            sealed: self.sealed.clone(),
        }
    }
}

impl Manifest {
    /// The name of the manifest `id` at the target.
    pub(super) fn place(id: &str) -> String {
        format!("manifests/{id}")
    }

    /// Bytes in clear of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// The signed text.
    pub(super) fn sign(&self, key: &SigningKey) -> Result<String, BackupError> {
        let json = serde_json::to_string(self)
            .map_err(|error| BackupError::altered(&self.id, error.to_string()))?;
        Ok(key.sign(&format!("{STATEMENT}{json}\n")))
    }

    /// Reads a signed text.
    pub(super) fn open(name: &str, note: &str, key: &VerifierKey) -> Result<Self, BackupError> {
        let text = key
            .open(note)
            .map_err(|error| BackupError::altered(name, error.to_string()))?;
        let json = text
            .strip_prefix(STATEMENT)
            .ok_or_else(|| BackupError::altered(name, "it is signed, but is not a manifest"))?;
        let manifest: Self = serde_json::from_str(json)
            .map_err(|error| BackupError::altered(name, error.to_string()))?;
        if Self::place(&manifest.id) == name {
            Ok(manifest)
        } else {
            let problem = format!("it is the manifest of {}", manifest.id);
            Err(BackupError::altered(name, problem))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::backup) fn empty(id: &str) -> Manifest {
        Manifest {
            id: id.to_owned(),
            number: 1,
            time: "2026-11-25T09:00:00Z".parse().unwrap(),
            node: "gw".to_owned(),
            version: "0".to_owned(),
            previous: None,
            trail: TrailEnd {
                sequence: 0,
                head: String::new(),
                checkpoint: None,
            },
            files: Vec::new(),
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_manifest_is_believed_under_its_own_name_and_signature_only() {
        let key = SigningKey::generate("gw/trail").unwrap();
        let note = empty("a").sign(&key).unwrap();
        let open = |name, note: &str, key: &SigningKey| Manifest::open(name, note, key.verifier());
        assert_eq!(open("manifests/a", &note, &key).unwrap(), empty("a"));
        assert!(open("manifests/b", &note, &key).is_err());
        assert!(open("manifests/a", &note.replace("\"gw\"", "\"xw\""), &key).is_err());
        let other = SigningKey::generate("gw/trail").unwrap();
        assert!(open("manifests/a", &note, &other).is_err());
        let json = serde_json::to_string(&empty("a")).unwrap();
        let foreign = key.sign(&format!("something-else\n{json}\n"));
        assert!(open("manifests/a", &foreign, &key).is_err());
    }
}
