//! `chartgate notify`: whether alarms get there.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use super::gateway;
use crate::admin::protocol::AdminRequest;
use crate::notify::{Answer, Ask};

/// Try the receivers of alarms.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum NotifyCommand {
    Test(TestArgs),
}

/// Send a test alarm to every receiver.
///
/// The running gateway puts a test alarm on record and sends it by the way that alarms take, whatever level a receiver
/// wants; this waits for what comes of it. Exits with 1 where a receiver was not reached.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate notify test\n  chartgate notify test --config /etc/chartgate/chartgate.toml"
)]
pub struct TestArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &NotifyCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    let NotifyCommand::Test(args) = command;
    let mut failed = false;
    gateway::ask(&args.config, AdminRequest::Notify(Ask::Test), |value| {
        let answer: Answer = serde_json::from_value(value).map_err(Failure::of)?;
        match answer.problem {
            None => console.line(format_args!("ok      {}", answer.receiver)),
            Some(problem) => {
                failed = true;
                console.line(format_args!("FAILED  {}: {problem}", answer.receiver))
            }
        }
    })?;
    if failed { Err(Failure::Unfit) } else { Ok(()) }
}
