//! `chartgate breakglass`: who broke the glass, what they opened, and the review that somebody else owes; mass-casualty
//! events.

mod wards;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::console::{Console, Failure};
use super::gateway;
use crate::admin::protocol::AdminRequest;
use crate::operate::break_glass::{Access, Ask, Glass, Outcome, UNCONFIRMED, Which, beyond};

/// See who broke the glass, and review it.
#[derive(Debug, Subcommand)]
pub enum BreakglassCommand {
    /// List broken glasses, the newest first.
    #[command(
        after_long_help = "Examples:\n  chartgate breakglass list --unreviewed\n  chartgate breakglass list --open --json"
    )]
    List(ListArgs),
    /// Show one of them, with everything that was opened under it.
    #[command(after_long_help = "Example:\n  chartgate breakglass show bg-20261122-5f1c9a")]
    Show(ShowArgs),
    /// State what the review of one found. The reviewer cannot be the one who broke the glass.
    ///
    /// The review is due within `break_glass.review_within`; after that it is alarmed about. A grant that is still open
    /// has to end first. What was found unclear can be reviewed again.
    #[command(
        after_long_help = "Example:\n  chartgate breakglass review bg-20261122-5f1c9a --outcome appropriate --note \"On call, patient unconscious.\""
    )]
    Review(ReviewArgs),
    /// End an open grant at once: the chart is closed again.
    #[command(after_long_help = "Example:\n  chartgate breakglass end bg-20261122-5f1c9a")]
    End(EndArgs),
    /// Declare a mass-casualty event for a ward, or prolong it.
    ///
    /// While it lasts, whoever breaks the glass for a patient who lies there may open the charts of the whole ward at
    /// once, to read, and nobody is refused for having broken it too often today. Who lies where is what the care feeds
    /// say. It is on record and alarms; everybody still breaks the glass in their own name and with a reason.
    #[command(
        after_long_help = "Examples:\n  chartgate breakglass declare --ward ED --reason \"Bus accident, 40 injured\"\n  chartgate breakglass declare --ward ICU --for 12h --reason \"Bus accident, 40 injured\""
    )]
    Declare(wards::DeclareArgs),
    /// Lift it: every glass that was broken for the ward is whole again at once.
    #[command(after_long_help = "Example:\n  chartgate breakglass lift --ward ED")]
    Lift(wards::LiftArgs),
    /// List the mass-casualty events that are declared.
    #[command(
        after_long_help = "Examples:\n  chartgate breakglass declared\n  chartgate breakglass declared --json"
    )]
    Declared(wards::DeclaredArgs),
}

/// `chartgate breakglass list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Only those in force.
    #[arg(long, conflicts_with = "unreviewed")]
    open: bool,
    /// Only those that nobody has reviewed.
    #[arg(long)]
    unreviewed: bool,
    /// Print one JSON document for each.
    #[arg(long)]
    json: bool,
}

/// `chartgate breakglass show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The grant's id.
    id: String,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Print one JSON document for the grant, then one for each access.
    #[arg(long)]
    json: bool,
}

/// `chartgate breakglass review`
#[derive(Debug, Args)]
pub struct ReviewArgs {
    /// The grant's id.
    id: String,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// What was found.
    #[arg(long, value_enum)]
    outcome: Found,
    /// Why, in a sentence.
    #[arg(long, value_name = "TEXT")]
    note: String,
}

/// `chartgate breakglass end`
#[derive(Debug, Args)]
pub struct EndArgs {
    /// The grant's id.
    id: String,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
}

/// What a review found, as the command line spells it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Found {
    /// The access was right.
    Appropriate,
    /// It was not; this alarms.
    Inappropriate,
    /// It could not be told; review it again later.
    Unclear,
}

impl From<Found> for Outcome {
    fn from(found: Found) -> Self {
        match found {
            Found::Appropriate => Self::Appropriate,
            Found::Inappropriate => Self::Inappropriate,
            Found::Unclear => Self::Unclear,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &BreakglassCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    match command {
        BreakglassCommand::List(args) => list(args, console),
        BreakglassCommand::Show(args) => show(args, console),
        BreakglassCommand::Declare(args) => wards::declare(args, console),
        BreakglassCommand::Lift(args) => wards::lift(args, console),
        BreakglassCommand::Declared(args) => wards::declared(args, console),
        BreakglassCommand::Review(args) => {
            let ask = Ask::Review {
                id: args.id.clone(),
                outcome: args.outcome.into(),
                note: args.note.clone(),
            };
            gateway::tell(&args.config, AdminRequest::BreakGlass(ask), console)
        }
        BreakglassCommand::End(args) => {
            let ask = Ask::End {
                id: args.id.clone(),
            };
            gateway::tell(&args.config, AdminRequest::BreakGlass(ask), console)
        }
    }
}

fn list(args: &ListArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let which = if args.open {
        Which::Open
    } else if args.unreviewed {
        Which::Unreviewed
    } else {
        Which::All
    };
    let ask = AdminRequest::BreakGlass(Ask::List { which });
    let told = (console, args.json, "no glass like that was broken");
    gateway::list(&args.config, ask, told, |value, console| {
        console.line(line(&read(value)?))
    })
}

fn show(args: &ShowArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut first = true;
    let ask = AdminRequest::BreakGlass(Ask::Show {
        id: args.id.clone(),
    });
    gateway::ask(&args.config, ask, |value| {
        if args.json {
            return console.line(value);
        }
        if std::mem::take(&mut first) {
            for line in told(&read(value)?) {
                console.line(line)?;
            }
            return console.line("\nOpened under it:");
        }
        let access: Access = serde_json::from_value(value).map_err(Failure::of)?;
        let result = access.refusal.as_deref().unwrap_or("let through");
        console.line(plain(&format!(
            "{:>8}  {}  patient {:<8} {:<20} {}  {result}  {}",
            access.seq,
            access.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            access.patients.join(","),
            access.action,
            access.place,
            access.request
        )))
    })
}

fn read(value: Value) -> Result<Glass, Failure> {
    serde_json::from_value(value).map_err(Failure::of)
}

fn state(glass: &Glass) -> String {
    let end = match &glass.ended {
        None => format!("until {}", glass.expires.strftime("%Y-%m-%dT%H:%M:%SZ")),
        Some(ended) => match &ended.by {
            Some(by) => format!("ended by {by}"),
            None => "ended".to_owned(),
        },
    };
    let review = match &glass.review {
        Some(review) => format!("{} by {}", review.outcome.word(), review.by),
        None => format!("review due {}", glass.due.strftime("%Y-%m-%dT%H:%M:%SZ")),
    };
    format!("{end}, {review}")
}

fn line(glass: &Glass) -> String {
    let opens = match &glass.ward {
        None => format!("patient {}", glass.patient.id),
        Some(ward) => format!("ward {}", ward.name),
    };
    plain(&format!(
        "{}  {}  {:<14} {opens:<16} {:<11} {}",
        glass.id,
        glass.opened.strftime("%Y-%m-%dT%H:%M:%SZ"),
        glass.name,
        glass.reason.code(),
        state(glass)
    ))
}

fn told(glass: &Glass) -> Vec<String> {
    let age = glass.sign_in_age.map_or_else(
        || "unknown: the provider does not say".to_owned(),
        |age| {
            let confirmed = if glass.unconfirmed {
                format!("; confirmed: {UNCONFIRMED}")
            } else {
                String::new()
            };
            format!("{age} s{confirmed}")
        },
    );
    let mut pairs = vec![
        ("Grant", glass.id.clone()),
        ("User", format!("{} ({})", glass.name, glass.user)),
        (
            "Patient",
            format!(
                "{} ({}), {}",
                glass.patient.id, glass.patient.system, glass.emr
            ),
        ),
        (
            "Refused before",
            format!("{} {}", glass.section, glass.policies.join(", ")),
        ),
        (
            "Reason",
            format!("{} {}", glass.reason.code(), glass.reason.label()),
        ),
        ("In their words", glass.text.clone()),
        ("Opened", glass.opened.to_string()),
        ("Sign-in age", age),
        ("State", state(glass)),
        ("Request", glass.request.clone()),
    ];
    if let Some(ward) = &glass.ward {
        let opens = format!("ward {}, under {}", ward.name, ward.declaration);
        pairs.insert(3, ("Opens", opens));
    }
    if let Some(count) = glass.beyond {
        pairs.push(("Daily number", beyond(count)));
    }
    if let Some(review) = &glass.review {
        pairs.push(("Review", review.note.clone()));
    }
    pairs
        .into_iter()
        .map(|(name, value)| plain(&format!("{name:<15} {value}")))
        .collect()
}

/// SECURITY: what somebody typed cannot move the cursor or forge a line on the reader's terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}
