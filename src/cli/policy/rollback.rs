//! `chartgate policy rollback` and `chartgate policy history`: the way back, and what was in force when.

use std::path::PathBuf;

use clap::Args;

use super::activate::put_in_force;
use super::printable;
use crate::admin::protocol::AdminRequest;
use crate::cli::console::{Console, Failure};
use crate::cli::gateway::{self, Common};
use crate::operate::permissions::{Ask, How, Line};

/// Go back to the policy bundle that was in force before.
///
/// The gateway keeps the last five bundles sealed in its store; none has to be found on disk. What it goes back to is
/// checked like any bundle, its signatures too, and put on record with your name and the reason. A second rollback goes
/// back further. It holds until a file in the configured directory changes, or somebody runs `chartgate policy activate`;
/// a restart changes nothing. Until then `chartgate status` calls for a look.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate policy rollback --reason 'billing cannot open claims'\n  \
                             chartgate policy rollback --to 3f9a1c --reason 'case 12'"
)]
pub(in crate::cli) struct RollbackArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Another bundle than the last one, by the beginning of its sha256 (`chartgate policy history`).
    #[arg(long, value_name = "SHA256")]
    to: Option<String>,
    /// Why; on record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Show which policy bundles were in force, since when, by whom and why.
///
/// The newest first. The last five bundles can be gone back to with `chartgate policy rollback`.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate policy history")]
pub(in crate::cli) struct HistoryArgs {
    #[command(flatten)]
    common: Common,
}

/// Goes back.
pub(super) fn run(args: &RollbackArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let request = AdminRequest::Policy(Ask::Rollback {
        to: args.to.clone(),
        reason: args.reason.clone(),
    });
    put_in_force(&args.config, request, console)?;
    console.note(
        "It holds until a file in the configured directory changes, or `chartgate policy activate`.",
    )
}

/// Shows the history.
pub(super) fn history(args: &HistoryArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let nothing = "no bundle was put in force yet";
    gateway::list(
        &args.common.config,
        AdminRequest::Policy(Ask::History),
        (console, args.common.json, nothing),
        |value, console| {
            let line: Line = serde_json::from_value(value).map_err(Failure::of)?;
            console.line(in_words(&line))
        },
    )
}

fn in_words(line: &Line) -> String {
    let how = match line.how {
        How::Start => "at the start",
        How::Change => "because its files changed",
        How::Activation => "activated",
        How::Rollback => "rolled back to",
    };
    let by = line.operator.as_deref().map(|name| format!(" by {name}"));
    let reason = line.reason.as_deref().map(|why| format!(": {why}"));
    let signed =
        (!line.signers.is_empty()).then(|| format!(", signed by {}", line.signers.join(", ")));
    let text = format!(
        "{:.0}  {}  {} {}  {how}{}{}{}",
        line.at,
        line.sha256.get(..12).unwrap_or(&line.sha256),
        line.name,
        line.version,
        by.unwrap_or_default(),
        signed.unwrap_or_default(),
        reason.unwrap_or_default(),
    );
    printable(&text)
}
