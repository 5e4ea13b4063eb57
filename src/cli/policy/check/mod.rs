//! `chartgate policy check`: everything that can be known to be wrong with a bundle.

mod found;
mod sarif;

use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Place;
use crate::cli::check::vocabulary;
use crate::cli::console::{Console, Failure};
use crate::clock::SharedClock;
use crate::config::problem::{Problems, Severity};
use found::{Found, Rule, under, warnings};

/// Check a policy bundle: policies, schema, roles, networks, EMR profiles and decision tables.
///
/// Prints every problem at once, each at its line, with a remedy. Beside errors it warns of roles that nothing grants,
/// of policies that no table tests, that no situation satisfies, or that another always overrides; of permits that let
/// in a person without a second factor or someone without a role, or that name neither actions nor sections; of routes
/// that never match, and of virtual patches that expired. Errors end with exit code 64; they keep a running gateway
/// from putting the bundle in force. `--format sarif` writes SARIF 2.1.0, which code hosts show beside the change.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate policy check\n  chartgate policy check --policies ./policies --json\n  \
    chartgate policy check --policies ./policies --format sarif > policies.sarif"
)]
pub(in crate::cli) struct CheckArgs {
    #[command(flatten)]
    place: Place,
    /// The form in which the findings are printed.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    format: Format,
    /// Print the findings as one JSON document; the same as --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person, with the line marked.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0.
    Sarif,
}

/// Runs the command.
pub(super) fn run(
    args: &CheckArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let directory = args.place.directory()?;
    let (problems, read) = vocabulary::bundle(&directory);
    let mut all: Vec<Found> = under(Rule::Bundle, &problems).collect();
    let misses = vocabulary::misses(read.as_ref(), Severity::Error);
    all.extend(under(Rule::TableMissed, &misses));
    for file in profiles(&directory) {
        let found = vocabulary::profile(&file, vocabulary::day_of(clock.now()));
        all.extend(under(Rule::Profile, &found));
    }
    all.extend(read.as_ref().map(warnings).unwrap_or_default());
    all.sort_by_key(|found| {
        let place = found.problem.place.as_ref();
        let at = place.map(|place| (place.line, place.column));
        (found.problem.file.clone(), at)
    });
    let is_error = |found: &&Found| found.problem.severity == Severity::Error;
    let errors = all.iter().filter(is_error).count();
    let format = if args.json { Format::Json } else { args.format };
    match format {
        Format::Json => {
            let problems: Vec<Value> = all.iter().map(as_json).collect();
            console.line(json!({ "ok": errors == 0, "problems": problems }))?;
        }
        Format::Sarif => console.line(format_args!("{:#}", sarif::document(&all)))?,
        Format::Text => {
            let mut problems = Problems::default();
            for found in &all {
                problems.push(found.problem.clone());
            }
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
    }
    if errors == 0 {
        Ok(())
    } else {
        Err(Failure::Found)
    }
}

fn as_json(found: &Found) -> Value {
    let mut value = json!(found.problem);
    if let Some(members) = value.as_object_mut() {
        members.insert("rule".to_owned(), json!(found.rule.id()));
    }
    value
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
