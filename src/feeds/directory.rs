//! A directory into which another system writes files of HL7 v2 messages: each is read once, in the order of names.
//!
//! *Never*: a file twice, a file that is still being written, or one beyond its bound.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::SystemTime;

/// Most files of the directory, and most bytes of one.
const MOST_FILES: usize = 1_000_000;
const LARGEST: u64 = 16 * 1024 * 1024;

/// A name in the directory, and what the file looked like.
type Seen = (OsString, Option<SystemTime>, u64);

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Directory {
    seen: HashSet<Seen>,
}

impl Directory {
    /// Hands the text of each file that was not read before to `take`. A file that it does not take is read again the
    /// next time, and those behind it too. Returns when the newest file was written.
    ///
    /// # Errors
    /// What is wrong: with a file, by its name; nothing of what it says.
    pub(super) fn look(
        &mut self,
        directory: &Path,
        mut take: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<Option<SystemTime>, String> {
        let files = files(directory)?;
        let newest = files.iter().filter_map(|(_, at, _)| *at).max();
        let mut fresh: Vec<_> = files
            .iter()
            .filter(|file| !self.seen.contains(*file))
            .cloned()
            .collect();
        fresh.sort();
        for file in fresh {
            let told = |problem: String| format!("{}: {problem}", file.0.display());
            if file.2 > LARGEST {
                return Err(told(format!("the file is larger than {LARGEST} bytes")));
            }
            let bytes =
                std::fs::read(directory.join(&file.0)).map_err(|error| told(error.to_string()))?;
            // Names may be in another character set; numbers and codes are ASCII.
            take(&String::from_utf8_lossy(&bytes)).map_err(told)?;
            self.seen.insert(file);
        }
        // What was removed from the directory need not be remembered.
        let there: HashSet<_> = files.into_iter().collect();
        self.seen.retain(|file| there.contains(file));
        Ok(newest)
    }
}

fn files(directory: &Path) -> Result<Vec<Seen>, String> {
    let entries = std::fs::read_dir(directory).map_err(|error| error.to_string())?;
    let mut files = Vec::new();
    for entry in entries.take(MOST_FILES.saturating_add(1)) {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.file_name();
        // A file that is being written has another name until it is whole, by custom.
        if name.as_encoded_bytes().starts_with(b".") || has_ending(&name, &["tmp", "part"]) {
            continue;
        }
        let metadata = entry.metadata().map_err(|error| error.to_string())?;
        if metadata.is_file() {
            files.push((name, metadata.modified().ok(), metadata.len()));
        }
    }
    if files.len() > MOST_FILES {
        return Err(format!(
            "there are more than {MOST_FILES} files; remove those that are old"
        ));
    }
    Ok(files)
}

fn has_ending(name: &OsStr, endings: &[&str]) -> bool {
    let ending = Path::new(name).extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| endings.contains(&ending))
}
