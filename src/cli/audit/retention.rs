//! `chartgate audit retention`: what is older than the retention, and its removal.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::audit::answers::{Age, Ask, Piece};
use crate::audit::query::answer::instant;
use crate::audit::retention::{Expired, Kept, Why};
use crate::cli::console::{Console, Failure};
use crate::cli::gateway::printable;
use crate::cli::trail;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::counted::counted;

/// List the segments whose every record is older than the retention; with --apply, remove or shred them.
///
/// Records are kept for `audit.retention_years` calendar years, at least six. Nothing is removed by itself. A removal
/// goes on record with ids and heads of the segments, waits until every witness holds a checkpoint of that, and leaves
/// signed notes by which `chartgate audit verify` knows that the trail may begin later. It cannot be undone. What is under
/// legal hold stays, and so does what a configured archive does not hold, or what a configured sink has yet to get; nothing
/// behind such a segment is removed either. With `--apply` it lists what would go and asks first; where there is no terminal
/// to ask at, `--yes` is needed.
///
/// Each segment has a key of its own, without which the master key does not open it. A removal destroys that key, too;
/// `--shred` destroys it and keeps the encrypted file: nobody reads the records any more, neither here nor in the archive
/// nor in a copy, while chain, checkpoints and proofs go on to hold. What still has the key is whatever backup or
/// snapshot of `segment-keys` there is: see that those expire.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit retention\n  chartgate audit retention --apply --config /etc/chartgate/chartgate.toml\n  \
                             chartgate audit retention --shred\n  chartgate audit retention --apply --shred --yes"
)]
pub struct RetentionArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Remove what is listed.
    #[arg(long)]
    apply: bool,
    /// Destroy the keys of segments instead of removing their files.
    #[arg(long)]
    shred: bool,
    /// Remove without being asked.
    #[arg(long, requires = "apply")]
    yes: bool,
}

impl RetentionArgs {
    fn question(&self, apply: bool, shown: Option<u64>) -> Ask {
        if self.shred {
            Ask::Shred { apply, shown }
        } else {
            Ask::Retention { apply, shown }
        }
    }
}

pub(super) fn run(
    args: &RetentionArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let shown = if args.apply && !args.yes {
        match confirmed(args, console, clock)? {
            Some(last) => Some(last),
            None => return Ok(()),
        }
    } else {
        None
    };
    let question = args.question(args.apply, shown);
    let done = if args.shred { "shredded" } else { "removed" };
    let mut found = 0_usize;
    trail::ask(&args.config, question, clock, |piece| match piece {
        Piece::Age(age) => console.line(describe(&age)),
        Piece::Expired(expired) => {
            found = found.saturating_add(1);
            console.line(segment(&expired))
        }
        Piece::Removed(0) => console.line(format_args!("nothing is {done}")),
        Piece::Removed(1) => console.line(format_args!("1 segment is {done}; that is on record")),
        Piece::Removed(count) => console.line(format_args!(
            "{count} segments are {done}; that is on record"
        )),
        Piece::Kept(kept) => console.line(keeping(&kept)),
        Piece::Row(_)
        | Piece::Text(_)
        | Piece::Manifest(_)
        | Piece::Proof(_)
        | Piece::Hold(_)
        | Piece::ReadThrough(_)
        | Piece::Aliases(_)
        | Piece::Indexed(_)
        | Piece::Shredded(_)
        | Piece::Asked(_) => Ok(()),
    })?;
    if !args.apply {
        let said = match found {
            0 => "nothing is older than that".to_owned(),
            found => format!("{} may be {done} with --apply", counted(found, "segment")),
        };
        console.line(said)?;
    }
    Ok(())
}

/// What would go.
#[derive(Debug, Default)]
struct Going {
    segments: u64,
    first: u64,
    last: u64,
    newest: Option<jiff::Timestamp>,
}

impl Going {
    fn add(&mut self, expired: &Expired) {
        if self.segments == 0 {
            self.first = expired.segment.first;
        }
        self.segments = self.segments.saturating_add(1);
        self.last = expired.segment.last;
        self.newest = self.newest.max(Some(expired.newest));
    }
}

/// Shows what would go and asks; the last record of it, and nothing where there is nothing.
fn confirmed(
    args: &RetentionArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<Option<u64>, Failure> {
    if !std::io::stdin().is_terminal() {
        let message = "nothing was removed: there is no terminal to ask at. See what would go with `chartgate audit \
                       retention`, then add --yes";
        return Err(Failure::Configuration(message.to_owned()));
    }
    let mut going = Going::default();
    trail::ask(&args.config, args.question(false, None), clock, |piece| {
        if let Piece::Expired(expired) = piece {
            going.add(&expired);
            console.line(segment(&expired))?;
        }
        Ok(())
    })?;
    let left = if args.shred {
        SHREDDED.to_owned()
    } else {
        removed(&args.config)
    };
    Ok(confirm(&going, &left, console)?.then_some(going.last))
}

/// What there is of removed segments, as far as the configuration can be read.
fn removed(config: &Path) -> String {
    // The gateway may have answered somebody who may not read what its configuration names.
    Config::load_for_reading(config).map_or_else(
        |_| "Whether an archive keeps their files cannot be told from here.".to_owned(),
        |config| {
            let archive = config.audit.archive.as_ref();
            what_is_left(archive.map(|archive| archive.target.describe()).as_deref())
        },
    )
}

/// What there is of shredded segments.
const SHREDDED: &str = "Their files stay, and prove what they proved. Backups and snapshots that hold their keys (`segment-keys`) open \
                        them until these expire.";

/// What there is of removed segments.
fn what_is_left(archive: Option<&str>) -> String {
    archive.map_or_else(
        || {
            "NO ARCHIVE IS CONFIGURED: unless you have a backup of the trail, nothing is left of these records."
                .to_owned()
        },
        |target| {
            format!(
                "The archive at {target} keeps their files, which prove what they proved; without their keys nobody reads them."
            )
        },
    )
}

fn confirm(going: &Going, left: &str, console: &mut Console<'_>) -> Result<bool, Failure> {
    let Some(newest) = going.newest else {
        console.line("nothing to remove")?;
        return Ok(false);
    };
    let Going {
        segments,
        first,
        last,
        newest: _,
    } = going;
    console.note(format_args!(
        "This takes {} with records {first} to {last}, the newest of {}. Nobody will read them again: \
         their keys are destroyed.",
        counted(segments, "segment"),
        instant(newest)
    ))?;
    console.note(left)?;
    let asked = console.ask(&format!("Type {segments} to do it: "))?;
    if asked.trim() == segments.to_string() {
        return Ok(true);
    }
    Err(Failure::Failed("nothing was removed".to_owned()))
}

fn describe(age: &Age) -> String {
    let oldest = age.oldest.map_or_else(|| "never".to_owned(), instant);
    format!(
        "the trail begins at {oldest}, in {}; records are kept for {}",
        counted(age.segments, "segment"),
        counted(age.years, "calendar year")
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
        Why::NotShipped(sinks) => format!(
            "not shipped to sink {}; `chartgate status` says why, and a sink that is taken out of the configuration waits for nothing",
            sinks.join(" and ")
        ),
        Why::Keyless => {
            "an earlier version wrote it and gave it no key of its own; it can be removed, with --apply alone".to_owned()
        }
    };
    let behind = match kept.behind {
        0 => String::new(),
        more if kept.why == Why::Keyless => format!("; so are {more} more"),
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
    if let Some(time) = expired.shredded {
        let (number, id, time) = (segment.number, segment.segment, instant(time));
        let (first, last) = (segment.first, segment.last);
        return format!("segment {number} {id}  records {first} to {last}, shredded on {time}");
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;
    use crate::cli::console::testing::Captured;

    fn asked(typed: &str, going: &Going, archive: Option<&str>) -> (Captured, bool) {
        let mut goes = false;
        let captured = Captured::run_with(typed, |console| {
            match confirm(going, &what_is_left(archive), console) {
                Ok(said) => {
                    goes = said;
                    Exit::Fine
                }
                Err(failure) => console.fail(&failure),
            }
        });
        (captured, goes)
    }

    #[test]
    fn a_removal_is_named_and_asked_for() {
        let going = Going {
            segments: 3,
            first: 1,
            last: 51,
            newest: Some("2020-03-01T10:00:00Z".parse().unwrap()),
        };
        let (said, goes) = asked("3\n", &going, Some("/mnt/archive"));
        assert!(goes, "{said:?}");
        for part in [
            "3 segments with records 1 to 51",
            "2020-03-01",
            "/mnt/archive keeps their files",
        ] {
            assert!(said.err.contains(part), "{part}: {}", said.err);
        }
        for typed in ["", "\n", "yes\n", "33\n"] {
            let (said, goes) = asked(typed, &going, None);
            assert!(!goes && said.exit == Exit::Failed, "{typed:?}");
            assert!(
                said.err.contains("NO ARCHIVE IS CONFIGURED"),
                "{}",
                said.err
            );
            assert!(said.err.contains("nothing was removed"), "{}", said.err);
        }
        let (said, goes) = asked("", &Going::default(), None);
        assert_eq!((goes, said.exit), (false, Exit::Fine));
        assert_eq!(said.out, "nothing to remove\n");
    }
}
