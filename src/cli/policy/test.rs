//! `chartgate policy test`: asks a bundle what its own decision tables expect.

use clap::Args;
use serde_json::json;

use super::Place;
use crate::cli::console::{Console, Failure};
use crate::emr::profile::Profile;
use crate::policy::bundle::Bundle;
use crate::policy::tables::{Miss, Report};

/// Ask a policy bundle what its decision tables (tests/*.toml) expect of it.
///
/// Prints each expectation that is not met, which policies and which routes of the EMR profiles no table covers, and
/// closes with `N passed, M failed`. Ends with exit code 1 if one failed; a running gateway does not put such a bundle
/// in force. docs/policy-tools.md has the format of the tables.
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
    let routes = Routes::of(active.bundle(), &report);
    if args.json {
        let misses: Vec<_> = report.misses.iter().map(as_json).collect();
        console.line(json!({
            "passed": report.passed,
            "failed": report.misses.len(),
            "misses": misses,
            "policies": all,
            "covered": report.covered.len(),
            "untested": report.untested,
            "routes": routes.all,
            "routes_covered": routes.all.saturating_sub(routes.uncovered.len()),
            "routes_untested": routes.uncovered,
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
            "{} of {} routes covered",
            routes.all.saturating_sub(routes.uncovered.len()),
            routes.all
        ))?;
        for route in &routes.uncovered {
            console.line(format_args!("    not covered: {route}"))?;
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

/// The routes of a bundle's profiles. One is covered if an expectation that was met asks its action on its section and
/// sensitivity; where no policy speaks of that sensitivity, of any.
#[derive(Debug)]
struct Routes {
    all: usize,
    uncovered: Vec<String>,
}

impl Routes {
    fn of(bundle: &Bundle, report: &Report) -> Self {
        let mut routes = Self {
            all: 0,
            uncovered: Vec::new(),
        };
        let texts: Vec<String> = bundle
            .policies()
            .map(|rule| rule.policy().to_string())
            .collect();
        for (file, text) in bundle.profiles() {
            let shown = file.display().to_string();
            // A profile that does not load is for `policy check` to say.
            let Ok(profile) = Profile::parse(text, &shown) else {
                continue;
            };
            for route in profile.routes() {
                routes.all = routes.all.saturating_add(1);
                let told_apart = texts
                    .iter()
                    .any(|text| text.contains(&format!("\"{}\"", route.sensitivity())));
                let asked = report.places.iter().any(|(action, section, sensitivity)| {
                    *action == route.action()
                        && section == route.section()
                        && (!told_apart || sensitivity == route.sensitivity())
                });
                if !asked {
                    routes.uncovered.push(format!(
                        "{shown}: {}, {} {} sensitivity {}",
                        route.id(),
                        route.action().name(),
                        route.section(),
                        route.sensitivity()
                    ));
                }
            }
        }
        routes
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
