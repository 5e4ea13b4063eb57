//! `chartgate report`: who opened this chart, what a user did, what happened at all.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::console::{Console, Failure};
use super::output::Output;
use super::trail::{self, Period};
use crate::audit::answers::Ask;
use crate::audit::report::{Report, Staff, Subject, html, text};
use crate::clock::SharedClock;

/// Reports for a person: text, CSV, or one HTML page that needs nothing else.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Who opened this chart, when, and why.
    ///
    /// Every access with action, section, purpose, care relation, deciding policies and break-glass reason; refusals
    /// too; summed up by person. With --without-staff each person is a number, as a patient may be given it.
    #[command(
        after_long_help = "Examples:\n  chartgate report patient 4 --since 2026-01-01\n  \
                           chartgate report patient 4 --without-staff --format html --output patient-4.html"
    )]
    Patient(OneArgs),
    /// What a user did, and to whose charts.
    #[command(
        after_long_help = "Examples:\n  chartgate report user dr.grey --since 30d --format csv --output dr.grey.csv"
    )]
    User(OneArgs),
    /// What happened, by person: admitted, refused, break-glass.
    #[command(after_long_help = "Examples:\n  chartgate report activity --since 7d")]
    Activity(AllArgs),
}

/// A report about one.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The patient's identifier in the EMR, or the user's name or stable id.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    rest: AllArgs,
}

/// What all reports take.
#[derive(Debug, Args)]
pub struct AllArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    #[command(flatten)]
    period: Period,
    /// Leave out names, addresses and request ids of staff: each person is a number with roles.
    #[arg(long)]
    without_staff: bool,
    /// The form.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Write into this file, which must not exist yet, instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For a terminal or a letter.
    Text,
    /// One row for each access.
    Csv,
    /// One page, for the screen and for paper.
    Html,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(
    command: &ReportCommand,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    match command {
        ReportCommand::Patient(args) => make(
            Subject::Patient(args.id.clone()),
            &args.rest,
            console,
            clock,
        ),
        ReportCommand::User(args) => {
            make(Subject::User(args.id.clone()), &args.rest, console, clock)
        }
        ReportCommand::Activity(args) => make(Subject::Activity, args, console, clock),
    }
}

fn make(
    subject: Subject,
    args: &AllArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let now = clock.now();
    let (since, until) = args.period.bounds(now)?;
    let filter = subject.filter(since, until);
    let staff = if args.without_staff {
        Staff::Numbered
    } else {
        Staff::Named
    };
    let mut output = Output::to(args.output.as_deref())?;
    let question = Ask::Report {
        report: subject.name(),
        filter: filter.clone(),
    };
    let mut report = Report::new(subject, staff, &filter, now);
    let mut unindexed = 0_usize;
    trail::ask(&args.config, question, clock, |piece| {
        match trail::row(piece) {
            Ok(joined) => report.push(&joined).map_err(Failure::of)?,
            Err(count) => unindexed = unindexed.max(count),
        }
        Ok(())
    })?;
    trail::say_unindexed(unindexed, console)?;
    report.end();
    let document = match args.format {
        Form::Text => text(&report),
        Form::Csv => report.csv(),
        Form::Html => html(&report).map_err(Failure::of)?,
    };
    output.text(&document, console)?;
    output.finish(&[])
}
