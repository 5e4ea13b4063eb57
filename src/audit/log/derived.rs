//! Keys for what is derived from the trail and can be made again (its index): wrapped by the master key as a segment's
//! key is, and good for nothing but that.
//!
//! *Owns*: how sheets are sealed and terms are hashed; beside [`super::crypt`] the only file that touches ciphers.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use uuid::Uuid;

use super::crypt::{self, CryptError, Head};
use super::keys::MasterKey;
use super::segment_key::SegmentKey;
use crate::secret::Secret;

const WRAP_DOMAIN: &[u8] = b"chartgate/audit/index-key/v1\0";
const SEGMENT_DOMAIN: &[u8] = b"chartgate/audit/index-segment/v1\0";
const TERM_DOMAIN: &[u8] = b"chartgate/audit/index-term/v1\0";
const SHEET_DOMAIN: &[u8] = b"chartgate/audit/index-sheet/v1\0";
const SUBJECT_DOMAIN: &[u8] = b"chartgate/audit/index-subject/v1\0";
/// Bytes that sealing adds to a block.
pub const SEAL_BYTES: usize = crypt::TAG_BYTES;

/// A random key of 256 bits.
#[derive(Debug)]
pub struct DerivedKey(Secret<[u8; 32]>);

impl DerivedKey {
    /// A new key.
    ///
    /// # Errors
    /// [`CryptError`] where the system has no randomness.
    pub fn generate() -> Result<Self, CryptError> {
        Ok(Self(Secret::new(crypt::random()?)))
    }

    /// The name of the master key, and this key wrapped by it (base64).
    ///
    /// # Errors
    /// [`CryptError`].
    pub fn wrap(&self, master: &MasterKey) -> Result<(String, String), CryptError> {
        let wrapped = master.wrap(WRAP_DOMAIN, self.0.expose())?;
        Ok((master.id().to_string(), BASE64.encode(wrapped)))
    }

    /// Unwraps what [`Self::wrap`] made.
    ///
    /// # Errors
    /// [`CryptError`] where no master key of the file fits.
    pub fn unwrap(master: &MasterKey, id: &str, wrapped: &str) -> Result<Self, CryptError> {
        let wrapped = BASE64.decode(wrapped).ok().ok_or(CryptError)?;
        Ok(Self(master.unwrap(id, WRAP_DOMAIN, &wrapped)?))
    }

    /// The key for what is derived from one segment, which needs that segment's own key.
    pub(super) fn bound(&self, own: &SegmentKey, segment: Uuid) -> Result<Self, CryptError> {
        Ok(Self(own.derive(SEGMENT_DOMAIN, &self.0, segment)?))
    }

    /// The key under which terms are hashed.
    ///
    /// # Errors
    /// [`CryptError`].
    pub fn terms(&self) -> Result<TermKey, CryptError> {
        let key = crypt::derive(&[], self.0.expose(), TERM_DOMAIN)?;
        Ok(TermKey(hmac::Key::new(hmac::HMAC_SHA256, key.expose())))
    }

    /// The key of one sheet, which has its own random salt.
    ///
    /// # Errors
    /// [`CryptError`].
    pub fn sheet(&self, salt: &[u8; 32]) -> Result<SheetKey, CryptError> {
        let key = crypt::derive(salt, self.0.expose(), SHEET_DOMAIN)?;
        let key = UnboundKey::new(&AES_256_GCM, key.expose())?;
        Ok(SheetKey(LessSafeKey::new(key)))
    }

    /// A salt for a new sheet.
    ///
    /// # Errors
    /// [`CryptError`] where the system has no randomness.
    pub fn salt() -> Result<[u8; 32], CryptError> {
        crypt::random()
    }
}

/// Hashes terms: without the key nothing can be told, or guessed, from a hash.
#[derive(Debug)]
pub struct TermKey(hmac::Key);

impl TermKey {
    /// The first 64 bits of HMAC-SHA256 over a kind and a text.
    #[must_use]
    pub fn hash(&self, kind: u8, text: &[u8]) -> u64 {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[kind]);
        context.update(text);
        let tag = context.sign();
        let first = tag.as_ref().first_chunk::<8>();
        first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

/// Seals the blocks of one sheet.
pub struct SheetKey(LessSafeKey);

impl std::fmt::Debug for SheetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SheetKey").finish_non_exhaustive()
    }
}

impl SheetKey {
    /// Seals a block in place.
    ///
    /// SECURITY: the nonce is the block's number. The key is derived with a salt that is random for each sheet, a sheet
    /// is written once and never again, and so no nonce meets a second plaintext under its key.
    ///
    /// # Errors
    /// [`CryptError`].
    pub fn seal(&self, number: u64, title: Head, block: &mut Vec<u8>) -> Result<(), CryptError> {
        let aad = Aad::from(*title.as_bytes());
        Ok(self.0.seal_in_place_append_tag(nonce(number), aad, block)?)
    }

    /// Opens a block in place.
    ///
    /// # Errors
    /// [`CryptError`] for one that was altered, or belongs elsewhere.
    pub fn open(&self, number: u64, title: Head, block: &mut Vec<u8>) -> Result<(), CryptError> {
        let aad = Aad::from(*title.as_bytes());
        let count = self.0.open_in_place(nonce(number), aad, block)?.len();
        block.truncate(count);
        Ok(())
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    for (to, from) in bytes.iter_mut().rev().zip(number.to_le_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

/// What names the subject of a sheet: SHA-256 over its parts.
#[must_use]
pub fn subject(parts: &[&[u8]]) -> Head {
    let parts: Vec<&[u8]> = std::iter::once(SUBJECT_DOMAIN)
        .chain(parts.iter().copied())
        .collect();
    crypt::sha256(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_wrap_and_from_no_other() {
        let master = MasterKey::generate().unwrap();
        let key = DerivedKey::generate().unwrap();
        let (id, wrapped) = key.wrap(&master).unwrap();
        let back = DerivedKey::unwrap(&master, &id, &wrapped).unwrap();
        let hash = |key: &DerivedKey| key.terms().unwrap().hash(1, b"4");
        assert_eq!(hash(&key), hash(&back));
        assert_ne!(hash(&key), hash(&DerivedKey::generate().unwrap()));
        let other = MasterKey::generate().unwrap();
        assert!(DerivedKey::unwrap(&other, &id, &wrapped).is_err());
        let master = master
            .succeeded("2026-11-30T00:00:00Z".parse().unwrap())
            .unwrap();
        assert!(DerivedKey::unwrap(&master, &id, &wrapped).is_ok());
    }

    #[test]
    fn a_block_opens_in_its_place_only() {
        let key = DerivedKey::generate().unwrap();
        let salt = DerivedKey::salt().unwrap();
        let (title, other) = (subject(&[b"a"]), subject(&[b"b"]));
        let sheet = key.sheet(&salt).unwrap();
        let mut block = b"plain".to_vec();
        sheet.seal(7, title, &mut block).unwrap();
        for (number, title) in [(8, title), (7, other)] {
            assert!(sheet.open(number, title, &mut block.clone()).is_err());
        }
        for bit in 0..block.len() * 8 {
            let mut altered = block.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(sheet.open(7, title, &mut altered).is_err());
        }
        key.sheet(&salt)
            .unwrap()
            .open(7, title, &mut block)
            .unwrap();
        assert_eq!(block, b"plain");
    }
}
