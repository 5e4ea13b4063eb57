//! The directory that `init` fills, one new file at a time.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::cli::console::{Console, Failure};

/// A directory in which nothing is overwritten.
pub(super) struct Place<'p, 'c> {
    root: PathBuf,
    console: &'p mut Console<'c>,
}

impl<'p, 'c> Place<'p, 'c> {
    /// Makes the directory where it does not exist.
    pub(super) fn open(root: &Path, console: &'p mut Console<'c>) -> Result<Self, Failure> {
        let place = Self {
            root: root.to_owned(),
            console,
        };
        make(root, 0o755)?;
        Ok(place)
    }

    /// A path inside.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes a directory that only its owner may enter.
    pub(super) fn directory(&self, name: &str) -> Result<(), Failure> {
        make(&self.path(name), 0o700)
    }

    /// Writes a file that everybody may read, unless it exists.
    pub(super) fn file(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        self.write(name, text, 0o644)
    }

    /// Writes a file that only its owner may read, unless it exists.
    pub(super) fn private(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        self.write(name, text, 0o600)
    }

    /// Says that something was written by someone else.
    pub(super) fn wrote(&mut self, name: &str) -> Result<(), Failure> {
        self.console.line(format_args!("wrote   {name}"))
    }

    /// Whether something is there already; says so, if it is.
    pub(super) fn has(&mut self, name: &str) -> Result<bool, Failure> {
        let exists = std::fs::symlink_metadata(self.path(name)).is_ok();
        if exists {
            self.console
                .line(format_args!("exists  {name} (left as it is)"))?;
        }
        Ok(exists)
    }

    fn write(&mut self, name: &str, text: &str, mode: u32) -> Result<(), Failure> {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            make(parent, 0o755)?;
        }
        // `create_new` also refuses a symbolic link, so nothing outside can be written through one.
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path);
        let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
        match written {
            Ok(()) => self.wrote(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.has(name).map(drop),
            Err(error) => Err(failed(&path, &error)),
        }
    }
}

fn make(path: &Path, mode: u32) -> Result<(), Failure> {
    let result = DirBuilder::new().recursive(true).mode(mode).create(path);
    result.map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("`{}` cannot be written: {error}", path.display()))
}
