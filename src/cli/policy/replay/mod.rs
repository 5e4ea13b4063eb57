//! `chartgate policy replay`: what a bundle would have said to what really happened.

mod tally;
mod told;

use std::path::Path;

use clap::Args;

use super::feed::Reading;
use super::{Place, since};
use crate::cli::console::{Console, Failure};
use crate::clock::SharedClock;
use crate::config::Profiles;
use crate::emr::profile::Profile;
use crate::policy::decide::Active;
use crate::policy::replay::Candidate;
use tally::Count;
use told::Told;

/// Put recorded requests to a bundle: who would be refused now, who would be let in.
///
/// Every decision on the trail is made again by the bundle in --policies, with the circumstances that were recorded and
/// with what the bundle's own profiles and networks make of the request. Decisions that come out otherwise are counted
/// by role, department, route, action and section, with ids of requests to look at (`chartgate policy explain --request
/// ID`). What cannot be replayed is counted too, with the reason. The trail is read from disk where no gateway runs,
/// else through the gateway; the reading goes on record. Ends with exit code 0 where nothing would change, and 1 where
/// something would.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate policy replay --since 30d --policies ./candidate\n  chartgate policy replay --since 7d --policies ./candidate --top 50 --json"
)]
pub(in crate::cli) struct ReplayArgs {
    #[command(flatten)]
    place: Place,
    /// How far back the trail is read.
    #[arg(long, value_name = "SPAN", default_value = "30d")]
    since: String,
    /// How many groups are listed, those with the most requests first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Print the result as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(
    args: &ReplayArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let active = args.place.bundle()?;
    let since = since(&args.since, clock)?;
    let config = args.place.config_file();
    let profiles = Profiles::load(&config).map_err(Failure::Problems)?;
    let (candidate, notes) = candidate(&active, &profiles)?;
    let reading = Reading {
        config: &config,
        since,
        purpose: "policy replay",
        clock,
    };
    let count = reading.count(console, || Count::new(&candidate))?;
    let told = Told {
        active: &active,
        since,
        count: &count,
        notes: &notes,
        top: args.top,
    };
    if args.json {
        console.line(told.as_json())?;
    } else {
        console.text(told.text())?;
    }
    if count.changes_nothing() {
        Ok(())
    } else {
        Err(Failure::Unfit)
    }
}

/// The bundle with the profiles of the configured EMRs as it has them, and what is to be said of those.
fn candidate<'a>(
    active: &'a Active,
    profiles: &Profiles,
) -> Result<(Candidate<'a>, Vec<String>), Failure> {
    let mut candidate = Candidate::new(active);
    let mut notes = Vec::new();
    for (emr, file) in &profiles.emrs {
        let in_force = Profile::read(file).ok();
        let own = file.strip_prefix(&profiles.directory).ok();
        let text = own.and_then(|file| active.bundle().profiles().get(file));
        let Some(text) = text else {
            notes.push(format!(
                "the bundle has no profile for the EMR `{emr}`: its requests keep the meaning that was recorded"
            ));
            continue;
        };
        let shown = own
            .unwrap_or_else(|| Path::new("profile"))
            .display()
            .to_string();
        let tried = Profile::parse(text, &shown).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Failure::Configuration(lines.join("\n"))
        })?;
        candidate.map(emr, tried, in_force.as_ref());
    }
    Ok((candidate, notes))
}
