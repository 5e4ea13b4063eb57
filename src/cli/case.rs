//! `chartgate case`: what somebody has to look into.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;

use super::console::{Console, Failure};
use super::gateway::{self, printable, word};
use crate::admin::protocol::AdminRequest;
use crate::operate::cases::{Ask, Case, Level, Outcome, State, Summary, Which};

/// List, show, open and close cases: what somebody has to look into.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum CaseCommand {
    List(ListArgs),
    Show(ShowArgs),
    Open(OpenArgs),
    Close(CloseArgs),
}

/// List the newest cases, newest first.
///
/// At most 500. Alarms, reports of users and operators open cases; the same rule about the same user within a day
/// joins the case that is open.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate case list --open\n  chartgate case list --json | jq .title"
)]
pub struct ListArgs {
    /// Only cases that are open.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    common: Common,
}

/// Show a case with its records and notes.
///
/// The records are ids of entries of the trail: `chartgate audit show --request ID` shows one.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate case show 7")]
pub struct ShowArgs {
    /// Its number.
    #[arg(value_name = "N")]
    number: u64,
    #[command(flatten)]
    common: Common,
}

/// Open a case by hand.
///
/// For what nobody's rule saw: a phone call, a lost badge, a finding of the auditor. Who opened it goes on record.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate case open --title \"Badge lost at the main entrance\" --level high --user nurse.lind"
)]
pub struct OpenArgs {
    /// What it is about, in a line.
    #[arg(long, value_name = "TEXT")]
    title: String,
    /// How much harm may be done: low, medium, high or critical.
    #[arg(long, value_name = "LEVEL", default_value = "medium", value_parser = word::<Level>)]
    level: Level,
    /// The user it is about (name or stable id).
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// The patient it is about (an identifier of the EMR).
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
    /// The id of an entry of the trail, or of a request, that belongs to it; may be repeated.
    #[arg(long = "record", value_name = "ID")]
    records: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// Close a case, with an outcome and a note.
///
/// A case is never deleted: it is kept, with who closed it and why, as long as the records that it names.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate case close 7 --outcome false-alarm --note \"Ward round, confirmed with the head nurse\""
)]
pub struct CloseArgs {
    /// Its number.
    #[arg(value_name = "N")]
    number: u64,
    /// How it ended: confirmed, false-alarm or resolved.
    #[arg(long, value_name = "OUTCOME", value_parser = word::<Outcome>)]
    outcome: Outcome,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    note: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Print each case as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &CaseCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    match command {
        CaseCommand::List(args) => {
            let which = if args.open { Which::Open } else { Which::All };
            ask(
                Ask::List { which },
                &args.common,
                console,
                |case, console| console.line(summary(case)),
            )
        }
        CaseCommand::Show(args) => {
            let number = args.number;
            ask(Ask::Show { number }, &args.common, console, show)
        }
        CaseCommand::Open(args) => {
            let open = Ask::Open {
                title: args.title.clone(),
                level: args.level,
                user: args.user.clone(),
                patient: args.patient.clone(),
                records: args.records.iter().cloned().collect::<BTreeSet<_>>(),
            };
            ask(open, &args.common, console, |case: &Case, console| {
                console.line(format_args!("case {} is open", case.number))
            })
        }
        CaseCommand::Close(args) => {
            let close = Ask::Close {
                number: args.number,
                outcome: args.outcome,
                note: args.note.clone(),
            };
            ask(close, &args.common, console, |case: &Case, console| {
                console.line(format_args!("case {} is closed", case.number))
            })
        }
    }
}

fn ask<T: DeserializeOwned>(
    ask: Ask,
    common: &Common,
    console: &mut Console<'_>,
    print: impl Fn(&T, &mut Console<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let told = (console, common.json, "there is no case like that");
    gateway::list(
        &common.config,
        AdminRequest::Case(ask),
        told,
        |value, console| {
            let answer = serde_json::from_value(value).map_err(|error| {
                Failure::Failed(format!("a case of the gateway cannot be read: {error}"))
            })?;
            print(&answer, console)
        },
    )
}

fn summary(case: &Summary) -> String {
    let state = case.outcome.map_or("open", Outcome::word);
    let about = [("user", &case.user), ("patient", &case.patient)]
        .into_iter()
        .filter_map(|(what, who)| Some(format!("  {what} {}", who.as_ref()?)))
        .collect::<String>();
    let times = match case.occurrences {
        1 => String::new(),
        many => format!("  {many} times"),
    };
    printable(&format!(
        "{:>6}  {}  {:<8}  {:<11}  {:<11}  {}{about}{times}",
        case.number,
        case.opened.strftime("%Y-%m-%dT%H:%M:%SZ"),
        case.level.word(),
        state,
        case.kind.word(),
        case.title,
    ))
}

fn show(case: &Case, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut say = |name: &str, value: &str| console.line(printable(&format!("{name:<12} {value}")));
    say("case", &case.number.to_string())?;
    say("title", &case.title)?;
    say("level", case.level.word())?;
    say("kind", case.kind.word())?;
    say("opened", &format!("{} by {}", case.opened, case.by))?;
    if case.occurrences > 1 {
        let last = format!("{} times, last at {}", case.occurrences, case.latest);
        say("occurred", &last)?;
    }
    let optional = [
        ("rule", &case.rule),
        ("user", &case.user),
        ("patient", &case.patient),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            say(name, value)?;
        }
    }
    for record in &case.records {
        say("record", record)?;
    }
    if case.more_records > 0 {
        say("record", &format!("and {} more", case.more_records))?;
    }
    for note in &case.notes {
        say("note", &format!("{} {}: {}", note.at, note.by, note.text))?;
    }
    match &case.state {
        State::Open => say("state", "open"),
        State::Closed(ended) => {
            let text = format!(
                "{} at {} by {}: {}",
                ended.outcome.word(),
                ended.at,
                ended.by,
                ended.note
            );
            say("state", &text)
        }
    }
}
