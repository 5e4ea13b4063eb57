//! `chartgate update`: whether anything in this build is known to be vulnerable.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::console::{Console, Failure};
use super::gateway;
use crate::admin::protocol::AdminRequest;
use crate::clock::SharedClock;
use crate::posture::updates::{Comparison, UpdateError};

/// Compare this build with known advisories.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum UpdateCommand {
    Check(CheckArgs),
}

/// Compare what this build is made of with an advisory feed.
///
/// The feed is a file or directory of OSV records (the format of osv.dev) for the ecosystem crates.io,
/// brought to this machine in the hospital's own way; nothing is fetched. Without --feed the running gateway compares
/// with `update.feed` of its configuration, and that goes on record. Exits with 1 where something is found.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate update check --config /etc/chartgate/chartgate.toml\n  \
                       chartgate update check --feed /srv/feeds/osv-crates.jsonl"
)]
pub struct CheckArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// The feed; without it, the one of the configuration.
    #[arg(long, value_name = "PATH")]
    feed: Option<PathBuf>,
    /// Print the result as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(
    command: &UpdateCommand,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let UpdateCommand::Check(args) = command;
    let mut compared = None;
    if let Some(feed) = &args.feed {
        let made = Comparison::make(feed, clock.now()).map_err(|error| match error {
            UpdateError::NoFeed
            | UpdateError::Feed(_)
            | UpdateError::Sbom(_)
            | UpdateError::Audit(_)
            | UpdateError::Failed => Failure::of(error),
        })?;
        compared = Some(serde_json::to_value(made).map_err(Failure::of)?);
    } else {
        gateway::ask(&args.config, AdminRequest::CheckUpdates, |value| {
            compared = Some(value);
            Ok(())
        })?;
    }
    let compared = compared.unwrap_or_default();
    let findings = compared.get("findings").and_then(Value::as_array);
    let clean = findings.is_some_and(Vec::is_empty);
    if args.json {
        console.line(&compared)?;
    } else {
        print(&compared, findings.map_or(&[][..], Vec::as_slice), console)?;
    }
    if clean { Ok(()) } else { Err(Failure::Unfit) }
}

fn print(compared: &Value, findings: &[Value], console: &mut Console<'_>) -> Result<(), Failure> {
    let text = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            items.join(", ")
        }
        Some(other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_))) => {
            other.to_string()
        }
        None => String::new(),
    };
    for finding in findings {
        let fixed = text(finding, "fixed");
        let fixed = if fixed.is_empty() {
            "no fix yet".to_owned()
        } else {
            format!("fixed in {fixed}")
        };
        console.line(format_args!(
            "FOUND {}  {} {}  {}  ({fixed})",
            text(finding, "id"),
            text(finding, "package"),
            text(finding, "version"),
            text(finding, "summary"),
        ))?;
    }
    console.line(format_args!(
        "{} findings: {} components compared with {} advisories, the newest of {}",
        findings.len(),
        text(compared, "components"),
        text(compared, "records"),
        text(compared, "feed_newest"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::console::testing::Captured;
    use super::super::{Exit, run as command};
    use crate::clock::SystemClock;

    fn check(feed: &str, extra: &[&str]) -> Captured {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("feed.json");
        std::fs::write(&file, feed).unwrap();
        let path = file.display().to_string();
        let mut line = vec!["chartgate", "update", "check", "--feed", &path];
        line.extend(extra);
        Captured::run(|console| command(line, console, &SystemClock::shared()))
    }

    const RECORD: &str = r#"{"id":"RUSTSEC-2099-0001","modified":"2026-11-01T00:00:00Z","summary":"Too trusting","affected":[{"package":{"ecosystem":"crates.io","name":"hyper"},"ranges":[{"type":"SEMVER","events":[{"introduced":"FROM"},{"fixed":"99.0.0"}]}]}]}"#;

    #[test]
    fn what_is_found_is_named_and_is_a_failure() {
        let found = check(&RECORD.replace("FROM", "0"), &[]);
        assert_eq!(found.exit, Exit::Failed, "{}", found.err);
        assert!(
            found.out.contains("FOUND RUSTSEC-2099-0001  hyper 1."),
            "{}",
            found.out
        );
        assert!(found.out.contains("(fixed in 99.0.0)"), "{}", found.out);
        let json = check(&RECORD.replace("FROM", "0"), &["--json"]);
        let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(json["findings"][0]["package"], "hyper");
    }

    #[test]
    fn nothing_found_is_fine_and_an_unreadable_feed_is_not() {
        let fine = check(&RECORD.replace("FROM", "98.0.0"), &[]);
        assert_eq!(fine.exit, Exit::Fine, "{}{}", fine.out, fine.err);
        assert!(fine.out.starts_with("0 findings: "), "{}", fine.out);
        let broken = check("{}", &[]);
        assert_eq!(broken.exit, Exit::Failed);
        assert!(broken.err.contains("is no OSV record"), "{}", broken.err);
    }
}
