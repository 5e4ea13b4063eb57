//! Files that hold secrets: who may read them, and reading them.
//!
//! *Never*: a secret from a file that everybody on the machine can read.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::source::{Says, says};
use crate::secret::Secret;

/// A secret is a line or a key; anything longer is another file named by mistake.
const LIMIT: u64 = 64 * 1024;

/// Whether others than its owner can read or change an open secret file.
///
/// One that belongs to somebody else is given to the gateway through a group (`ssl-cert`, systemd credentials,
/// Kubernetes secrets, which belong to root): that group may read it, or nobody could.
#[must_use]
pub fn is_exposed(metadata: &Metadata) -> bool {
    let foreign = metadata.uid() != rustix::process::geteuid().as_raw();
    let forbidden = if foreign { 0o037 } else { 0o077 };
    metadata.mode() & forbidden != 0
}

/// Says what is wrong with the permissions of an open secret file, if anything.
#[must_use]
pub fn exposure(metadata: &Metadata, shown: &str) -> Option<Says> {
    let mode = metadata.mode() & 0o777;
    is_exposed(metadata).then(|| {
        says(
            format!("`{shown}` can be read or changed by others than its owner (mode {mode:04o})"),
            format!("chmod 600 {shown}; if others use this machine, replace the secret too"),
        )
    })
}

/// Checks that a secret file can be opened and that others cannot.
///
/// # Errors
/// What is wrong with it and what to do.
pub fn guard(path: &Path) -> Result<File, Says> {
    let shown = path.display().to_string();
    let file = File::open(path).map_err(|source| unreadable(&shown, &source))?;
    // SECURITY: the mode is that of the opened file, so that the name cannot be swapped in between.
    let metadata = file
        .metadata()
        .map_err(|source| unreadable(&shown, &source))?;
    if !metadata.is_file() {
        return Err(says(
            format!("`{shown}` is not a file"),
            "name the file that holds the secret",
        ));
    }
    match exposure(&metadata, &shown) {
        Some(said) => Err(said),
        None => Ok(file),
    }
}

/// Reads a secret that is one line of text.
///
/// # Errors
/// What is wrong with the file and what to do.
pub fn read_line(path: &Path) -> Result<Secret<String>, Says> {
    let shown = path.display().to_string();
    let file = guard(path)?;
    let mut text = Zeroizing::new(String::new());
    file.take(LIMIT)
        .read_to_string(&mut text)
        .map_err(|source| unreadable(&shown, &source))?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.trim().is_empty() || line.contains('\n') {
        let message = format!("`{shown}` does not hold exactly one line");
        return Err(says(message, "put the secret there, alone, on one line"));
    }
    Ok(Secret::new(line.to_owned()))
}

fn unreadable(shown: &str, source: &io::Error) -> Says {
    says(
        format!("`{shown}` cannot be read: {source}"),
        remedy(source),
    )
}

/// What to do about a file that cannot be read.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "run this as the gateway's user, or start the gateway: while it runs, operators need none of its files. The gateway's user itself must be able to read the file"
    } else {
        "create the file or correct the path (relative paths start at the configuration file's directory)"
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_may_read_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "hunter2\n").unwrap();
        for mode in [0o640, 0o620, 0o604, 0o644, 0o777] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let said = guard(&path).unwrap_err();
            assert!(said.remedy.starts_with("chmod 600 "), "{mode:o}: {said:?}");
        }
        for mode in [0o600, 0o400] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_line(&path).unwrap().expose(), "hunter2");
        }
    }

    #[test]
    fn a_secret_is_exactly_one_line() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "\n", "two\nlines\n"] {
            let path = dir.path().join("secret");
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let said = read_line(&path).unwrap_err();
            assert!(
                said.message.ends_with("does not hold exactly one line"),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_missing_file_is_named_and_one_that_is_somebody_elses_is_not_to_be_created() {
        let said = guard(Path::new("/nowhere/secret")).unwrap_err();
        assert!(said.message.starts_with("`/nowhere/secret` cannot be read"));
        assert!(said.remedy.starts_with("create the file"), "{said:?}");
        let denied = unreadable("secret", &io::ErrorKind::PermissionDenied.into());
        assert!(
            denied
                .remedy
                .starts_with("run this as the gateway's user, or start the gateway"),
            "{denied:?}"
        );
    }
}
