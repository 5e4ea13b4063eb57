//! What opens a segment: the master key, the key that its header wraps, and its own.

use std::path::Path;
use std::sync::Arc;

use super::crypt::DataKey;
use super::derived::DerivedKey;
use super::error::LogError;
use super::files::Files;
use super::header::Parsed;
use super::headers::Shelved;
use super::keys::MasterKey;
use super::retired::Retired;
use super::segment_key::{Found, find};

/// What came of it.
#[derive(Debug)]
pub(super) enum Unlocked {
    /// The key of its records.
    Open(Box<DataKey>),
    /// Nothing opens it any more.
    Shredded(Retired),
}

impl Unlocked {
    /// The key, for whom a shredded segment is of no use.
    ///
    /// # Errors
    /// [`LogError::Shredded`].
    pub(super) fn key(&self) -> Result<&DataKey, LogError> {
        match self {
            Self::Open(key) => Ok(key.as_ref()),
            Self::Shredded(note) => Err(LogError::Shredded(Box::new(note.clone()))),
        }
    }

    /// The same, kept.
    pub(super) fn into_key(self) -> Result<DataKey, LogError> {
        match self {
            Self::Open(key) => Ok(*key),
            Self::Shredded(note) => Err(LogError::Shredded(Box::new(note))),
        }
    }
}

/// The trail's directory, of the path of one of its segments.
fn trail_of(path: &Path) -> &Path {
    let folder = path.parent().and_then(Path::parent);
    folder.unwrap_or_else(|| Path::new(""))
}

/// Unlocks the segment in the file at `path`.
///
/// # Errors
/// [`LogError::WrongMasterKey`], [`LogError::SegmentKey`], [`LogError::Crypt`], [`LogError::Io`].
pub(super) fn unlock(
    files: &dyn Files,
    path: &Path,
    parsed: &Parsed,
    master: &MasterKey,
) -> Result<Unlocked, LogError> {
    let header = &parsed.header;
    if !master.opens(&header.master_key) {
        return Err(LogError::WrongMasterKey {
            segment: header.file_name(),
            wanted: header.master_key.clone(),
            given: master.id().to_string(),
        });
    }
    let own = match find(files, trail_of(path), header, master)? {
        Found::Keyless => None,
        Found::Key(key) => Some(key),
        Found::Shredded(note) => return Ok(Unlocked::Shredded(note)),
    };
    let key = header.data_key(parsed.start, master, own.as_ref());
    let key = key.map_err(LogError::crypt("unwrapping a segment's key"))?;
    Ok(Unlocked::Open(Box::new(key)))
}

/// The key for what is derived from a segment: with `key` alone it opens no more once the segment is shredded.
///
/// # Errors
/// [`LogError::Shredded`], and as reading the segment.
pub fn derived_of(
    files: &dyn Files,
    shelved: &Shelved,
    master: &MasterKey,
    key: &Arc<DerivedKey>,
) -> Result<Arc<DerivedKey>, LogError> {
    let (path, _, parsed) = shelved.parts();
    match find(files, trail_of(path), &parsed.header, master)? {
        Found::Keyless => Ok(Arc::clone(key)),
        Found::Key(own) => {
            let bound = key.bound(&own, parsed.header.segment);
            let bound =
                bound.map_err(LogError::crypt("deriving the key of a part of the index"))?;
            Ok(Arc::new(bound))
        }
        Found::Shredded(note) => Err(LogError::Shredded(Box::new(note))),
    }
}
