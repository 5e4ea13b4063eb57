//! `chartgate policy`: tools for those who write the policies, and for those who put them in force.

mod activate;
mod check;
mod diff;
mod explain;
mod feed;
mod fmt;
mod learn;
mod replay;
mod review;
mod rollback;
mod shadow;
mod sign;
mod test;
mod trail;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::check::vocabulary;
use super::console::{Console, Failure};
use crate::clock::SharedClock;
use crate::config::unit::parse_duration;
use crate::policy::decide::Active;

/// The configuration file where none is named.
const CONFIG: &str = "chartgate.toml";

/// Check, test, explain, format, review, sign and activate policies, and go back.
#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    Activate(activate::ActivateArgs),
    Check(check::CheckArgs),
    Diff(diff::DiffArgs),
    Explain(Box<explain::ExplainArgs>),
    Fmt(fmt::FmtArgs),
    History(rollback::HistoryArgs),
    Keygen(sign::KeygenArgs),
    Learn(learn::LearnArgs),
    Replay(replay::ReplayArgs),
    Review(review::ReviewArgs),
    Rollback(rollback::RollbackArgs),
    Shadow(shadow::ShadowArgs),
    Sign(sign::SignArgs),
    Test(test::TestArgs),
}

/// Where the bundle is.
#[derive(Debug, Args)]
struct Place {
    /// The bundle's directory; else the one that the configuration names, else ./policies.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// The configuration file; else chartgate.toml, if it is there.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    /// The bundle's directory. Of the configuration only this one key is read: an author of policies need not be able
    /// to read the gateway's secrets.
    fn directory(&self) -> Result<PathBuf, Failure> {
        if let Some(directory) = &self.policies {
            return Ok(directory.clone());
        }
        let file = self.config_file();
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(_) if self.config.is_none() => return Ok(PathBuf::from("policies")),
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", file.display());
                return Err(Failure::Configuration(message));
            }
        };
        let wrong = |why: &str| {
            let message = format!(
                "`{}` {why}; name the bundle with --policies",
                file.display()
            );
            Failure::Configuration(message)
        };
        let document: toml::Table = toml::from_str(&text)
            .ok()
            .ok_or_else(|| wrong("is not TOML"))?;
        let directory = document
            .get("policy")
            .and_then(|policy| policy.get("directory")?.as_str())
            .ok_or_else(|| wrong("has no `directory` in [policy]"))?;
        Ok(file.parent().unwrap_or(Path::new("")).join(directory))
    }

    fn config_file(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| PathBuf::from(CONFIG))
    }

    /// The bundle, made ready to be asked.
    fn bundle(&self) -> Result<Active, Failure> {
        let (problems, read) = vocabulary::bundle(&self.directory()?);
        read.ok_or(Failure::Problems(problems))
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub(super) fn run(
    command: &PolicyCommand,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    match command {
        PolicyCommand::Activate(args) => activate::run(args, console),
        PolicyCommand::Check(args) => check::run(args, console, clock),
        PolicyCommand::Diff(args) => diff::run(args, console),
        PolicyCommand::Explain(args) => explain::run(args, console, clock),
        PolicyCommand::Fmt(args) => fmt::run(args, console),
        PolicyCommand::History(args) => rollback::history(args, console),
        PolicyCommand::Keygen(args) => sign::keygen(args, console),
        PolicyCommand::Learn(args) => learn::run(args, console, clock),
        PolicyCommand::Replay(args) => replay::run(args, console, clock),
        PolicyCommand::Review(args) => review::run(args, console, clock),
        PolicyCommand::Rollback(args) => rollback::run(args, console),
        PolicyCommand::Shadow(args) => shadow::run(args, console),
        PolicyCommand::Sign(args) => sign::sign(args, console),
        PolicyCommand::Test(args) => test::run(args, console),
    }
}

/// The time so long ago: `30d`.
fn since(span: &str, clock: &SharedClock) -> Result<Timestamp, Failure> {
    parse_duration(span)
        .ok()
        .and_then(|span: Duration| clock.now().checked_sub(span).ok())
        .ok_or_else(|| Failure::Configuration(format!("`{span}` is no span such as 90d")))
}

/// SECURITY: what came from outside cannot move the cursor or forge a line on the reader's terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::console::testing::Captured;
    use super::super::{Exit, run as command};
    use crate::clock::SystemClock;
    use crate::config::fixture::Fixture;

    /// Runs `chartgate policy …` on the shipped bundle with these files in place of its own.
    fn policy(arguments: &[&str], files: &[(&str, &str)]) -> (Captured, Fixture) {
        let fixture = Fixture::with_policies();
        for (name, text) in files {
            fixture.write(&format!("policies/{name}"), text);
        }
        let place = fixture.path("policies").display().to_string();
        let mut line = vec!["chartgate", "policy"];
        line.extend(arguments);
        line.extend(["--policies", &place]);
        let captured = Captured::run(|console| command(line, console, &SystemClock::shared()));
        (captured, fixture)
    }

    const WIDE: &str = "@id(\"wide\") @doc(\"x\") permit (principal in Role::\"billing\", action == Action::\"Read\", resource == Section::\"notes\");\n";

    /// The profile of the fixture is empty; the shipped one is what a check reads.
    fn opal() -> (&'static str, &'static str) {
        (
            "emr/opal.toml",
            include_str!("../../../policies/emr/opal.toml"),
        )
    }

    #[test]
    fn the_shipped_bundle_passes_its_check_and_its_tests() {
        let (check, _) = policy(&["check"], &[opal()]);
        assert_eq!(check.exit, Exit::Fine, "{}", check.out);
        assert!(
            check.out.contains("nothing grants the role \"patient\""),
            "{}",
            check.out
        );
        assert!(
            check
                .out
                .contains("is fit to be put in force: chartgate-hospital")
        );
        assert!(!check.out.contains("no table tests"), "{}", check.out);
        let (test, _) = policy(&["test"], &[]);
        assert_eq!(test.exit, Exit::Fine, "{}", test.out);
        assert!(test.out.ends_with(" passed, 0 failed\n"), "{}", test.out);
        let (json, _) = policy(&["test", "--json"], &[]);
        let document: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(document["policies"], document["covered"]);
    }

    #[test]
    fn a_policy_that_opens_too_much_misses_the_tables() {
        let (test, _) = policy(
            &["test"],
            &[("office.cedar.more", ""), ("wide.cedar", WIDE)],
        );
        assert_eq!(test.exit, Exit::Configuration, "a stray file does not load");
        let (test, _) = policy(&["test"], &[("wide.cedar", WIDE)]);
        assert_eq!(test.exit, Exit::Failed);
        assert!(test.out.contains("billing, for any patient: Read notes\n    expected deny\n    found    allow by wide"), "{}", test.out);
        assert!(test.out.contains("    not covered: wide\n") && test.out.ends_with(" 2 failed\n"));
        let (check, _) = policy(&["check", "--json"], &[opal(), ("wide.cedar", WIDE)]);
        assert_eq!(check.exit, Exit::Configuration);
        let document: serde_json::Value = serde_json::from_str(&check.out).unwrap();
        let problems = document["problems"].as_array().unwrap();
        let error = problems.iter().find(|p| p["severity"] == "error").unwrap();
        assert!(
            error["file"]
                .as_str()
                .unwrap()
                .ends_with("policies/tests/office.toml")
        );
        assert!(error["line"].as_u64().unwrap() > 1);
        let untested = problems.iter().any(|p| {
            p["message"] == "no table tests the policy \"wide\""
                && p["file"].as_str().unwrap().ends_with("wide.cedar")
        });
        assert!(untested, "{}", check.out);
    }

    #[test]
    fn a_diff_says_what_changes_and_ends_with_it() {
        let (old, new) = (Fixture::with_policies(), Fixture::with_policies());
        new.write("policies/wide.cedar", WIDE);
        let place = |of: &Fixture| of.path("policies").display().to_string();
        let diff = |extra: &[&str], old: &Fixture, new: &Fixture| {
            let (old, new) = (place(old), place(new));
            let mut line = vec!["chartgate", "policy", "diff", &old, &new];
            line.extend(extra);
            Captured::run(|console| command(line, console, &SystemClock::shared()))
        };
        let same = diff(&[], &old, &old);
        assert_eq!(same.exit, Exit::Fine, "{}", same.err);
        assert!(same.out.contains("\nnothing changes\n"), "{}", same.out);
        let told = diff(&[], &old, &new);
        assert_eq!(told.exit, Exit::Failed);
        for part in [
            "\nbilling (a person)\n",
            "  notes           . + . . . . . . . . . . .\n",
            "  + Read notes\n      by wide\n",
            "of 6630 cells 2 permit more, 0 permit less, 0 oblige to something else\n",
        ] {
            assert!(told.out.contains(part), "{part}\n{}", told.out);
        }
        let json = diff(&["--json"], &new, &old);
        let document: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(document["changes"][0]["change"], "refused");
        assert_eq!(document["changes"][0]["policies"][0], "wide");
    }

    #[test]
    fn a_check_is_sarif_for_code_hosts() {
        let dead = "@id(\"dead\") @doc(\"x\") permit (principal in Role::\"nurse\", action == Action::\"Read\", resource == Section::\"notes\") when { context.zone == \"moon\" };\n";
        let (sarif, _) = policy(
            &["check", "--format", "sarif"],
            &[opal(), ("dead.cedar", dead)],
        );
        assert_eq!(sarif.exit, Exit::Fine, "{}", sarif.out);
        let document: serde_json::Value = serde_json::from_str(&sarif.out).unwrap();
        let results = document["runs"][0]["results"].as_array().unwrap();
        let of = |rule: &str| {
            results
                .iter()
                .find(|found| found["ruleId"] == rule)
                .unwrap()
        };
        let place = &of("policy-unreachable")["locations"][0]["physicalLocation"];
        assert_eq!(place["region"]["startLine"], 1);
        assert!(
            place["artifactLocation"]["uri"]
                .as_str()
                .unwrap()
                .ends_with("/dead.cedar")
        );
        assert_eq!(of("policy-untested")["level"], "warning");
    }

    #[test]
    fn a_bundle_that_does_not_load_says_why_in_every_tool() {
        let broken = ("care.cedar", "permit (\n");
        for tool in [
            &["test"][..],
            &["review", "--no-trail"],
            &["explain", "--roles", "nurse", "GET /"],
        ] {
            let (captured, _) = policy(tool, &[broken]);
            assert_eq!(captured.exit, Exit::Configuration, "{tool:?}");
            assert!(
                captured.err.contains("care.cedar"),
                "{tool:?}: {}",
                captured.err
            );
        }
    }

    #[test]
    fn formatting_keeps_comments_and_settles() {
        let (check, _) = policy(&["fmt", "--check"], &[]);
        assert_eq!(
            check.exit,
            Exit::Fine,
            "the shipped policies are formatted: {}",
            check.out
        );
        let (check, fixture) = policy(
            &["fmt", "--check"],
            &[("wide.cedar", &format!("// Why.\n{WIDE}"))],
        );
        assert_eq!(check.exit, Exit::Failed);
        assert!(check.out.contains("would change") && check.out.contains("wide.cedar"));
        let place = fixture.path("policies").display().to_string();
        let run = |extra: &[&str]| {
            let mut line = vec!["chartgate", "policy", "fmt", "--policies", &place];
            line.extend(extra);
            Captured::run(|console| command(line, console, &SystemClock::shared()))
        };
        assert_eq!(run(&[]).exit, Exit::Fine);
        let text = fs::read_to_string(fixture.path("policies/wide.cedar")).unwrap();
        assert!(
            text.starts_with("// Why.\n@id(\"wide\")\n@doc(\"x\")\npermit ("),
            "{text}"
        );
        assert_eq!(run(&["--check"]).exit, Exit::Fine);
        fixture.write("policies/broken.cedar", "permit (");
        let broken = run(&[]);
        assert_eq!(broken.exit, Exit::Failed);
        assert!(broken.err.contains("broken.cedar"), "{}", broken.err);
        assert_eq!(
            fs::read_to_string(fixture.path("policies/broken.cedar")).unwrap(),
            "permit ("
        );
    }

    #[test]
    fn the_bundle_is_the_configured_one_where_there_is_a_configuration() {
        let fixture = Fixture::with_policies();
        fixture.write("chartgate.toml", "[policy]\ndirectory = \"policies\"\n");
        let file = fixture.path("chartgate.toml").display().to_string();
        let test = |config: &str| {
            let line = ["chartgate", "policy", "test", "--config", config];
            Captured::run(|console| command(line, console, &SystemClock::shared()))
        };
        assert_eq!(test(&file).exit, Exit::Fine);
        fixture.write("chartgate.toml", "[policy]\n");
        assert!(test(&file).err.contains("has no `directory`"));
        assert!(test("/nowhere.toml").err.contains("cannot be read"));
    }
}
