//! `chartgate policy check`: everything that can be known to be wrong with a bundle.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::Place;
use crate::cli::check::vocabulary::{self, at_line};
use crate::cli::console::{Console, Failure};
use crate::clock::SharedClock;
use crate::config::problem::{Problem, Severity};
use crate::policy::decide::Active;
use crate::policy::tables::Report;

/// Check a policy bundle: policies, schema, roles, networks, EMR profiles and decision tables.
///
/// Prints every problem at once, each with file, line and remedy. Beside errors it warns of roles that nothing grants,
/// of policies that no table tests, of routes that never match, and of virtual patches that expired. Errors end with exit code 64; they keep a running
/// gateway from putting the bundle in force.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate policy check\n  chartgate policy check --policies ./policies --json"
)]
pub(in crate::cli) struct CheckArgs {
    #[command(flatten)]
    place: Place,
    /// Print the findings as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(
    args: &CheckArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let directory = args.place.directory()?;
    let (mut problems, read) = vocabulary::bundle(&directory);
    problems.append(vocabulary::misses(read.as_ref(), Severity::Error));
    for file in profiles(&directory) {
        problems.append(vocabulary::profile(&file, vocabulary::day_of(clock.now())));
    }
    if let Some(active) = &read {
        for warning in warnings(active) {
            problems.push(warning);
        }
    }
    problems.sort();
    let errors = problems.count(Severity::Error);
    if args.json {
        let all: Vec<_> = problems.iter().collect();
        console.line(json!({ "ok": errors == 0, "problems": all }))?;
    } else {
        if !problems.is_empty() {
            let paint = console.paint;
            console.text(problems.rendered(paint))?;
        }
        let fit = if errors == 0 { "is" } else { "is NOT" };
        let named = read.as_ref().map_or_else(String::new, |active| {
            let bundle = active.bundle();
            format!(
                ": {} {}, {} policies, sha256 {}",
                bundle.name(),
                bundle.version(),
                bundle.policies().len(),
                bundle.digest()
            )
        });
        let place = directory.display();
        console.line(format_args!("{place} {fit} fit to be put in force{named}"))?;
    }
    if errors == 0 {
        Ok(())
    } else {
        Err(Failure::Found)
    }
}

/// The profile files of a bundle.
pub(super) fn profiles(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory.join("emr"));
    let mut files: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

fn warnings(active: &Active) -> Vec<Problem> {
    let bundle = active.bundle();
    let untested = Report::of(bundle, active.compiled()).untested;
    let granted: BTreeSet<_> = bundle
        .roles()
        .grants()
        .iter()
        .map(|grant| grant.role.as_str())
        .collect();
    let roles = bundle.vocabulary().roles().iter();
    let ungranted = roles.filter(|role| !granted.contains(role.as_str()));
    let of_role = |role: &String| {
        at_line(
            &bundle.directory().join("roles.toml"),
            None,
            Severity::Warning,
            &format!("nothing grants the role \"{role}\""),
            "grant it in roles.toml, or remove it from the schema and the policies",
        )
    };
    let of_policy = |rule: &crate::policy::rule::Rule| {
        at_line(
            &bundle.directory().join(rule.file()),
            Some(rule.line()),
            Severity::Warning,
            &format!("no table tests the policy \"{}\"", rule.id()),
            "add a case that it decides to a file in tests/",
        )
    };
    let policies = bundle
        .policies()
        .filter(|rule| untested.contains(rule.id()));
    ungranted
        .map(of_role)
        .chain(policies.map(of_policy))
        .collect()
}
