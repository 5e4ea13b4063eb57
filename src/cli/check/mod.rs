//! `chartgate check`: everything that can be known to be wrong before users come.
//!
//! *Never*: changes anything, or stops at the first problem.

mod abilities;
mod certificates;
mod fetch;
mod issuers;
mod places;
mod reach;
mod sinks;
mod step_up;
pub(super) mod vocabulary;
mod witnesses;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::console::{Console, Failure};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::load::{self, Reading};
use crate::config::problem::{Problems, Severity};
use crate::config::source::Document;

/// Check configuration, policies, certificates, permissions and reachability.
///
/// Prints every problem at once, each with file, line and remedy. Errors end with exit code 64 and keep `serve` from
/// starting where they concern files; warnings do not. Run it as the user that the gateway runs as: what root may
/// read and write says little about what the gateway may.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  chartgate check\n  \
    sudo -u chartgate chartgate check --config /etc/chartgate/chartgate.toml\n  \
    chartgate check --offline --json | jq '.problems[] | select(.severity == \"error\")'")]
pub struct CheckArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Do not connect to identity provider, EMRs and sinks.
    #[arg(long)]
    offline: bool,
    /// Print the findings as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure::Found`], where there is at least one error.
pub fn run(
    args: &CheckArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let (mut problems, checked) = match load::read(&args.config) {
        Ok(reading) => examine(reading, args, clock)?,
        Err(problems) => (problems, vec!["configuration"]),
    };
    problems.sort();
    let errors = problems.count(Severity::Error);
    if args.json {
        let all: Vec<_> = problems.iter().collect();
        console.line(json!({ "ok": errors == 0, "checked": checked, "problems": all }))?;
    } else {
        if !problems.is_empty() {
            let paint = console.paint;
            console.text(problems.rendered(paint))?;
        }
        console.line(summary(&args.config, errors, &checked))?;
    }
    if errors == 0 {
        Ok(())
    } else {
        Err(Failure::Found)
    }
}

fn summary(file: &Path, errors: usize, checked: &[&str]) -> String {
    let file = file.display();
    let checked = checked.join(", ");
    if errors == 0 {
        format!("{file} is fit to run with (checked: {checked})")
    } else {
        format!("{file} is NOT fit to run with (checked: {checked})")
    }
}

/// Everything that is wrong, and what was looked at: later checks need a configuration that could be read.
fn examine(
    reading: Reading,
    args: &CheckArgs,
    clock: &SharedClock,
) -> Result<(Problems, Vec<&'static str>), Failure> {
    let Reading {
        source,
        config,
        mut problems,
    } = reading;
    let mut checked = vec!["configuration"];
    let Some(config) = config else {
        return Ok((problems, checked));
    };
    let document = Document::parse(&source).map_err(Failure::Problems)?;
    let policies = offline(&document, &config, clock);
    checked.extend(["policies", "certificates", "directories"]);
    if !args.offline {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(reach::check(&document, &config));
        witnesses::check(&document, &config, clock);
        checked.push("reachability");
    }
    problems.append(policies);
    problems.append(document.into_problems());
    Ok((problems, checked))
}

/// Reads a configuration to run with, by the checks that need nobody else; warnings go to the log.
///
/// # Errors
/// Every problem, where one of them is an error.
pub(super) fn preflight(file: &Path, clock: &SharedClock) -> Result<Config, Problems> {
    let (config, problems) = look(file, clock)?;
    if problems.count(Severity::Error) > 0 {
        return Err(problems);
    }
    for warning in &problems {
        tracing::warn!(
            key = warning.key,
            remedy = warning.remedy,
            "{}",
            warning.message
        );
    }
    Ok(config)
}

/// Reads a configuration, with every problem that can be found without anybody else.
///
/// # Errors
/// Every problem, where no configuration can be made of the file.
pub(super) fn look(file: &Path, clock: &SharedClock) -> Result<(Config, Problems), Problems> {
    let Reading {
        source,
        config,
        mut problems,
    } = load::read(file)?;
    let Some(config) = config else {
        return Err(problems);
    };
    let document = Document::parse(&source)?;
    problems.append(offline(&document, &config, clock));
    problems.append(document.into_problems());
    problems.sort();
    Ok((config, problems))
}

/// The checks that need nobody else. Problems of other files are returned, those of the configuration are noted.
fn offline(document: &Document<'_>, config: &Config, clock: &SharedClock) -> Problems {
    certificates::check(document, config, clock.now());
    places::check(document, config);
    witnesses::cosigners(document, config);
    vocabulary::check(document, config, clock.now())
}

#[cfg(test)]
mod tests {
    use super::super::console::testing::Captured;
    use super::super::{Exit, run as command};
    use crate::audit::log::SigningKey;
    use crate::clock::SystemClock;
    use crate::config::fixture::{Fixture, TEMPLATE};

    fn check(fixture: &Fixture, text: &str, extra: &[&str]) -> Captured {
        fixture.write("chartgate.toml", text);
        let file = fixture.path("chartgate.toml").display().to_string();
        let mut line = vec!["chartgate", "check", "--config", &file];
        line.extend(extra);
        Captured::run(|console| command(line, console, &SystemClock::shared()))
    }

    #[test]
    fn a_configuration_without_errors_is_fine_and_says_what_was_checked() {
        let fixture = Fixture::with_policies();
        let captured = check(&fixture, TEMPLATE, &["--offline"]);
        assert_eq!(captured.exit, Exit::Fine, "{}", captured.out);
        assert!(captured.out.contains(
            "is fit to run with (checked: configuration, policies, certificates, directories)"
        ));
        let json = check(&fixture, TEMPLATE, &["--offline", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(document["ok"], true);
        assert!(
            document["problems"]
                .as_array()
                .unwrap()
                .iter()
                .all(|problem| problem["severity"] == "warning")
        );
    }

    #[test]
    fn errors_are_64_and_printed_with_their_line() {
        let fixture = Fixture::with_policies();
        let text = TEMPLATE.replace("idle_timeout = \"15m\"", "idle_timeout = \"13h\"");
        let captured = check(&fixture, &text, &["--offline"]);
        assert_eq!(captured.exit, Exit::Configuration);
        assert!(
            captured.out.contains("| idle_timeout = \"13h\"\n"),
            "{}",
            captured.out
        );
        assert!(captured.out.contains("is NOT fit to run with"));
        let json = check(&fixture, &text, &["--offline", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(document["ok"], false);
        let problem = document["problems"]
            .as_array()
            .unwrap()
            .iter()
            .find(|p| p["severity"] == "error")
            .unwrap();
        assert_eq!(problem["key"], "identity.idle_timeout");
        assert!(problem["line"].as_u64().unwrap() > 1 && problem["remedy"].is_string());
    }

    #[test]
    fn a_key_of_a_trail_is_no_cosigner() {
        let fixture = Fixture::with_policies();
        let key = SigningKey::generate("gw").unwrap();
        fixture.write("w.pub", &key.verifier().to_string());
        let witness = "witnesses = [\"witness/checkpoints\"";
        assert!(TEMPLATE.contains(witness));
        let other =
            format!("{witness}, {{ https = \"https://w.example/\", cosigner = \"w.pub\" }}");
        let captured = check(&fixture, &TEMPLATE.replace(witness, &other), &["--offline"]);
        assert_eq!(captured.exit, Exit::Configuration, "{}", captured.out);
        let said = "w.pub is not a witness's verifier key (but a trail's) file";
        assert!(captured.out.contains(said), "{}", captured.out);
    }

    #[test]
    fn a_missing_file_is_64() {
        let fixture = Fixture::new();
        let file = fixture.path("nowhere.toml").display().to_string();
        let captured = Captured::run(|console| {
            command(
                ["chartgate", "check", "--config", &file],
                console,
                &SystemClock::shared(),
            )
        });
        assert_eq!(captured.exit, Exit::Configuration);
        assert!(
            captured.out.contains("nowhere.toml` cannot be read"),
            "{}",
            captured.out
        );
    }
}
