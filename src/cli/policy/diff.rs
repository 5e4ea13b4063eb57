//! `chartgate policy diff`: what a change of the bundle changes, before it is made.

mod told;

use std::path::PathBuf;

use clap::Args;

use crate::cli::check::vocabulary;
use crate::cli::console::{Console, Failure};
use crate::emr::profile::{Profile, RouteChange};
use crate::policy::decide::Active;
use crate::policy::space::compare::Comparison;

/// Show what changes from one bundle to another: who may do what that they might not, and the other way round.
///
/// Both bundles are asked, not read as text: each role, as a person and as a program, each action on each section, in
/// every combination of the circumstances that the policies of either bundle tell apart. Cells that become permitted
/// (+), refused (-) or are obliged to something else (~) are shown as a matrix with the circumstances in which it is
/// so; then what changes in EMR profiles and in roles.toml. Ends with exit code 0 where nothing changes, and 1 where
/// something does.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate policy diff ./policies ./candidate\n  chartgate policy diff --json /etc/chartgate/policies ./policies"
)]
pub(in crate::cli) struct DiffArgs {
    /// The bundle's directory as it is.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The bundle's directory as it is to be.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Print the changes as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Everything that changes.
#[derive(Debug)]
struct Difference {
    old: Active,
    new: Active,
    policies: Comparison,
    routes: Vec<(PathBuf, RouteChange)>,
    grants: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &DiffArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let read = |directory: &PathBuf| {
        let (problems, read) = vocabulary::bundle(directory);
        read.ok_or(Failure::Problems(problems))
    };
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    let difference = Difference {
        policies: Comparison::of(&old, &new),
        routes: routes(&old, &new)?,
        grants: grants(&old, &new),
        old,
        new,
    };
    if args.json {
        console.line(difference.as_json())?;
    } else {
        console.text(difference.text())?;
    }
    if difference.is_empty() {
        Ok(())
    } else {
        Err(Failure::Unfit)
    }
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.policies.changes.is_empty() && self.routes.is_empty() && self.grants.is_empty()
    }
}

/// What changes in the EMR profiles, by file.
fn routes(old: &Active, new: &Active) -> Result<Vec<(PathBuf, RouteChange)>, Failure> {
    let mut changes = Vec::new();
    let (before, after) = (old.bundle().profiles(), new.bundle().profiles());
    let mut files: Vec<&PathBuf> = before.keys().chain(after.keys()).collect();
    files.sort();
    files.dedup();
    for file in files {
        let text = |of: &std::collections::BTreeMap<PathBuf, String>| {
            of.get(file).cloned().unwrap_or_default()
        };
        let (was, is) = (text(before), text(after));
        if was == is {
            continue;
        }
        let empty = "version = 1\n";
        let parsed = |text: &str| match Profile::parse(text, &file.display().to_string()) {
            Ok(profile) => Ok(Some(profile)),
            Err(_) if text.is_empty() || text == empty => Ok(None),
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Err(Failure::Configuration(lines.join("\n")))
            }
        };
        let found = match (parsed(&was)?, parsed(&is)?) {
            (Some(was), Some(is)) => was.changes(&is),
            (Some(gone), None) => all(&gone, |meaning| (Some(meaning), None)),
            (None, Some(come)) => all(&come, |meaning| (None, Some(meaning))),
            (None, None) => Vec::new(),
        };
        changes.extend(found.into_iter().map(|change| (file.clone(), change)));
    }
    Ok(changes)
}

fn all(
    profile: &Profile,
    side: impl Fn(String) -> (Option<String>, Option<String>),
) -> Vec<RouteChange> {
    let routes = profile.routes().iter();
    routes
        .map(|route| {
            let (before, after) = side(route.meaning());
            RouteChange {
                route: route.id().to_owned(),
                before,
                after,
                takes_others: true,
            }
        })
        .collect()
}

/// What changes in who has which role.
fn grants(old: &Active, new: &Active) -> Vec<String> {
    let listed = |active: &Active| {
        let grants = active.bundle().roles().grants().iter();
        let mut lines: Vec<String> = grants
            .map(|grant| {
                let until = grant
                    .expires
                    .map_or_else(String::new, |end| format!(" until {end}"));
                format!(
                    "\"{}\" gives the role \"{}\"{until}",
                    grant.claim, grant.role
                )
            })
            .collect();
        lines.sort();
        lines.dedup();
        lines
    };
    let (before, after) = (listed(old), listed(new));
    let gone = before.iter().filter(|line| !after.contains(line));
    let come = after.iter().filter(|line| !before.contains(line));
    gone.map(|line| format!("- {line}"))
        .chain(come.map(|line| format!("+ {line}")))
        .collect()
}
