//! Bringing a trail back from its archive, into an empty directory, so that `chartgate audit verify --dir` proves it.
//!
//! *Never*: needs a key, overwrites anything, or writes a segment that is not whole.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::error::ArchiveError;
use super::target::{Target, copy, write};
use super::verify::{Versions, choose, read_note, versions};
use crate::audit::log::RETIRED;

/// Checkpoints of what the archive does not hold: records of the segment that was being written.
const LATER: &str = "checkpoints.later";

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first record.
    pub first: Option<u64>,
    /// The last record.
    pub last: Option<u64>,
    /// Checkpoints of these records.
    pub checkpoints: u64,
    /// Checkpoints of later records, kept apart.
    pub later: u64,
    /// What could not be restored, or does not fit.
    pub problems: Vec<String>,
}

/// Restores an archive into `to`, which must not exist or be empty.
///
/// # Errors
/// [`ArchiveError`] where the archive cannot be read or the directory not be written.
pub fn restore(target: &Target, to: &Path) -> Result<Restored, ArchiveError> {
    claim(to)?;
    let scratch = to.join("scratch");
    std::fs::create_dir(&scratch).map_err(ArchiveError::io(&scratch))?;
    let mut restored = Restored::default();
    let mut chain = Chain::default();
    let names = versions(target, "segments")?;
    for (name, versions) in &names {
        let chosen = choose(target, (name, versions), &scratch);
        let (path, sum, found) = match chosen {
            Ok(chosen) => chosen,
            Err(error @ ArchiveError::Altered { .. }) => {
                restored.problems.push(error.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        // SECURITY: the name is that of the segment's header, so nothing is written elsewhere.
        let own = found.header.file_name();
        copy(&path, &to.join("segments").join(own))?;
        restored.segments = restored.segments.saturating_add(1);
        restored.bytes = restored.bytes.saturating_add(sum.bytes);
        if restored.first.is_none() {
            restored.first = Some(found.header.first);
        }
        let link = chain.go_on(&found);
        restored
            .problems
            .extend(link.map(|said| format!("{name}: {said}")));
    }
    std::fs::remove_dir_all(&scratch).map_err(ArchiveError::io(&scratch))?;
    restored.last = chain.last();
    if restored.segments == 0 {
        restored
            .problems
            .push("there is no segment in the archive".to_owned());
    }
    let checkpoints = versions(target, "checkpoints")?;
    let (fitting, later): (Versions, Versions) = checkpoints
        .into_iter()
        .partition(|(name, _)| is_of(name, &chain));
    restored.checkpoints = notes(target, &fitting, &to.join("checkpoints"))?;
    restored.later = notes(target, &later, &to.join(LATER))?;
    notes(target, &versions(target, "retired")?, &to.join(RETIRED))?;
    Ok(restored)
}

/// Makes an empty directory, or takes one that is empty.
fn claim(to: &Path) -> Result<(), ArchiveError> {
    std::fs::create_dir_all(to).map_err(ArchiveError::io(to))?;
    let mut entries = std::fs::read_dir(to).map_err(ArchiveError::io(to))?;
    if entries.next().is_some() {
        return Err(ArchiveError::Refused(format!(
            "`{}` is not empty; nothing is overwritten",
            to.display()
        )));
    }
    Ok(())
}

/// Whether a checkpoint, by its name, is of a record that was restored.
fn is_of(name: &str, chain: &Chain) -> bool {
    let place = || {
        let name = name.rsplit('/').next()?.strip_suffix(".note")?;
        let (sequence, segment) = name.split_once('-')?;
        let (last, _) = chain.end_of(&segment.parse().ok()?)?;
        Some(sequence.parse::<u64>().ok()? <= last)
    };
    place().unwrap_or(false)
}

/// Collects notes in one file; says how many.
fn notes(target: &Target, names: &Versions, to: &Path) -> Result<u64, ArchiveError> {
    if names.is_empty() {
        return Ok(0);
    }
    let mut texts = Vec::new();
    for (name, versions) in names {
        // Whoever verifies checks the signatures; what is no text is no note.
        texts.push(read_note(target, (name, versions), |_| Ok(()))?);
    }
    let text = texts.join("\n");
    write(to, |file| file.write_all(text.as_bytes()))?;
    Ok(texts.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_place_is_restored_into() {
        let dir = tempfile::tempdir().unwrap();
        claim(&dir.path().join("new/deep")).unwrap();
        assert!(matches!(claim(dir.path()), Err(ArchiveError::Refused(_))));
    }

    #[test]
    fn a_checkpoint_of_nothing_that_is_there_is_kept_apart() {
        let chain = Chain::default();
        for name in [
            "checkpoints/x",
            "checkpoints/00000000000000000001-00000000-0000-0000-0000-000000000009.note",
            "checkpoints/../../etc/passwd.note",
        ] {
            assert!(!is_of(name, &chain), "{name}");
        }
    }
}
