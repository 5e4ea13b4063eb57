//! `chartgate report`: who opened this chart, what of it went outside, what a user did, what happened at all.

use std::path::PathBuf;

use aws_lc_rs::digest;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use super::console::{Console, Failure};
use super::gateway::{self, printable};
use super::output::Output;
use super::trail::{self, Asides, Period, identifier};
use crate::admin::protocol::AdminRequest;
use crate::audit::answers::{Ask, Asked};
use crate::audit::filter::Filter;
use crate::audit::query::join::Joined;
use crate::audit::report::disclosures::{Accounting, Scope};
use crate::audit::report::{Report, Staff, Subject, TooLong, html, text};
use crate::clock::SharedClock;
use crate::operate::activity_review::{Ask as Review, Review as SignedOff, SignOff};

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
    Patient(PatientArgs),
    /// What a user did, and to whose charts.
    ///
    /// Every access, and every event that is theirs; refusals too; summed up by patient.
    #[command(
        after_long_help = "Examples:\n  chartgate report user dr.grey --since 30d --format csv --output dr.grey.csv"
    )]
    User(UserArgs),
    /// What of this chart went to somebody outside: an accounting of disclosures.
    ///
    /// Date, recipient and address as far as known, what, and what for (45 CFR 164.528), of the last six calendar years
    /// unless a period is named; with what was put on record by `chartgate disclosure record`. Disclosures for treatment,
    /// payment and operations, and files and paper that may not have gone outside, only with --all (45 CFR 170.210(d)).
    #[command(
        after_long_help = "Examples:\n  chartgate report disclosures 4 --format html --output disclosures-4.html\n  \
                           chartgate report disclosures 4 --all --since 2026-01-01 --format csv"
    )]
    Disclosures(DisclosuresArgs),
    /// What happened, by person: admitted, refused, break-glass; with --sign-off, reviewed.
    ///
    /// --sign-off asks, then puts on record under your name that you reviewed what was shown (45 CFR
    /// 164.308(a)(1)(ii)(D)): period, rows and the SHA-256 of the report as --format csv writes it. `chartgate status`
    /// shows when the next review is due (`audit.review_interval`).
    #[command(
        after_long_help = "Examples:\n  chartgate report activity --since 7d\n  \
                           chartgate report activity --since 7d --sign-off --note 'nothing unusual'"
    )]
    Activity(ActivityArgs),
}

/// A report about a patient.
#[derive(Debug, Args)]
pub struct PatientArgs {
    /// The patient's identifier in the EMR, or `system|identifier`.
    #[arg(value_name = "ID", value_parser = identifier)]
    id: String,
    #[command(flatten)]
    known: KnownAs,
    #[command(flatten)]
    rest: AllArgs,
}

/// A report about a user.
#[derive(Debug, Args)]
pub struct UserArgs {
    /// The user's name, or their stable id (`issuer|subject`).
    #[arg(value_name = "USER", value_parser = identifier)]
    id: String,
    #[command(flatten)]
    rest: AllArgs,
}

/// Which identifiers of a patient count.
#[derive(Debug, Clone, Copy, Args)]
struct KnownAs {
    /// Only this identifier, not those that the link feed says are the same patient's.
    #[arg(long)]
    exact: bool,
}

impl KnownAs {
    /// All that the link feed knows.
    const ALL: Self = Self { exact: false };
}

/// An accounting of disclosures.
#[derive(Debug, Args)]
pub struct DisclosuresArgs {
    /// The patient's identifier in the EMR, or `system|identifier`.
    #[arg(value_name = "ID", value_parser = identifier)]
    id: String,
    #[command(flatten)]
    known: KnownAs,
    /// Also those for treatment, payment and operations, and every file and paper copy.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    rest: AllArgs,
}

/// A report of activity, and its review.
#[derive(Debug, Args)]
pub struct ActivityArgs {
    #[command(flatten)]
    rest: AllArgs,
    /// Sign off, at the running gateway, that you reviewed what is shown.
    #[arg(long, requires = "since", conflicts_with = "without_staff")]
    sign_off: bool,
    /// What there is to say with the signature.
    #[arg(long, value_name = "TEXT", requires = "sign_off", default_value = "")]
    note: String,
    /// Sign without being asked.
    #[arg(long, requires = "sign_off")]
    yes: bool,
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
        ReportCommand::Patient(args) => {
            let subject = Subject::Patient(args.id.clone());
            make(subject, args.known, &args.rest, console, clock).map(|_made| ())
        }
        ReportCommand::User(args) => {
            let subject = Subject::User(args.id.clone());
            make(subject, KnownAs::ALL, &args.rest, console, clock).map(|_made| ())
        }
        ReportCommand::Disclosures(args) => disclosures(args, console, clock),
        ReportCommand::Activity(args) => activity(args, console, clock),
    }
}

impl AllArgs {
    const fn staff(&self) -> Staff {
        if self.without_staff {
            Staff::Numbered
        } else {
            Staff::Named
        }
    }

    /// Hands each row of the answer to `each`, with the further identifiers of the patient asked about. Returns these, and
    /// which trail answered.
    fn ask(
        &self,
        question: Ask,
        console: &mut Console<'_>,
        clock: &SharedClock,
        mut each: impl FnMut(&[String], &Joined) -> Result<(), TooLong>,
    ) -> Result<(Vec<String>, Option<Asked>), Failure> {
        let mut asides = Asides::default();
        trail::ask(&self.config, question, clock, |piece| {
            match asides.row(piece) {
                Some(joined) => each(&asides.aliases, &joined).map_err(Failure::of),
                None => Ok(()),
            }
        })?;
        asides.say(console)?;
        Ok((asides.aliases, asides.asked))
    }
}

/// What was shown.
struct Made {
    since: Option<Timestamp>,
    until: Timestamp,
    report: Report,
}

fn make(
    subject: Subject,
    known: KnownAs,
    args: &AllArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<Made, Failure> {
    let now = clock.now();
    let (since, until) = args.period.bounds(now)?;
    let until = match subject {
        // What is signed off is a period that is over: the asking itself belongs to the next.
        Subject::Activity => Some(until.unwrap_or(now)),
        Subject::Patient(_) | Subject::User(_) => until,
    };
    let filter = Filter {
        exact: known.exact,
        ..subject.filter(since, until)
    };
    let mut output = Output::to(args.output.as_deref())?;
    let question = Ask::Report {
        report: subject.name(),
        filter: filter.clone(),
    };
    let mut report = Report::new(subject, args.staff(), &filter, now);
    let (also, asked) = args.ask(question, console, clock, |also, joined| {
        report.also_known_as(also);
        report.push(joined)
    })?;
    report.also_known_as(&also);
    if let Some(asked) = &asked {
        report.answered(asked);
    }
    report.end();
    let document = match args.format {
        Form::Text => text(&report),
        Form::Csv => report.csv(),
        Form::Html => html(&report).map_err(Failure::of)?,
    };
    output.text(&document, console)?;
    output.finish(&[])?;
    let until = until.unwrap_or(now);
    Ok(Made {
        since,
        until,
        report,
    })
}

fn disclosures(
    args: &DisclosuresArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let DisclosuresArgs {
        id,
        known,
        all,
        rest,
    } = args;
    let now = clock.now();
    let period = rest.period.bounds(now)?;
    let scope = if *all { Scope::All } else { Scope::Accountable };
    let mut accounting = Accounting::new(id, (scope, rest.staff()), period, now);
    let mut output = Output::to(rest.output.as_deref())?;
    let question = Ask::Report {
        report: accounting.name(),
        filter: Filter {
            exact: known.exact,
            ..accounting.filter()
        },
    };
    let (also, asked) = rest.ask(question, console, clock, |_also, joined| {
        accounting.push(joined)
    })?;
    accounting.also_known_as(also);
    if let Some(asked) = &asked {
        accounting.answered(asked);
    }
    accounting.end();
    let document = match rest.format {
        Form::Text => accounting.text(),
        Form::Csv => accounting.csv(),
        Form::Html => accounting.html().map_err(Failure::of)?,
    };
    output.text(&document, console)?;
    output.finish(&[])
}

fn activity(
    args: &ActivityArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let made = make(Subject::Activity, KnownAs::ALL, &args.rest, console, clock)?;
    let (true, Some(since)) = (args.sign_off, made.since) else {
        return Ok(());
    };
    let csv = made.report.csv();
    let until = made.until;
    if !args.yes {
        let question = format!(
            "Sign off that you reviewed this, from {since:.0} to {until:.0}? Type yes to sign: "
        );
        if console.ask(&question)?.trim() != "yes" {
            return Err(Failure::Failed("nothing was signed off".to_owned()));
        }
    }
    let signed = SignOff {
        since,
        until,
        report: hex::encode(digest::digest(&digest::SHA256, csv.as_bytes())),
        rows: made.report.csv_rows(),
        note: args.note.clone(),
    };
    let ask = AdminRequest::Activity(Review::SignOff(signed));
    gateway::ask(&args.rest.config, ask, |value| {
        let review: SignedOff = serde_json::from_value(value).map_err(Failure::of)?;
        if let Some((from, to)) = review.gap {
            console.note(format_args!(
                "nobody has reviewed activity from {from:.0} to {to:.0}"
            ))?;
        }
        console.note(printable(&format!(
            "signed off by {} at {:.0}: activity from {:.0} to {:.0}, sha256 {}",
            review.reviewer, review.at, review.since, review.until, review.report
        )))
    })
}
