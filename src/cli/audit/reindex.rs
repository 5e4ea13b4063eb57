//! `chartgate audit reindex`: makes the index of the trail anew.

use std::path::PathBuf;

use clap::Args;

use crate::audit::answers::{Ask, Piece};
use crate::audit::index::Progress;
use crate::cli::console::{Console, Failure};
use crate::cli::trail;
use crate::clock::SharedClock;
use crate::counted::counted;

/// Cells of the bar.
const BAR: usize = 32;

/// Make the index of the trail anew, by which queries and reports find records without reading everything.
///
/// The gateway keeps the index up by itself, and makes again what is missing or damaged; answers are complete with and
/// without it. The running gateway does the work, so this must be run by an operator ([admin.operators]); where none runs,
/// it is done here. Either way it goes on record (`index-rebuilt`). How far it is stands on standard error.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  chartgate audit reindex\n  \
                             chartgate audit reindex --only 17")]
pub struct ReindexArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Only the index of this closed segment: its id, its number, or the name of its file.
    #[arg(long, value_name = "SEGMENT")]
    only: Option<String>,
}

pub(super) fn run(
    args: &ReindexArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let question = Ask::Reindex {
        only: args.only.clone(),
    };
    let mut last = Progress::default();
    let mut said = None;
    trail::ask(&args.config, question, clock, |piece| {
        let Piece::Indexed(progress) = piece else {
            return Ok(());
        };
        last = progress;
        let percent = percent(&last);
        if console.shows_progress() {
            return console.progress(bar(&last));
        }
        // A line for each tenth.
        if said.is_none_or(|said| percent / 10 > said / 10) {
            said = Some(percent);
            return console.note(bar(&last));
        }
        Ok(())
    })?;
    console.progress("")?;
    console.line(format_args!(
        "indexed: {} with {}; that is on record",
        counted(last.done, "segment"),
        counted(last.records, "record")
    ))?;
    if last.failed.is_empty() {
        return Ok(());
    }
    for segment in &last.failed {
        console.note(format_args!(
            "{segment} is damaged, or its index could not be written; run `chartgate audit verify`"
        ))?;
    }
    Err(Failure::Unfit)
}

fn percent(progress: &Progress) -> usize {
    let done = progress.done.saturating_mul(100);
    done.checked_div(progress.of).unwrap_or(100)
}

fn bar(progress: &Progress) -> String {
    let percent = percent(progress);
    let full = percent.saturating_mul(BAR) / 100;
    format!(
        "[{}{}] {percent:>3}%  {} of {} segments, {} records",
        "#".repeat(full),
        ".".repeat(BAR.saturating_sub(full)),
        progress.done,
        progress.of,
        progress.records
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        let at = |done, of| {
            bar(&Progress {
                done,
                of,
                records: 7,
                failed: Vec::new(),
            })
        };
        assert!(at(0, 4).starts_with("[................................]   0%"));
        assert!(at(1, 4).starts_with("[########........................]  25%"));
        assert!(at(4, 4).starts_with("[################################] 100%"));
        assert!(at(0, 0).contains("100%"));
    }
}
