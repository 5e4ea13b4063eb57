//! `chartgate policy fmt`: one form for all policies, so that a change shows as what it is.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cedar_policy_formatter::{Config, policies_str_to_pretty};
use clap::Args;

use super::Place;
use crate::cli::console::{Console, Failure};

/// Format the policy files (*.cedar) of a bundle in place.
///
/// Comments stay. A file that is not Cedar is left as it is and reported. With --check nothing is written; the command
/// ends with exit code 1 if a file would change.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  chartgate policy fmt\n  chartgate policy fmt --check")]
pub(in crate::cli) struct FmtArgs {
    #[command(flatten)]
    place: Place,
    /// Change nothing; say which files would change.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(super) fn run(args: &FmtArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let directory = args.place.directory()?;
    let (mut changed, mut wrong) = (0_usize, 0_usize);
    for file in files(&directory)? {
        let text = fs::read_to_string(&file)?;
        let formatted = match formatted(&text) {
            Ok(formatted) => formatted,
            Err(error) => {
                wrong = wrong.saturating_add(1);
                console.note(format_args!("{}: {error:?}", file.display()))?;
                continue;
            }
        };
        if formatted == text {
            continue;
        }
        changed = changed.saturating_add(1);
        let verb = if args.check {
            "would change"
        } else {
            "formatted"
        };
        console.line(format_args!("{verb} {}", file.display()))?;
        if !args.check {
            replace(&file, &formatted)?;
        }
    }
    if wrong > 0 || (args.check && changed > 0) {
        return Err(Failure::Unfit);
    }
    Ok(())
}

/// The text in its one form. What a file says at its head, before a blank line, is about the whole file and stays apart;
/// Cedar's formatter would move it to the first policy.
fn formatted(text: &str) -> miette::Result<String> {
    let mut end = 0_usize;
    let mut head = 0_usize;
    for line in text.split_inclusive('\n') {
        end = end.saturating_add(line.len());
        let line = line.trim();
        if line.is_empty() {
            head = end;
        } else if !line.starts_with("//") {
            break;
        }
    }
    let (head, rest) = text.split_at_checked(head).unwrap_or(("", text));
    let policies = policies_str_to_pretty(rest, &Config::default())?;
    let head = head.trim();
    Ok(if head.is_empty() {
        policies
    } else {
        format!("{head}\n\n{policies}")
    })
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(directory).map_err(|error| {
        Failure::Configuration(format!("`{}` cannot be read: {error}", directory.display()))
    })?;
    let mut files: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "cedar"))
        .collect();
    files.sort();
    Ok(files)
}

/// Whole or not at all: a running gateway may be reading it.
fn replace(file: &Path, text: &str) -> Result<(), Failure> {
    // Through a symbolic link to the file itself.
    let file = fs::canonicalize(file)?;
    let name = file.file_name().unwrap_or_default().display().to_string();
    let next = file.with_file_name(format!(".{name}.next"));
    let mut open = fs::File::create(&next)?;
    open.set_permissions(fs::metadata(&file)?.permissions())?;
    open.write_all(text.as_bytes())?;
    open.sync_all()?;
    Ok(fs::rename(&next, &file)?)
}
