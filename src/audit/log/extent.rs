//! How far each segment of a log that is being written is whole: what a copy of it may take.
//!
//! *Never*: takes bytes behind the record that the caller knows to be durable.

use std::path::{Path, PathBuf};

use super::error::LogError;
use super::files::{Access, Files};
use super::header::Header;
use super::recover::{names, open, survey, unreadable};
use super::walk::{Step, Walk, WalkError};

/// The whole part of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The file.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Its header.
    pub header: Header,
    /// How many bytes from its beginning on are whole.
    pub bytes: u64,
    /// The newest record in them; the one before the first, where there is none.
    pub last: u64,
    /// What is wrong behind them, where that is not the end of a segment.
    pub flaw: Option<String>,
}

/// The segments of the log below `directory`, in order, as far as record `to`.
///
/// # Errors
/// [`LogError`] for a segment that is missing, replaced or unreadable.
pub fn extents(files: &dyn Files, directory: &Path, to: u64) -> Result<Vec<Extent>, LogError> {
    if names(files, directory)?.is_empty() {
        return Ok(Vec::new());
    }
    let mut extents = Vec::new();
    for known in survey(files, directory)? {
        if known.header().first > to && !extents.is_empty() {
            break;
        }
        let file = open(files, &known.path, Access::Read)?;
        let walked = Walk::begin(&*file);
        let mut walk = walked.map_err(|error| unreadable(&known.path, &known.name, error))?;
        let failed = |source| unreadable(&known.path, &known.name, WalkError::Io(source));
        let mut bytes = walk.offset;
        let mut last = walk.header.first.saturating_sub(1);
        let flaw = loop {
            match walk.step().map_err(failed)? {
                Step::Record { sequence, .. } if sequence > to => break None,
                Step::Record { sequence, .. } => last = sequence,
                Step::Sealed => {}
                Step::Broken(flaw) if last < to => break Some(flaw.to_string()),
                // Behind the newest durable record stands what is just being written.
                Step::End | Step::Broken(_) => break None,
            }
            bytes = walk.offset;
        };
        extents.push(Extent {
            header: walk.header.clone(),
            path: known.path,
            name: known.name,
            bytes,
            last,
            flaw,
        });
    }
    Ok(extents)
}
