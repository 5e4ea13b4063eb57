//! The headers of a log's segments, for whoever has to find a run or a record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::crypt::Head;
use super::error::LogError;
use super::files::Files;
use super::header::{Header, Parsed};
use super::recover::{Known, check_link, known, names, survey};
use super::segment::SEGMENTS;
use super::waiting::lock;

/// The headers of all segments, in order; none where there is no log yet.
///
/// # Errors
/// [`LogError`] for a segment that is missing, replaced or unreadable.
pub fn headers(files: &dyn Files, directory: &Path) -> Result<Vec<Header>, LogError> {
    if files.list(&directory.join(SEGMENTS)).is_err() {
        return Ok(Vec::new());
    }
    let known = survey(files, directory)?;
    Ok(known.into_iter().map(|known| known.parsed.header).collect())
}

/// A segment on disk.
#[derive(Clone, Debug)]
pub struct Shelved {
    known: Arc<Known>,
    closed: Option<Closed>,
}

/// Where a segment ended, as the next one says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its newest record; the one before its first where it has none.
    pub last: u64,
    /// Its last chain value, which commits to everything in it.
    pub head: Head,
}

impl Shelved {
    /// Its header.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.known.header()
    }

    /// Its file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.known.name
    }

    /// Where it ended; `None` of the newest, which may go on.
    #[must_use]
    pub const fn closed(&self) -> Option<Closed> {
        self.closed
    }

    pub(super) fn parts(&self) -> (&Path, &str, &Parsed) {
        (&self.known.path, &self.known.name, &self.known.parsed)
    }
}

/// Remembers the headers of segments: those that were read and found to follow each other are not read again.
///
/// A header takes about 700 bytes of memory.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<Vec<Arc<Known>>>);

impl Shelf {
    /// All segments, in order; none where there is no log yet. The directory is listed each time.
    ///
    /// # Errors
    /// [`LogError`] for a segment that is missing, replaced or unreadable.
    pub fn segments(&self, files: &dyn Files, directory: &Path) -> Result<Vec<Shelved>, LogError> {
        let Ok(listed) = names(files, directory) else {
            return Ok(Vec::new());
        };
        let mut kept = lock(&self.0);
        let old = std::mem::take(&mut *kept);
        let before_first = old.first().map(|known| known.header().segment);
        let mut old: BTreeMap<String, Arc<Known>> = old
            .into_iter()
            .map(|known| (known.name.clone(), known))
            .collect();
        let mut segments: Vec<(Arc<Known>, bool)> = Vec::with_capacity(listed.len());
        for name in listed {
            match old.remove(&name) {
                Some(known) => segments.push((known, true)),
                None => segments.push((Arc::new(known(files, directory, name)?), false)),
            }
        }
        segments.sort_by_key(|(known, _)| known.header().number);
        let mut before: Option<&(Arc<Known>, bool)> = None;
        for next in &segments {
            let follows = before.map_or(
                Some(next.0.header().segment) == before_first,
                |(known, _)| known.header().number.checked_add(1) == Some(next.0.header().number),
            );
            let checked = next.1 && follows && before.is_none_or(|(_, checked)| *checked);
            if !checked {
                check_link(files, directory, before.map(|(known, _)| &**known), &next.0)?;
            }
            before = Some(next);
        }
        let segments: Vec<Arc<Known>> = segments.into_iter().map(|(known, _)| known).collect();
        kept.clone_from(&segments);
        drop(kept);
        let nexts = segments.iter().skip(1).map(|next| {
            let previous = &next.header().previous;
            Some(Closed {
                last: previous.sequence,
                head: previous.head,
            })
        });
        let closed: Vec<Option<Closed>> = nexts.chain(std::iter::once(None)).collect();
        let shelved = |(known, closed)| Shelved { known, closed };
        Ok(segments.into_iter().zip(closed).map(shelved).collect())
    }
}
