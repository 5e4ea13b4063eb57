//! The own key of a segment, which lies beside the segments and never with them. Destroying it makes the segment, and
//! every copy of it, unreadable to whoever holds the master key: crypto-shredding.
//!
//! *Owns*: `<trail>/segment-keys`, a small file for each segment. Each is written once and never again, so that whoever
//! destroys one can spoil no other.
//! *Never*: a segment on the disk before its key is durable there; a key in clear.
//! *On failure*: a key that is missing, or does not fit, and of which no note says that it was destroyed, is an error.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use uuid::Uuid;

use super::crypt::{self, CryptError};
use super::error::LogError;
use super::files::{Access, Files};
use super::header::Header;
use super::keys::MasterKey;
use super::note::VerifierKey;
use super::retired::{self, Retired};
use super::tail;
use crate::secret::Secret;

/// Where the keys are, below the trail's directory.
pub const SEGMENT_KEYS: &str = "segment-keys";
const SUFFIX: &str = ".cgkey";
const HEADER: &str = "chartgate-segment-key-v1";
const SEAL_DOMAIN: &[u8] = b"chartgate/audit/segment-key/v1\0";
const ID_DOMAIN: &[u8] = b"chartgate/audit/segment-key-id/v1\0";
const DATA_KEY_DOMAIN: &[u8] = b"chartgate/audit/data-key/v2\0";
/// Bytes of an id.
const ID_BYTES: usize = 8;
/// A file has about 170 bytes.
const FILE_LIMIT: u64 = 1024;

/// 32 random bytes.
#[derive(Debug)]
pub(super) struct SegmentKey(Secret<[u8; 32]>);

/// What there is of a segment's own key.
#[derive(Debug)]
pub(super) enum Found {
    /// The segment has none: it was written by an earlier build.
    Keyless,
    /// The key.
    Key(SegmentKey),
    /// It was destroyed.
    Shredded(Retired),
}

/// The name of the file that holds the key of a segment.
#[must_use]
pub fn key_file(first: u64, segment: Uuid) -> String {
    format!("{first:020}-{segment}{SUFFIX}")
}

fn path_of(directory: &Path, first: u64, segment: Uuid) -> PathBuf {
    directory.join(SEGMENT_KEYS).join(key_file(first, segment))
}

impl SegmentKey {
    /// A new key.
    pub(super) fn generate() -> Result<Self, CryptError> {
        Ok(Self(Secret::new(crypt::random()?)))
    }

    /// Names the key without saying anything about it.
    pub(super) fn id(&self) -> String {
        let hash = crypt::sha256(&[ID_DOMAIN, self.0.expose()]);
        hex::encode(hash.as_bytes().get(..ID_BYTES).unwrap_or_default())
    }

    /// The key that records are sealed under, of what the segment's header wraps.
    pub(super) fn data_key(
        &self,
        unwrapped: &Secret<[u8; 32]>,
        segment: Uuid,
    ) -> Result<Secret<[u8; 32]>, CryptError> {
        self.derive(DATA_KEY_DOMAIN, unwrapped, segment)
    }

    /// What nobody has who does not have both this key and `input`.
    pub(super) fn derive(
        &self,
        domain: &[u8],
        input: &Secret<[u8; 32]>,
        segment: Uuid,
    ) -> Result<Secret<[u8; 32]>, CryptError> {
        let info = [domain, segment.as_bytes()].concat();
        crypt::derive(self.0.expose(), input.expose(), &info)
    }

    /// Writes the key of the segment with this header; when this returns, it is durable.
    pub(super) fn keep(
        &self,
        files: &dyn Files,
        directory: &Path,
        header: &Header,
        master: &MasterKey,
    ) -> Result<(), LogError> {
        let text = self.text(header.segment, master);
        let text = text.map_err(LogError::crypt("sealing a segment's key"))?;
        let path = path_of(directory, header.first, header.segment);
        let file = files
            .create(&path)
            .map_err(LogError::io("creating", &path))?;
        let kept = file
            .write_all_at(0, text.as_bytes())
            .and_then(|()| file.sync_data())
            .and_then(|()| files.sync_dir(&directory.join(SEGMENT_KEYS)));
        if let Err(source) = kept {
            give_up(files, directory, header);
            return Err(LogError::io("writing", &path)(source));
        }
        Ok(())
    }

    fn text(&self, segment: Uuid, master: &MasterKey) -> Result<String, CryptError> {
        let sealed = master.wrap(&seal_aad(segment), self.0.expose())?;
        let (id, sealed) = (master.id(), BASE64.encode(sealed));
        Ok(format!("{HEADER}\n{segment}\n{id}\n{sealed}\n"))
    }

    fn parse(text: &[u8], header: &Header, master: &MasterKey) -> Option<Self> {
        let mut lines = std::str::from_utf8(text).ok()?.lines();
        let (Some(HEADER), Some(segment), Some(id), Some(sealed), None) = (
            lines.next(),
            lines.next(),
            lines.next(),
            lines.next(),
            lines.next(),
        ) else {
            return None;
        };
        let segment = segment.parse().ok().filter(|id| *id == header.segment)?;
        let sealed = BASE64.decode(sealed).ok()?;
        let key = Self(master.unwrap(id, &seal_aad(segment), &sealed).ok()?);
        (header.segment_key.as_deref() == Some(&key.id())).then_some(key)
    }
}

/// SECURITY: a key that is put in another's place does not open.
fn seal_aad(segment: Uuid) -> Vec<u8> {
    [SEAL_DOMAIN, segment.as_bytes()].concat()
}

/// What lies where the own key of the segment with this header should be.
#[derive(Debug)]
pub(super) enum Kept {
    /// The segment has none: it was written by an earlier build.
    Keyless,
    /// The key.
    Key(SegmentKey),
    /// No key of this segment, and what is wrong.
    Gone(&'static str),
}

/// Looks for the own key of the segment with this header. Where it is gone, a note may say why.
///
/// # Errors
/// [`LogError::Io`].
pub(super) fn look(
    files: &dyn Files,
    directory: &Path,
    header: &Header,
    master: &MasterKey,
) -> Result<Kept, LogError> {
    if header.segment_key.is_none() {
        return Ok(Kept::Keyless);
    }
    let path = path_of(directory, header.first, header.segment);
    let text = tail::whole(files, &path, FILE_LIMIT).map_err(LogError::io("reading", &path))?;
    Ok(match &text {
        None => Kept::Gone("is missing"),
        Some(text) => match SegmentKey::parse(text, header, master) {
            Some(key) => Kept::Key(key),
            None => Kept::Gone("is not the key of this segment, or is damaged"),
        },
    })
}

/// Finds the own key of the segment with this header, or the note that says that there is none any more.
///
/// # Errors
/// [`LogError::SegmentKey`], [`LogError::Io`].
pub(super) fn find(
    files: &dyn Files,
    directory: &Path,
    header: &Header,
    master: &MasterKey,
) -> Result<Found, LogError> {
    let problem = match look(files, directory, header, master)? {
        Kept::Keyless => return Ok(Found::Keyless),
        Kept::Key(key) => return Ok(Found::Key(key)),
        Kept::Gone(problem) => problem,
    };
    match retired::note_of(files, directory, header)? {
        Some(note) => Ok(Found::Shredded(note)),
        None => Err(LogError::SegmentKey {
            segment: header.file_name(),
            path: path_of(directory, header.first, header.segment),
            problem,
        }),
    }
}

/// Of these segments, those whose own key should be there and is not.
fn missing<'h>(
    files: &dyn Files,
    directory: &Path,
    headers: impl Iterator<Item = &'h Header>,
) -> Result<HashMap<Uuid, &'h Header>, LogError> {
    let folder = directory.join(SEGMENT_KEYS);
    let names: BTreeSet<String> = match files.list(&folder) {
        Ok(names) => names.into_iter().collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => return Err(LogError::io("listing", &folder)(error)),
    };
    let is_missing = |header: &&Header| {
        header.segment_key.is_some() && !names.contains(&key_file(header.first, header.segment))
    };
    Ok(headers
        .filter(is_missing)
        .map(|header| (header.segment, header))
        .collect())
}

/// The notes of those of these segments that are shredded. The folder of keys is listed once, whatever their number.
///
/// # Errors
/// [`LogError::Io`].
pub fn shredded<'h>(
    files: &dyn Files,
    directory: &Path,
    headers: impl Iterator<Item = &'h Header>,
) -> Result<Vec<Retired>, LogError> {
    let missing = missing(files, directory, headers)?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let mut notes = retired::notes(files, directory)?;
    notes.retain(|note| {
        let header = missing.get(&note.segment);
        header.is_some_and(|header| note.is_of(header))
    });
    Ok(notes)
}

/// Checks that each of these segments has its own key, or a note, signed by the log's key, that says why not.
///
/// # Errors
/// [`LogError::SegmentKey`].
pub(super) fn check<'h>(
    files: &dyn Files,
    directory: &Path,
    headers: impl Iterator<Item = &'h Header>,
    key: &VerifierKey,
) -> Result<(), LogError> {
    let missing = missing(files, directory, headers)?;
    if missing.is_empty() {
        return Ok(());
    }
    let notes: HashMap<Uuid, Retired> = retired::believed(files, directory, key)?
        .into_iter()
        .map(|note| (note.segment, note))
        .collect();
    let explained = |header: &Header| {
        let note = notes.get(&header.segment);
        note.is_some_and(|note| note.is_of(header))
    };
    let lost = missing.into_values().filter(|header| !explained(header));
    match lost.min_by_key(|header| header.number) {
        None => Ok(()),
        Some(header) => Err(LogError::SegmentKey {
            segment: header.file_name(),
            path: path_of(directory, header.first, header.segment),
            problem: "is missing",
        }),
    }
}

/// Destroys the own key of a segment; when this returns, it is gone for good. Where there is none, none is missed.
///
/// The note that says so is durable before. What is overwritten here may live on in what this program does not reach:
/// copies, snapshots, and the spare blocks of a flash disk.
///
/// # Errors
/// [`LogError::Io`]; it can be asked again.
pub(super) fn destroy(
    files: &dyn Files,
    directory: &Path,
    segment: &Retired,
) -> Result<(), LogError> {
    let folder = directory.join(SEGMENT_KEYS);
    let path = path_of(directory, segment.first, segment.segment);
    if let Ok(file) = files.open(&path, Access::Write) {
        let size = file.size().unwrap_or_default().min(FILE_LIMIT);
        let zeroes = vec![0; usize::try_from(size).unwrap_or_default()];
        // A file system that copies on write may refuse this and still remove the file.
        let _best_effort = file
            .write_all_at(0, &zeroes)
            .and_then(|()| file.sync_data());
    }
    match files.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(LogError::io("removing", &path)(error));
        }
        Ok(()) | Err(_) => {}
    }
    // Also where it is gone already: an earlier attempt may not have come so far.
    match files.sync_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LogError::io("syncing", &folder)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes the key of a segment that was never made.
pub(super) fn give_up(files: &dyn Files, directory: &Path, header: &Header) {
    // What is left of it belongs to no segment and opens nothing.
    let _left_behind = files.remove(&path_of(directory, header.first, header.segment));
}
