//! Where a command's document goes: to standard output, or into a file that nobody else may read.
//!
//! *Never*: over a file that is there already, or half a document under the name that was asked for.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::console::{Console, Failure};

/// A document on its way.
#[derive(Debug)]
pub(super) struct Output {
    file: Option<(File, PathBuf, PathBuf)>,
}

impl Output {
    /// Into the file, or to standard output where none is named.
    ///
    /// # Errors
    /// [`Failure`], where the file is there already or cannot be made.
    pub(super) fn to(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self { file: None });
        };
        if path.symlink_metadata().is_ok() {
            let shown = path.display();
            let message = format!("`{shown}` exists already; name another file, or move it away");
            return Err(Failure::Configuration(message));
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".part");
        let partial = PathBuf::from(partial);
        let file = private(&partial).map_err(|error| failed(&partial, &error))?;
        Ok(Self {
            file: Some((file, partial, path.to_owned())),
        })
    }

    /// Writes text as it is.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn text(&mut self, text: &str, console: &mut Console<'_>) -> Result<(), Failure> {
        match &mut self.file {
            None => console.text(text),
            Some((file, partial, _)) => file
                .write_all(text.as_bytes())
                .map_err(|error| failed(partial, &error)),
        }
    }

    /// The document is whole: it gets its name. `beside` are further files, by what is added to the name.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn finish(self, beside: &[(&str, &str)]) -> Result<(), Failure> {
        let Some((file, partial, path)) = self.file else {
            return Ok(());
        };
        for (suffix, text) in beside {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            let name = PathBuf::from(name);
            let written = private(&name).and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|error| failed(&name, &error))?;
        }
        file.sync_all()
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(|error| failed(&path, &error))
    }
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("`{}` cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::Exit;
    use crate::cli::console::testing::Captured;

    #[test]
    fn a_document_gets_its_name_when_it_is_whole_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        Captured::run(|console| {
            let mut output = Output::to(Some(&path)).unwrap();
            output.text("whole\n", console).unwrap();
            assert!(!path.exists());
            output.finish(&[(".sha256", "abc\n")]).unwrap();
            Exit::Fine
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\n");
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(dir.path().join("out.csv.sha256").exists());
        assert!(!dir.path().join("out.csv.part").exists());
        let again = Output::to(Some(&path)).unwrap_err();
        assert!(again.to_string().contains("exists already"));
    }
}
