//! `chartgate policy review`: who may do what, what of it is used, and a signature under it.

mod effective;
mod report;

use std::fs;
use std::path::PathBuf;

use aws_lc_rs::digest;
use clap::Args;
use jiff::Timestamp;

use super::{Place, trail};
use crate::admin::protocol::AdminRequest;
use crate::cli::console::{Console, Failure};
use crate::cli::gateway;
use crate::clock::SharedClock;
use crate::operate::permissions::{Ask, Review, SignOff, Usage};
use report::Report;

/// Review who may do what: effective permissions by role and user, with last use, for sign-off.
///
/// The bundle is asked over its whole vocabulary, so this is what it really permits, not how it is written. Use comes
/// from the trail (that reading goes on record): permissions that nobody used, grants that gave nobody a role, expired
/// grants, and users whose roles nothing grants any more stand out; with --dormant, accounts that were not used for long.
/// --sign-off puts on record, under your name, that you reviewed
/// the bundle in force; `chartgate status` shows when the next review is due.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate policy review\n  chartgate policy review --dormant 90d\n  chartgate policy review --since 180d --html review.html --csv review.csv\n  \
    chartgate policy review --sign-off --note 'vendor window closed'"
)]
pub(in crate::cli) struct ReviewArgs {
    #[command(flatten)]
    place: Place,
    /// How far back use is looked for.
    #[arg(long, value_name = "SPAN", default_value = "90d")]
    since: String,
    /// Also name the accounts that were not used for so long: `90d`. The whole trail is read for that.
    #[arg(long, value_name = "SPAN", conflicts_with = "no_trail")]
    dormant: Option<String>,
    /// Leave the trail alone: permissions only, without use.
    #[arg(long, conflicts_with = "sign_off")]
    no_trail: bool,
    /// Write every permission as one row of this CSV file.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a page to read, print and sign to this HTML file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Sign the review off at the running gateway.
    #[arg(long)]
    sign_off: bool,
    /// What there is to say with the signature.
    #[arg(long, value_name = "TEXT", requires = "sign_off", default_value = "")]
    note: String,
}

/// Runs the command.
pub(super) fn run(
    args: &ReviewArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let active = args.place.bundle()?;
    let now = clock.now();
    let since = super::since(&args.since, clock)?;
    let dormant = match &args.dormant {
        Some(span) => Some(super::since(span, clock)?),
        None => None,
    };
    let usage = if args.no_trail {
        Usage::default()
    } else {
        trail::usage(&args.place.config_file(), since, clock)?
    };
    let mut report = Report::of(&active, &usage, since, now, args.no_trail);
    if let Some(before) = dormant {
        let ever = trail::usage(&args.place.config_file(), Timestamp::UNIX_EPOCH, clock)?;
        report.dormant(&ever, before);
    }
    let csv = report.csv();
    if let Some(file) = &args.csv {
        fs::write(file, &csv)?;
        console.note(format_args!("wrote {}", file.display()))?;
    }
    if let Some(file) = &args.html {
        fs::write(file, report.html().map_err(Failure::of)?)?;
        console.note(format_args!("wrote {}", file.display()))?;
    }
    if args.csv.is_none() && args.html.is_none() {
        console.text(report.text())?;
    }
    if !args.sign_off {
        return Ok(());
    }
    let signed = SignOff {
        bundle: active.bundle().digest().to_owned(),
        report: hex::encode(digest::digest(&digest::SHA256, csv.as_bytes())),
        rows: report.rows.len(),
        note: args.note.clone(),
    };
    gateway::ask(
        &args.place.config_file(),
        AdminRequest::Policy(Ask::SignOff(signed)),
        |value| {
            let review: Review = serde_json::from_value(value).map_err(Failure::of)?;
            console.line(format_args!(
                "signed off by {} at {:.0}: {}, sha256 {}",
                review.reviewer, review.at, review.bundle, review.sha256
            ))
        },
    )
}
