//! `chartgate segmentation`: whether an EMR answers around the gateway.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use super::{gateway, offline};
use crate::admin::client::{AdminClient, ClientError};
use crate::admin::protocol::AdminRequest;
use crate::segmentation::{Ask, Finding, Outcome, probe};

/// Find out whether an EMR can be reached around the gateway.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum SegmentationCommand {
    Probe(ProbeArgs),
}

/// Make every configured probe now.
///
/// Tries to open a connection to each `[[segmentation.probe]]` and says where somebody answered who must not. A running
/// gateway makes the probes itself and alarms; otherwise this command makes them. Exits with 1 where an EMR is
/// reachable around the gateway, or a probe could not be made. It sees what this machine sees (docs/segmentation.md).
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate segmentation probe\n  chartgate segmentation probe --config /etc/chartgate/chartgate.toml --json"
)]
pub struct ProbeArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Print one JSON document for each probe.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &SegmentationCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    match command {
        SegmentationCommand::Probe(args) => probes(args, console),
    }
}

fn probes(args: &ProbeArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let findings = runtime.block_on(findings(&args.config))?;
    if findings.is_empty() {
        let message = "no probe is configured: add [[segmentation.probe]]";
        return Err(Failure::Configuration(message.to_owned()));
    }
    let mut closed = true;
    for finding in findings {
        let said = match &finding.outcome {
            Outcome::Closed(why) => format!("closed ({why})"),
            Outcome::Reachable(address) => {
                closed = false;
                format!("REACHABLE at {address}: close it, see docs/segmentation.md")
            }
            Outcome::Unknown(why) => {
                closed = false;
                format!("NOT PROBED: {why}")
            }
        };
        if args.json {
            console.line(serde_json::to_string(&finding).map_err(Failure::of)?)?;
            continue;
        }
        let from = finding
            .from
            .map_or_else(String::new, |from| format!(" from {from}"));
        let Finding {
            name, emr, address, ..
        } = &finding;
        console.line(format_args!("{name}: {emr} at {address}{from}: {said}"))?;
    }
    if closed { Ok(()) } else { Err(Failure::Unfit) }
}

async fn findings(config: &Path) -> Result<Vec<Finding>, Failure> {
    let request = AdminRequest::Segmentation(Ask::Probe);
    let admin = gateway::admin(config)?;
    let mut client = match AdminClient::ask(&admin.socket, request).await {
        Ok(client) => client,
        Err(ClientError::NotRunning(_)) => {
            let config = offline::config(config)?;
            return Ok(probe(&config.segmentation.probes).await);
        }
        Err(error) => return Err(Failure::of(error)),
    };
    let mut findings = Vec::new();
    while let Some(value) = client.next().await.map_err(Failure::of)? {
        findings.push(serde_json::from_value(value).map_err(Failure::of)?);
    }
    Ok(findings)
}
