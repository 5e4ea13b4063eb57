//! From a file to a [`Config`], with every problem on the way.

use std::path::Path;

use super::problem::{Problems, Severity, of_file};
use super::source::{Document, Source};
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
    let text = bounded(file).map_err(|message| {
        let mut problems = Problems::default();
        let remedy = "name it with `--config FILE`; `chartgate init` writes one to start from";
        problems.push(of_file(file, message, remedy.to_owned()));
        problems
    })?;
    Ok(read_text(Source::new(file.to_owned(), text)))
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

fn bounded(file: &Path) -> Result<String, String> {
    use std::io::Read;
    let shown = file.display();
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| {
            opened
                .take(LIMIT.saturating_add(1))
                .read_to_string(&mut text)
        })
        .map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    if text.len() as u64 > LIMIT {
        return Err(format!(
            "`{shown}` is larger than a configuration file can be"
        ));
    }
    Ok(text)
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
