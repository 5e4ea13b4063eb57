//! `chartgate policy test`: asks a bundle what its own decision tables expect.

use clap::Args;
use serde_json::json;

use super::Place;
use crate::cli::console::{Console, Failure};
use crate::policy::tables::{Miss, Report};

/// Ask a policy bundle what its decision tables (tests/*.toml) expect of it.
///
/// Prints each expectation that is not met, which policies no table covers, and closes with `N passed, M failed`. Ends
/// with exit code 1 if one failed; a running gateway does not put such a bundle in force. docs/policy-tools.md has the
/// format of the tables.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate policy test\n  chartgate policy test --policies ./policies --json"
)]
pub(in crate::cli) struct TestArgs {
    #[command(flatten)]
    place: Place,
    /// Print the result as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &TestArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let active = args.place.bundle()?;
    let report = Report::of(active.bundle(), active.compiled());
    let all = active.bundle().policies().len();
    if args.json {
        let misses: Vec<_> = report.misses.iter().map(as_json).collect();
        console.line(json!({
            "passed": report.passed,
            "failed": report.misses.len(),
            "misses": misses,
            "policies": all,
            "covered": report.covered.len(),
            "untested": report.untested,
        }))?;
    } else {
        for miss in &report.misses {
            console.line(format_args!(
                "{}:{}: {}\n    expected {}\n    found    {}",
                miss.file.display(),
                miss.line,
                miss.name,
                miss.expected,
                miss.found
            ))?;
        }
        console.line(format_args!(
            "{} of {all} policies covered",
            report.covered.len()
        ))?;
        for id in &report.untested {
            console.line(format_args!("    not covered: {id}"))?;
        }
        console.line(format_args!(
            "{} passed, {} failed",
            report.passed,
            report.misses.len()
        ))?;
    }
    if report.misses.is_empty() {
        Ok(())
    } else {
        Err(Failure::Unfit)
    }
}

fn as_json(miss: &Miss) -> serde_json::Value {
    json!({
        "file": miss.file,
        "line": miss.line,
        "name": miss.name,
        "expected": miss.expected,
        "found": miss.found,
    })
}
