//! `chartgate policy learn`: the least that would have permitted what was really done.
//!
//! *Never*: a change of a bundle. What it writes is a draft that a person reads, cuts and signs for.

mod draft;
mod tally;

use std::path::PathBuf;

use clap::Args;

use super::feed::Reading;
use super::{Place, since};
use crate::cli::console::{Console, Failure};
use crate::cli::output::Output;
use crate::clock::SharedClock;
use draft::{Draft, Thresholds};
use tally::Seen;

/// Propose policies that permit what was really done, and no more.
///
/// Reads which actions on which sections people and programs of each role were admitted to, and writes them as Cedar
/// policies for a person to cut: a draft on standard output or in --out, never in a bundle. What fewer than --min-users
/// did, or what was done fewer than --min-uses times, is left out and listed. Where every use was in care of the
/// patient, so is the permit. What opened only by breaking the glass, and what no profile maps, is never proposed.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate policy learn --since 30d\n  chartgate policy learn --since 90d --min-users 3 --min-uses 20 --out learned.cedar"
)]
pub(in crate::cli) struct LearnArgs {
    #[command(flatten)]
    place: Place,
    /// How far back use is looked for.
    #[arg(long, value_name = "SPAN", default_value = "30d")]
    since: String,
    /// Least different users of a role who must have done it.
    #[arg(long, value_name = "N", default_value_t = 2)]
    min_users: usize,
    /// Least times that it must have been done.
    #[arg(long, value_name = "N", default_value_t = 5)]
    min_uses: u64,
    /// Write the draft into this file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(
    args: &LearnArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let active = args.place.bundle()?;
    let bundle = active.bundle();
    if let Some(file) = &args.out
        && is_within(file, bundle.directory())
    {
        return Err(Failure::Configuration(format!(
            "`{}` lies in the bundle, and what is learned is a draft: write it elsewhere, read it, and take over what you answer for",
            file.display()
        )));
    }
    let since = since(&args.since, clock)?;
    let config = args.place.config_file();
    let reading = Reading {
        config: &config,
        since,
        purpose: "policy learn",
        clock,
    };
    let seen = reading.count(console, Seen::default)?;
    let thresholds = Thresholds {
        users: args.min_users,
        uses: args.min_uses,
    };
    let draft = Draft::of(&seen, &active, &thresholds);
    let text = draft.cedar(since, clock.now()).map_err(Failure::of)?;
    let mut output = Output::to(args.out.as_deref())?;
    output.text(&text, console)?;
    output.finish(&[])?;
    for note in draft.notes() {
        console.note(note)?;
    }
    Ok(())
}

/// Whether a file that may not be there yet lies in a directory.
fn is_within(file: &std::path::Path, directory: &std::path::Path) -> bool {
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => std::path::Path::new("."),
    };
    match (parent.canonicalize(), directory.canonicalize()) {
        (Ok(parent), Ok(directory)) => parent.starts_with(directory),
        // What cannot be found out is refused when the file is made.
        (Ok(_), Err(_)) | (Err(_), _) => false,
    }
}
