//! Directories and files that the gateway writes: whether it may, and whether others may read.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::config::problem::Severity;
use crate::config::source::{Document, says};
use crate::config::{ArchiveTarget, BackupTarget, Config};

/// Checks each place that the gateway writes to.
pub(super) fn check(document: &Document<'_>, config: &Config) {
    directory(document, "audit.directory", &config.audit.directory);
    beside(document, "store.path", &config.store.path);
    beside(document, "admin.socket", &config.admin.socket);
    for (index, witness) in config.audit.witnesses.iter().enumerate() {
        if let Some(file) = witness.file() {
            let key = format!("audit.witnesses[{index}]");
            beside(document, &key, file);
            same_disk(document, &key, &config.audit.directory, file);
        }
    }
    if let Some(backup) = &config.backup
        && let BackupTarget::Directory(target) = &backup.target
    {
        directory(document, "backup.target", target);
        closed(document, "backup.target", target);
        if on_one_disk(&config.audit.directory, target) {
            let message = "the backups are on the same file system as the trail";
            let remedy =
                "use another disk, host or bucket: a backup next to what it saves is lost with it";
            document.at(Severity::Warning, "backup.target", says(message, remedy));
        }
    }
    archive(document, config);
    for (key, path) in [
        ("audit.directory", config.audit.directory.as_path()),
        ("store.path", &config.store.path),
    ] {
        closed(document, key, path);
    }
}

/// An archive in a directory: one next to the trail is lost with it.
fn archive(document: &Document<'_>, config: &Config) {
    let Some(archive) = &config.audit.archive else {
        return;
    };
    let ArchiveTarget::Directory(target) = &archive.target else {
        return;
    };
    let key = "audit.archive.directory";
    directory(document, key, target);
    closed(document, key, target);
    if on_one_disk(&config.audit.directory, target) {
        let message = "the archive is on the same file system as the trail";
        let remedy = "use a share whose files cannot be changed once written, or a bucket with Object Lock: an archive next to the trail is lost, and changed, with it";
        document.at(Severity::Warning, key, says(message, remedy));
    }
}

/// A directory that is written into, or is made in one that is there.
fn directory(document: &Document<'_>, key: &str, path: &Path) {
    if path.is_dir() {
        writable(document, key, path);
    } else {
        beside(document, key, path);
    }
}

/// A file that is written, or is made in a directory that is there.
fn beside(document: &Document<'_>, key: &str, path: &Path) {
    if path.exists() {
        writable(document, key, path);
        return;
    }
    match directory_of(path) {
        Some(parent) if parent.is_dir() => writable(document, key, parent),
        Some(parent) => {
            let message = format!("the directory `{}` does not exist", parent.display());
            let remedy = format!(
                "mkdir -m 700 {0}, owned by the gateway's user",
                parent.display()
            );
            document.at(Severity::Error, key, says(message, remedy));
        }
        None => {
            let message = format!("`{}` is not a path to write to", path.display());
            document.at(
                Severity::Error,
                key,
                says(message, "name a path below a directory"),
            );
        }
    }
}

/// The directory that a path is in; of a bare name, as in a configuration that was named without a directory, the one that
/// the program runs in.
fn directory_of(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    })
}

fn writable(document: &Document<'_>, key: &str, path: &Path) {
    if let Err(error) = access(path, Access::WRITE_OK) {
        let message = format!("`{}` cannot be written: {error}", path.display());
        let remedy = "give it to the gateway's user, and run this check as that user";
        document.at(Severity::Error, key, says(message, remedy));
    }
}

/// The trail and the store are sealed; their names, sizes and times are nobody's business either.
fn closed(document: &Document<'_>, key: &str, path: &Path) {
    let Ok(metadata) = std::fs::metadata(path) else {
        return;
    };
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let shown = path.display();
        let message = format!("`{shown}` can be entered or read by others (mode {mode:04o})");
        let closed = if metadata.is_dir() { "700" } else { "600" };
        document.at(
            Severity::Warning,
            key,
            says(message, format!("chmod {closed} {shown}")),
        );
    }
}

/// A witness on the trail's own disk is lost and rolled back with it.
fn same_disk(document: &Document<'_>, key: &str, trail: &Path, witness: &Path) {
    if on_one_disk(trail, witness) {
        let message = "the witness is on the same file system as the trail";
        let remedy = "add one on another disk or host: only what left the machine shows that the trail was cut by someone with full control of it";
        document.at(Severity::Warning, key, says(message, remedy));
    }
}

fn on_one_disk(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| {
        path.ancestors()
            .find_map(|path| std::fs::metadata(path).ok())
            .map(|found| found.dev())
    };
    device(one).is_some() && device(one) == device(other)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::fixture::{Fixture, TEMPLATE};
    use crate::config::problem::Problems;

    fn checked(fixture: &Fixture) -> Problems {
        let reading = fixture.read(TEMPLATE);
        let document = Document::parse(&reading.source).unwrap();
        check(&document, &reading.config.unwrap());
        document.into_problems()
    }

    #[test]
    fn directories_must_exist_and_be_closed() {
        let fixture = Fixture::new();
        let keys = |problems: &Problems| -> Vec<String> {
            let errors = problems
                .iter()
                .filter(|problem| problem.severity == Severity::Error);
            errors.map(|problem| problem.key.clone()).collect()
        };
        assert!(keys(&checked(&fixture)).is_empty());
        fs::create_dir(fixture.path("data/trail")).unwrap();
        fs::set_permissions(fixture.path("data/trail"), Permissions::from_mode(0o755)).unwrap();
        let open = checked(&fixture);
        let problem = open
            .iter()
            .find(|problem| problem.key == "audit.directory")
            .unwrap();
        assert!(problem.remedy.starts_with("chmod 700 "), "{problem:?}");
        fs::remove_dir(fixture.path("data/trail")).unwrap();
        fs::remove_dir(fixture.path("data")).unwrap();
        fs::remove_dir(fixture.path("witness")).unwrap();
        assert_eq!(
            keys(&checked(&fixture)),
            [
                "audit.directory",
                "audit.witnesses[0]",
                "store.path",
                "admin.socket"
            ]
        );
    }

    #[test]
    fn a_witness_on_the_same_disk_is_a_warning() {
        let problems = checked(&Fixture::new());
        let problem = problems
            .iter()
            .find(|problem| problem.key == "audit.witnesses[0]")
            .unwrap();
        assert_eq!(problem.severity, Severity::Warning);
        assert!(problem.message.contains("same file system"));
    }
}
