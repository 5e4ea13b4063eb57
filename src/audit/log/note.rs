//! Signed notes after C2SP `signed-note`: a text and Ed25519 signatures under named keys.

use std::fmt;
use std::path::Path;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::key_text::{PublicKey, SecretKey};
use super::keys::KeyError;

pub(super) const ALGORITHM_ED25519: u8 = 0x01;
const SIGNATURE_BYTES: usize = 64;
pub(super) const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Why a note is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is not a signed note.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// No signature is by the key that was asked for.
    #[error("not signed by {0}")]
    OtherKey(String),
    /// A signature claims the key but does not fit the text.
    #[error("the signature of {0} does not fit the text")]
    BadSignature(String),
}

/// The public half of a [`SigningKey`], which anyone may have.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey(PublicKey);

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text())
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        PublicKey::parse(text, ALGORITHM_ED25519).map(Self)
    }
}

impl VerifierKey {
    /// The key's name, which is also the origin line of its checkpoints.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Reads the key from a `.pub` file.
    ///
    /// # Errors
    /// [`KeyError::Io`] or [`KeyError::Malformed`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        PublicKey::read(path, ALGORITHM_ED25519).map(Self)
    }

    /// Checks a note's signature and returns its text, which ends in a line break.
    ///
    /// # Errors
    /// [`NoteError`]; signatures by other keys are ignored, as the specification demands.
    pub fn open<'n>(&self, note: &'n str) -> Result<&'n str, NoteError> {
        self.signed(note).map(|(text, _)| text)
    }

    /// The note without the signatures of others: its text, checked, and the line by this key.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn own(&self, note: &str) -> Result<String, NoteError> {
        self.signed(note)
            .map(|(text, line)| format!("{text}\n{line}\n"))
    }

    fn signed<'n>(&self, note: &'n str) -> Result<(&'n str, &'n str), NoteError> {
        let (text, signatures) = split(note)?;
        for line in signatures.lines() {
            let (name, blob) = signature_line(line)?;
            let Some((hash, signature)) = blob.split_first_chunk::<4>() else {
                return Err(NoteError::Malformed("a signature without a key hash"));
            };
            if name != self.0.name || *hash != self.0.hash {
                continue;
            }
            if signature.len() != SIGNATURE_BYTES {
                return Err(NoteError::Malformed("a signature of a wrong length"));
            }
            return UnparsedPublicKey::new(&ED25519, &self.0.key)
                .verify(text.as_bytes(), signature)
                .map(|()| (text, line))
                .ok()
                .ok_or_else(|| NoteError::BadSignature(self.0.name.clone()));
        }
        Err(NoteError::OtherKey(self.0.name.clone()))
    }
}

/// Splits a note into its text (with the final line break) and its signature lines.
pub(super) fn split(note: &str) -> Result<(&str, &str), NoteError> {
    let at = note
        .rfind("\n\n")
        .ok_or(NoteError::Malformed("no blank line before the signatures"))?;
    let (text, signatures) = note
        .split_at_checked(at.saturating_add(1))
        .ok_or(NoteError::Malformed("no text"))?;
    let signatures = signatures.strip_prefix('\n').unwrap_or(signatures);
    if !signatures.ends_with('\n') {
        return Err(NoteError::Malformed("the last line does not end"));
    }
    Ok((text, signatures))
}

pub(super) fn signature_line(line: &str) -> Result<(&str, Vec<u8>), NoteError> {
    let (name, blob) = line
        .strip_prefix(SIGNATURE_PREFIX)
        .and_then(|rest| rest.split_once(' '))
        .ok_or(NoteError::Malformed("a line that is no signature"))?;
    let blob = BASE64
        .decode(blob)
        .ok()
        .ok_or(NoteError::Malformed("a signature that is not base64"))?;
    Ok((name, blob))
}

/// The key that signs checkpoints.
pub struct SigningKey {
    key: SecretKey,
    verifier: VerifierKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

impl From<SecretKey> for SigningKey {
    fn from(key: SecretKey) -> Self {
        Self {
            verifier: VerifierKey(key.public().clone()),
            key,
        }
    }
}

impl SigningKey {
    /// A new key; `name` should be a schema-less URL that the hospital owns and no other log
    /// uses, for example `audit.hospital.example/gateway-1`.
    ///
    /// # Errors
    /// [`KeyError::Name`] or [`KeyError::Crypt`].
    pub fn generate(name: &str) -> Result<Self, KeyError> {
        SecretKey::generate(name, ALGORITHM_ED25519).map(Self::from)
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Writes the private key to a new file that only the owner can read, and the public key to
    /// a second one that everyone may.
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
        SecretKey::read(path, ALGORITHM_ED25519).map(Self::from)
    }

    /// Signs a statement that is no checkpoint: `kind` is its first line, and MUST not be a key's name; `text` ends in
    /// a line break.
    #[must_use]
    pub fn sign_statement(&self, kind: &str, text: &str) -> String {
        self.sign(&format!("{kind}\n{text}"))
    }

    /// Signs a text that ends in a line break. Its first line must say what kind of statement it is, so that none is
    /// ever taken for one of another kind.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let mut blob = self.verifier.0.hash.to_vec();
        blob.extend_from_slice(self.key.pair.sign(text.as_bytes()).as_ref());
        format!(
            "{text}\n{SIGNATURE_PREFIX}{} {}\n",
            self.verifier.name(),
            BASE64.encode(blob)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::log::keys::write_private;

    /// The example key and note of Go's `golang.org/x/mod/sumdb/note` package documentation.
    const GO_SIGNER: &str =
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const GO_VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn notes_of_another_implementation_are_understood() {
        let verifier: VerifierKey = GO_VERIFIER.parse().unwrap();
        let text = verifier.open(GO_NOTE).unwrap();
        assert!(text.ends_with("what your problem is.\n"));
        assert_eq!(verifier.to_string(), GO_VERIFIER);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signing.key");
        write_private(&path, GO_SIGNER.as_bytes()).unwrap();
        let signer = SigningKey::read(&path).unwrap();
        assert_eq!(signer.verifier(), &verifier);
        assert_eq!(signer.sign(text), GO_NOTE);
    }

    #[test]
    fn every_altered_character_is_noticed() {
        let verifier: VerifierKey = GO_VERIFIER.parse().unwrap();
        for at in 0..GO_NOTE.len() {
            let mut bytes = GO_NOTE.as_bytes().to_vec();
            bytes[at] ^= 1;
            if let Ok(note) = String::from_utf8(bytes) {
                assert!(verifier.open(&note).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_key_survives_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (dir.path().join("k"), dir.path().join("k.pub"));
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        key.write(&private, &public).unwrap();
        let read = SigningKey::read(&private).unwrap();
        assert_eq!(read.verifier(), key.verifier());
        assert_eq!(&VerifierKey::read(&public).unwrap(), key.verifier());
        let note = read.sign("text\n");
        assert_eq!(key.verifier().open(&note), Ok("text\n"));
    }

    #[test]
    fn names_that_break_the_format_are_refused() {
        for name in ["", "a b", "a+b", "a\nb"] {
            assert!(
                matches!(SigningKey::generate(name), Err(KeyError::Name(_))),
                "{name:?}"
            );
        }
    }
}
