//! Where a command's document goes: to standard output, or into a file that nobody else may read.
//!
//! While it is written it is called `FILE.part`. *Never*: over a file that is there already, through a link, into a file
//! that somebody else made, or half a document under the name that was asked for.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::console::{Console, Failure};

/// What a file is called while it is written.
const PARTIAL: &str = ".part";
/// What is added to the name of a document for the file with its checksum.
const SUM: &str = ".sha256";

/// A document on its way.
#[derive(Debug)]
pub(super) struct Output {
    file: Option<Partial>,
}

/// A file that has not got its name yet.
#[derive(Debug)]
struct Partial {
    file: File,
    unnamed: PathBuf,
    path: PathBuf,
}

impl Output {
    /// Into the file, or to standard output where none is named.
    ///
    /// # Errors
    /// [`Failure`], where the file, or one with its checksum, is there already, or cannot be made.
    pub(super) fn to(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self { file: None });
        };
        // A checksum of another document beside this one would be a wrong one.
        for taken in [path.to_owned(), with(path, SUM)] {
            if taken.symlink_metadata().is_ok() {
                let shown = taken.display();
                let message =
                    format!("`{shown}` exists already; name another file, or move it away");
                return Err(Failure::Configuration(message));
            }
        }
        Ok(Self {
            file: Some(Partial::begin(path)?),
        })
    }

    /// Writes text as it is.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn text(&mut self, text: &str, console: &mut Console<'_>) -> Result<(), Failure> {
        match &mut self.file {
            None => console.text(text),
            Some(partial) => partial.text(text),
        }
    }

    /// The document is whole: it gets its name. `beside` are further files, by what is added to the name.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn finish(self, beside: &[(&str, &str)]) -> Result<(), Failure> {
        let Some(document) = self.file else {
            return Ok(());
        };
        let mut whole = Vec::new();
        for (suffix, text) in beside {
            let mut partial = Partial::begin(&with(&document.path, suffix))?;
            partial.text(text)?;
            whole.push(partial);
        }
        whole.push(document);
        whole.iter().try_for_each(Partial::finish)
    }
}

impl Partial {
    fn begin(path: &Path) -> Result<Self, Failure> {
        let partial = with(path, PARTIAL);
        make_room(&partial)?;
        // SECURITY: made anew, so that its mode is this one and it is nobody else's; what it holds is patient data.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default())
            .open(&partial)
            .map_err(|error| failed(path, &error))?;
        Ok(Self {
            file,
            unnamed: partial,
            path: path.to_owned(),
        })
    }

    fn text(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|error| failed(&self.path, &error))
    }

    fn finish(&self) -> Result<(), Failure> {
        let failed = |error: io::Error| failed(&self.path, &error);
        self.file.sync_all().map_err(failed)?;
        let (own, there) = (self.file.metadata(), self.unnamed.symlink_metadata());
        let place = |metadata: Metadata| (metadata.dev(), metadata.ino());
        if there.ok().map(place) != own.ok().map(place) {
            let shown = self.path.display();
            let message = format!(
                "`{shown}` cannot be written: another command writes to it; name another file"
            );
            return Err(Failure::Failed(message));
        }
        rename(&self.unnamed, &self.path).map_err(failed)?;
        let parent = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let synced = File::open(parent.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all());
        synced.map_err(failed)
    }
}

/// Takes away what an interrupted command of this user left.
fn make_room(partial: &Path) -> Result<(), Failure> {
    let Ok(there) = partial.symlink_metadata() else {
        return Ok(());
    };
    let shown = partial.display();
    if !there.is_file() || there.uid() != rustix::process::geteuid().as_raw() {
        let message = format!(
            "`{shown}` is in the way, and is no file that this user left; name another file, or move it away"
        );
        return Err(Failure::Configuration(message));
    }
    std::fs::remove_file(partial)
        .map_err(|error| Failure::Failed(format!("`{shown}` cannot be removed: {error}")))
}

/// Gives a file a name that nothing has yet.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can do that in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)
        }
        done => Ok(done?),
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("`{}` cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::cli::Exit;
    use crate::cli::console::testing::Captured;

    fn write(path: &Path, beside: &[(&str, &str)]) -> Result<(), String> {
        let mut done = Ok(());
        Captured::run(|console| {
            let written = Output::to(Some(path)).and_then(|mut output| {
                output.text("whole\n", console)?;
                assert!(!path.exists());
                output.finish(beside)
            });
            done = written.map_err(|failure| failure.to_string());
            Exit::Fine
        });
        done
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_document_gets_its_name_when_it_is_whole_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        write(&path, &[(".sha256", "abc\n")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\n");
        let sum = dir.path().join("out.csv.sha256");
        assert_eq!(fs::read_to_string(&sum).unwrap(), "abc\n");
        assert_eq!((mode(&path), mode(&sum)), (0o600, 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        let again = write(&path, &[]).unwrap_err();
        assert!(again.contains("exists already"), "{again}");
        // Nor does a checksum of something else come to lie beside another document.
        fs::remove_file(&path).unwrap();
        let again = write(&path, &[]).unwrap_err();
        assert!(again.contains("out.csv.sha256` exists already"), "{again}");
    }

    #[test]
    fn what_an_interrupted_command_left_is_not_written_on_in() {
        let dir = tempfile::tempdir().unwrap();
        let (path, partial) = (dir.path().join("out"), dir.path().join("out.part"));
        fs::write(&partial, "half of something longer\n").unwrap();
        fs::set_permissions(&partial, Permissions::from_mode(0o666)).unwrap();
        let held = File::open(&partial).unwrap();
        write(&path, &[]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\n");
        assert_eq!(mode(&path), 0o600);
        // Whoever had it open reads nothing of the document.
        assert_eq!(held.metadata().unwrap().nlink(), 0);
    }

    #[test]
    fn a_link_is_not_followed_and_what_is_no_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (path, partial) = (dir.path().join("out"), dir.path().join("out.part"));
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &partial).unwrap();
        let refused = write(&path, &[]).unwrap_err();
        assert!(refused.contains("is in the way"), "{refused}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(!path.exists());
        fs::remove_file(&partial).unwrap();
        fs::create_dir(&partial).unwrap();
        assert!(write(&path, &[]).is_err());
        assert!(partial.is_dir());
    }

    #[test]
    fn a_file_that_was_made_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let output = Output::to(Some(&path)).unwrap();
        fs::write(&path, "precious").unwrap();
        let refused = output.finish(&[]).unwrap_err().to_string();
        assert!(refused.contains("out` cannot be written"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        // Of two commands the one that began later goes on.
        let (first, second) = (
            Output::to(Some(&path)).unwrap(),
            Output::to(Some(&path)).unwrap(),
        );
        let refused = first.finish(&[]).unwrap_err().to_string();
        assert!(refused.contains("another command writes"), "{refused}");
        second.finish(&[]).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_message_names_the_file_that_was_asked_for() {
        let refused = write(Path::new("/nonexistent/x"), &[]).unwrap_err();
        assert!(
            refused.contains("`/nonexistent/x` cannot be written"),
            "{refused}"
        );
    }
}
