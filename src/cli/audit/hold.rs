//! `chartgate audit hold`: legal holds on records of the trail.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::audit::answers::{Ask, Piece};
use crate::audit::hold::{Ask as HoldAsk, Hold, Scope};
use crate::audit::query::answer::instant;
use crate::cli::console::{Console, Failure};
use crate::cli::gateway::printable;
use crate::cli::trail::{self, Period};
use crate::clock::SharedClock;

/// Set, list and release legal holds: records under one are not removed, however old they are.
#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Put records under legal hold.
    Add(AddArgs),
    /// List the holds in force.
    List(ListArgs),
    /// Release a hold that another operator set.
    Release(ReleaseArgs),
}

/// Put records under legal hold.
///
/// What is given narrows it down; everything that is given must match. With nothing but a matter the whole trail is
/// held. Retention removes no segment with a record under hold, and none behind it; an archive with Object Lock is told
/// by the next run. The hold is on record.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit hold add --matter 2026-CV-14 --patient 4 --reason \"Letter of counsel, 12 March\"\n  \
    chartgate audit hold add --matter HR-7 --user dr.okafor --since 2026-01-01 --until 2026-03-31 --reason \"Inquiry\""
)]
pub struct AddArgs {
    /// The matter, as the lawyers call it.
    #[arg(long, value_name = "TEXT")]
    matter: String,
    /// Only about this patient: an identifier of the EMR, or `system|identifier`.
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
    /// Only of this user (name or stable id) or operator.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    #[command(flatten)]
    period: Period,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

/// List the holds in force, oldest first.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit hold list\n  chartgate audit hold list --all --json"
)]
pub struct ListArgs {
    /// With those that were released.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    common: Common,
}

/// Release a hold that another operator set.
///
/// What it held may be removed from then on, once it is old enough. The release is on record.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate audit hold release 3 --reason \"Settled; counsel agrees, 4 May\""
)]
pub struct ReleaseArgs {
    /// The number of the hold.
    #[arg(value_name = "ID")]
    id: u64,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Print one JSON document for each hold.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    command: &HoldCommand,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let (common, ask) = match command {
        HoldCommand::Add(args) => {
            let (since, until) = args.period.bounds(clock.now())?;
            let scope = Scope {
                patient: args.patient.clone(),
                user: args.user.clone(),
                since,
                until,
            };
            let ask = HoldAsk::Add {
                matter: args.matter.clone(),
                scope,
                reason: args.reason.clone(),
            };
            (&args.common, ask)
        }
        HoldCommand::List(args) => (&args.common, HoldAsk::List { released: args.all }),
        HoldCommand::Release(args) => {
            let ask = HoldAsk::Release {
                id: args.id,
                reason: args.reason.clone(),
            };
            (&args.common, ask)
        }
    };
    let mut count = 0_usize;
    trail::ask(&common.config, Ask::Hold(ask), clock, |piece| {
        let Piece::Hold(hold) = piece else {
            return Ok(());
        };
        count = count.saturating_add(1);
        if common.json {
            console.line(serde_json::to_string(&hold).map_err(Failure::of)?)
        } else {
            console.line(line(&hold))
        }
    })?;
    if count == 0 && !common.json {
        console.note("no record is under legal hold")?;
    }
    Ok(())
}

fn line(hold: &Hold) -> String {
    let Scope {
        patient,
        user,
        since,
        until,
    } = &hold.scope;
    let parts = [
        patient.as_ref().map(|id| format!("patient {id}")),
        user.as_ref().map(|id| format!("user {id}")),
        since.map(|time| format!("since {}", instant(time))),
        until.map(|time| format!("until {}", instant(time))),
    ];
    let about: Vec<String> = parts.into_iter().flatten().collect();
    let about = if about.is_empty() {
        "the whole trail".to_owned()
    } else {
        about.join(", ")
    };
    let state = match &hold.released {
        Some(release) => format!(
            "; released {} by {}: {}",
            instant(release.at),
            release.by,
            release.reason
        ),
        None => String::new(),
    };
    printable(&format!(
        "hold {}  {}  {about}; set {} by {}: {}{state}",
        hold.id,
        hold.matter,
        instant(hold.at),
        hold.by,
        hold.reason
    ))
}
