//! Which witnesses have held a checkpoint of this log. A file that is missing is then on a volume that is not mounted,
//! or is gone; where it is not known, it is of a witness that was just added.
//!
//! *Owns*: the `witnesses` file: a JSON list of names. Nothing is proven by it.
//! *On failure*: every witness counts as one that was just added, which is on record as well.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::files::Files;
use super::tail::whole;
use super::waiting::lock;

/// The file, below the trail's directory.
const WITNESSES: &str = "witnesses";
/// There are at most eight, and each is a path or a URL.
const LONGEST: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Remembered {
    files: Arc<dyn Files>,
    directory: PathBuf,
    names: Mutex<BTreeSet<String>>,
    /// Held while the file is written, so that nobody who only asks waits for the disk.
    writing: Mutex<()>,
}

impl Remembered {
    /// What is known of these witnesses.
    pub(super) fn read(files: &Arc<dyn Files>, directory: &Path, configured: &[String]) -> Self {
        let mut names = match read(&**files, &directory.join(WITNESSES)) {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!(%error, "which witnesses held checkpoints is not known");
                BTreeSet::new()
            }
        };
        names.retain(|name| configured.contains(name));
        Self {
            files: Arc::clone(files),
            directory: directory.to_owned(),
            names: Mutex::new(names),
            writing: Mutex::default(),
        }
    }

    /// Whether it has held a checkpoint of this log.
    pub(super) fn knows(&self, name: &str) -> bool {
        lock(&self.names).contains(name)
    }

    /// It holds one now.
    pub(super) fn note(&self, name: &str) {
        if self.knows(name) {
            return;
        }
        let _writing = lock(&self.writing);
        let mut names = lock(&self.names).clone();
        names.insert(name.to_owned());
        match self.write(&names) {
            Ok(()) => *lock(&self.names) = names,
            Err(error) => {
                tracing::warn!(witness = name, %error, "that it holds checkpoints could not be noted");
            }
        }
    }

    fn write(&self, names: &BTreeSet<String>) -> io::Result<()> {
        let text = serde_json::to_vec(names)?;
        let path = self.directory.join(WITNESSES);
        let aside = path.with_extension("new");
        match self.files.remove(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let new = self.files.create(&aside)?;
        new.write_all_at(0, &text)?;
        new.sync_data()?;
        self.files.rename(&aside, &path)?;
        self.files.sync_dir(&self.directory)
    }
}

fn read(files: &dyn Files, path: &Path) -> io::Result<BTreeSet<String>> {
    match whole(files, path, LONGEST)? {
        Some(bytes) => Ok(serde_json::from_slice(&bytes)?),
        None => Ok(BTreeSet::new()),
    }
}
