//! Bringing a trail back from its archive, into an empty directory, so that `chartgate audit verify --dir` proves it.
//!
//! *Never*: needs a key, overwrites anything, or writes a segment that is not whole.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chain::{Chain, Damaged, Places, place_of};
use super::error::ArchiveError;
use super::target::{Target, copy, write};
use super::verify::{Versions, choose, read_note, versions};
use crate::audit::log::{RETIRED, Retired};

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
/// [`ArchiveError`] where the archive is not there or cannot be read, or the directory not be written.
pub fn restore(target: &Target, to: &Path) -> Result<Restored, ArchiveError> {
    target.present()?;
    claim(to)?;
    let scratch = to.join("scratch");
    std::fs::create_dir(&scratch).map_err(ArchiveError::io(&scratch))?;
    let mut restored = Restored::default();
    let (mut chain, mut damaged) = (Chain::default(), Damaged::default());
    let names = versions(target, "segments")?;
    for (name, versions) in &names {
        let chosen = choose(target, (name, versions), &scratch);
        let (path, sum, found) = match chosen {
            Ok(chosen) => chosen,
            Err(error @ ArchiveError::Altered { .. }) => {
                restored.problems.push(error.to_string());
                damaged.add(name);
                continue;
            }
            Err(error) => return Err(error),
        };
        // SECURITY: the name is that of the segment's header, so nothing is written elsewhere.
        let own = found.header.file_name();
        copy(&path, &to.join("segments").join(own))?;
        restored.segments = restored.segments.saturating_add(1);
        restored.bytes = restored.bytes.saturating_add(sum.bytes);
        let link = chain.go_on(&found);
        restored
            .problems
            .extend(link.map(|said| format!("{name}: {said}")));
    }
    std::fs::remove_dir_all(&scratch).map_err(ArchiveError::io(&scratch))?;
    (restored.first, restored.last) = (chain.first(), chain.last());
    if restored.segments == 0 {
        restored
            .problems
            .push("there is no segment in the archive".to_owned());
    }
    let checkpoints = versions(target, "checkpoints")?;
    let places = Places::of(checkpoints.keys());
    let (fitting, later): (Versions, Versions) = checkpoints
        .into_iter()
        .partition(|(name, _)| is_of(name, &chain));
    restored.checkpoints = notes(target, &fitting, &to.join("checkpoints"))?.len() as u64;
    restored.later = notes(target, &later, &to.join(LATER))?.len() as u64;
    let removed = notes(target, &versions(target, "retired")?, &to.join(RETIRED))?;
    // Whoever verifies what was restored asks for their signatures.
    let removed: Vec<Retired> = removed
        .iter()
        .filter_map(|text| Retired::parse(text))
        .collect();
    restored.problems.extend(chain.beginning(&removed));
    restored
        .problems
        .extend(chain.gaps(&places, &removed, &damaged));
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
    let place = place_of(name).and_then(|(sequence, segment)| {
        let (last, _) = chain.end_of(&segment)?;
        Some(sequence <= last)
    });
    place.unwrap_or(false)
}

/// Collects notes in one file, and hands them back.
fn notes(target: &Target, names: &Versions, to: &Path) -> Result<Vec<String>, ArchiveError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut texts = Vec::new();
    for (name, versions) in names {
        // Whoever verifies checks the signatures; what is no text is no note.
        texts.push(read_note(target, (name, versions), |_| Ok(()))?);
    }
    let text = texts.join("\n");
    write(to, |file| file.write_all(text.as_bytes()))?;
    Ok(texts)
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
