//! `chartgate policy activate`: has a running gateway take over the bundle now.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::admin::protocol::AdminRequest;
use crate::cli::console::{Console, Failure};
use crate::cli::gateway;
use crate::operate::permissions::{Activated, Ask};

/// Have the running gateway put the policy bundle on disk in force now.
///
/// It is read, checked and asked its own decision tables by the gateway, put on record under your name, and swapped as
/// a whole with its EMR profiles: no connection is dropped, and no request sees half of it. A bundle with a problem
/// changes nothing and raises an alarm. The gateway also does this by itself when the files change
/// (`watch_interval` in [policy]).
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate policy activate\n  chartgate policy activate --dir /srv/policies-emergency"
)]
pub(in crate::cli) struct ActivateArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Another directory than the configured one; in force until that one changes, or the gateway restarts.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &ActivateArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let directory = match &args.dir {
        // The gateway has another working directory.
        Some(directory) => Some(std::fs::canonicalize(directory).map_err(|error| {
            Failure::Configuration(format!("`{}` cannot be read: {error}", directory.display()))
        })?),
        None => None,
    };
    let request = AdminRequest::Policy(Ask::Activate { directory });
    put_in_force(&args.config, request, console)
}

/// Asks the gateway to put a bundle in force, and says what came of it.
pub(super) fn put_in_force(
    config: &Path,
    request: AdminRequest,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    gateway::ask(config, request, |value| {
        let activated: Activated = serde_json::from_value(value).map_err(Failure::of)?;
        let Activated {
            name,
            version,
            sha256,
            generation,
            tests,
            unchanged,
            signers,
        } = activated;
        let how = if unchanged {
            "was in force already"
        } else {
            "is in force"
        };
        let signed = if signers.is_empty() {
            String::new()
        } else {
            format!(", signed by {}", signers.join(", "))
        };
        console.line(format_args!(
            "{name} {version} {how}: generation {generation}, {tests} expectations met, sha256 {sha256}{signed}"
        ))
    })
}
