//! A directory that was named for a trail, and holds none.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::console::Failure;

/// Where a trail lies below what somebody may name instead of it.
const BELOW: [&str; 3] = ["trail", "data/trail", "data"];

/// That a directory holds a trail.
///
/// # Errors
/// [`Failure::Failed`] where it holds none, with the directory that may be meant.
pub(super) fn holds_a_trail(directory: &Path) -> Result<(), Failure> {
    let shown = directory.display();
    match directory.join("segments").metadata() {
        Ok(segments) if segments.is_dir() => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Failure::Failed(format!(
                "`{shown}` cannot be read: {error}; run this as the gateway's user, or on a copy"
            )));
        }
        Ok(_) | Err(_) => {}
    }
    let meant = match meant(directory) {
        Some(meant) => format!("; did you mean `{}`?", meant.display()),
        None => String::new(),
    };
    Err(Failure::Failed(format!(
        "there is no trail in `{shown}`{meant}"
    )))
}

fn meant(directory: &Path) -> Option<PathBuf> {
    let below = BELOW.iter().map(|below| directory.join(below));
    let above = directory.parent().map(Path::to_owned);
    below
        .chain(above)
        .find(|other| other.join("segments").is_dir())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_trail_is_found_above_and_below() {
        let home = tempfile::tempdir().unwrap();
        let trail = home.path().join("data/trail");
        fs::create_dir_all(trail.join("segments")).unwrap();
        let meant = format!("; did you mean `{}`?", trail.display());
        assert!(holds_a_trail(&trail).is_ok());
        for other in ["", "data", "data/trail/segments"] {
            let said = holds_a_trail(&home.path().join(other)).unwrap_err();
            assert!(said.to_string().ends_with(&meant), "{other}: {said}");
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let said = holds_a_trail(&elsewhere.path().join("copy")).unwrap_err();
        assert!(said.to_string().ends_with("copy`"), "{said}");
    }
}
