//! From a file to a [`Config`], with every problem on the way.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};

use super::problem::{Problems, Severity, of_file};
use super::source::{Document, Says, Source, says};
use super::{Config, cross, read};

/// A configuration file is some kilobytes; anything larger is another file.
const LIMIT: u64 = 1 << 20;

/// What reading a file gave.
#[derive(Debug)]
pub struct Reading {
    /// The file, for later checks that name places in it.
    pub source: Source,
    /// The configuration; none where something required is missing or cannot be read.
    pub config: Option<Config>,
    /// Every problem, warnings included.
    pub problems: Problems,
}

/// Reads and checks `file`.
///
/// # Errors
/// One problem, where the file itself cannot be read.
pub fn read(file: &Path) -> Result<Reading, Problems> {
    source(file).map(read_text)
}

/// Reads `file` as text.
///
/// # Errors
/// One problem, where it cannot be read.
pub(super) fn source(file: &Path) -> Result<Source, Problems> {
    let text = bounded(file).map_err(|Says { message, remedy }| {
        let mut problems = Problems::default();
        problems.push(of_file(file, message, remedy));
        problems
    })?;
    Ok(Source::new(file.to_owned(), text))
}

/// Reads and checks a text as if it stood in the source's file.
#[must_use]
pub fn read_text(source: Source) -> Reading {
    let (config, problems) = match Document::parse(&source) {
        Err(problems) => (None, problems),
        Ok(document) => {
            let config = read::config(&document);
            if let Some(config) = &config {
                cross::check(&document, config);
            }
            (config, document.into_problems())
        }
    };
    Reading {
        source,
        config,
        problems,
    }
}

fn bounded(file: &Path) -> Result<String, Says> {
    let remedy = "name it with `--config FILE`; `chartgate init` writes one to start from";
    let shown = file.display();
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| {
            opened
                .take(LIMIT.saturating_add(1))
                .read_to_string(&mut text)
        })
        .map_err(|error| {
            let message = format!("`{shown}` cannot be read: {error}");
            if error.kind() == io::ErrorKind::PermissionDenied {
                says(message, missing_right(file))
            } else {
                says(message, remedy)
            }
        })?;
    if text.len() as u64 > LIMIT {
        let message = format!("`{shown}` is larger than a configuration file can be");
        return Err(says(message, remedy));
    }
    Ok(text)
}

/// What somebody lacks whom the system keeps from the configuration file.
fn missing_right(file: &Path) -> String {
    let directories = file.ancestors().skip(1);
    // Inside a directory that nobody lets in nothing can be asked: the outermost is the one.
    let barred = directories
        .filter(|directory| !directory.as_os_str().is_empty())
        .filter(|directory| access(*directory, Access::EXEC_OK).is_err())
        .last();
    let (path, right, mode) = match barred {
        Some(directory) => (directory, "enter", "g+x"),
        None => (file, "read", "g+r"),
    };
    let group = std::fs::metadata(path).map_or_else(
        |_| String::new(),
        |metadata| format!(" (gid {})", metadata.gid()),
    );
    let shown = path.display();
    format!(
        "operators read this file, and none of the secrets that it names: let the group{group} of `{shown}` {right} it \
         (`chmod {mode} {shown}`), and be a member of that group"
    )
}

impl Config {
    /// Reads as much of a configuration as reading the trail needs: an expired certificate must not keep an operator
    /// from the evidence. What `serve` needs is checked by [`Config::load`].
    ///
    /// # Errors
    /// Every problem, where no configuration can be made of the file.
    pub fn load_for_reading(file: &Path) -> Result<Self, Problems> {
        let Reading {
            config, problems, ..
        } = read(file)?;
        config.ok_or(problems)
    }

    /// Reads a configuration that is fit to run with; warnings go to the log.
    ///
    /// # Errors
    /// Every problem of the file, where one of them is an error.
    pub fn load(file: &Path) -> Result<Self, Problems> {
        let Reading {
            config, problems, ..
        } = read(file)?;
        match config {
            Some(config) if problems.count(Severity::Error) == 0 => {
                for warning in &problems {
                    tracing::warn!(
                        key = warning.key,
                        remedy = warning.remedy,
                        "{}",
                        warning.message
                    );
                }
                Ok(config)
            }
            Some(_) | None => Err(problems),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_kept_from_the_file_is_told_which_right_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("chartgate.toml");
        std::fs::write(&file, "").unwrap();
        let gid = std::fs::metadata(&file).unwrap().gid();
        let (said, shown) = (missing_right(&file), file.display());
        let part = format!("let the group (gid {gid}) of `{shown}` read it (`chmod g+r {shown}`)");
        assert!(said.contains(&part), "{said}");
    }
}
