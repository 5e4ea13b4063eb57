//! Cosignatures after C2SP `tlog-cosignature`, version 1: a witness says that it holds a checkpoint, since when, and
//! that it held none that is newer.

use std::fmt;
use std::path::Path;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;

use super::key_text::{PublicKey, SecretKey};
use super::keys::KeyError;
use super::note::{NoteError, SIGNATURE_PREFIX, signature_line, split};

pub(super) const ALGORITHM_COSIGNATURE: u8 = 0x04;

/// What is signed.
fn statement(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

/// The public half of a [`CosigningKey`].
#[derive(Clone, PartialEq, Eq)]
pub struct CosignerKey(PublicKey);

impl fmt::Display for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text())
    }
}

impl fmt::Debug for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl CosignerKey {
    /// The witness's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Reads the key from a `.pub` file.
    ///
    /// # Errors
    /// [`KeyError::Io`] or [`KeyError::Malformed`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        PublicKey::read(path, ALGORITHM_COSIGNATURE).map(Self)
    }

    /// Checks that one of `lines` is this witness's cosignature of the note, and says since when it holds it.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn check(&self, note: &str, lines: &str) -> Result<Timestamp, NoteError> {
        let (text, _) = split(note)?;
        for line in lines.lines() {
            let (name, blob) = signature_line(line)?;
            let Some((hash, rest)) = blob.split_first_chunk::<4>() else {
                return Err(NoteError::Malformed("a signature without a key hash"));
            };
            if name != self.0.name || *hash != self.0.hash {
                continue;
            }
            let Some((seconds, signature)) = rest.split_first_chunk::<8>() else {
                return Err(NoteError::Malformed("a cosignature without a time"));
            };
            let seconds = u64::from_be_bytes(*seconds);
            UnparsedPublicKey::new(&ED25519, &self.0.key)
                .verify(statement(text, seconds).as_bytes(), signature)
                .ok()
                .ok_or_else(|| NoteError::BadSignature(self.0.name.clone()))?;
            return i64::try_from(seconds)
                .ok()
                .and_then(|seconds| Timestamp::from_second(seconds).ok())
                .ok_or(NoteError::Malformed("the time of a cosignature"));
        }
        Err(NoteError::OtherKey(self.0.name.clone()))
    }
}

/// The key by which a witness says what it holds.
pub struct CosigningKey {
    key: SecretKey,
    verifier: CosignerKey,
}

impl fmt::Debug for CosigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosigningKey")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

impl From<SecretKey> for CosigningKey {
    fn from(key: SecretKey) -> Self {
        Self {
            verifier: CosignerKey(key.public().clone()),
            key,
        }
    }
}

impl CosigningKey {
    /// A new key; `name` should be a schema-less URL that the hospital owns, for example `witness.hospital.example`.
    ///
    /// # Errors
    /// [`KeyError::Name`] or [`KeyError::Crypt`].
    pub fn generate(name: &str) -> Result<Self, KeyError> {
        SecretKey::generate(name, ALGORITHM_COSIGNATURE).map(Self::from)
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &CosignerKey {
        &self.verifier
    }

    /// Writes the private key to a new file that only the owner can read, and the public key to a second one that
    /// everyone may.
    ///
    /// # Errors
    /// [`KeyError::Io`]; existing files are never overwritten.
    pub fn write(&self, private: &Path, public: &Path) -> Result<(), KeyError> {
        self.key.write(private, public)
    }

    /// Reads the private key from its file.
    ///
    /// # Errors
    /// [`KeyError::Exposed`] where others may read it, [`KeyError::Malformed`], [`KeyError::Io`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        SecretKey::read(path, ALGORITHM_COSIGNATURE).map(Self::from)
    }

    /// The line, with its end, that says of this note that the witness holds it since `time`.
    ///
    /// # Errors
    /// [`NoteError::Malformed`], where it is no note.
    pub fn cosign(&self, note: &str, time: Timestamp) -> Result<String, NoteError> {
        let (text, _) = split(note)?;
        let seconds = u64::try_from(time.as_second()).unwrap_or_default();
        let mut blob = self.verifier.0.hash.to_vec();
        blob.extend_from_slice(&seconds.to_be_bytes());
        let signed = self.key.pair.sign(statement(text, seconds).as_bytes());
        blob.extend_from_slice(signed.as_ref());
        Ok(format!(
            "{SIGNATURE_PREFIX}{} {}\n",
            self.verifier.name(),
            BASE64.encode(blob)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::log::SigningKey;

    #[test]
    fn a_cosignature_is_of_one_note_one_time_and_one_witness() {
        let log = SigningKey::generate("hospital.example/gw").unwrap();
        let (one, other) = (
            CosigningKey::generate("witness.example").unwrap(),
            CosigningKey::generate("witness.example").unwrap(),
        );
        let (note, second) = (log.sign("gw\n7\n"), log.sign("gw\n8\n"));
        let time: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        let line = one.cosign(&note, time).unwrap();
        assert_eq!(one.verifier().check(&note, &line), Ok(time));
        // Among lines of others, and of the log.
        let lines = format!("{}{line}", other.cosign(&note, time).unwrap());
        assert_eq!(one.verifier().check(&note, &lines), Ok(time));
        assert!(matches!(
            one.verifier().check(&second, &line),
            Err(NoteError::BadSignature(_))
        ));
        let others = other.verifier().check(&note, &line);
        assert!(matches!(others, Err(NoteError::OtherKey(_))));
        // With it, the note is still the log's, and nothing else.
        let whole = format!("{note}{line}");
        assert_eq!(log.verifier().open(&whole), Ok("gw\n7\n"));
        assert_eq!(log.verifier().own(&whole), Ok(note));
    }

    #[test]
    fn a_key_survives_its_files_and_is_no_key_of_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (dir.path().join("k"), dir.path().join("k.pub"));
        let key = CosigningKey::generate("witness.example").unwrap();
        key.write(&private, &public).unwrap();
        let read = CosigningKey::read(&private).unwrap();
        assert_eq!(read.verifier(), key.verifier());
        assert_eq!(&CosignerKey::read(&public).unwrap(), key.verifier());
        assert!(SigningKey::read(&private).is_err());
        let said = crate::audit::log::VerifierKey::read(&public).unwrap_err();
        assert!(
            said.to_string()
                .ends_with("is not a trail's verifier key (but a witness's) file"),
            "{said}"
        );
    }
}
