//! How an object is sealed: in chunks under a key of its own, so that any length passes through little memory.
//!
//! `magic | version | key id | salt`, then chunks of AES-256-GCM. The nonce counts the chunks and marks the last, so
//! that none can be dropped, doubled, moved or cut off; the header and the kind are bound to each of them.
//!
//! *Never*: plaintext that was not authenticated; a nonce twice under one key (the salt is fresh for each object).

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, hkdf, hmac, rand};
use zeroize::Zeroizing;

use crate::audit::log::MasterKey;
use crate::secret::Secret;

const MAGIC: &[u8; 8] = b"CGBACKUP";
const VERSION: u32 = 1;
const ID: usize = 16;
const SALT: usize = 16;
const HEADER: usize = 8 + 4 + ID + SALT;
const CHUNK: usize = 256 * 1024;
const TAG: usize = 16;
const NAME_INFO: &[u8] = b"chartgate/backup/object-name/v1";

/// Why a sealed object does not open.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not a sealed object of this format.
    #[error("this is not a sealed object of this version")]
    Foreign,
    /// It was sealed with a key that is not here.
    #[error("it was sealed with the backup key {0}, which is not in the key file")]
    UnknownKey(String),
    /// Bytes were altered, dropped or added.
    #[error("its bytes were altered")]
    Altered,
}

/// What a sealed object is, which is part of what it is sealed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A manifest.
    Manifest,
    /// Content of a file.
    Object,
}

impl Kind {
    const fn info(self) -> &'static [u8] {
        match self {
            Self::Manifest => b"chartgate/backup/manifest/v1",
            Self::Object => b"chartgate/backup/object/v1",
        }
    }
}

/// The backup keys: the first seals, each opens what it sealed.
#[derive(Debug, Clone)]
pub struct Keys(Vec<(String, Secret<Vec<u8>>)>);

/// What an object measures, in clear and sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digests {
    /// Bytes in clear.
    pub size: u64,
    /// SHA-256 of them, hex.
    pub plain: String,
    /// Bytes as stored.
    pub sealed_size: u64,
    /// SHA-256 of them, hex.
    pub sealed: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Inner,
    Last,
}

impl Keys {
    /// The keys of a key file.
    #[must_use]
    pub fn of(master: &MasterKey) -> Self {
        let keys = master.all();
        Self(
            keys.map(|key| (key.id().to_string(), key.derive_input()))
                .collect(),
        )
    }

    /// The name under which content with this digest is stored. It says nothing about the content to whoever has not
    /// the key: a plain hash would confirm a guess.
    pub(super) fn name(&self, plain: &str) -> Result<String, SealError> {
        let (_, input) = self.0.first().ok_or(SealError::Foreign)?;
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(input.expose());
        let okm = prk.expand(&[NAME_INFO], hmac::HMAC_SHA256);
        let key = hmac::Key::from(okm.ok().ok_or(SealError::Foreign)?);
        let tag = hmac::sign(&key, plain.as_bytes());
        Ok(format!("objects/{}", hex::encode(tag.as_ref())))
    }

    fn newest(&self) -> Result<&str, SealError> {
        let first = self.0.first().ok_or(SealError::Foreign)?;
        Ok(&first.0)
    }

    fn key(&self, id: &str, salt: &[u8], kind: Kind) -> Result<LessSafeKey, SealError> {
        let known = self.0.iter().find(|(known, _)| known == id);
        let (_, input) = known.ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(input.expose());
        let key = prk
            .expand(&[kind.info()], &AES_256_GCM)
            .map(UnboundKey::from);
        Ok(LessSafeKey::new(key.ok().ok_or(SealError::Altered)?))
    }
}

fn nonce(counter: u64, place: Place) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    let (mark, count) = bytes.split_at_mut(4);
    if let Some(last) = mark.last_mut() {
        *last = u8::from(place == Place::Last);
    }
    count.copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Hashes and counts what passes.
struct Meter {
    context: digest::Context,
    bytes: u64,
}

impl Meter {
    fn new() -> Self {
        Self {
            context: digest::Context::new(&digest::SHA256),
            bytes: 0,
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
    }

    fn read(self) -> (u64, String) {
        (self.bytes, hex::encode(self.context.finish().as_ref()))
    }
}

/// The SHA-256 of what can be read, hex, and how much it was.
pub(super) fn measure(mut from: impl Read) -> io::Result<(u64, String)> {
    let mut meter = Meter::new();
    let mut buffer = Zeroizing::new(vec![0; CHUNK]);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(meter.read()),
            Ok(count) => meter.pass(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Seals what is written into it.
pub(super) struct Sealing<W> {
    out: W,
    key: LessSafeKey,
    header: Vec<u8>,
    held: Zeroizing<Vec<u8>>,
    counter: u64,
    plain: Meter,
    sealed: Meter,
}

impl<W: Write> Sealing<W> {
    /// Begins an object.
    pub(super) fn begin(mut out: W, keys: &Keys, kind: Kind) -> Result<Self, SealError> {
        let mut salt = [0; SALT];
        rand::fill(&mut salt).ok().ok_or(SealError::Altered)?;
        let id = keys.newest()?;
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&VERSION.to_be_bytes());
        header.extend_from_slice(id.as_bytes());
        header.extend_from_slice(&salt);
        let mut sealed = Meter::new();
        sealed.pass(&header);
        out.write_all(&header)?;
        Ok(Self {
            key: keys.key(id, &salt, kind)?,
            out,
            header,
            held: Zeroizing::new(Vec::with_capacity(CHUNK.saturating_add(TAG))),
            counter: 0,
            plain: Meter::new(),
            sealed,
        })
    }

    fn chunk(&mut self, place: Place) -> io::Result<()> {
        self.plain.pass(&self.held);
        let mut body = std::mem::take(&mut *self.held);
        let nonce = nonce(self.counter, place);
        let aad = Aad::from(&self.header);
        let sealed = self.key.seal_in_place_append_tag(nonce, aad, &mut body);
        if sealed.is_err() {
            drop(Zeroizing::new(body));
            return Err(io::Error::other("a chunk cannot be sealed"));
        }
        self.counter = self.counter.saturating_add(1);
        self.sealed.pass(&body);
        self.out.write_all(&body)?;
        body.clear();
        *self.held = body;
        Ok(())
    }

    /// Ends the object.
    pub(super) fn finish(mut self) -> io::Result<(W, Digests)> {
        self.chunk(Place::Last)?;
        self.out.flush()?;
        let (size, plain) = self.plain.read();
        let (sealed_size, sealed) = self.sealed.read();
        let digests = Digests {
            size,
            plain,
            sealed_size,
            sealed,
        };
        Ok((self.out, digests))
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits until it is known not to be the last.
        if self.held.len() >= CHUNK && !bytes.is_empty() {
            self.chunk(Place::Inner)?;
        }
        let room = CHUNK.saturating_sub(self.held.len()).min(bytes.len());
        let taken = bytes.get(..room).unwrap_or_default();
        self.held.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens an object and writes what is in it to `to`, chunk by chunk as each is authenticated.
///
/// # Errors
/// [`SealError`]; what was written until then is a true beginning, and no more.
pub(super) fn open(
    keys: &Keys,
    kind: Kind,
    mut from: impl Read,
    mut to: impl Write,
) -> Result<Digests, SealError> {
    let (mut plain, mut sealed) = (Meter::new(), Meter::new());
    let mut header = Vec::new();
    fill(&mut from, &mut header, HEADER)?;
    let (magic, rest) = header.split_first_chunk::<8>().ok_or(SealError::Foreign)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(SealError::Foreign)?;
    let (id, salt) = rest.split_at_checked(ID).ok_or(SealError::Foreign)?;
    if magic != MAGIC || u32::from_be_bytes(*version) != VERSION || salt.len() != SALT {
        return Err(SealError::Foreign);
    }
    let id = std::str::from_utf8(id).ok().ok_or(SealError::Foreign)?;
    let key = keys.key(id, salt, kind)?;
    sealed.pass(&header);
    let mut counter = 0_u64;
    let mut chunk = Zeroizing::new(Vec::with_capacity(CHUNK.saturating_add(TAG)));
    let mut ahead = Vec::with_capacity(CHUNK.saturating_add(TAG));
    fill(&mut from, &mut ahead, CHUNK.saturating_add(TAG))?;
    loop {
        std::mem::swap(&mut *chunk, &mut ahead);
        ahead.clear();
        if chunk.len() == CHUNK.saturating_add(TAG) {
            fill(&mut from, &mut ahead, CHUNK.saturating_add(TAG))?;
        }
        let place = if ahead.is_empty() {
            Place::Last
        } else {
            Place::Inner
        };
        sealed.pass(&chunk);
        let opened = key.open_in_place(nonce(counter, place), Aad::from(&header), &mut chunk);
        let opened = opened.ok().ok_or(SealError::Altered)?;
        plain.pass(opened);
        to.write_all(opened)?;
        if place == Place::Last {
            break;
        }
        counter = counter.saturating_add(1);
    }
    to.flush()?;
    let (size, plain) = plain.read();
    let (sealed_size, sealed) = sealed.read();
    Ok(Digests {
        size,
        plain,
        sealed_size,
        sealed,
    })
}

/// Appends up to `count` bytes, fewer only at the end.
fn fill(from: &mut impl Read, to: &mut Vec<u8>, count: usize) -> io::Result<()> {
    from.by_ref().take(count as u64).read_to_end(to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> Keys {
        Keys::of(&MasterKey::generate().unwrap())
    }

    fn sealed(keys: &Keys, kind: Kind, plain: &[u8]) -> (Vec<u8>, Digests) {
        let mut sealing = Sealing::begin(Vec::new(), keys, kind).unwrap();
        sealing.write_all(plain).unwrap();
        sealing.finish().unwrap()
    }

    fn opened(keys: &Keys, kind: Kind, bytes: &[u8]) -> Result<(Vec<u8>, Digests), SealError> {
        let mut plain = Vec::new();
        let digests = open(keys, kind, bytes, &mut plain)?;
        Ok((plain, digests))
    }

    #[test]
    fn every_length_around_a_chunk_comes_back() {
        let keys = keys();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7] {
            let plain: Vec<u8> = (0..length)
                .map(|at| u8::try_from(at % 251).unwrap())
                .collect();
            let (bytes, made) = sealed(&keys, Kind::Object, &plain);
            let (read, seen) = opened(&keys, Kind::Object, &bytes).unwrap();
            assert!(read == plain, "{length}");
            assert_eq!(made, seen);
            assert_eq!(made.sealed_size, bytes.len() as u64);
            assert_eq!(measure(plain.as_slice()).unwrap(), (made.size, made.plain));
        }
    }

    #[test]
    fn another_kind_another_key_and_another_order_do_not_open() {
        let keys = keys();
        let plain = vec![7; 3 * CHUNK];
        let (bytes, _) = sealed(&keys, Kind::Object, &plain);
        assert!(opened(&keys, Kind::Manifest, &bytes).is_err());
        let other = Keys::of(&MasterKey::generate().unwrap());
        let refused = opened(&other, Kind::Object, &bytes).unwrap_err();
        assert!(matches!(refused, SealError::UnknownKey(_)));
        let chunk = CHUNK + TAG;
        let (header, chunks) = bytes.split_at(HEADER);
        let pieces: Vec<&[u8]> = chunks.chunks(chunk).collect();
        for order in [
            &[1, 0, 2][..],
            &[0, 1],
            &[0, 2],
            &[0, 1, 1, 2],
            &[0, 1, 2, 2],
            &[],
        ] {
            let body: Vec<&[u8]> = order.iter().map(|at| pieces[*at]).collect();
            let altered = [header, &body.concat()].concat();
            assert!(opened(&keys, Kind::Object, &altered).is_err(), "{order:?}");
        }
        assert_ne!(
            sealed(&keys, Kind::Object, &plain).0,
            bytes,
            "the same content never looks the same"
        );
    }

    #[test]
    fn a_rotated_key_still_opens_what_it_sealed() {
        let old = MasterKey::generate().unwrap();
        let (bytes, _) = sealed(&Keys::of(&old), Kind::Object, b"content");
        let new = Keys::of(
            &old.succeeded("2026-11-25T09:00:00Z".parse().unwrap())
                .unwrap(),
        );
        assert_eq!(opened(&new, Kind::Object, &bytes).unwrap().0, b"content");
    }

    proptest! {
        #[test]
        fn no_altered_byte_opens(plain in prop::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index, bit in 0_u8..8) {
            let keys = keys();
            let (mut bytes, _) = sealed(&keys, Kind::Object, &plain);
            let index = at.index(bytes.len());
            bytes[index] ^= 1 << bit;
            prop_assert!(opened(&keys, Kind::Object, &bytes).is_err());
        }

        #[test]
        fn no_cut_object_opens(plain in prop::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index) {
            let keys = keys();
            let (bytes, _) = sealed(&keys, Kind::Object, &plain);
            prop_assert!(opened(&keys, Kind::Object, &bytes[..at.index(bytes.len())]).is_err());
        }
    }
}
