//! `chartgate audit retention`: what is older than the retention, and its removal.

use std::path::PathBuf;

use clap::Args;

use crate::audit::answers::{Age, Ask, Piece};
use crate::audit::query::answer::instant;
use crate::audit::retention::{Expired, Kept, Why};
use crate::cli::console::{Console, Failure};
use crate::cli::gateway::printable;
use crate::cli::trail;
use crate::clock::SharedClock;

/// List the segments whose every record is older than the retention; with --apply, remove them.
///
/// Records are kept for `audit.retention_years` calendar years, at least six. Nothing is removed by itself. A removal
/// goes on record with ids and heads of the segments, waits until every witness holds a checkpoint of that, and leaves
/// signed notes by which `chartgate audit verify` knows that the trail may begin later. It cannot be undone. What is under
/// legal hold stays, and so does what a configured archive does not hold; nothing behind such a segment is removed
/// either.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit retention\n  chartgate audit retention --apply --config /etc/chartgate/chartgate.toml"
)]
pub struct RetentionArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Remove what is listed.
    #[arg(long)]
    apply: bool,
}

pub(super) fn run(
    args: &RetentionArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let question = Ask::Retention { apply: args.apply };
    let mut found = 0_usize;
    trail::ask(&args.config, question, clock, |piece| match piece {
        Piece::Age(age) => console.line(describe(&age)),
        Piece::Expired(expired) => {
            found = found.saturating_add(1);
            console.line(segment(&expired))
        }
        Piece::Removed(0) => console.line("nothing to remove"),
        Piece::Removed(count) => console.line(format_args!(
            "{count} segments are removed; that is on record"
        )),
        Piece::Kept(kept) => console.line(keeping(&kept)),
        Piece::Row(_)
        | Piece::Text(_)
        | Piece::Manifest(_)
        | Piece::Proof(_)
        | Piece::Hold(_)
        | Piece::ReadThrough(_)
        | Piece::Aliases(_)
        | Piece::Indexed(_) => Ok(()),
    })?;
    if !args.apply {
        let said = match found {
            0 => "nothing is older than that".to_owned(),
            found => format!("{found} segments may be removed with --apply"),
        };
        console.line(said)?;
    }
    Ok(())
}

fn describe(age: &Age) -> String {
    let oldest = age.oldest.map_or_else(|| "never".to_owned(), instant);
    format!(
        "the trail begins at {oldest}, in {} segments; records are kept for {} calendar years",
        age.segments, age.years
    )
}

/// What keeps a segment that is old enough.
fn keeping(kept: &Kept) -> String {
    let why = match &kept.why {
        Why::Held(stops) => {
            let holds: Vec<String> = stops
                .iter()
                .map(|stop| format!("hold {} (matter {})", stop.hold, stop.matter))
                .collect();
            format!("something in it is under legal {}", holds.join(" and "))
        }
        Why::Undecided => "a request in it ended in a later segment that is not old enough, and may fall under a legal hold on a patient".to_owned(),
        Why::NotArchived => {
            "the archive does not hold it; run `chartgate audit archive run`, and see why".to_owned()
        }
    };
    let behind = match kept.behind {
        0 => String::new(),
        behind => format!("; {behind} old segments behind it stay with it"),
    };
    let segment = &kept.segment;
    printable(&format!(
        "segment {} {} stays: {why}{behind}",
        segment.number, segment.segment
    ))
}

fn segment(expired: &Expired) -> String {
    let segment = &expired.segment;
    format!(
        "segment {} {}  records {} to {}, newest of {}, kept through {}, head {}",
        segment.number,
        segment.segment,
        segment.first,
        segment.last,
        instant(expired.newest),
        expired.kept_through,
        segment.head
    )
}
