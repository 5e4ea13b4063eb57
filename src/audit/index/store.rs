//! The files of the index: which there are, which are open, and what is done where one is of no use.
//!
//! Memory: of at most [`OPEN`] segments and as many catalogs a file is kept open, each with at most 100 KB of opened
//! blocks; two indexes that could not be written are kept in memory.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::build::Builder;
use super::catalog::{Catalog, Group};
use super::part::{Stored, about};
use super::sheet::{Fault, Source, seal, write};
use super::view::View;
use super::{Index, lock};
use crate::audit::log::{Access, Closed, Frames, LogError, Shelved};
use crate::telemetry::metrics as names;

/// Files that are kept open, of each kind.
pub(super) const OPEN: usize = 32;
/// Indexes in memory that could not be kept on disk, or whose segment is damaged.
const IN_MEMORY: usize = 2;
const SUFFIX: &str = ".cgidx";

/// What is known of the files.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    /// The names in the folder; listed once, and kept up from then on.
    present: Option<BTreeSet<String>>,
    segments: VecDeque<(String, Arc<Stored>)>,
    pub(super) catalogs: VecDeque<(Group, Arc<Catalog>)>,
    memory: VecDeque<(String, Ready)>,
}

/// The index of a segment that was read through.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) part: Arc<Stored>,
    /// Where the segment is damaged: the index ends before that.
    pub(super) failure: Option<Damage>,
    /// What the disk did not take, to be offered again.
    unwritten: Option<Arc<Vec<u8>>>,
}

impl Ready {
    const fn stored(part: Arc<Stored>) -> Self {
        Self {
            part,
            failure: None,
            unwritten: None,
        }
    }
}

/// What is wrong with a segment.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    segment: String,
    sequence: u64,
    detail: String,
}

impl From<Damage> for LogError {
    fn from(damage: Damage) -> Self {
        Self::Damaged {
            segment: damage.segment,
            sequence: damage.sequence,
            detail: damage.detail,
        }
    }
}

/// The name of a segment's index.
pub(super) fn name_of(segment: &Shelved) -> String {
    let header = segment.header();
    format!("{:020}-{}{SUFFIX}", header.first, header.segment)
}

pub(super) fn newest<K: PartialEq, V: Clone>(kept: &mut VecDeque<(K, V)>, key: &K) -> Option<V> {
    let at = kept.iter().position(|(known, _)| known == key)?;
    let found = kept.remove(at)?;
    let value = found.1.clone();
    kept.push_back(found);
    Some(value)
}

pub(super) fn remember<K: PartialEq, V>(
    kept: &mut VecDeque<(K, V)>,
    key: K,
    value: V,
    most: usize,
) {
    kept.retain(|(known, _)| *known != key);
    if kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back((key, value));
}

impl Index {
    fn with_names<T>(&self, act: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        let mut sheets = lock(&self.0.sheets);
        let names = sheets.present.get_or_insert_with(|| {
            let listed = self.0.files.list(&self.0.folder).unwrap_or_default();
            listed.into_iter().collect()
        });
        act(names)
    }

    /// Whether a file is there, whatever it holds.
    pub(super) fn has(&self, name: &str) -> bool {
        self.with_names(|names| names.contains(name))
    }

    pub(super) fn source(&self, name: &str) -> Result<Source, Fault> {
        let path = self.0.folder.join(name);
        Ok(Source::File(self.0.files.open(&path, Access::Read)?))
    }

    /// The stored index of a closed segment; `None` where there is none that can be used.
    ///
    /// # Errors
    /// [`LogError`] where there is no key.
    pub(super) fn stored(
        &self,
        segment: &Shelved,
        closed: Closed,
    ) -> Result<Option<Arc<Stored>>, LogError> {
        if self.shredded(segment).is_some() {
            return Ok(None);
        }
        let name = name_of(segment);
        if let Some(stored) = newest(&mut lock(&self.0.sheets).segments, &name) {
            return Ok(Some(stored));
        }
        // The key first: a new one makes what is stored useless.
        self.keys()?;
        if !self.has(&name) {
            return Ok(None);
        }
        let key = match self.sheet_key(segment) {
            Err(LogError::Shredded(note)) => {
                self.remember_shredded(*note);
                return Ok(None);
            }
            key => key?,
        };
        let about = about(segment.header(), closed);
        let opened = self
            .source(&name)
            .and_then(|source| Stored::open(source, &key, about));
        match opened {
            Ok(stored) => {
                let stored = Arc::new(stored);
                let kept = Arc::clone(&stored);
                remember(&mut lock(&self.0.sheets).segments, name, kept, OPEN);
                Ok(Some(stored))
            }
            Err(fault) => {
                self.distrust(segment, &fault);
                Ok(None)
            }
        }
    }

    /// Does away with the index of a segment that is of no use.
    pub(super) fn distrust(&self, segment: &Shelved, fault: &Fault) {
        let name = name_of(segment);
        tracing::warn!(%fault, index = name, "an index of the trail is of no use; it is made again");
        metrics::counter!(names::AUDIT_INDEX_FAULTS).increment(1);
        let mut sheets = lock(&self.0.sheets);
        sheets.segments.retain(|(known, _)| *known != name);
        sheets.memory.retain(|(known, _)| *known != name);
        drop(sheets);
        self.remove(&name);
    }

    /// Takes a file away; one that cannot be removed is not looked at again by this process.
    pub(super) fn remove(&self, name: &str) {
        self.with_names(|names| names.remove(name));
        let _gone_or_ignored = self.0.files.remove(&self.0.folder.join(name));
    }

    /// Reads a closed segment through, and keeps what that gave.
    ///
    /// # Errors
    /// [`LogError`] where the segment cannot be read at all; where it is damaged, the index ends before that.
    pub(super) fn read_through(
        &self,
        segment: &Shelved,
        closed: Closed,
    ) -> Result<Ready, LogError> {
        let name = name_of(segment);
        let kept = newest(&mut lock(&self.0.sheets).memory, &name);
        if let Some(ready) = kept {
            return match &ready.unwritten {
                Some(bytes) if self.put(&name, bytes) => {
                    let stored = self.stored(segment, closed)?;
                    Ok(stored.map_or(ready, Ready::stored))
                }
                Some(_) | None => Ok(ready),
            };
        }
        let _one_at_a_time = lock(&self.0.making);
        if let Some(part) = self.stored(segment, closed)? {
            return Ok(Ready::stored(part));
        }
        self.make(segment, closed)
    }

    /// The same, whatever there is already.
    ///
    /// # Errors
    /// As [`Self::read_through`].
    pub(super) fn make(&self, segment: &Shelved, closed: Closed) -> Result<Ready, LogError> {
        let keys = self.keys()?;
        let mut builder = Builder::new(Arc::clone(&keys.terms), segment.header().first);
        let mut frames = Frames::open(&*self.0.files, segment, &self.0.master)?;
        match take_up(&mut frames, &mut builder, closed.last, u64::MAX) {
            Ok(_) => self.keep(segment, closed, &builder, None),
            Err(LogError::Damaged {
                segment: damaged,
                sequence,
                detail,
            }) => {
                let damage = Damage {
                    segment: damaged,
                    sequence,
                    detail,
                };
                self.keep(segment, closed, &builder, Some(damage))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the index of a closed segment, and opens it. What cannot be written, or is not whole, stays in memory.
    ///
    /// # Errors
    /// [`LogError::Crypt`] where the system has no randomness.
    pub(super) fn keep(
        &self,
        segment: &Shelved,
        closed: Closed,
        builder: &Builder,
        failure: Option<Damage>,
    ) -> Result<Ready, LogError> {
        let key = self.sheet_key(segment)?;
        let about = about(segment.header(), closed);
        let Some(bytes) = seal(&key, about, builder.content()) else {
            return Err(unsealed());
        };
        let name = name_of(segment);
        if failure.is_none()
            && self.put(&name, &bytes)
            && let Some(part) = self.stored(segment, closed)?
        {
            return Ok(Ready::stored(part));
        }
        let bytes = Arc::new(bytes);
        let part = Stored::open(Source::Memory(Arc::clone(&bytes)), &key, about);
        let ready = Ready {
            part: Arc::new(part.map_err(|fault| self.unusable(&fault))?),
            unwritten: failure.is_none().then_some(bytes),
            failure,
        };
        let kept = ready.clone();
        remember(&mut lock(&self.0.sheets).memory, name, kept, IN_MEMORY);
        Ok(ready)
    }

    /// Writes a file; says whether it is there.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> bool {
        let path = self.0.folder.join(name);
        let made = self.0.files.create_dir(&self.0.folder);
        match made.and_then(|()| write(&*self.0.files, &path, bytes)) {
            Ok(()) => {
                let mut sheets = lock(&self.0.sheets);
                sheets.segments.retain(|(known, _)| known != name);
                sheets.memory.retain(|(known, _)| known != name);
                drop(sheets);
                self.with_names(|names| names.insert(name.to_owned()));
                true
            }
            Err(error) => {
                tracing::warn!(%error, file = name, "a part of the trail's index could not be written");
                metrics::counter!(names::AUDIT_INDEX_FAULTS).increment(1);
                false
            }
        }
    }

    /// What was just made does not read back.
    pub(super) fn unusable(&self, fault: &Fault) -> LogError {
        LogError::Io {
            action: "indexing",
            path: self.0.folder.clone(),
            source: std::io::Error::other(fault.to_string()),
        }
    }

    /// Removes what there is of segments that were removed.
    ///
    /// # Errors
    /// [`LogError`] for segments that are missing, replaced or unreadable.
    pub fn forget_removed(&self) -> Result<(), LogError> {
        self.tidy(&View::new(self.segments()?));
        Ok(())
    }

    /// Removes what belongs to no segment that is there: of removed, shredded or restored segments, or left by an
    /// interruption.
    pub(super) fn tidy(&self, view: &View) {
        let is_shredded = |segment: &Shelved| self.shredded(segment).is_some();
        let there = view.segments().iter();
        let there = there.filter(|segment| !is_shredded(segment));
        let kept: BTreeSet<String> = there.map(name_of).collect();
        let listed = self.with_names(|names| names.clone());
        for name in listed {
            let is_segment = name.ends_with(SUFFIX) && !kept.contains(&name);
            let group = Group::named(&name);
            let is_catalog = group.is_some_and(|group| {
                let from = view.position(group.first()).unwrap_or(0);
                let to = view.position(group.last()).unwrap_or(from);
                view.members(group).is_none()
                    || (from..=to).any(|at| view.at(at).is_some_and(is_shredded))
            });
            if let Some(group) = group.filter(|_| is_catalog) {
                self.drop_catalog(group);
            } else if is_segment || name.strip_suffix(".new").is_some() {
                let mut sheets = lock(&self.0.sheets);
                sheets.segments.retain(|(known, _)| *known != name);
                sheets.memory.retain(|(known, _)| *known != name);
                drop(sheets);
                self.remove(&name);
            }
        }
    }
}

pub(super) fn unsealed() -> LogError {
    LogError::Crypt {
        what: "sealing a part of the index",
        source: crate::audit::log::CryptError,
    }
}

/// Takes up to `most` records up to the record `to`; says how many.
///
/// # Errors
/// [`LogError`].
pub(super) fn take_up(
    frames: &mut Frames,
    builder: &mut Builder,
    to: u64,
    most: u64,
) -> Result<u64, LogError> {
    let mut taken = 0_u64;
    while taken < most {
        let Some(next) = frames.next_record(to)? else {
            break;
        };
        builder.add(next.offset, &next.record.payload);
        taken = taken.saturating_add(1);
    }
    Ok(taken)
}
