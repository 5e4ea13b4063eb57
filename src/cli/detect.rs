//! `chartgate detect`: detection rules and their examples.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use crate::detect::{RuleSet, examples};
use crate::policy::problem::Problem;

/// Check and test detection rules.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum DetectCommand {
    Check(CheckArgs),
    Test(TestArgs),
}

/// Check that every rule can be read and has examples.
///
/// Reads `detections/*.yml` and `detections/tests/*.jsonl` below the policy bundle. What is wrong (no YAML, an unknown
/// field, a reference to no rule, a missing example) is printed with file, line and remedy, and ends with exit code
/// 64. `docs/detection.md` describes the form of a rule.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate detect check\n  chartgate detect check --policies /etc/chartgate/policies"
)]
pub struct CheckArgs {
    /// The policy bundle that the rules belong to.
    #[arg(long, value_name = "DIR", default_value = "policies")]
    policies: PathBuf,
}

/// Run every example against the rules.
///
/// A positive example must make its rule fire, a negative one must not. Examples are evaluated in the time zone UTC
/// with working hours from 07:00 to 19:00. Closes with `N passed, M failed`; exit code 1 where one failed.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate detect test\n  chartgate detect test --policies /etc/chartgate/policies"
)]
pub struct TestArgs {
    /// The policy bundle that the rules belong to.
    #[arg(long, value_name = "DIR", default_value = "policies")]
    policies: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &DetectCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    match command {
        DetectCommand::Check(args) => check(args, console),
        DetectCommand::Test(args) => test(args, console),
    }
}

fn check(args: &CheckArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let rules = load(&args.policies, console)?;
    let (examples, problems) = examples::load(&args.policies, &rules);
    report(&problems, console)?;
    for rule in rules.alarming() {
        let response = rule.response.map_or("", |response| response.name());
        let line = format!(
            "{:<9} {:<28} {:<12} {}",
            rule.level, rule.name, response, rule.title
        );
        console.line(line)?;
    }
    console.line(format_args!(
        "{} rules that alarm, {} examples: fit to run with",
        rules.alarming().count(),
        examples.len()
    ))
}

fn test(args: &TestArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let rules = Arc::new(load(&args.policies, console)?);
    let (examples, problems) = examples::load(&args.policies, &rules);
    report(&problems, console)?;
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for example in &examples {
        let file = example.file.display();
        if example.holds(&rules) {
            passed = passed.saturating_add(1);
            console.line(format_args!("ok      {file}"))?;
        } else {
            failed = failed.saturating_add(1);
            let what = match example.shows {
                examples::Shows::Positive => "did not fire",
                examples::Shows::Negative => "fired",
            };
            console.line(format_args!("FAILED  {file}: `{}` {what}", example.rule))?;
        }
    }
    console.line(format_args!("{passed} passed, {failed} failed"))?;
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::Unfit)
    }
}

fn load(policies: &std::path::Path, console: &mut Console<'_>) -> Result<RuleSet, Failure> {
    let rules = match RuleSet::load(policies) {
        Ok(rules) => rules,
        Err(error) => {
            report(&error.problems, console)?;
            return Err(Failure::Found);
        }
    };
    if rules.rules().is_empty() {
        let place = policies.join(crate::detect::ruleset::DIRECTORY);
        return Err(Failure::Configuration(format!(
            "there are no rules in `{}`; name the policy bundle with --policies",
            place.display()
        )));
    }
    Ok(rules)
}

fn report(problems: &[Problem], console: &mut Console<'_>) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    for problem in problems {
        console.line(problem)?;
    }
    Err(Failure::Found)
}

#[cfg(test)]
mod tests {
    use super::super::console::testing::Captured;
    use super::super::{Exit, run as command};
    use crate::clock::SystemClock;

    fn detect(what: &str, policies: &std::path::Path) -> Captured {
        let policies = policies.display().to_string();
        let line = ["chartgate", "detect", what, "--policies", &policies];
        Captured::run(|console| command(line, console, &SystemClock::shared()))
    }

    #[test]
    fn the_shipped_rules_are_fit_and_keep_to_their_examples() {
        let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let checked = detect("check", &shipped);
        assert_eq!(checked.exit, Exit::Fine, "{}", checked.out);
        assert!(
            checked
                .out
                .ends_with("13 rules that alarm, 26 examples: fit to run with\n")
        );
        let tested = detect("test", &shipped);
        assert_eq!(tested.exit, Exit::Fine, "{}", tested.out);
        assert!(
            tested.out.ends_with("26 passed, 0 failed\n"),
            "{}",
            tested.out
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_file_line_and_remedy() {
        let home = tempfile::tempdir().unwrap();
        let missing = detect("check", home.path());
        assert_eq!(missing.exit, Exit::Configuration);
        assert!(
            missing.err.contains("there are no rules"),
            "{}",
            missing.err
        );
        let tests = home.path().join("detections/tests");
        std::fs::create_dir_all(&tests).unwrap();
        let file = home.path().join("detections/r.yml");
        let rule =
            "title: T\nname: r\nlevel: low\ndetection:\n  sel: {phaze: admit}\n  condition: sel\n";
        std::fs::write(&file, rule).unwrap();
        let wrong = detect("check", home.path());
        assert_eq!(wrong.exit, Exit::Configuration);
        assert!(
            wrong
                .out
                .contains("r.yml:5: the field `phaze` does not exist\n    remedy: "),
            "{}",
            wrong.out
        );
        std::fs::write(&file, rule.replace("phaze", "phase")).unwrap();
        let lacking = detect("check", home.path());
        assert!(
            lacking
                .out
                .contains("r.yml:1: the rule `r` has no positive example"),
            "{}",
            lacking.out
        );
        let time = "\"time\":\"2026-01-01T00:00:00Z\"";
        std::fs::write(
            tests.join("r.positive.jsonl"),
            format!("{{{time},\"phase\":\"admit\"}}\n"),
        )
        .unwrap();
        std::fs::write(
            tests.join("r.negative.jsonl"),
            format!("{{{time},\"phase\":\"admit\"}}\n"),
        )
        .unwrap();
        let tested = detect("test", home.path());
        assert_eq!(tested.exit, Exit::Failed);
        assert!(
            tested
                .out
                .contains("FAILED  tests/r.negative.jsonl: `r` fired"),
            "{}",
            tested.out
        );
        assert!(tested.out.ends_with("1 passed, 1 failed\n"));
    }
}
