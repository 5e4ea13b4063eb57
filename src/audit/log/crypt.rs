//! Digests, key derivation and sealing: with `derived` the only file that touches ciphers.
//!
//! *Never*: keeps a key longer than its owner; a derived key is wiped after its one use.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, hkdf, hmac, rand};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroize;

use crate::secret::Secret;

/// Bytes that sealing adds to a payload.
pub(super) const TAG_BYTES: usize = 16;
const RECORD_KEY: &[u8] = b"chartgate/audit/record-key/v1\0";

/// A failed cryptographic operation: the wrong key, or bytes that were altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key does not fit or the bytes were altered")]
pub struct CryptError;

impl From<aws_lc_rs::error::Unspecified> for CryptError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self
    }
}

/// A SHA-256 value; a chain value says what every byte of the log up to one place was.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Head([u8; 32]);

impl Head {
    /// The head before the first segment.
    pub const ZERO: Self = Self([0; 32]);

    /// Takes 32 bytes as a value.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Head {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// SHA-256 over the concatenation of `parts`.
pub(super) fn sha256(parts: &[&[u8]]) -> Head {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Head(out)
}

/// SHA-256 over bytes that lie in one piece: quicker, and nothing is allocated.
pub(super) fn sha256_whole(bytes: &[u8]) -> Head {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    Head(out)
}

/// Random bytes from the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], CryptError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)?;
    Ok(bytes)
}

/// HKDF-SHA256 with a salt.
pub(super) fn derive(
    salt: &[u8],
    input: &[u8],
    info: &[u8],
) -> Result<Secret<[u8; 32]>, CryptError> {
    let mut out = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(input)
        .expand(&[info], &AES_256_GCM)?
        .fill(&mut out)?;
    Ok(Secret::new(out))
}

/// Seals `plain` under a long-lived key with a random nonce: nonce, ciphertext, tag.
pub(super) fn seal(key: &[u8; 32], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptError> {
    let nonce = random::<NONCE_LEN>()?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    let mut body = plain.to_vec();
    let sealed = key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(aad),
        &mut body,
    );
    if sealed.is_err() {
        body.zeroize();
        return Err(CryptError);
    }
    let mut out = nonce.to_vec();
    out.append(&mut body);
    Ok(out)
}

/// Opens what [`seal`] made.
pub(super) fn open(
    key: &[u8; 32],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Secret<Vec<u8>>, CryptError> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(CryptError)?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    let mut body = body.to_vec();
    let count = key
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(aad),
            &mut body,
        )?
        .len();
    body.truncate(count);
    Ok(Secret::new(body))
}

/// The random key of one segment, from which each record's own key is derived.
pub(super) struct DataKey {
    /// What HKDF-Expand has its HMAC under: prepared once, not for each record.
    prk: hmac::Key,
    segment: Uuid,
    start: Head,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").finish_non_exhaustive()
    }
}

impl DataKey {
    /// Binds key bytes to the segment whose chain starts at `start`.
    pub(super) fn new(bytes: &Secret<[u8; 32]>, segment: Uuid, start: Head) -> Self {
        Self {
            prk: hmac::Key::new(hmac::HMAC_SHA256, bytes.expose()),
            segment,
            start,
        }
    }

    fn record_key(&self, sequence: u64) -> Result<LessSafeKey, CryptError> {
        let key = self.disclosed_key(sequence)?;
        Ok(LessSafeKey::new(UnboundKey::new(
            &AES_256_GCM,
            key.expose(),
        )?))
    }

    /// The key of one record, to be given away with it: it opens that record and no other.
    ///
    /// HKDF-Expand of RFC 5869, section 2.3: as a key is as long as one HMAC, it is T(1).
    pub(super) fn disclosed_key(&self, sequence: u64) -> Result<Secret<[u8; 32]>, CryptError> {
        let mut info = [0; RECORD_KEY.len() + 16 + 8 + 1];
        let (domain, rest) = info.split_at_mut(RECORD_KEY.len());
        let (segment, rest) = rest.split_at_mut(16);
        let (number, counter) = rest.split_at_mut(8);
        domain.copy_from_slice(RECORD_KEY);
        segment.copy_from_slice(self.segment.as_bytes());
        number.copy_from_slice(&sequence.to_be_bytes());
        counter.copy_from_slice(&[1]);
        let mut key = [0; 32];
        let filled = hmac::sign_to_buffer(&self.prk, &info, &mut key).map(|_| ());
        let disclosed = Secret::new(key);
        key.zeroize();
        filled?;
        Ok(disclosed)
    }

    /// Seals a record in place and returns its tag.
    ///
    /// SECURITY: the nonce is zero because each key seals exactly one record: the key is derived
    /// from a data key that is fresh at every opening of the log, and from a sequence number that
    /// this segment's only writer gives out once. A cut tail or a restored snapshot is never
    /// written on: the next opening has a new data key, so no key meets a second plaintext.
    pub(super) fn seal_record(
        &self,
        kind: u8,
        sequence: u64,
        payload: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], CryptError> {
        let tag = self.record_key(sequence)?.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key([0; NONCE_LEN]),
            Aad::from(self.aad(kind, sequence)),
            payload,
        )?;
        let mut out = [0; TAG_BYTES];
        out.copy_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens a record's ciphertext in place; the payload is what is left of `body`.
    pub(super) fn open_record(
        &self,
        kind: u8,
        sequence: u64,
        body: &mut Vec<u8>,
    ) -> Result<(), CryptError> {
        let count = self
            .record_key(sequence)?
            .open_in_place(
                Nonce::assume_unique_for_key([0; NONCE_LEN]),
                Aad::from(self.aad(kind, sequence)),
                body,
            )?
            .len();
        body.truncate(count);
        Ok(())
    }

    fn aad(&self, kind: u8, sequence: u64) -> [u8; 41] {
        record_aad(self.start, kind, sequence)
    }
}

fn record_aad(segment_start: Head, kind: u8, sequence: u64) -> [u8; 41] {
    let mut aad = [0; 41];
    let (start, rest) = aad.split_at_mut(32);
    start.copy_from_slice(segment_start.as_bytes());
    if let Some((first, rest)) = rest.split_first_mut() {
        *first = kind;
        rest.copy_from_slice(&sequence.to_be_bytes());
    }
    aad
}

/// Opens a record with the key that was given away with it.
pub(super) fn open_disclosed(
    key: &[u8; 32],
    segment_start: Head,
    kind: u8,
    sequence: u64,
    body: &[u8],
) -> Result<Vec<u8>, CryptError> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    let mut body = body.to_vec();
    let count = key
        .open_in_place(
            Nonce::assume_unique_for_key([0; NONCE_LEN]),
            Aad::from(record_aad(segment_start, kind, sequence)),
            &mut body,
        )?
        .len();
    body.truncate(count);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_key_is_what_hkdf_expands_to() {
        let bytes = random::<32>().unwrap();
        let segment = Uuid::from_u128(7);
        let key = DataKey::new(&Secret::new(bytes), segment, Head::ZERO);
        for sequence in [0, 1, 255, 256, u64::MAX] {
            let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &bytes);
            let number = sequence.to_be_bytes();
            let info: [&[u8]; 3] = [RECORD_KEY, segment.as_bytes(), &number];
            let mut expanded = [0; 32];
            let filled = prk.expand(&info, &AES_256_GCM).unwrap();
            filled.fill(&mut expanded).unwrap();
            assert_eq!(key.disclosed_key(sequence).unwrap().expose(), &expanded);
        }
    }
}
