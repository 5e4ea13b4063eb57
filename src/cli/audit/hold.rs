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
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum HoldCommand {
    Add(AddArgs),
    List(ListArgs),
    Release(ReleaseArgs),
}

/// Put records under legal hold.
///
/// What is given narrows it down; everything that is given must match. With nothing but a matter the whole trail is
/// held. A patient is held under every identifier that the link feed says is theirs, now and as long as the hold is in
/// force; one that is taken back later stays held. Retention removes no segment with a record under hold, and none behind it; an archive with Object Lock is told
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

/// List the holds in force, oldest first, each with the identifiers of the patient that it covers.
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
    let aliases: Vec<&str> = hold.aliases.iter().map(String::as_str).collect();
    let also = match aliases.as_slice() {
        [] => String::new(),
        also => format!(" (also {})", also.join(", ")),
    };
    let parts = [
        patient.as_ref().map(|id| format!("patient {id}{also}")),
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

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::cli::Exit;
    use crate::cli::audit::tests::{call, initialised};

    #[test]
    fn a_hold_says_which_identifiers_it_covers_and_keeps_them() {
        let temporary = tempfile::tempdir().unwrap();
        let config = initialised(temporary.path());
        let text = fs::read_to_string(&config).unwrap();
        let links = "\n[patient_links]\nsystem = \"urn:hospital:mrn\"\nfile = \"links.csv\"\n";
        fs::write(&config, format!("{text}{links}")).unwrap();
        let file = temporary.path().join("links.csv");
        fs::write(&file, "patient,same_as\n4,urn:hospital:lab|77\n").unwrap();
        let asked = |line: &[&str]| call(&[line, &["--config", &config]].concat());
        let add = [
            "audit",
            "hold",
            "add",
            "--matter",
            "m",
            "--patient",
            "4",
            "--reason",
            "r",
        ];
        let set = asked(&add);
        assert_eq!(set.exit, Exit::Fine, "{}", set.err);
        assert!(
            set.out.contains("patient 4 (also urn:hospital:lab|77)"),
            "{}",
            set.out
        );
        let listed = asked(&["audit", "retention"]);
        assert_eq!(listed.exit, Exit::Fine, "{}", listed.err);

        fs::write(&file, "patient,same_as\n").unwrap();
        let list = asked(&["audit", "hold", "list", "--json"]);
        assert!(
            list.out.contains("\"aliases\":[\"urn:hospital:lab|77\"]"),
            "{}",
            list.out
        );
        // A file that is not there says nothing, which is not that nothing is linked.
        fs::remove_file(&file).unwrap();
        let refused = asked(&["audit", "retention", "--apply", "--yes"]);
        assert_eq!(refused.exit, Exit::Failed);
        assert!(
            refused.err.contains("the link feed is not in order"),
            "{}",
            refused.err
        );
    }
}
