//! The headers of a log's segments, for whoever has to find a run.

use std::path::Path;

use super::error::LogError;
use super::files::Files;
use super::header::Header;
use super::recover::survey;
use super::segment::SEGMENTS;

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
