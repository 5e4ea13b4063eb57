//! `chartgate training`: who has to do which course until when.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use super::gateway::{self, printable};
use crate::admin::protocol::AdminRequest;
use crate::training::{Ask, Attestation, Piece, Source};

/// Who has to do which course until when.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum TrainingCommand {
    Status(StatusArgs),
}

/// Show how people stand with their courses.
///
/// Course by course how many people are current, due (within 30 days), urgent (within 7 days) and lapsed; then whoever
/// is not current, most pressing first. With `--user`, every course of one user, and what they attested.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate training status\n  chartgate training status --user nurse.lind --json"
)]
pub struct StatusArgs {
    /// One user (name or stable id).
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Print one JSON document a line.
    #[arg(long)]
    json: bool,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &TrainingCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    let TrainingCommand::Status(args) = command;
    let ask = Ask::Status {
        user: args.user.clone(),
    };
    let mut nothing = true;
    gateway::ask(&args.config, AdminRequest::Training(ask), |value| {
        nothing = false;
        if args.json {
            return console.line(&value);
        }
        let piece: Piece = serde_json::from_value(value).map_err(Failure::of)?;
        console.line(printable(&line(&piece)))
    })?;
    if nothing && !args.json {
        console.line("no course is required")?;
    }
    Ok(())
}

fn line(piece: &Piece) -> String {
    match piece {
        Piece::Course(count) => format!(
            "{} ({}): {} current, {} due, {} urgent, {} lapsed",
            count.course, count.version, count.current, count.due, count.urgent, count.lapsed
        ),
        Piece::Person {
            user,
            name,
            course,
            state,
            due,
            attested,
            stated,
        } => format!(
            "{state:<8} {}  {name} ({user})  {course}: {}{}",
            due.strftime("%Y-%m-%d"),
            attested
                .as_ref()
                .map_or_else(|| "never attested".to_owned(), done),
            stated.map_or_else(String::new, |until| format!(
                "; the identity provider says until {}",
                until.strftime("%Y-%m-%d")
            ))
        ),
        Piece::More { people } => format!("and {people} more"),
    }
}

fn done(attestation: &Attestation) -> String {
    let on = attestation.completed.strftime("%Y-%m-%d");
    let score = attestation
        .score
        .map_or_else(String::new, |score| format!(", {score} of 100"));
    let how = match attestation.source {
        Source::Page => "here",
        Source::Feed => "by the feed",
    };
    format!("version {} done {on} {how}{score}", attestation.version)
}
