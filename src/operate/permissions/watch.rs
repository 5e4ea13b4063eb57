//! Notices that the bundle's files changed.
//!
//! The directory is looked at every few seconds, not watched through the kernel: a Kubernetes volume is swapped by a
//! symbolic link that change notices do not follow, a network file system sends none, and an overflowing queue loses
//! some. A look is one `stat` for each file. What changed is read once two looks in a row saw the same, so that a bundle
//! that is still being copied is not taken for a broken one; a later write then also has another time stamp.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ActivateError, By, Permissions};

/// Most entries of a folder that are looked at; a bundle with more does not load.
const MOST_ENTRIES: usize = 1_001;

/// The bundle's files as one look saw them; nothing where the directory could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Look(Option<Vec<Seen>>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    name: PathBuf,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Look {
    fn at(directory: &Path) -> Self {
        let mut seen = Vec::new();
        for folder in ["", "emr", "tests", "training"] {
            let found = folder_at(&directory.join(folder), Path::new(folder), &mut seen);
            if found.is_none() && folder.is_empty() {
                return Self(None);
            }
        }
        seen.sort_unstable();
        Self(Some(seen))
    }
}

fn folder_at(path: &Path, folder: &Path, seen: &mut Vec<Seen>) -> Option<()> {
    for entry in fs::read_dir(path).ok()?.take(MOST_ENTRIES).flatten() {
        let name = entry.file_name();
        // Follows symbolic links: what counts is the file that would be read.
        let Ok(metadata) = fs::metadata(entry.path()) else {
            continue;
        };
        if metadata.is_file() && !name.as_encoded_bytes().starts_with(b".") {
            seen.push(Seen {
                name: folder.join(name),
                inode: metadata.ino(),
                length: metadata.len(),
                changed: (metadata.mtime(), metadata.mtime_nsec()),
            });
        }
    }
    Some(())
}

/// What was seen so far.
#[derive(Debug)]
struct Watch {
    newest: Look,
    /// The look whose bundle was put in force or rejected.
    done: Look,
}

impl Watch {
    /// Whether the files changed since they were last read, and are at rest.
    fn calls(&mut self, look: Look) -> bool {
        let rests = look == self.newest;
        self.newest = look;
        rests && self.newest != self.done
    }
}

impl Permissions {
    /// Looks at the bundle until the end; a changed one is put in force or rejected. Returns at once where the
    /// configuration says that nobody looks.
    pub async fn watch(self, end: impl Future<Output = ()>) {
        let interval = self.shared.grounds.policy.watch_interval;
        if interval == Duration::ZERO {
            return;
        }
        let mut end = std::pin::pin!(end);
        // What the gateway started with was read before the first look: a change in between is found by its digest.
        let mut watch = Watch {
            newest: self.look().await,
            done: Look::default(),
        };
        loop {
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(interval) => {}
            }
            if !watch.calls(self.look().await) {
                continue;
            }
            match self.take_over().await {
                Ok(()) | Err(ActivateError::Problems(_)) => watch.done = watch.newest.clone(),
                // Tried again at the next look.
                Err(error) => {
                    tracing::error!(%error, "a changed policy bundle was not put in force");
                }
            }
        }
    }

    /// Takes over what the files are now, unless they are what somebody went back from.
    async fn take_over(&self) -> Result<(), ActivateError> {
        let held = self.shared.state.load_full().held.clone();
        if let Some(hold) = held
            && hold.on_disk == self.digest_on_disk().await?
        {
            return Ok(());
        }
        self.activate(None, By::Watch).await.map(drop)
    }

    async fn look(&self) -> Look {
        let directory = self.shared.grounds.policy.directory.clone();
        let looked = tokio::task::spawn_blocking(move || Look::at(&directory)).await;
        looked.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, name: &str, text: &str) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_change_calls_once_it_rests_and_only_once() {
        let place = tempfile::tempdir().unwrap();
        let look = || Look::at(place.path());
        write(place.path(), "care.cedar", "one");
        let mut watch = Watch {
            newest: look(),
            done: look(),
        };
        assert!(!watch.calls(look()));
        for (name, text) in [
            ("care.cedar", "other"),
            ("tests/a.toml", "x"),
            ("emr/a.toml", "x"),
        ] {
            write(place.path(), name, text);
            assert!(!watch.calls(look()), "{name} is still being written");
            assert!(watch.calls(look()), "{name}");
            watch.done = watch.newest.clone();
            assert!(!watch.calls(look()), "{name} was read");
        }
        write(place.path(), ".care.cedar.swp", "x");
        assert!(!watch.calls(look()) && !watch.calls(look()));
    }

    #[test]
    fn a_volume_that_is_swapped_by_a_link_calls() {
        let place = tempfile::tempdir().unwrap();
        for version in ["one", "two"] {
            write(place.path(), &format!("..{version}/care.cedar"), "same");
        }
        let link = |version: &str| {
            let next = place.path().join("..next");
            std::os::unix::fs::symlink(format!("..{version}"), &next).unwrap();
            fs::rename(&next, place.path().join("..data")).unwrap();
        };
        link("one");
        std::os::unix::fs::symlink("..data/care.cedar", place.path().join("care.cedar")).unwrap();
        let first = Look::at(place.path());
        assert_eq!(first.0.as_ref().map(Vec::len), Some(1));
        link("two");
        assert_ne!(Look::at(place.path()), first);
    }

    #[test]
    fn a_directory_that_is_gone_is_a_change() {
        let place = tempfile::tempdir().unwrap();
        let first = Look::at(place.path());
        assert_ne!(Look::at(&place.path().join("gone")), first);
    }
}
