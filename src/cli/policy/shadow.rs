//! `chartgate policy shadow`: what a candidate bundle would change, on live traffic.

use std::path::PathBuf;

use clap::Args;

use super::printable;
use crate::admin::protocol::AdminRequest;
use crate::cli::console::{Console, Failure};
use crate::cli::gateway::{self, Common, span};
use crate::operate::permissions::{Ask, ShadowAsk};
use crate::policy::shadow::{Difference, ShadowReport};

/// Most kinds of differing decisions that are printed.
const MOST_PRINTED: usize = 40;

/// Set a candidate bundle beside the one in force: it is asked the same questions, and decides nothing.
///
/// Where its answer differs, the record says so (`decision.shadow`) and the report counts it, by action, section, roles
/// and policies. Zones, roles and routes are those of the bundle in force. It goes on over a restart, counted from zero,
/// and ends by itself. Each request costs one decision more.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate policy shadow /srv/policies-next --for 7d\n  \
                             chartgate policy shadow --report\n  chartgate policy shadow --off"
)]
pub(in crate::cli) struct ShadowArgs {
    /// The candidate's directory.
    #[arg(value_name = "DIR", required_unless_present_any = ["off", "report"])]
    directory: Option<PathBuf>,
    /// For how long (`4h`, `7d`), at most 31 days.
    #[arg(long = "for", value_name = "DURATION", value_parser = span, default_value = "7d")]
    span: u64,
    /// Take the candidate away.
    #[arg(long, conflicts_with_all = ["directory", "report"])]
    off: bool,
    /// Show what it would have changed so far.
    #[arg(long, conflicts_with = "directory")]
    report: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub(super) fn run(args: &ShadowArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let ask = match &args.directory {
        Some(directory) => ShadowAsk::Set {
            // The gateway has another working directory.
            directory: std::fs::canonicalize(directory).map_err(|error| {
                Failure::Configuration(format!("`{}` cannot be read: {error}", directory.display()))
            })?,
            seconds: args.span,
        },
        None if args.off => ShadowAsk::Off,
        None => ShadowAsk::Report,
    };
    gateway::list(
        &args.common.config,
        AdminRequest::Policy(Ask::Shadow(ask)),
        (
            console,
            args.common.json,
            "there is no candidate in the shadow",
        ),
        |value, console| {
            let report: ShadowReport = serde_json::from_value(value).map_err(Failure::of)?;
            print(&report, console)
        },
    )
}

fn print(report: &ShadowReport, console: &mut Console<'_>) -> Result<(), Failure> {
    let named = printable(&format!("{} {}", report.name, report.version));
    console.line(format_args!(
        "{named}, sha256 {}: in the shadow until {:.0}, counted since {:.0}",
        report.sha256, report.until, report.since
    ))?;
    if report.stopped {
        console.line("  it panicked, and is not asked any more")?;
    }
    let differing: Vec<_> = report
        .differing
        .iter()
        .map(|(difference, count)| format!("{count} {}", in_words(*difference)))
        .collect();
    console.line(format_args!(
        "  {} decisions: {}",
        report.compared,
        differing.join(", ")
    ))?;
    for (kind, count) in report.kinds.iter().take(MOST_PRINTED) {
        let roles: Vec<_> = kind
            .roles
            .iter()
            .map(crate::request::Role::as_str)
            .collect();
        let line = format!(
            "  {count:>8}  {}  {} {}  {}  by {}",
            kind.difference.word(),
            kind.action,
            kind.section,
            roles.join("+"),
            if kind.policies.is_empty() {
                "no policy".to_owned()
            } else {
                kind.policies.join(", ")
            }
        );
        console.line(printable(&line))?;
    }
    let more = report.kinds.len().saturating_sub(MOST_PRINTED);
    if more > 0 {
        console.line(format_args!(
            "  and {more} kinds more (--json has them all)"
        ))?;
    }
    Ok(())
}

const fn in_words(difference: Difference) -> &'static str {
    match difference {
        Difference::Refused => "would be refused",
        Difference::Permitted => "would be permitted",
        Difference::Obliged => "would be obliged otherwise",
        Difference::Failed => "could not be evaluated",
    }
}
