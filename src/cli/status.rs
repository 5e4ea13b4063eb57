//! `chartgate status`: how a running gateway is, on one screen.

use std::path::PathBuf;

use clap::Args;

use super::console::{Console, Failure};
use super::gateway;
use crate::admin::protocol::AdminRequest;

/// Show how the running gateway is, on one screen.
///
/// Health, certificates, policy generation, position of the trail, and a line for each practice: what is in order,
/// what needs somebody, and what to do. Exits with 1 where something does not work.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate status\n  chartgate status --config /etc/chartgate/chartgate.toml --json"
)]
pub struct StatusArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Print the same as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(args: &StatusArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut red = false;
    gateway::ask(&args.config, AdminRequest::Status, |status| {
        let text = |name: &str| status.get(name).map(plain).unwrap_or_default();
        let checks = status.get("checks").and_then(|checks| checks.as_array());
        red |= checks
            .into_iter()
            .flatten()
            .any(|check| check.get("status").is_some_and(|is| is == "red"));
        if args.json {
            return console.line(&status);
        }
        let ready = if status.get("ready").is_some_and(|ready| ready == true) {
            "ready"
        } else {
            "NOT READY"
        };
        console.line(format_args!("chartgate {}  {ready}", text("version")))?;
        console.line(format_args!(
            "policy     {}, generation {}",
            text("policy"),
            text("generation")
        ))?;
        console.line(format_args!(
            "trail      record {}, head {}\n",
            text("trail_sequence"),
            text("trail_head")
        ))?;
        for check in checks.into_iter().flatten() {
            let part = |name: &str| check.get(name).map(plain).unwrap_or_default();
            let mark = match part("status").as_str() {
                "green" => "ok",
                "amber" => "LOOK",
                _ => "DOWN",
            };
            console.line(format_args!(
                "{mark:<5} {:<28} {}",
                part("name"),
                part("detail")
            ))?;
        }
        Ok(())
    })?;
    if red { Err(Failure::Unfit) } else { Ok(()) }
}

/// A value as text, without quotes, and without what could move the reader's cursor.
fn plain(value: &serde_json::Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
